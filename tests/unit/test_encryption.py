"""Secrets in etcd: the way from one key to another, whose key it is, and what is refused."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import yaml
from fake_hosts import run
from pyinfra.api.exceptions import PyinfraError
from sample_cluster import GROUPS, hosts_data
from test_several_control_planes import blank, hosts, of_control_plane

from kubestage.checks.load import load
from kubestage.cluster import encryption
from kubestage.facts.answers import Answers
from kubestage.facts.host_report import HostReport
from kubestage.facts.host_report.encryption import PLAIN, Encrypted, read
from kubestage.kubernetes import ENCRYPTION
from kubestage.operations import secrets
from kubestage.render.encryption import Stage, keys_in, way
from kubestage.settings import SettingsError

OLD, NEW = "key-20260101-000000", "key-20270101-000000"
KEYS = {name: base64.b64encode(name.encode().ljust(32, b"-")).decode() for name in (OLD, NEW)}


def having(*providers: str, written: str = "") -> Encrypted:
    """A host whose API server has these, in this order; none: it encrypts nothing."""
    known = frozenset([written] if written else [])
    if not providers:
        return Encrypted(written=known)
    stage = Stage(providers, KEYS)
    return Encrypted({stage.path: providers}, stage.path, known)


def test_the_configuration() -> None:
    stage = Stage((OLD, PLAIN), KEYS)
    assert stage.file and stage.file.mode == "600" and stage.path.startswith(f"{ENCRYPTION}/")
    (resource,) = yaml.safe_load(stage.file.data)["resources"]
    assert resource == {
        "resources": ["secrets"],
        "providers": [{"secretbox": {"keys": [{"name": OLD, "secret": KEYS[OLD]}]}}, {PLAIN: {}}],
    }
    assert keys_in(stage.file.data.decode()) == {OLD: KEYS[OLD]}
    assert Stage((PLAIN,), KEYS).file is None
    assert KEYS[OLD] not in repr(stage)


def test_a_hosts_answer() -> None:
    said = [f"encryption {ENCRYPTION}/1.yaml {OLD} {PLAIN}", f"encrypts {ENCRYPTION}/1.yaml", f"written {OLD}"]
    found = read(Answers(said)).encrypted
    assert found == Encrypted({f"{ENCRYPTION}/1.yaml": (OLD, PLAIN)}, f"{ENCRYPTION}/1.yaml", frozenset([OLD]))
    assert found.providers == (OLD, PLAIN)
    assert read(Answers(["encrypts /etc/kubernetes/own/mine.yaml"])).encrypted.used == ""  # one of the user's own


@pytest.mark.parametrize(
    ("states", "target", "stages", "rewrites"),
    [
        ([having()], OLD, [(PLAIN, OLD), (OLD, PLAIN)], True),
        ([having(PLAIN, OLD), having()], OLD, [(PLAIN, OLD), (OLD, PLAIN)], True),
        ([having(PLAIN, OLD)] * 2, OLD, [(OLD, PLAIN)], True),
        ([having(OLD, PLAIN), having(PLAIN, OLD)], OLD, [(OLD, PLAIN)], True),
        ([having(OLD, PLAIN)] * 2, OLD, [(OLD, PLAIN)], True),
        ([having(OLD, PLAIN, written=OLD)] * 2, OLD, [(OLD, PLAIN)], False),
        ([having(OLD, PLAIN, written=OLD)], NEW, [(OLD, NEW, PLAIN), (NEW, OLD, PLAIN), (NEW, PLAIN)], True),
        ([having(OLD, NEW, PLAIN, written=OLD)], NEW, [(NEW, OLD, PLAIN), (NEW, PLAIN)], True),
        ([having(NEW, OLD, PLAIN, written=OLD)], NEW, [(NEW, OLD, PLAIN), (NEW, PLAIN)], True),
        ([having(NEW, OLD, PLAIN, written=NEW)], NEW, [(NEW, PLAIN)], False),
        ([having(OLD, PLAIN, written=OLD)], PLAIN, [(PLAIN, OLD), (PLAIN,)], True),
        ([having(PLAIN, OLD, written=OLD)], PLAIN, [(PLAIN, OLD), (PLAIN,)], True),
    ],
)
def test_the_way(states: list[Encrypted], target: str, stages: list[tuple[str, ...]], rewrites: bool) -> None:
    """Nobody writes with what another can't read, and nothing goes that something is written with."""
    known = {name for state in states for name in state.providers} | {target}
    found, rewritten = way(states, target, known - {PLAIN})
    assert (found, rewritten) == (stages, rewrites)


def planned(
    monkeypatch: pytest.MonkeyPatch,
    states: Mapping[str, Encrypted],
    *,
    encrypts: bool = True,
    rotates: bool = False,
    active: tuple[str, ...] = ("cp1", "cp2", "cp3", "w1"),
    readable: bool = True,
) -> encryption.Encryption:
    """What a run makes of these hosts; those without a state are blank."""
    reports: dict[str, HostReport] = {
        name: replace(of_control_plane(name), encrypted=states[name]) if name in states else blank(name)
        for name in ("cp1", "cp2", "cp3")
    }
    found = hosts(**reports)
    common = found.common.model_copy(update={"encrypt_secrets": encrypts})
    found = replace(found, cluster=replace(found.cluster, common=common))
    texts = {Stage(p, KEYS).path: Stage(p, KEYS) for one in states.values() for p in one.files.values()}

    class Inventory:
        def get_host(self, name: str) -> str:
            return name

        def get_active_hosts(self) -> list[Any]:
            return [type("Host", (), {"name": name}) for name in active]

    def cat(_: Any, command: str) -> tuple[bool, str]:
        file = texts[command.removeprefix("cat ")].file
        assert file
        return readable, file.data.decode() if readable else ""

    monkeypatch.setattr(encryption, "run_on", cat)
    return encryption.planned(type("State", (), {"inventory": Inventory()}), found, rotates)  # type: ignore[arg-type]


def test_a_new_cluster_begins_with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    found = planned(monkeypatch, {})
    (stage,) = found.stages
    assert stage.providers == (found.written, PLAIN) and found.path == stage.path and not found.rewrites
    assert [file.path for file in found.last] == [stage.path, f"{ENCRYPTION}/written-with-{found.written}"]
    assert planned(monkeypatch, {}, encrypts=False) == encryption.PLAINLY


def test_nothing_is_read_where_nothing_is_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    same = having(OLD, PLAIN, written=OLD)
    found = planned(monkeypatch, dict.fromkeys(("cp1", "cp2", "cp3"), same), readable=False)
    assert found == encryption.Encryption(same.used, written=OLD)


def test_a_host_that_joins_gets_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    found = planned(monkeypatch, dict.fromkeys(("cp1", "cp2"), having(OLD, PLAIN, written=OLD)))
    assert [stage.providers for stage in found.stages] == [(OLD, PLAIN)] and not found.rewrites
    assert keys_in(found.last[0].data.decode()) == {OLD: KEYS[OLD]}


def test_a_living_cluster_is_switched_on_and_off(monkeypatch: pytest.MonkeyPatch) -> None:
    on = planned(monkeypatch, dict.fromkeys(("cp1", "cp2", "cp3"), having()))
    assert [stage.providers for stage in on.stages] == [(PLAIN, on.written), (on.written, PLAIN)]
    assert on.rewrites and not on.rewrites_before_last
    same = dict.fromkeys(("cp1", "cp2", "cp3"), having(OLD, PLAIN, written=OLD))
    off = planned(monkeypatch, same, encrypts=False)
    assert [stage.providers for stage in off.stages] == [(PLAIN, OLD), (PLAIN,)]
    assert off.rewrites_before_last and off.path == "" and off.last == []


def test_a_new_key(monkeypatch: pytest.MonkeyPatch) -> None:
    same = dict.fromkeys(("cp1", "cp2", "cp3"), having(OLD, PLAIN, written=OLD))
    found = planned(monkeypatch, same, rotates=True)
    new = found.written
    assert new > OLD
    assert [stage.providers for stage in found.stages] == [(OLD, new, PLAIN), (new, OLD, PLAIN), (new, PLAIN)]
    assert found.rewrites_before_last


@pytest.mark.parametrize("states", [having(), having(OLD, PLAIN, written=OLD)], ids=["switched on", "rotated"])
def test_no_other_key_while_a_host_is_away(
    states: Encrypted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", logger="pyinfra"):
        found = planned(
            monkeypatch,
            dict.fromkeys(("cp1", "cp2", "cp3"), states),
            rotates=bool(states.used),
            active=("cp1", "cp2"),
        )
    assert "waits for a run for all of them: cp3 is not of this one" in caplog.text
    assert found.path == states.used and not found.rewrites and found.marks == []


def test_a_key_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Encrypted({}, f"{ENCRYPTION}/1.yaml", frozenset([OLD]))
    with pytest.raises(PyinfraError, match="no host of the control plane has the key any more"):
        planned(monkeypatch, dict.fromkeys(("cp1", "cp2", "cp3"), lost))


def test_the_users_own_configuration_stands_alone() -> None:
    own = {"apiserver_extra_args": {"encryption-provider-config": "/etc/kubernetes/own/mine.yaml"}}
    files = {"apiserver_files": {"/etc/kubernetes/own/mine.yaml": __file__}}
    with pytest.raises(SettingsError) as error:
        load(hosts_data({**own, **files}), GROUPS)
    assert "encrypt_secrets" in str(error.value) and "set encrypt_secrets = False" in str(error.value)
    load(hosts_data({**own, **files, "encrypt_secrets": False}), GROUPS)


def test_secrets_are_written_anew() -> None:
    (command,) = run(secrets.rewritten, {})
    assert "get secrets --all-namespaces --output json | kubectl" in command

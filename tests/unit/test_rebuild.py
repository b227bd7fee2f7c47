"""Hosts rebuilt: what is refused, what is asked, whose word a new host key is taken on, and where it goes on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sample_cluster import GROUPS, hosts_data

from kubestage.checks.load import load
from kubestage.cluster.inventory import TargetError
from kubestage.commands import known_hosts, rebuild
from kubestage.commands.known_hosts import Known
from kubestage.commands.rebuild import Rebuild
from kubestage.providers import Description


class Machine:
    """One that only remembers what was asked of it."""

    def __init__(self, keys: Sequence[str] = (), locked: str = "") -> None:
        self.did: list[str] = []
        self.keys, self.locked = list(keys), locked

    def describe(self) -> Description:
        return Description("a disk", self.locked)

    def stop(self) -> None:
        self.did.append("stop")

    def replace(self, image: str) -> None:
        self.did.append(f"replace {image}")

    def start(self) -> None:
        self.did.append("start")

    def image(self, name: str) -> str:
        self.did.append(f"image {name}")
        return f"m-{name}"

    def host_keys(self) -> list[str]:
        return self.keys


TARGET: Any = SimpleNamespace(cluster=load(hosts_data(), GROUPS), inventory="inventory/mine.py")


@pytest.fixture
def known(tmp_path: Path) -> Known:
    path = tmp_path / "known_hosts"
    path.write_text("10.0.0.12 ssh-ed25519 OLD\n")
    return Known(path, "10.0.0.12", 0)


def begun(folder: Path) -> Rebuild:
    return Rebuild.begun(folder, "w1", ["ssh-ed25519 OLD"])


def given(**more: bool) -> argparse.Namespace:
    return argparse.Namespace(**{"with_registry": False, "destroy_cluster": False, "yes": True, **more})


class TestChosen:
    def test_workers(self) -> None:
        assert rebuild._chosen(TARGET, ["w2", "w1", "w2"], whole=False) == ["w2", "w1"]
        assert rebuild._chosen(TARGET, ["w1", "w2", "cp1"], whole=True) == ["w1", "w2", "cp1"]

    @pytest.mark.parametrize(
        ("names", "whole", "said"),
        [
            (["w3"], False, "there is no host 'w3'\n    -> name some of: cp1, w1, w2"),
            (["w1", "cp1"], False, "cp1: it is the only control plane"),
            (["cp1"], True, "not all were named\n    -> name them all: cp1 w1 w2"),
        ],
    )
    def test_refused(self, names: list[str], whole: bool, said: str) -> None:
        with pytest.raises(TargetError) as caught:
            rebuild._chosen(TARGET, names, whole)
        assert said in str(caught.value)


class TestAsk:
    def ask(self, held: dict[str, list[str]], machine: Machine | None = None, **more: bool) -> None:
        rebuild._ask(TARGET, ["w1"], {"w1": machine or Machine()}, held, given(**more))

    def test_all_is_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.ask({"w1": ["web/data (1Gi)"]})
        assert "w1: a disk\n      the volume web/data (1Gi)" in capsys.readouterr().out

    def test_the_registrys_images(self) -> None:
        held = {"w1": ["registry/registry (20Gi)"]}
        with pytest.raises(TargetError, match="the registry's images are on it"):
            self.ask(held)
        self.ask(held, with_registry=True)

    def test_one_that_is_locked(self) -> None:
        with pytest.raises(TargetError, match="w1: a disk: it is locked: financial"):
            self.ask({}, Machine(locked="it is locked: financial"))

    def test_nobody_is_there_to_ask(self) -> None:
        with pytest.raises(TargetError, match="no terminal to ask you\n    -> give --yes"):
            self.ask({}, yes=False)

    @pytest.mark.parametrize("answer", ["", "y", "no"])
    def test_a_person_says_no(self, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
        monkeypatch.setattr("builtins.input", lambda _: answer)
        with pytest.raises(TargetError, match="nothing was changed"):
            self.ask({}, yes=False)


class TestSteps:
    def test_it_goes_on_where_it_was_ended(self, known: Known, tmp_path: Path) -> None:
        first, machine = begun(tmp_path), Machine(["ssh-ed25519 NEW"])
        first.step("stop", machine.stop)
        first.step("replace the disk", lambda: machine.replace(""))
        second = begun(tmp_path)
        rebuild._replace(second, machine, known, "")
        assert machine.did == ["stop", "replace ", "start"]
        assert known.now() == ["ssh-ed25519 NEW"]
        second.end()
        assert begun(tmp_path).done == []

    def test_a_step_that_fails_is_not_done(self, tmp_path: Path) -> None:
        def fail() -> None:
            raise TargetError("no")

        with pytest.raises(TargetError):
            begun(tmp_path).step("stop", fail)
        assert begun(tmp_path).done == []

    def test_the_old_keys_are_those_from_before(self, tmp_path: Path) -> None:
        begun(tmp_path).step("stop", lambda: None)
        assert Rebuild.begun(tmp_path, "w1", ["ssh-ed25519 NEW"]).old == ["ssh-ed25519 OLD"]
        assert json.loads((tmp_path / "rebuild/w1.json").read_text())["done"] == ["stop"]


class TestHostKey:
    @pytest.mark.parametrize("keys", [[], ["ssh-ed25519 OLD"]], ids=["none", "that of before"])
    def test_never_blindly(self, keys: list[str], known: Known, tmp_path: Path) -> None:
        with pytest.raises(TargetError) as caught:
            rebuild._take_over(begun(tmp_path), Machine(keys), known)
        assert f"ssh-keygen -R 10.0.0.12 -f {known.path}" in str(caught.value)
        assert known.now() == ["ssh-ed25519 OLD"]

    def test_by_hand(self, known: Known, tmp_path: Path) -> None:
        known.replace(["ssh-ed25519 BYHAND"])
        rebuild._take_over(begun(tmp_path), Machine(), known)
        assert known.now() == ["ssh-ed25519 BYHAND"]


class TestAtOnce:
    def target(self, at_once: int, **changed: Any) -> Any:
        settings = {"rebuild_at_once": at_once, **changed}
        return SimpleNamespace(cluster=load(hosts_data(settings), GROUPS), inventory="inventory/mine.py")

    @pytest.mark.parametrize(
        ("at_once", "changed", "size"),
        [
            (1, {}, 1),
            (2, {}, 1),  # of two nodes that take pods, one stays
            (2, {"schedule_on_control_plane": True}, 2),
            (9, {"schedule_on_control_plane": True}, 2),
        ],
    )
    def test_a_node_stays_that_takes_pods(
        self, at_once: int, changed: dict[str, Any], size: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert rebuild._at_once(self.target(at_once, **changed), ["w1", "w2"]) == size
        assert ("one has to stay" in capsys.readouterr().out) is (size < min(at_once, 2))

    def test_the_second_goes_once_the_stacks_have_their_replicas(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said: list[str] = []
        monkeypatch.setattr(rebuild, "_kubectl", lambda _, __, words, ___: said.append(words.removesuffix(" 2>&1")))
        monkeypatch.setattr(rebuild, "_is_ready", lambda *_: True)
        hosts = [Rebuild.begun(tmp_path, name, []) for name in ("w1", "w2")]
        rebuild._leave(self.target(2), hosts)
        verbs = [" ".join(words.split()[:2]) for words in said if "rollout" not in words]
        assert verbs == ["cordon w1", "drain w1", "delete node", "drain w2", "delete node"]
        waits = [number for number, words in enumerate(said) if "rollout" in words]
        assert said.index(next(words for words in said if words.startswith("drain w2"))) > max(waits)
        assert "deployment/contour" in said[waits[0]] or any("deployment/contour" in said[number] for number in waits)
        assert not any("deployment/registry" in words for words in said)

    def test_all_are_ended_before_what_went_wrong_is_told(self) -> None:
        done = []

        def work(name: str) -> None:
            if name == "w1":
                raise TargetError("w1 is broken")
            done.append(name)

        with pytest.raises(TargetError, match="w1 is broken"):
            rebuild._each(["w1", "w2"], work)
        assert done == ["w2"]


@pytest.mark.parametrize(("asked", "images"), [("", ["", "debian-13"]), ("debian-14", ["debian-14", "debian-14"])])
def test_of_which_image(
    asked: str, images: list[str], known: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = load(hosts_data(w2={"rebuild_image": "debian-13"}), GROUPS)
    target: Any = SimpleNamespace(cluster=cluster, folder=tmp_path)
    replaced: list[str] = []
    monkeypatch.setattr(known_hosts, "of", lambda *_: known)
    monkeypatch.setattr(rebuild, "machine", lambda *_: Machine())
    for step in ("_volumes", "_ask", "_leave", "_await_ssh"):
        monkeypatch.setattr(rebuild, step, lambda *_: {})
    monkeypatch.setattr(rebuild, "_replace", lambda _, __, ___, image: replaced.append(image))
    monkeypatch.setattr(rebuild, "deploy", lambda *_: 0)
    named = argparse.Namespace(hosts=["w1", "w2"], image=asked, **vars(given()))
    assert rebuild._rebuild(target, named) == 0
    assert replaced == images

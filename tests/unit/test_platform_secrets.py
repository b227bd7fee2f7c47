"""What the platform keeps in the cluster: files are made of it, it is made of files, and no value is shown."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from fake_hosts import Facts, Hosts, fact
from stub_programs import calls, run_with

from kubestage.cluster.control_plane import ControlPlane
from kubestage.facts.files import FileStates
from kubestage.facts.platform_secrets import PlatformSecrets
from kubestage.facts.unknown import Unknown
from kubestage.operations import platform_secrets
from kubestage.stacks.platform_secrets import CERTIFICATES, LOGINS, Kept

OURS = "/etc/kubernetes/kubestage"
SECRET = Kept("things", {"a.key": f"{OURS}/pki/a.key", "a.crt": f"{OURS}/pki/a.crt"})
VALUES = {"a.key": "a secret\nof two lines\n", "a.crt": "no end of line"}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def kubectl(stored: Mapping[str, str]) -> str:
    """One that knows of the Secret, and of another."""
    values = {key: base64.b64encode(value.encode()).decode() for key, value in stored.items()}
    all_of_them = "; ".join(["echo other key eA==", *(f"echo things {key} {value}" for key, value in values.items())])
    single = " ".join(f"*'\"{key}\"'*) printf %s {value} ;;" for key, value in values.items())
    return f'case "$*" in *range*) {all_of_them} ;; {single} *) exit 1 ;; esac'


def put(folder: Path, files: Mapping[str, str]) -> None:
    for key, value in files.items():
        path = folder / SECRET.files[key].lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value)


def seen(folder: Path, stored: Mapping[str, str] | str) -> Mapping[str, Mapping[str, str]] | Unknown:
    """What the fact finds; `stored` may be what kubectl fails with."""
    program = f"echo '{stored}' >&2; exit 1" if isinstance(stored, str) else kubectl(stored)
    (folder / "etc/kubernetes").mkdir(parents=True, exist_ok=True)
    (folder / "etc/kubernetes/admin.conf").touch()
    command = str(PlatformSecrets().command())
    done = run_with(folder, command, {"kubectl": program}, ("/etc/kubernetes",))
    assert done.returncode == 0
    assert not any(line in done.stdout for value in VALUES.values() for line in value.split("\n") if line)
    return PlatformSecrets().process(done.stdout.splitlines())


class TestFact:
    def test_all_in_one_go(self, tmp_path: Path) -> None:
        sums = {key: sha256(value) for key, value in VALUES.items()}
        assert seen(tmp_path, VALUES) == {"things": sums, "other": {"key": sha256("x")}}
        assert [call for call in calls(tmp_path) if "--field-selector type=Opaque" in call] == calls(tmp_path)[:1]

    def test_none(self, tmp_path: Path) -> None:
        assert seen(tmp_path, {}) == {"other": {"key": sha256("x")}}

    def test_an_api_that_does_not_answer_does_not_say_that_there_is_none(self, tmp_path: Path) -> None:
        assert seen(tmp_path, "The connection was refused") == Unknown("The connection was refused")


def state(stored: Mapping[str, str], files: Mapping[str, str]) -> Facts:
    return {
        fact(PlatformSecrets): [f"things {key} {sha256(value)}" for key, value in stored.items()],
        fact(FileStates, paths=[*SECRET.files.values()]): [
            f"600 0:0 {sha256(value)} {SECRET.files[key]}" for key, value in files.items()
        ],
    }


def told(operation: str, facts: Facts) -> list[str]:
    hosts = Hosts({"cp1": facts})
    hosts.prepare("cp1", getattr(platform_secrets, operation), control_plane=hosts.speaker, secret=SECRET)
    hosts.execute()
    return hosts.commands("cp1")


class TestRestored:
    @pytest.mark.parametrize(
        ("stored", "files"), [(VALUES, VALUES), ({}, VALUES), ({}, {}), ({"strange": "x"}, {})], ids=str
    )
    def test_nothing_to_do(self, stored: Mapping[str, str], files: Mapping[str, str]) -> None:
        assert told("files", state(stored, files)) == []

    @pytest.mark.parametrize(
        "files", [{}, {"a.key": "another"}, {"a.crt": VALUES["a.crt"]}], ids=["none", "another", "half"]
    )
    def test_files_are_made_of_it(self, files: Mapping[str, str], tmp_path: Path) -> None:
        (command,) = told("files", state(VALUES, files))
        put(tmp_path, files)
        done = run_with(tmp_path, command, {"kubectl": kubectl(VALUES)}, ("/etc/kubernetes",))
        assert done.returncode == 0, done.stderr
        folder = tmp_path / f"{OURS}/pki".lstrip("/")
        assert {path.name: path.read_text() for path in folder.iterdir()} == VALUES  # and nothing is left aside
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
        assert modes["a.key"] == 0o600
        if "a.crt" not in files:
            assert modes["a.crt"] == 0o644
        assert not any("secret" in word for call in calls(tmp_path) for word in call.split() if word != "secret")

    @pytest.mark.parametrize("cut", [{"a.key": "a sec"}, {}], ids=["cut off", "refused"])
    def test_what_does_not_come_whole_is_not_taken(self, cut: Mapping[str, str], tmp_path: Path) -> None:
        (command,) = told("files", state(VALUES, {"a.key": "old"}))
        put(tmp_path, {"a.key": "old"})
        assert run_with(tmp_path, command, {"kubectl": kubectl(cut)}, ("/etc/kubernetes",)).returncode != 0
        assert (tmp_path / SECRET.files["a.key"].lstrip("/")).read_text() == "old"


class TestKept:
    @pytest.mark.parametrize(("stored", "files"), [(VALUES, VALUES), ({}, {})], ids=str)
    def test_nothing_to_do(self, stored: Mapping[str, str], files: Mapping[str, str]) -> None:
        assert told("secret", state(stored, files)) == []

    @pytest.mark.parametrize("stored", [{}, {**VALUES, "a.key": "old"}, {**VALUES, "more": ""}], ids=str)
    def test_it_is_made_of_files(self, stored: Mapping[str, str]) -> None:
        (command,) = told("secret", state(stored, VALUES))
        assert "create namespace kubestage-system" in command
        assert "create secret generic things" in command
        assert all(f"--from-file={key}={path}" in command for key, path in SECRET.files.items())

    def test_of_no_files_it_goes(self) -> None:
        (command,) = told("secret", state(VALUES, {}))
        assert command.endswith("delete secret things --ignore-not-found")


def test_a_silent_api_is_not_one_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What only foretells does not know; at work, the control plane is waited for (see test_control_plane.py)."""
    monkeypatch.setattr(ControlPlane, "ask", lambda *_, **__: Unknown("refused"))
    assert told("files", {}) == told("secret", {}) == []


def test_what_is_kept() -> None:
    """A key is there before its certificate, and the logins before the sums that say that they are whole."""
    assert list(CERTIFICATES.files) == ["ca.key", "ca.crt", "wildcard.key", "wildcard.crt"]
    assert list(LOGINS.files)[-1] == "sums"

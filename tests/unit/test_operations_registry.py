"""The registry's users: what is written on the control plane host, when it is written anew, and what is never shown."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from fake_hosts import Facts, Hosts, fact, unpacked
from pydantic import SecretStr
from stub_programs import run_with

from kubestage.facts.registry import Logins, RegistryLogins
from kubestage.host_file import HostFile
from kubestage.operations import registry

SITE = "registry.lab.test"
FOLDER = "/etc/kubernetes/kubestage/registry"
USERS = {"ci": "correct horse", "dev.2": 'quo"te\\and:colon'}
READ = f"cat {FOLDER}/users.json 2>/dev/null"


def state(users: dict[str, str], whole: bool = True, site: str = SITE) -> Facts:
    """What the fact's command prints of files with these users."""
    content = registry.users_file(users)
    lines = [f"users {HostFile('', content).sha256}", *(f"name {name}" for name in users), f"site {site}"]
    return {fact(RegistryLogins): [*lines, *["whole"] * whole]}


def secret(users: dict[str, str]) -> dict[str, SecretStr]:
    return {name: SecretStr(password) for name, password in users.items()}


def go(facts: Facts, users: dict[str, str], on_host: Sequence[str] = ()) -> Hosts:
    """`on_host`: the lines of users.json, for who reads it."""
    hosts = Hosts({"cp1": facts}, {"cp1": {READ: on_host}})
    hosts.prepare("cp1", registry.logins, site=SITE, users=secret(users))
    hosts.execute()
    return hosts


def written(hosts: Hosts) -> dict[str, str]:
    """name -> content of the files that were written; all of them private, in one go, the sums last."""
    (told,) = [told for told in hosts.told("cp1") if told.stdin]
    files = unpacked(told)
    assert list(files) == [f"{FOLDER}/{name}" for name in ("users.json", "htpasswd", "config.json", "sums")]
    assert {mode for _, mode in files.values()} == {"600"}
    return {Path(path).name: content for path, (content, _) in files.items()}


def test_the_users_of_the_settings() -> None:
    hosts = go({fact(RegistryLogins): []}, USERS)
    assert len(hosts.commands("cp1")) == 1  # nothing is read that is known
    files = written(hosts)
    assert json.loads(files["users.json"]) == USERS
    hashes = dict(line.split(":", 1) for line in files["htpasswd"].splitlines())
    assert list(hashes) == list(USERS)
    for name, password in USERS.items():
        assert bcrypt.checkpw(password.encode(), hashes[name].encode())
        assert not bcrypt.checkpw(b"another", hashes[name].encode())
    auths = json.loads(files["config.json"])["auths"]
    assert {site: base64.b64decode(login["auth"]) for site, login in auths.items()} == {SITE: b"ci:correct horse"}
    assert files["sums"].splitlines()[0] == SITE


def test_as_they_should_be() -> None:
    assert go(state(USERS), USERS).commands("cp1") == []
    assert go(state({"kubestage": "made once"}), {}).commands("cp1") == []


@pytest.mark.parametrize(
    "facts",
    [
        state({**USERS, "ci": "another one"}),
        state({"ci": "correct horse"}),
        state(dict(reversed(USERS.items()))),
        state(USERS, whole=False),
        state(USERS, site="registry.old.test"),
    ],
    ids=["password", "user", "another first one", "half written", "site"],
)
def test_written_anew(facts: Facts) -> None:
    assert json.loads(written(go(facts, USERS))["users.json"]) == USERS


class TestMadeOnce:
    def users(self, facts: Facts, on_host: str) -> dict[str, str]:
        hosts = go(facts, {}, on_host=on_host.splitlines())
        assert hosts.commands("cp1")[0] == READ
        files = written(hosts)
        users: dict[str, str] = json.loads(files["users.json"])
        name, hashed = files["htpasswd"].strip().split(":", 1)
        assert list(users) == [name] == ["kubestage"]
        assert bcrypt.checkpw(users[name].encode(), hashed.encode())
        return users

    def test_first_run(self) -> None:
        made = [self.users({fact(RegistryLogins): []}, "")["kubestage"] for _ in range(2)]
        assert made[0] != made[1]
        assert all(len(password) == 32 for password in made)

    def test_a_password_that_is_there_is_kept(self) -> None:
        there = {"kubestage": "chosen by hand"}
        assert self.users(state(there, whole=False), registry.users_file(there)) == there

    @pytest.mark.parametrize(
        "content",
        [
            "",
            '{"kubest',
            "[]",
            '{"ci": "correct horse"}',
            '{"kubestage": "short"}',
            '{"kubestage": 12345678}',
            '{"kubestage": "correct horse", "ci": "correct horse"}',
        ],
    )
    def test_what_can_not_serve_is_made_anew(self, content: str) -> None:
        password = self.users(state({"kubestage": "x"}, whole=False), content)["kubestage"]
        assert len(password) == 32

    def test_users_that_left_the_settings(self) -> None:
        assert len(self.users(state(USERS), registry.users_file(USERS))["kubestage"]) == 32


def test_no_password_is_shown(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    hosts = Hosts({"cp1": {fact(RegistryLogins): []}})
    hosts.state.print_input = hosts.state.print_output = True  # as with -vvv
    with caplog.at_level("DEBUG", logger="pyinfra"):
        hosts.prepare("cp1", registry.logins, site=SITE, users=secret(USERS))
        hosts.execute()
    printed = caplog.text + "".join(capfd.readouterr())
    assert "tar --extract" in printed
    assert not [password for password in USERS.values() if password in printed]
    assert base64.b64encode(b"ci:correct horse").decode() not in printed


class TestFact:
    """Its command, run where the files are in a folder of the test."""

    def ask(self, folder: Path) -> Logins:
        command = fact(RegistryLogins).replace("600 0:0", f"600 {os.getuid()}:{os.getgid()}")
        result = run_with(folder, command, {}, ("/etc/kubernetes/kubestage/",))
        assert (result.returncode, result.stderr) == (0, "")
        assert not [password for password in USERS.values() if password in result.stdout]
        return RegistryLogins().process(result.stdout.splitlines())

    def write(self, folder: Path, users: dict[str, str] = USERS) -> Path:
        for file in registry.login_files(SITE, users):
            path = folder / file.path.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.content)
            path.chmod(int(file.mode, 8))
        return folder / FOLDER.lstrip("/")

    def test_nothing_is_there(self, tmp_path: Path) -> None:
        assert self.ask(tmp_path) == Logins()

    def test_all_is_there(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        sha256 = HostFile("", registry.users_file(USERS)).sha256
        assert self.ask(tmp_path) == Logins(True, SITE, sha256, ("ci", "dev.2"))

    @pytest.mark.parametrize("name", ["users.json", "htpasswd", "config.json", "sums"])
    def test_what_is_not_whole(self, tmp_path: Path, name: str) -> None:
        file = self.write(tmp_path) / name
        content = file.read_text()
        file.write_text(content[: len(content) - 5])
        assert not self.ask(tmp_path).whole
        file.write_text(content)
        assert self.ask(tmp_path).whole
        file.chmod(0o644)
        assert not self.ask(tmp_path).whole
        file.unlink()
        assert not self.ask(tmp_path).whole

    def test_files_of_two_times(self, tmp_path: Path) -> None:
        """As a run leaves them that was killed after the first file."""
        folder = self.write(tmp_path)
        (folder / "users.json").write_text(registry.users_file({"ci": "another one"}))
        assert not self.ask(tmp_path).whole


def test_files_of_the_users(tmp_path: Path) -> None:
    """The registry reads every hash: none of the users' names or hashes holds what separates them."""
    users: dict[str, Any] = {"a.b-c_D": "x" * 72, "z": "\u00e9" * 8}
    files = {Path(file.path).name: file.content for file in registry.login_files(SITE, users)}
    lines = files["htpasswd"].splitlines()
    assert [line.count(":") for line in lines] == [1, 1]
    assert all(line.split(":")[1].startswith("$2b$05$") for line in lines)

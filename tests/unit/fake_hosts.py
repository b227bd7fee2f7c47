"""@fake hosts for tests of operations: facts are answered by their exact command, everything else is kept to look at.

before = {fact(HostNames): ["old", "old"]}
assert run(system.hostname, before, wanted="new") == ["hostname new"]
"""

from __future__ import annotations

import base64
import io
import re
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pyinfra.api import FactBase, StringCommand
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all
from pyinfra.api.deploy import add_deploy
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.operation import add_op
from pyinfra.api.operations import run_ops
from pyinfra.api.state import State
from pyinfra.connectors.fake import FakeConnector
from pyinfra.connectors.util import CommandOutput, OutputLine

from kubestage.cluster import control_plane
from kubestage.cluster.control_plane import ControlPlane
from kubestage.facts.framed import BEGIN, END, framed
from kubestage.host_file import HostFile
from kubestage.operations.files import aside, put

Facts = Mapping[str, Sequence[str]]  # a fact's command -> the lines that the host prints
Replies = Mapping[str, Any]  # a word of another command -> its lines, or {"success": False}


@dataclass(frozen=True)
class Told:
    """A command as a host got it, with its standard input and whether sudo is put before it."""

    command: str
    stdin: str = ""
    sudo: bool = False


class RecordingConnector(FakeConnector):
    """pyinfra's @fake, keeping all of what it was told. Its commands are checked for their shell syntax."""

    def __init__(self, state: State, host: Host) -> None:
        super().__init__(state, host)
        self.told: list[Told] = []

    def run_shell_command(
        self, command: str | StringCommand, print_output: bool = False, print_input: bool = False, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        text = command if isinstance(command, str) else command.get_raw_value()
        syntax = subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True, check=False)
        assert syntax.returncode == 0, f"{syntax.stderr}{text}"
        self.told.append(Told(text, arguments.get("_stdin") or "", bool(arguments.get("_sudo"))))
        succeeded, output = super().run_shell_command(command, print_output, print_input, **arguments)
        if asked(text) and BEGIN not in output.stdout_lines:  # by run_on(), and so not by its exact command
            output = CommandOutput([OutputLine("stdout", line) for line in answer(output.stdout_lines)])
        return succeeded, output


def fact(kind: type[FactBase[Any]], **arguments: Any) -> str:
    """The command by which a fact is asked: a key of Facts."""
    command = kind().command(**arguments)
    return command if isinstance(command, str) else command.get_raw_value()


def text_at(path: str, text: str) -> list[str]:
    """What a host prints for Texts of one file."""
    return [f"{base64.b64encode(text.encode(errors='surrogateescape')).decode()} {path}"]


def answer(lines: Sequence[str]) -> list[str]:
    """What a host prints for a fact of ours whose command's own output is `lines`."""
    return ["Welcome", BEGIN, *lines, "", END, "Goodbye"]


def asked(command: str) -> bool:
    """Whether the command is one whose answer is framed."""
    return f"'{BEGIN}'" in command


def question(command: str) -> str:
    """The command in its frame; one that has none as it is."""
    before, _, after = framed("\0").partition("\0")
    return command.removeprefix(before).removesuffix(after)


class Hosts:
    """Connected hosts, by name. For one run of one operation each, as pyinfra's state knows no way back."""

    def __init__(
        self,
        facts: Mapping[str, Facts],
        replies: Mapping[str, Replies] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        self._facts = facts
        names = []
        for name, known in facts.items():
            exact: dict[Any, Any] = {
                re.compile(rf"\A{re.escape(command)}\Z"): answer(lines) if asked(command) else list(lines)
                for command, lines in known.items()
            }
            responses = {**exact, **(replies or {}).get(name, {})}
            names.append((name, {"fake_responses": responses, "fake_delay": 0, "fake_delay_jitter": 0, **(data or {})}))
        inventory = Inventory((names, {}))  # type: ignore[no-untyped-call]
        for host in inventory:
            host.connector_cls = RecordingConnector
        self.state = State(inventory, Config())  # type: ignore[no-untyped-call]
        self._predicted: list[tuple[Any, bool]] = []
        connect_all(self.state)

    def __getitem__(self, name: str) -> Host:
        return self.state.inventory.get_host(name)

    @property
    def speaker(self) -> ControlPlane:
        """Who asks cp1 in this run; an API that is silent is not waited for."""
        return control_plane.of_run(self.state, ["cp1"], timeout_s=0)

    def prepare(self, name: str, operation: Callable[..., Any], /, **arguments: Any) -> None:
        """Have the operation look whether it will change something on the host. It may ask for facts, nothing else."""
        metas = add_op(self.state, operation, host=self[name], **arguments)
        for meta in metas.values():
            self._predicted.append((meta, meta.will_change))
        self._nothing_was_told()

    def prepare_task(self, name: str, task: Callable[..., Any], /, *arguments: Any) -> None:
        """As prepare(), for all operations of a task."""
        add_deploy(self.state, task, *arguments, host=self[name])
        self._nothing_was_told()

    def _nothing_was_told(self) -> None:
        assert {name: self.commands(name) for name in self._facts} == {name: [] for name in self._facts}

    def execute(self) -> None:
        """Run what was prepared. What was foretold must be what happens."""
        run_ops(self.state)
        for meta, predicted in self._predicted:
            assert meta.did_change() == predicted

    def told(self, name: str) -> list[Told]:
        """What the host was told, facts left out. A fact that no test answered is in it, and so can't go unseen."""
        connector = self[name].connector
        assert isinstance(connector, RecordingConnector)
        told = [told for told in connector.told if told.command not in self._facts[name]]
        return [replace(each, command=question(each.command)) for each in told]

    def everything(self, name: str) -> list[str]:
        """All commands in their order, with those of facts, from the preparation on."""
        connector = self[name].connector
        assert isinstance(connector, RecordingConnector)
        return [told.command for told in connector.told]

    def commands(self, name: str) -> list[str]:
        return [told.command for told in self.told(name)]


def most_at_once(hosts: Hosts, word: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """On how many hosts a command with `word` in it is at work at the same time, at most, while they execute."""
    now, most = 0, 0
    run_it = RecordingConnector.run_shell_command

    def counted(self: RecordingConnector, command: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal now, most
        if word not in str(command):
            return run_it(self, command, *arguments, **named)
        now += 1
        most = max(most, now)
        result = run_it(self, command, *arguments, **named)
        now -= 1
        return result

    monkeypatch.setattr(RecordingConnector, "run_shell_command", counted)
    hosts.execute()
    return most


def run(operation: Callable[..., Any], facts: Facts, /, **arguments: Any) -> list[str]:
    """The commands of an operation on one host; none of them has a standard input. None at all is a no-op."""
    told = told_by(operation, facts, **arguments)
    assert [each.stdin for each in told] == [""] * len(told)
    return [each.command for each in told]


def run_for_all(operation: Callable[..., Any], facts: Facts, /, on: str = "cp1", **arguments: Any) -> list[str]:
    """The control plane's commands by an operation that the host `on` has for all; that host itself is told nothing."""
    hosts = Hosts({"cp1": facts, **({} if on == "cp1" else {on: {}})})
    hosts.prepare(on, operation, control_plane=hosts.speaker, **arguments)
    hosts.execute()
    assert on == "cp1" or hosts.commands(on) == []
    return hosts.commands("cp1")


def told_by(operation: Callable[..., Any], facts: Facts, /, **arguments: Any) -> list[Told]:
    """As run(), with each command's standard input."""
    hosts = Hosts({"h1": facts})
    hosts.prepare("h1", operation, **arguments)
    hosts.execute()
    return hosts.told("h1")


def unpacked(told: Told) -> dict[str, tuple[str, str]]:
    """path -> (content, mode in octal) of the files that files.files sends, in the order in which they are renamed."""
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(told.stdin, validate=True))) as tar:
        files = {f"/{member.name}": (tar.extractfile(member), f"{member.mode:o}") for member in tar.getmembers()}
        return {
            _in_place(path): (file.read().decode(errors="surrogateescape") if file else "", mode)
            for path, (file, mode) in files.items()
        }


def _in_place(new: str) -> str:
    """The path of a file that is written at `new` first."""
    folder, _, name = new.rpartition("/")
    path = f"{folder}/{name.removeprefix('.').removesuffix('.kubestage')}"
    assert aside(path) == new
    return path


def writes(*paths: str) -> str:
    """The command by which files.files puts files at `paths`."""
    return put([HostFile(path, "") for path in paths]).get_raw_value()

"""What operations ask: in one round trip where nothing changes, and never from an answer that may be old."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.operation import add_op, operation
from pyinfra.api.operations import run_ops
from pyinfra.api.state import State
from pyinfra.connectors.fake import FakeConnector
from pyinfra.connectors.util import CommandOutput, OutputLine
from pyinfra.context import ctx_host, ctx_state

from kubestage.cluster import answers, connections, control_plane
from kubestage.cluster.answers import Question, ask, expect, script
from kubestage.cluster.control_plane import ControlPlane
from kubestage.cluster.operation import operation as ours
from kubestage.cluster.shell import run_on
from kubestage.facts.framed import Fact
from kubestage.facts.unknown import Unknown
from kubestage.hidden import Hidden


class Says(Fact[str]):
    """What a command of the test's own prints."""

    @staticmethod
    def default() -> str:
        return ""

    def ask(self, command: str) -> str:
        return command

    def parse(self, output: Sequence[str]) -> str:
        return "\n".join(output)


class ShellConnector(FakeConnector):
    """A host that is this machine's own shell. `sent`: what it was sent."""

    def __init__(self, state: State, host: Host) -> None:
        super().__init__(state, host)
        self.sent: list[str] = []

    def run_shell_command(
        self, command: Any, print_output: bool = False, print_input: bool = False, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        text = command if isinstance(command, str) else command.get_raw_value()
        self.sent.append(text)
        given = arguments.get("_stdin") or ""
        done = subprocess.run(
            ["sh", "-c", text],
            input=given if isinstance(given, str) else "".join(given.readlines()),
            capture_output=True,
            text=True,
            check=False,
        )
        return not done.returncode, CommandOutput([OutputLine("stdout", line) for line in done.stdout.splitlines()])


class Run:
    """A run for hosts that are all this machine's shell, one operation after the other."""

    def __init__(self, *names: str) -> None:
        inventory = Inventory(([(name, {"fake_delay": 0, "fake_delay_jitter": 0}) for name in names], {}))  # type: ignore[no-untyped-call]
        for each in inventory:
            each.connector_cls = ShellConnector
        self.state = State(inventory, Config())  # type: ignore[no-untyped-call]
        self.state.check_for_changes = False  # as with -y
        connect_all(self.state)
        connections.keep(self.state, SimpleNamespace(commands_per_connection=8, timeout_s=float))  # type: ignore[arg-type]

    def add(self, operation: Callable[..., Any], name: str = "a", **arguments: Any) -> None:
        add_op(self.state, operation, host=self.state.inventory.get_host(name), **arguments)

    def run(self) -> None:
        run_ops(self.state)

    def sent(self, name: str = "a") -> list[str]:
        connector = self.state.inventory.get_host(name).connector
        assert isinstance(connector, ShellConnector)
        return connector.sent


@operation()
def is_(command: str, wanted: str, otherwise: str = "false") -> Generator[StringCommand, None, None]:
    """Do `otherwise` where `command` prints something other than `wanted`."""
    found = ask(Says, command=command)
    if found == wanted:
        host.noop("it is")
    else:
        yield StringCommand(otherwise)


@operation()
def both(first: str, second: str) -> Generator[StringCommand, None, None]:
    """A question that depends on the answer to another."""
    if ask(Says, command=f"echo {first}") != first or ask(Says, command=f"echo {second}") != second:
        yield StringCommand("false")


@operation()
def two_files(first: str, second: str, change: str = "false") -> Generator[StringCommand, None, None]:
    """A question that is asked once another has been, as the operation says before."""
    expect(Says, command=f"cat {second}")
    if ask(Says, command=f"cat {first}") != "well":
        yield StringCommand(change)
    if ask(Says, command=f"cat {second}") != "well":
        yield StringCommand("false")


def test_what_is_expected_is_asked_in_the_same_go(tmp_path: Path) -> None:
    run = Run("a")
    for name in ("first", "second"):
        (tmp_path / name).write_text("well\n")
    for _ in range(3):
        run.add(two_files, first=str(tmp_path / "first"), second=str(tmp_path / "second"))
    run.run()
    assert run.sent() == ["sh"]


def test_what_was_expected_is_asked_anew_once_the_host_was_told_something(tmp_path: Path) -> None:
    run = Run("a")
    (tmp_path / "first").write_text("ill\n")
    (tmp_path / "second").write_text("ill\n")
    change = f"echo well > {tmp_path}/second"
    run.add(two_files, first=str(tmp_path / "first"), second=str(tmp_path / "second"), change=change)
    run.run()
    assert len(run.sent()) == 3 and not run.state.failed_hosts


def test_all_is_asked_at_once() -> None:
    run = Run("a")
    for number in range(10):
        run.add(is_, command=f"echo {number}", wanted=str(number))
    run.run()
    assert run.sent() == ["sh"]


def test_what_came_before_the_first_question_is_no_change_of_what_is_known() -> None:
    run = Run("a")
    run_on(run.state.inventory.get_host("a"), "true")  # as preflight asks
    for number in range(10):
        run.add(is_, command=f"echo {number}", wanted=str(number))
    run.run()
    assert run.sent()[1:] == ["sh"]


def test_what_depends_on_an_answer_is_asked_with_its_like() -> None:
    run = Run("a")
    for number in range(5):
        run.add(both, first=f"first{number}", second=f"second{number}")
    run.run()
    assert run.sent() == ["sh", "sh"]


def test_after_a_change_everything_is_asked_again(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    run = Run("a")
    run.add(is_, command=f"cat {file}", wanted="new", otherwise=f"printf new > {file}")
    run.add(is_, command=f"cat {file}", wanted="new")  # would fail by the old answer
    run.add(is_, command=f"cat {file}; echo", wanted="new")
    run.run()
    assert file.read_text() == "new" and len(run.sent()) == 4


def test_a_change_on_one_host_makes_the_answers_of_all_old(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    run = Run("a", "b")
    run.add(is_, "a", command=f"cat {file}; true", wanted="old")
    run.add(is_, "b", command=f"cat {file}", wanted="new", otherwise=f"printf new > {file}")
    run.add(is_, "a", command=f"cat {file}", wanted="new")
    run.run()


def test_it_looks_ahead_from_nothing_again_after_a_change() -> None:
    run = Run("a")
    run.add(is_, command="echo 0", wanted="1", otherwise="true")
    for number in range(1, 8):
        run.add(is_, command=f"echo {number}", wanted=str(number))
    run.run()
    # All; the change; then one, two, four.
    assert [text == "sh" for text in run.sent()] == [True, False, False, True, True]


def test_an_answer_does_not_hold_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "HOLDS_S", -1)
    run = Run("a")
    for number in range(3):
        run.add(is_, command=f"echo {number}", wanted=str(number))
    run.run()
    assert len(run.sent()) == 3


@operation()
def tells_while_it_asks() -> Generator[StringCommand, None, None]:
    """An operation that does something besides a yield, as one does that mints a token."""
    assert ask(Says, command="echo here") == "here"
    _, said = run_on(host, "echo told")
    assert said == "told"
    host.noop("done")
    return
    yield


def test_nothing_is_done_while_it_looks_ahead() -> None:
    run = Run("a")
    run.add(both, first="a", second="b")
    run.add(tells_while_it_asks)
    run.run()
    assert sum("echo told" in text for text in run.sent()) == 1


def test_what_an_operation_knows_of_itself_is_left_as_it_was() -> None:
    seen: list[Any] = []

    @operation()
    def looks() -> Generator[StringCommand, None, None]:
        ask(Says, command="echo here")
        seen.append((host.in_op, host.current_op_hash is not None, host.state.is_executing))
        return
        yield

    run = Run("a")
    run.add(looks)
    run.add(is_, command="echo 1", wanted="1")
    run.run()
    assert seen == [(True, True, True)]


def test_a_question_that_fails_does_not_spoil_the_others() -> None:
    asked = [
        Question(Says, {"command": "echo one; exit 3"}),
        Question(Says, {"command": "cat", "_stdin": Hidden("it's\ngiven")}),
        Question(Says, {"command": "cat"}),
        Question(Says, {"command": "printf 'no end of line'"}),
        Question(Says, {"command": "printf '\\n--- 0 0\\n\\n'"}),
        Question(Says, {"command": "cat <<'X'\n$it\nX"}),
    ]
    done = subprocess.run(["sh"], input=script(asked, "--- mark"), capture_output=True, text=True, check=True)
    found = {
        number: (code, asked[number].kind().process(lines) if code == "0" else "")
        for number, code, lines in answers._parts(["hello", *done.stdout.splitlines()], "--- mark")
    }
    assert found == {
        0: ("3", ""),
        1: ("0", "it's\ngiven"),
        2: ("0", ""),
        3: ("0", "no end of line"),
        4: ("0", "\n--- 0 0\n"),
        5: ("0", "$it"),
    }


def test_what_takes_long_does_not_hold_up_what_is_needed_now(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run("a")
    for command in ("echo 0", "sleep 1000; echo 1", "echo 2"):
        run.add(is_, command=command, wanted=command[-1], otherwise="true")
    asked: list[str] = []

    def singly(_: Host, question: Question) -> str:
        asked.append(question.command)
        return "1"

    monkeypatch.setattr(answers, "_singly", singly)
    run.run()
    assert len(asked) == 1 and "sleep 1000" in asked[0]
    assert not [pid for pid in Path("/proc").glob("[0-9]*") if "1000" in _words(pid) and "sleep" in _words(pid)]


def _words(process: Path) -> list[str]:
    try:
        return (process / "cmdline").read_bytes().decode().split("\0")
    except OSError:
        return []


def test_the_first_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [Question(Says, {"command": f"sleep {answers.AHEAD_S + 1}; echo 0"}), Question(Says, {"command": "echo 1"})]
    done = subprocess.run(["sh"], input=script(asked, "--- mark"), capture_output=True, text=True, check=True)
    assert [number for number, _, _ in answers._parts(done.stdout.splitlines(), "--- mark")] == [0, 1]


def test_the_script_leaves_nothing(tmp_path: Path) -> None:
    asked = [Question(Says, {"command": "echo one"})]
    environment = {"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    subprocess.run(["sh"], input=script(asked, "--- mark"), env=environment, text=True, capture_output=True, check=True)
    assert not list(tmp_path.iterdir())


class Counted(Fact["int | Unknown"]):
    """A number."""

    @staticmethod
    def default() -> Unknown:
        return Unknown()

    def ask(self, command: str) -> str:
        return command

    def parse(self, output: Sequence[str]) -> int | Unknown:
        return int(output[0])


@operation()
def counted(speaker: ControlPlane, command: str, wanted: int) -> Generator[StringCommand, None, None]:
    """Fails where the control plane's number is another."""
    if speaker.ask(Counted, command=command) != wanted:
        yield StringCommand("false")


def test_the_control_plane_is_asked_in_the_same_round_trip() -> None:
    run = Run("a", "b")
    speaker = control_plane.of_run(run.state, ["a"], 1)
    for number in range(4):
        run.add(counted, "a", speaker=speaker, command=f"echo {number}", wanted=number)
        run.add(is_, "a", command=f"echo {number}", wanted=str(number))
        run.add(counted, "b", speaker=speaker, command=f"echo {number}", wanted=number)
    run.run()
    assert run.sent("a") == ["sh"] and run.sent("b") == []


@ours()
def first_then(first: str, second: str) -> Generator[StringCommand, None, None]:
    """As both(), of the product's own making."""
    yield from both._inner(first, second)


class TestForetold:
    """A run that looks for changes before it makes any, as one without -y does."""

    def go(self, run: Run, work: Callable[[], Any]) -> None:
        run.state.check_for_changes = True
        host = run.state.inventory.get_host("a")
        with ctx_state.use(run.state), ctx_host.use(host):
            answers.foretell(host, work)

    def work(self, *pairs: tuple[str, str]) -> Callable[[], None]:
        def call() -> None:
            for number, (first, second) in enumerate(pairs):
                first_then(first=first, second=second, name=f"number {number}")

        return call

    def test_all_is_asked_at_once_and_nothing_is_added(self) -> None:
        run, pairs = Run("a"), [(f"a{number}", f"b{number}") for number in range(10)]
        self.go(run, self.work(*pairs))
        assert run.sent() == ["sh"] * 2  # the second question of each depends on the answer to the first
        assert not any(run.state.ops[run.state.inventory.get_host("a")])
        for first, second in pairs:
            run.add(first_then, first=first, second=second)
        run.run()
        assert run.sent() == ["sh"] * 2

    def test_what_fails_is_met_in_its_turn(self) -> None:
        def fails() -> None:
            first_then(first="a", second="b", name="one")
            raise ValueError("a task that fails")

        run = Run("a")
        self.go(run, fails)
        assert run.sent() == ["sh"] * 2 and not answers.is_foretelling() and not connections.is_closed()

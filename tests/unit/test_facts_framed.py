"""What a login prints is not in a fact's answer."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import pytest
from fake_hosts import Hosts, fact
from pyinfra.api.exceptions import FactProcessError

from kubestage.facts.framed import Fact, beside, framed, unframed


class Said(Fact[list[str]]):
    """What `command` prints."""

    @staticmethod
    def default() -> list[str]:
        return ["nothing"]

    def ask(self, command: str = "true") -> str:
        return command

    def parse(self, output: Sequence[str]) -> list[str]:
        return list(output)


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("echo one; echo two", ["one", "two"]),
        ("printf 'no end of a line'", ["no end of a line"]),
        ("printf 'one\\n\\n'", ["one", ""]),
        ("printf '\\none\\n'", ["", "one"]),
    ],
)
@pytest.mark.parametrize(
    ("greeting", "said"), [("", []), ("echo Welcome", ["Welcome"]), ("printf 'last login: '", ["last login: "])]
)
def test_only_the_commands_own_output(command: str, lines: list[str], greeting: str, said: list[str]) -> None:
    printed = shell(f"{greeting}\n({framed(command)})\necho Goodbye").stdout.splitlines()
    assert unframed(printed) == lines
    assert Said().process(printed) == lines
    assert beside(printed) == [*said, "Goodbye"]


def test_no_output_is_the_default() -> None:
    assert Said().process(shell(framed("true")).stdout.splitlines()) == ["nothing"]


@pytest.mark.parametrize("printed", [["Welcome"], shell(framed("echo one; exit 0")).stdout.splitlines()])
def test_an_answer_that_was_cut_off_is_none(printed: list[str]) -> None:
    with pytest.raises(FactProcessError, match="cut off"):
        Said().process(printed)


@pytest.mark.parametrize(("command", "code"), [("true", 0), ("false", 1), ("sh -c 'exit 7'", 7)])
def test_the_exit_code_is_the_commands_own(command: str, code: int) -> None:
    assert shell(framed(command)).returncode == code


def test_pyinfra_asks_with_the_arguments_of_ask() -> None:
    hosts = Hosts({"h1": {fact(Said, command="uptime"): ["up"]}})
    assert hosts["h1"].get_fact(Said, command="uptime") == ["up"]
    assert hosts["h1"].get_fact(Said, "uptime") == ["up"]

"""Commands beside those that an operation yields for its own host: on another host, or for their output."""

from __future__ import annotations

from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, OperationError, StringCommand
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments

from kubestage.facts.framed import framed, unframed


def run_on(other: Host, command: str) -> tuple[bool, str]:
    """Run `command` on `other`, with its own way to root: sudo by host data or by the command line, a password or none.

    Returns whether it succeeded, and its standard output, without what a login prints. Nothing is printed or logged.
    """
    succeeded, output = _run(other, framed(command))
    try:
        lines = unframed(output.stdout_lines)
    except ValueError:
        return False, ""
    return succeeded, "\n".join(lines)


def _run(other: Host, command: str) -> tuple[bool, Any]:
    arguments, _ = pop_global_arguments(other.state, other, {})
    way = {key: value for key, value in arguments.items() if key in CONNECTOR_ARGUMENT_KEYS}
    return other.run_shell_command(StringCommand(command), **way)


def command_on(other: Host, command: str) -> StringCommand | FunctionCommand:
    """What an operation yields to run `command` on `other`, whether that is its own host or not."""
    if other.name == host.name:
        return StringCommand(command)
    return FunctionCommand(_run_or_fail, (other, command), {})


def _run_or_fail(other: Host, command: str) -> None:
    succeeded, output = _run(other, command)
    if not succeeded:
        raise OperationError(f"{other.name}: {output.stderr or output.stdout or command}")

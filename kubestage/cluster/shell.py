"""Commands beside those that an operation yields for its own host: on another host, or for their output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gevent.lock import BoundedSemaphore
from pyinfra import host, logger
from pyinfra.api import FunctionCommand, Host, OperationError, StringCommand
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import State

from kubestage.cluster import connections
from kubestage.facts.framed import framed, unframed
from kubestage.hidden import Hidden


def run_on(other: Host, command: str, stdin: str = "") -> tuple[bool, str]:
    """Run `command` on `other`, with its own way to root: sudo by host data or by the command line, a password or none.

    Returns whether it succeeded, and its standard output, without what a login prints. Nothing is printed or logged.
    """
    succeeded, output = _run(other, framed(command), **({"_stdin": Hidden(stdin)} if stdin else {}))
    try:
        lines = unframed(output.stdout_lines)
    except ValueError:
        return False, ""
    return succeeded, "\n".join(lines)


def script_on(other: Host, script: str) -> list[str]:
    """Run a script that comes by standard input; its output and a login's. Both are shown where facts are."""
    shown = {"print_output": other.state.print_fact_output, "print_input": other.state.print_fact_input}
    _, output = _run(other, "sh", _stdin=Hidden(script), **shown)
    return list(output.stdout_lines)


def fetch(other: Host, path: str, to: Path) -> None:
    """Bring a file of a host here. On the way it may be read by others there: for what is encrypted alone.

    OperationError where it does not come.
    """
    if not other.get_file(path, str(to), **_way(other)):
        raise OperationError(f"{other.name}: {path} could not be brought to {to}")


def send(other: Host, file: Path, path: str) -> None:
    """As fetch(), to a host."""
    if not other.put_file(str(file), path, **_way(other)):
        raise OperationError(f"{other.name}: {file} could not be brought to {path}")


def _run(other: Host, command: str, **more: Any) -> tuple[bool, Any]:
    return other.run_shell_command(StringCommand(command), **{**_way(other), **more})


def _way(other: Host) -> dict[str, Any]:
    """To root on a host, once there is a connection to it."""
    connect(other)
    arguments, _ = pop_global_arguments(other.state, other, {})
    return {key: value for key, value in arguments.items() if key in CONNECTOR_ARGUMENT_KEYS}


_connecting = BoundedSemaphore()


def connect(other: Host) -> None:
    """Connect to a host that --limit has left out; ConnectError if it can't be reached."""
    connections.refuse_if_closed()
    with _connecting:  # each connection would take the place of the one before, which is being used
        if not other.connected:
            other.connect(reason="to ask it for others", raise_exceptions=True)


def command_on(other: Host, command: str) -> StringCommand | FunctionCommand:
    """What an operation yields to run `command` on `other`, whether that is its own host or not."""
    if other.name == host.name:
        return StringCommand(command)
    return call(_run_or_fail, other, command)


def _run_or_fail(other: Host, command: str) -> None:
    succeeded, output = _run(other, command)
    if not succeeded:
        raise OperationError(f"{other.name}: {output.stderr or output.stdout or command}")


def call(function: Callable[..., Any], *arguments: Any) -> FunctionCommand:
    """What an operation yields to have a function called. What it raises for a person to read fails the operation."""
    return FunctionCommand(_called, (function, arguments), {})


def _called(state: State, host: Host, function: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
    # pyinfra (3.10) gives a function its state and host where it has arguments of these names, and takes False for a
    # failure; of an exception it would print the traceback.
    try:
        function(*arguments)
    except (PyinfraError, OSError) as error:
        for line in str(error).splitlines():
            host.log_styled(line, fg="red", log_func=logger.error)
        return False
    return True

"""The connections of a run: kept alive, given up when a host is silent, and given few commands at a time.

pyinfra (3.10) has one connection to each host, and starts as many commands on it as it is told to; sshd refuses those
beyond its MaxSessions (10 as Debian configures it). Whatever goes wrong between a command and its host comes out as a
failed command whose last line says so: pyinfra prints that line, where it would print a traceback of an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import gevent
import paramiko.file
from gevent import Greenlet
from gevent.event import Event
from gevent.hub import get_hub
from paramiko import SSHException, Transport
from paramiko.ssh_exception import ChannelException
from pyinfra.api import Host
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import State
from pyinfra.connectors.util import CommandOutput, OutputLine
from pyinfra.context import ctx_host

from kubestage.facts.framed import framed, unframed
from kubestage.settings import ClusterSettings

ALIVE_EVERY_S = 15.0  # a host is asked whether it is there
SILENT_S = 60  # without an answer to that, times timeout_factor: it is given up
COMMAND_S = 1800  # what a single command may take, times timeout_factor; what it waits for has bounds of its own
REFUSED_S = (0.05, 0.1, 0.2, 0.4, 0.8)  # sshd counts a session for a moment longer than it lasts

_NO_TERMINAL = (
    "sudo asks for a password, and there is no terminal to ask you for it: start the run in one, or give the host "
    '"_sudo_password", or let its user use sudo without a password'
)

Answer = tuple[bool, CommandOutput]


def keep(state: State, settings: ClusterSettings) -> None:
    """Have all connections of the run be as this module says, those that are made later as well; once a run."""
    # Words in another encoding: paramiko (5.0) would raise where they are read, and all that comes after would be lost.
    paramiko.file.u = lambda data: data.decode(errors="replace")  # type: ignore[attr-defined]
    hub = get_hub()
    # gevent prints the traceback of what a greenlet raises, though pyinfra takes it and prints its message.
    hub.NOT_ERROR = tuple({*hub.NOT_ERROR, PyinfraError})
    for host in state.inventory:
        Connection(host, settings.commands_per_connection, settings.timeout_s(SILENT_S), settings.timeout_s(COMMAND_S))


def lost(host: Host) -> str:
    """What became of the connection to the host, in a line; "" while it is well."""
    connection = _of(host)
    return connection.lost if connection else ""


class LooksAhead(BaseException):
    """What is begun can't go on by itself: it would ask a host, or tell it something, while connections are closed."""


_is_closed = False


@contextmanager
def closed() -> Generator[None, None, None]:
    """A time in which no host is asked or told anything: LooksAhead instead."""
    global _is_closed
    _is_closed = True
    try:
        yield
    finally:
        _is_closed = False


def is_closed() -> bool:
    """Whether it is such a time."""
    return _is_closed


def refuse_if_closed() -> None:
    """LooksAhead within closed()."""
    if _is_closed:
        raise LooksAhead


def _of(host: Host) -> Connection | None:
    connection = getattr(host.connector.run_shell_command, "__self__", None)
    return connection if isinstance(connection, Connection) else None


def is_kept(host: Host) -> bool:
    """Whether the host's connection is one of keep()."""
    return _of(host) is not None


@contextmanager
def question(host: Host) -> Generator[None, None, None]:
    """A time in which what the caller sends to the host changes nothing there."""
    connection, caller = _of(host), gevent.getcurrent()
    if connection is None or caller in connection.asking:
        yield
        return
    connection.asking.add(caller)
    try:
        yield
    finally:
        connection.asking.discard(caller)


def told(state: State) -> int:
    """How often a host of the run was told to do something, or has come to the end of it."""
    return sum(connection.told for host in state.inventory if (connection := _of(host)))


class Connection:
    """One host's connection. It stands between pyinfra and the host's connector.

    `asking`: those whose commands only ask; `told`: how many others began or ended.
    """

    def __init__(self, host: Host, at_once: int, silent_s: float, command_s: int) -> None:
        self.lost = ""
        self.asking: set[Greenlet] = set()
        self.told = 0
        self._host = host
        self._silent_s, self._command_s = silent_s, command_s
        self._slots = Slots(at_once)
        self._busy: set[Greenlet] = set()  # those that run a command
        self._watched: Transport | None = None
        self._run: Callable[..., Answer] = host.connector.run_shell_command
        host.connector.run_shell_command = self.run  # type: ignore[method-assign]

    def run(self, command: Any, print_output: bool = False, print_input: bool = False, **arguments: Any) -> Answer:
        """As pyinfra's connectors do it: whether the command succeeded, and its output."""
        caller = gevent.getcurrent()
        if caller in self._busy:  # what pyinfra makes ready for sudo's password, before the command itself
            return self._without_greeting(command, print_output, print_input, **arguments)
        refuse_if_closed()
        arguments["_timeout"] = arguments.get("_timeout") or self._command_s
        with self._slots.one(), self._counted(caller):
            self._busy.add(caller)
            try:
                return self._told(self._started(command, print_output, print_input, **arguments))
            except TimeoutError:
                return _failed(
                    f"after {arguments['_timeout']} s it had not come to its end{self._during()}; it may be at work "
                    "there still. Where all is well and only slow, raise timeout_factor."
                )
            except EOFError:
                if not self._lives():
                    return self._closed()
                # By getpass(): the standard input is no terminal.
                given = arguments.get("_sudo_password") or self._host.connector_data.get("prompted_sudo_password")
                return _failed(self._not_taken() if given else _NO_TERMINAL)
            except (OSError, SSHException) as error:
                if not self._lives():
                    return self._closed()
                self.lost = self.lost or f"the connection to {self._host.name} failed{self._during()}: {error}"
                return _failed(self.lost)
            finally:
                self._busy.discard(caller)

    @contextmanager
    def _counted(self, caller: Greenlet) -> Generator[None, None, None]:
        tells = caller not in self.asking
        self.told += tells
        try:
            yield
        finally:
            self.told += tells

    def _without_greeting(self, command: str, *printing: bool, **arguments: Any) -> Answer:
        """pyinfra takes the first line of the answer for the path of its program: it must not be a login's."""
        succeeded, output = self._run(framed(command), *printing, **arguments)
        try:
            lines = [OutputLine("stdout", line) for line in unframed(output.stdout_lines)]
        except ValueError:
            return succeeded, output
        return succeeded, CommandOutput([*lines, *(line for line in output if line.buffer_name != "stdout")])

    def _started(self, *command: Any, **arguments: Any) -> Answer:
        """Run it as soon as sshd takes it: one that sshd refuses was not begun."""
        refused = 0
        while True:
            try:
                self._watch()
                return self._run(*command, **arguments)
            except SSHException as error:
                if not _is_refusal(error):
                    raise
                if refused < len(REFUSED_S):
                    gevent.sleep(REFUSED_S[refused])
                    refused += 1
                elif not self._slots.fewer():
                    raise
                else:
                    refused = 0

    def _told(self, answer: Answer) -> Answer:
        """The answer, with the reason as its last line where that is not the command's own."""
        succeeded, output = answer
        if not succeeded and not self._lives():
            return self._closed(output)
        if not succeeded and any("sudo" in line and "unable to run" in line for line in output.stderr_lines):
            return _failed(self._not_taken(), output)
        return answer

    def _not_taken(self) -> str:
        return (
            "sudo did not take the password: it is wrong, or what tells it lies in a folder that is mounted noexec. "
            f"Name another folder in config.py, where {self._host.name}'s user may write and run programs: "
            'config.TEMP_DIR = "/home/USER"'
        )

    def _lives(self) -> bool:
        transport = self._transport()
        return transport is None or transport.is_active()

    def _closed(self, output: CommandOutput | None = None) -> Answer:
        self.lost = self.lost or f"the connection to {self._host.name} was closed{self._during()}"
        return _failed(self.lost, output)

    def _transport(self) -> Transport | None:
        client = getattr(self._host.connector, "client", None)  # only SSH has one
        return client.get_transport() if client else None

    def _watch(self) -> None:
        transport = self._transport()
        if transport is not None and transport is not self._watched:
            self._watched = transport
            gevent.spawn(self._see_that_it_lives, transport)

    def _see_that_it_lives(self, transport: Transport) -> None:
        """Ask the host again and again whether it is there, which keeps routers from forgetting the connection too.

        paramiko's own keepalive does not look for an answer, and TCP takes a quarter of an hour to give up.
        """
        while transport.is_active():
            gevent.sleep(ALIVE_EVERY_S)
            with gevent.Timeout(self._silent_s, False):
                transport.global_request("keepalive@openssh.com", wait=True)
                continue
            self.lost = (
                f"{self._host.name} has not answered for {self._silent_s:.0f} s{self._during()}: its connection was "
                "given up. See that the host is up and can be reached, and run again."
            )
            transport.close()

    def _during(self) -> str:
        """The operation that the run is at, if it is at one."""
        for host in (ctx_host.get() if ctx_host.isset() else self._host, self._host):  # type: ignore[no-untyped-call]
            if host.executing_op_hash:
                names = host.state.get_op_meta(host.executing_op_hash).names
                return f' during "{", ".join(names)}"'
        return ""


def _is_refusal(error: SSHException) -> bool:
    # Of several that are refused at a time, paramiko (5.0) gives the reason to the first who looks.
    return isinstance(error, ChannelException) or str(error) == "Unable to open channel."


def _failed(reason: str, output: CommandOutput | None = None) -> Answer:
    return False, CommandOutput([*(output or ()), OutputLine("stderr", reason)])


class Slots:
    """How many commands may run at a time: a number that can be found to be too high."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._used = 0
        self._freed = Event()

    @contextmanager
    def one(self) -> Generator[None, None, None]:
        """Wait for a slot, and have it."""
        self._wait()
        try:
            yield
        finally:
            self._used -= 1
            self._freed.set()

    def fewer(self) -> bool:
        """Have one slot fewer from now on, and wait for another; False if there is none but the caller's own."""
        if self._number == 1 or self._used == 1:
            return False
        self._number -= 1
        self._used -= 1
        try:
            self._wait()
        except BaseException:
            self._used += 1  # the caller gives it back once more
            raise
        return True

    def _wait(self) -> None:
        while self._used >= self._number:
            self._freed.clear()
            self._freed.wait()
        self._used += 1

"""Puts kubestage's output in the place of pyinfra's: what is printed, what is kept of it, and how a run is ended.

pyinfra 3.10 prints by its logger, by pyinfra.api.output.echo(), and by click straight to stderr; it tells of hosts and
operations by callbacks, which a state takes from its init() on (pyinfra_cli/cli.py, pyinfra/api/state.py).

pyinfra_cli, which this imports, puts gevent underneath all that opens sockets: the rest of the package doesn't.
"""

from __future__ import annotations

import atexit
import os
import re
import shlex
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import click
import gevent
from pyinfra import logger
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.output import set_echo
from pyinfra.api.state import State, StateStage
from pyinfra.context import ctx_state
from pyinfra_cli import cli

from kubestage.cluster import unreached
from kubestage.cluster.folder import STATE, folder_name
from kubestage.output import lines
from kubestage.output.caught import Handler, Stream
from kubestage.output.difference import noted
from kubestage.output.kept import PICTURE, RUNS, LastRun, keep
from kubestage.output.log import Log, Mask, secrets_in
from kubestage.output.printer import Printer
from kubestage.output.record import Outcome, Record
from kubestage.output.screen import Screen
from kubestage.output.watch import Watch, planned

_TICK_S = 0.25
_TOO_MANY_FAILED = re.compile(r"Over \d+% of hosts failed \(\d+%\)|No hosts remaining!")
_OF_NO_USE = "Detected changes may not include every change pyinfra will execute"


def begin() -> None:
    """Take over this run's output; for config.py, as pyinfra has read its command line then and nothing else."""
    context = click.get_current_context(silent=True)
    if context is None or not all(name.endswith(".py") for name in context.params["operations"]):
        return  # `pyinfra INVENTORY fact ...`, and the like
    if context.params["debug_facts"] or context.params["debug_operations"]:
        return
    Output(ctx_state.get(), context.params).take_over()  # type: ignore[no-untyped-call]


class Output:
    """One run's. `given`: the options of pyinfra's command line, by their names in pyinfra_cli/cli.py."""

    def __init__(self, state: State, given: dict[str, Any]) -> None:
        self._state = state
        self._inventory: str = given["inventory"]
        self._goes_on_without = any(Path(name).name in unreached.RUNS for name in given["operations"])
        self._looks_only: bool = given["dry"] or (given["json_output"] and not given["yes"])
        self._verbosity: int = given["verbosity"]
        self._is_verbose = bool(given["verbosity"] or given["debug"] or given["debug_all"])
        self._folder = STATE / folder_name(self._inventory)
        self._began = datetime.now()
        self._mask = Mask()
        try:
            self._log = Log(self._folder / RUNS, self._mask)
        except OSError as error:
            raise PyinfraError(
                f"{error.filename}: {error.strerror}: what a run prints is to be kept there\n    -> let it be written"
            ) from None
        self._record = Record()
        self._printer = Printer(Screen(sys.stderr), self._log, self._mask, self._record, is_quiet=self._is_verbose)
        self._watch = Watch(self._record, self._printer)
        # With -v pyinfra's own handler prints, and all that is printed goes into the log.
        keep = _nowhere if self._is_verbose else self._log.write
        self._handler = Handler(keep, self._printer, self._watch)
        self._ticker: gevent.Greenlet | None = None
        self._ended_by = ""
        self._has_told_differences = False

    # --- The beginning -----------------------------------------------------------------------------------------------

    def take_over(self) -> None:
        """Nothing of what pyinfra prints is lost: it goes into the log, and on to the terminal where -v asks for it."""
        if not self._is_verbose:
            logger.handlers.clear()
            os.environ["PYINFRA_PROGRESS"] = "off"
            self._ticker = gevent.spawn(self._tick)
        logger.addHandler(self._handler)
        real = sys.stderr
        sys.stderr = cast(Any, Stream(real, self._printed))
        set_echo(self._echo)
        # Where a greenlet is ended by an error; the error itself goes on, and ends the run with its last words.
        gevent.get_hub().exception_stream = Stream(real, self._log.write)
        self._state.print_noop_info = self._state.print_fact_info = self._state.print_input = True
        if self._looks_only:
            self._state.check_for_changes = True  # with -y pyinfra would not look
        init = self._state.init

        def init_and_listen(*arguments: Any, **named: Any) -> None:
            init(*arguments, **named)
            self._listen()

        self._state.init = init_and_listen  # type: ignore[method-assign]
        cli._do_confirm = self._confirm
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)
        atexit.register(self._finish)

    def _listen(self) -> None:
        """The inventory has been read, and pyinfra is about to connect."""
        self._state.add_callback_handler(self._watch)  # type: ignore[no-untyped-call]
        if self._goes_on_without:
            unreached.allow(self._state)
        # Without -y pyinfra would ask whether to go on after a failure, and take an empty line for a yes.
        self._state.should_raise_failed_hosts = None
        inventory = self._state.inventory
        for host in inventory:
            self._mask.learn(secrets_in(host.data.dict()))  # type: ignore[no-untyped-call]
        config = self._state.config
        self._mask.learn(password for password in (config.SUDO_PASSWORD, config.SU_PASSWORD) if password)
        self._log.write(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]))  # it may hold a password
        self._record.hosts += [host.name for host in inventory if self._state.is_host_in_limit(host)]
        self._printer.inventory(self._inventory, len(inventory))
        if not self._record.hosts:  # pyinfra would do nothing, and call that a success
            raise PyinfraError(
                f"{self._inventory}: --limit and --exclude leave no host of it\n    -> name hosts or groups that it has"
                if len(inventory)
                else f"{self._inventory}: there is no such file, or no host in it\n"
                "    -> inventory/static.example.py shows how hosts are named"
            )

    def _tick(self) -> None:
        while True:
            gevent.sleep(_TICK_S)
            self._printer.draw()

    def _echo(self, message: Any = None, **arguments: Any) -> None:
        """In the place of click.echo(), where pyinfra prints commands and what hosts say to them."""
        if self._verbosity > 1:
            click.echo(message, **arguments)
        else:
            self._log.write(str(message))

    def _printed(self, text: str) -> None:
        """What is written to stderr: by click for pyinfra, or by Python where something unforeseen ends the run."""
        if not text.endswith("\r"):  # pyinfra's spinner
            self._log.write(text)
        if self._is_verbose or _OF_NO_USE not in text:
            self._printer.screen.write(text)

    # --- Questions and signals ---------------------------------------------------------------------------------------

    def _confirm(self, _: str) -> bool:
        """In the place of pyinfra's question between looking and doing. Nobody is asked about nothing."""
        self._watch.ready()
        plan = planned(self._state, self._record.hosts)
        if not any(plan.values()):
            return True
        if not self._is_verbose:
            self._printer.say(*lines.would_change(plan))
        self._tell_differences()
        since = self._record.now()
        self._printer.screen.status("")
        self._printer.screen.write("Press Enter to go on, Ctrl-C to leave all as it is: ")
        try:
            agreed = not input()
        except EOFError:
            self._printer.say("\nNobody can be asked here, so nothing was changed: add -y to be asked nothing")
            sys.exit(1)
        except SystemExit:  # Ctrl-C
            self._printer.screen.write("\n")
            raise
        if not sys.stdin.isatty():
            self._printer.screen.write("\n")  # nobody has pressed it
        self._record.paused(since)
        if not agreed:
            self._printer.say("Nothing was changed")
        return agreed

    def _tell_differences(self) -> None:
        """What --diff adds, once."""
        if not self._has_told_differences and (told := lines.differences(noted(), self._record.hosts)):
            self._printer.say(*told)
            self._has_told_differences = True

    def _interrupt(self, number: int, _: Any) -> None:
        """End the run, by Ctrl-C or a CI's SIGTERM; pyinfra would wait until each host has done what it is at."""
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)  # the second one ends it, whatever happens
        self._ended_by = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        self._record.cut_off()
        if self._state.initialised:
            self._state.pool.kill(block=False)
        # Of what reads hosts' answers, which is thrown away in its midst: it would be printed after the last line.
        sys.unraisablehook = _nowhere
        sys.exit(128 + number)

    # --- The end -----------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """At the end of the process, however it came: pyinfra says why it ends a run after all else."""
        if self._ticker is not None:
            self._ticker.kill()
        say = self._printer.say
        self._printer.screen.status("")
        self._watch.tell_changes(self._state)
        self._record.cut_off()
        stage = self._state.current_stage
        has_begun = stage >= StateStage.Execute
        ending = "failed"
        if self._ended_by:
            ending = f"ended by {self._ended_by} after {self._record.now():.1f} s"
            say(
                _sentence(ending),
                *(lines.cut_off(self._record) if has_begun else ["Nothing was changed"]),
                colour="red",
            )
        elif self._handler.last_words:
            self._tell_failures(has_begun)
        elif stage >= StateStage.Disconnect:
            self._tell_differences()
            ending = lines.ending(self._record)
            times = lines.longest(self._record.phases())
            say(_sentence(ending) + (f"; longest: {times}" if times else ""))
        elif has_begun:  # and was ended by a fault of a program, of which Python has printed a traceback
            say(*lines.cut_off(self._record), colour="red")
        elif self._looks_only and stage >= StateStage.Prepare:
            say(*lines.would_change(planned(self._state, self._record.hosts)))
            self._tell_differences()
        if has_begun:
            self._keep(ending)
            if stage < StateStage.Disconnect:
                again = "give the same command again: it goes on from where things are"
                say(_sentence(again) if self._ended_by else f"Mend it, and {again}")
                say(f"All of the output: {self._log.path}; what was when, as a picture: {self._folder / PICTURE}")

    def _tell_failures(self, has_begun: bool) -> None:
        """Print why the run has failed, whole: pyinfra's last words, or those of the hosts where it has none."""
        words = self._handler.last_words.splitlines()
        if _TOO_MANY_FAILED.fullmatch(self._handler.last_words):
            words = []
        complaints = self._watch.complaints()
        for step in self._record.steps if has_begun else ():
            # By an error on a host, or on the one that was asked for it; it goes with them all.
            for host in self._record.of(step, Outcome.CUT_OFF):
                step.outcomes[host] = Outcome.FAILED
                step.said[host] = [*complaints.pop(host, ()), *words]
        failed = [step for step in self._record.steps if self._record.of(step, Outcome.FAILED)]
        told = [line for step in failed for line in lines.failure(self._record, step)]
        told += [f"[{host}] {each}" for host, complaint in complaints.items() for each in complaint]
        if not (has_begun and failed):
            told += words
        if not self._is_verbose:
            self._printer.say(*told, colour="red")
        for place in dict.fromkeys(map(lines.look_at, failed)):
            if place:
                self._printer.say(f"Look at: {place}")

    def _keep(self, ending: str) -> None:
        """Put the run's picture, and what the next command tells of it, beside its log."""
        if self._log.error:
            self._printer.say(f"Warning: {self._log.path} is not whole: {self._log.error}", colour="yellow")
        run = LastRun(self._inventory, self._began, ending, self._record.phases(), self._record.changes())
        try:
            keep(self._folder, self._log.path, run, self._record)
        except OSError as error:
            self._printer.say(f"Warning: no picture of the run: {error.filename}: {error.strerror}", colour="yellow")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _nowhere(_: object) -> None:
    pass

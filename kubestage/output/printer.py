"""What is shown of a run while it goes on. With -v pyinfra shows all by itself, and this is quiet."""

from __future__ import annotations

from kubestage.output import lines
from kubestage.output.log import Log, Mask
from kubestage.output.record import Outcome, Record, Step
from kubestage.output.screen import Screen

_SIGNS_S = (10, 30, *range(60, 24 * 3600, 60))  # how long a step has taken when a pipe is told that it goes on


class Printer:
    """Prints lines of the run that `record` is of, with nobody's passwords in them, and has them in the log as well."""

    def __init__(self, screen: Screen, log: Log, mask: Mask, record: Record, is_quiet: bool) -> None:
        self.screen = screen
        self._log = log
        self._mask = mask
        self._record = record
        self._is_quiet = is_quiet
        self._warned: set[str] = set()
        self._signs: dict[Step, int] = {}

    def say(self, *texts: str, colour: str | None = None) -> None:
        """Print lines, even where all else is pyinfra's."""
        text = "\n".join(texts)
        self._log.write(text)
        self.screen.say(self._mask(text), colour)

    def say_logged(self, text: str) -> None:
        """Print what our own code has logged, and what so is in the log."""
        if not self._is_quiet:
            self.screen.say(self._mask(text))

    def warn(self, text: str) -> None:
        """Print a warning that was logged; one that holds for many hosts alike, once."""
        if not self._is_quiet and text not in self._warned:
            self._warned.add(text)
            self.screen.say(self._mask(f"Warning: {text}"), "yellow")

    def inventory(self, inventory: str, size: int) -> None:
        """The first line; `size`: how many hosts the inventory has."""
        if not self._is_quiet:
            which = lines.count(size, "host")
            which = which if len(self._record.hosts) == size else f"{len(self._record.hosts)} of {which}"
            self.say(f"{inventory}: {which}; all of the output goes to {self._log.path}")

    def changed(self, step: Step) -> None:
        """A line of a step that is done, if it has changed something."""
        hosts = self._record.of(step, Outcome.CHANGED)
        if hosts and not self._is_quiet:
            self.say(lines.step_line(step, lines.some(hosts, self._record.hosts), step.seconds))

    def failed(self, step: Step, host: str) -> None:
        """The first host on which a step has failed, while others are at it: all of it is told at the end."""
        is_first = len(self._record.of(step, Outcome.FAILED)) == 1
        if is_first and step.is_under_way and not self._is_quiet:
            self.say(f"  {step.title} failed on {host}; the other hosts come to its end", colour="red")

    def draw(self) -> None:
        """Show what the run is at: on a terminal at each call, elsewhere now and then, where it takes long."""
        under_way = self._record.under_way()
        if not under_way or self._is_quiet:
            return
        self.screen.status(lines.under_way(self._record))
        for step in () if self.screen.is_terminal else under_way:
            seconds, given = self._record.now() - min(step.began.values()), self._signs.get(step, 0)
            if given < len(_SIGNS_S) and seconds >= _SIGNS_S[given]:
                self._signs[step] = given + 1
                hosts = lines.some(self._record.at_work(step), self._record.hosts)
                self.say(lines.step_line(step, f"... {hosts}", seconds))

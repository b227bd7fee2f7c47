"""What a run has done so far: which host was at which operation from when to when, and what came of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum

from kubestage.cluster.phase import BARRIER

CONNECT, PREFLIGHT = "Connect", "Preflight"  # what comes before the phases


class Outcome(StrEnum):
    """Of an operation on a host. CUT_OFF: it had begun when the run was ended."""

    CHANGED = "changed"
    SAME = "no change"
    FAILED = "failed"
    CUT_OFF = "cut off"


@dataclass(frozen=True)
class Span:
    """A host at an operation; `begin` and `end` are seconds since the run began."""

    host: str
    phase: str
    operation: str
    begin: float
    end: float
    outcome: Outcome


@dataclass(eq=False)
class Step:
    """An operation, on all hosts that have it. Times are seconds since the run began, by host name."""

    phase: str
    operation: str
    began: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    said: dict[str, list[str]] = field(default_factory=dict)  # the errors of the hosts on which it failed

    @property
    def title(self) -> str:
        """As pyinfra prints it: "Runtime | apt sources"."""
        return " | ".join(word for word in (self.phase, self.operation) if word)

    @property
    def is_barrier(self) -> bool:
        return self.operation == BARRIER

    @property
    def is_under_way(self) -> bool:
        return len(self.began) > len(self.ended)

    @property
    def seconds(self) -> float:
        """From the first host that began to the last one that ended."""
        return max(self.ended.values(), default=0.0) - min(self.began.values(), default=0.0)

    def end(self, host: str, when: float, outcome: Outcome) -> None:
        self.ended[host] = when
        self.outcomes[host] = outcome


def split(name: str) -> tuple[str, str]:
    """The phase and the operation in pyinfra's name of an operation; an operation outside all phases has none: ""."""
    phase, bar, operation = name.partition(" | ")
    return (phase, operation) if bar else ("", name)


class Record:
    """A run's steps in their order. Time that a person was thinking is none of the run's.

    `hosts`: those that it is for, in the inventory's order; known once the inventory has been read.
    """

    def __init__(self) -> None:
        self._zero = time.monotonic()
        self.hosts: list[str] = []
        self.steps: list[Step] = []

    def now(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._zero

    def of(self, step: Step, outcome: Outcome) -> list[str]:
        """The hosts on which a step came to `outcome`, as the inventory has them."""
        return [host for host in self.hosts if step.outcomes.get(host) is outcome]

    def at_work(self, step: Step) -> list[str]:
        """The hosts that are at a step, as the inventory has them."""
        return [host for host in self.hosts if host in step.began and host not in step.ended]

    def paused(self, since: float) -> None:
        """From `since`, seconds since the run began, until now it waited for a person."""
        self._zero += self.now() - since

    def step(self, phase: str, operation: str = "") -> Step:
        """A new step, the last one so far."""
        self.steps.append(step := Step(phase, operation))
        return step

    def under_way(self) -> list[Step]:
        return [step for step in self.steps if step.is_under_way]

    def cut_off(self) -> None:
        """End what is still under way: the run is at its end."""
        for step in self.under_way():
            for host in self.at_work(step):
                step.end(host, self.now(), Outcome.CUT_OFF)

    def phases(self) -> dict[str, float]:
        """Seconds that each phase took, in the order of the run."""
        begins: dict[str, float] = {}
        ends: dict[str, float] = {}
        for step in self.steps:
            if step.phase and step.ended:
                begins.setdefault(step.phase, min(step.began.values()))
                ends[step.phase] = max(step.ended.values())
        return {phase: round(ends[phase] - begin, 2) for phase, begin in begins.items()}

    def changes(self) -> dict[str, list[str]]:
        """The title of each operation that changed something -> the hosts on which it did, in the order of the run."""
        return {step.title: hosts for step in self.steps if (hosts := self.of(step, Outcome.CHANGED))}

    def spans(self) -> list[Span]:
        """All that has ended, barriers left out: host after host, as the inventory has them."""
        return [
            Span(host, step.phase, step.operation, step.began[host], step.ended[host], step.outcomes[host])
            for host in self.hosts
            for step in self.steps
            if host in step.ended and not step.is_barrier
        ]

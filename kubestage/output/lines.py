"""The lines of a run, made of what it has done; printed nowhere here."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from kubestage.cluster.phase import PHASES
from kubestage.output.difference import Difference
from kubestage.output.record import CONNECT, Outcome, Record, Step, split

_NAMED = 4  # hosts that a line names; of more it names two
_LONGEST_PHASES = 4  # that the last line names
_FAILURES = 3  # that differ from host to host, printed whole

# Of what comes before the phases, and so has none.
_LOOK_AT_CONNECTION = (
    "whether the host is up, and its ssh_hostname, ssh_port, ssh_user and ssh_key in the inventory; nothing was changed"
)


def some(hosts: Sequence[str], every: Sequence[str] = ()) -> str:
    """The names of `hosts`, shortened where there are many; `every` is all there are in the run."""
    if len(hosts) <= _NAMED:
        return ", ".join(hosts)
    if len(hosts) == len(every):
        return f"all {len(hosts)} hosts"
    return f"{hosts[0]}, {hosts[1]} and {len(hosts) - 2} more"


def count(number: int, what: str) -> str:
    """ "1 host", "3 hosts"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def step_line(step: Step, hosts: str, seconds: float) -> str:
    """An operation with the hosts at it: what they have changed, or what they are at."""
    return f"  {step.phase:<20} {step.operation:<38} {hosts:<18} {seconds:6.1f} s".rstrip()


def under_way(record: Record) -> str:
    """What a run is at: the phase, its seconds so far, the operation and whom it waits for."""
    step = record.under_way()[-1]
    begin = min(min(each.began.values()) for each in record.steps if each.phase == step.phase and each.began)
    words = [word for word in (step.phase, f"{record.now() - begin:.0f} s", step.operation) if word]
    return "  ".join(words) + f": {some(record.at_work(step), record.hosts)}"


def would_change(planned: Mapping[str, Sequence[str]]) -> list[str]:
    """What a run would do, by host; those of one plan together. planned: host -> the names of operations."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for host, names in planned.items():
        if names:
            groups.setdefault(tuple(names), []).append(host)
    if not groups:
        return ["would change: nothing"]
    lines = ["would change:"]
    for names, hosts in groups.items():
        phases: dict[str, list[str]] = {}
        for name in names:
            phase, operation = split(name)
            phases.setdefault(phase, []).append(operation)
        lines.append(f"  {some(hosts, list(planned))}")
        for phase, operations in phases.items():
            text = f"    {phase:<20} {', '.join(operations)}"
            lines += textwrap.wrap(text, 120, subsequent_indent=" " * 25, break_on_hyphens=False)
    return lines


def differences(noted: Mapping[Difference, Sequence[str]], every: Sequence[str]) -> list[str]:
    """What would be, or was, written anew, with the hosts on which it is the same."""
    lines = []
    for difference, hosts in noted.items():
        in_order = [host for host in every if host in hosts]
        lines += [f"{difference.path} on {some(in_order, every)}:", *_indented(difference.lines)]
    return lines


def failure(record: Record, step: Step) -> list[str]:
    """A failed step: the words of each host on which it failed; hosts that say the same are told of together."""
    every = record.hosts
    groups: dict[tuple[str, ...], list[str]] = {}
    for host in record.of(step, Outcome.FAILED):
        groups.setdefault(tuple(step.said.get(host, ())), []).append(host)
    lines = []
    for said, hosts in list(groups.items())[:_FAILURES]:
        lines += [f"{step.title} failed on {some(hosts, every)} after {step.seconds:.1f} s", *_indented(said)]
    if rest := [host for hosts in list(groups.values())[_FAILURES:] for host in hosts]:
        lines.append(f"{step.title} failed on {some(rest, every)} as well; their words are in the log")
    return lines


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}".rstrip() for line in lines]


def look_at(step: Step) -> str:
    """Where to look when it has failed; "" where we know no better than its words."""
    if step.phase in PHASES:
        return PHASES[step.phase].look_at
    return _LOOK_AT_CONNECTION if step.phase == CONNECT else ""


def cut_off(record: Record) -> list[str]:
    """Where a run stood when it was ended, and what goes on on the hosts without it."""
    lines = []
    for step in record.steps:
        if hosts := record.of(step, Outcome.CUT_OFF):
            lines.append(f"  {some(hosts, record.hosts)} {'was' if len(hosts) == 1 else 'were'} at: {step.title}")
            if (phase := PHASES.get(step.phase)) and phase.goes_on:
                lines.append(f"  {phase.goes_on}")
    if lines:
        lines.append("  a command that had begun on a host may still come to its end there")
    return lines


def ending(record: Record) -> str:
    """What a run that has come to its end has done."""
    changes = len(record.changes())
    did = count(changes, "change") if changes else "nothing changed"
    return f"{did} on {count(len(record.hosts), 'host')} in {record.now():.1f} s"


def longest(phases: Mapping[str, float]) -> str:
    """The phases that took most of a run's time; "" where none took any."""
    first = sorted(phases.items(), key=lambda phase: -phase[1])[:_LONGEST_PHASES]
    return ", ".join(f"{phase} {took:.1f} s" for phase, took in first if took >= 0.1)

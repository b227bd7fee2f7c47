"""Rules about what runs containers on a host already: ours takes its place, and what runs by it stops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.facts.host_report import HostReport
from kubestage.settings import Problem

_TOLD = 5  # names, at most


def in_use(hosts: ClusterHosts) -> Iterator[Problem]:
    for name, settings, report in hosts:
        if report.runtimes and report.containers and not settings.take_over_runtime:
            yield Problem(
                name,
                f"containers run there ({_names(report)}), and a run puts Docker's own packages, with a configuration "
                "of its own, in the place of what runs them: they stop",
                "stop them, or move them to another host; or set take_over_runtime = True for this host",
                "container runtime",
                _packages(report),
            )


def taken_over(hosts: ClusterHosts) -> Iterator[str]:
    for name, _, report in hosts:
        if report.runtimes:
            stopped = f"what runs there stops: {_names(report)}" if report.containers else "no container runs there"
            yield f"{name}: Docker's own packages take the place of {_packages(report)}; {stopped}."


def _packages(report: HostReport) -> str:
    return ", ".join(f"{package} {version}" for package, version in report.runtimes.items())


def _names(report: HostReport) -> str:
    return few([f"{each[:40]}…" if len(each) > 41 else each for each in report.containers])


def few(names: Sequence[str]) -> str:
    """The first of `names`, and how many there are besides."""
    more = len(names) - _TOLD
    return ", ".join(names[:_TOLD]) + (f" and {more} more" if more > 0 else "")

"""A whole run: a list of phases, or those of it that were asked for by `--data only=` and `--data skip=`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pyinfra import host, logger, state
from pyinfra.api.exceptions import PyinfraError

from kubestage.checks.preflight import ONLY, SKIP
from kubestage.cluster import answers
from kubestage.cluster.phase import Phase
from kubestage.cluster.plan import HostPlan


def run(phases: Sequence[Phase], check: Callable[[], HostPlan], end: Callable[[HostPlan], None]) -> None:
    """Give a host the operations of `phases` by the plan that `check` makes; then, of a run of all phases, of `end`.

    Called once a host. PyinfraError where `only` or `skip` name what is no phase, before anything is checked.
    """
    given = state.inventory.override_data
    wanted = chosen(phases, given)
    plan = check()
    left = [phase.title for phase in phases if phase not in wanted]
    if left and plan.acts_for_all:
        logger.warning(f"As asked for, left out: {', '.join(left)}; what is done may need what they would have done")
    if state.check_for_changes:
        answers.foretell(host, lambda: _call(wanted, plan))
    # By pyinfra's own loop: it tells operations of one line apart by the turn, and so keeps phases in their order.
    for phase in host.loop(wanted):  # type: ignore[no-untyped-call]
        phase(plan)
    if not left:
        end(plan)


def _call(phases: Sequence[Phase], plan: HostPlan) -> None:
    for phase in phases:
        phase.task(plan)


def chosen(phases: Sequence[Phase], given: Mapping[str, Any]) -> list[Phase]:
    """The phases that `given`, the data of the command line, leaves of a run, in the run's order."""
    titles = {phase.title.lower(): phase for phase in phases}
    only, skipped = (_named(titles, word, str(given.get(word, ""))) for word in (ONLY, SKIP))
    if ONLY in given and not set(only) - set(skipped):
        raise PyinfraError(f"--data {ONLY}={given[ONLY]}: that leaves no phase\n    -> name one of: {_list(phases)}")
    return [phase for phase in (only or phases) if phase not in skipped]


def _named(titles: Mapping[str, Phase], word: str, given: str) -> list[Phase]:
    """The phases that are named, in the order of the run."""
    names = [name.strip() for name in given.split(",") if name.strip()]
    for name in names:
        if name.lower() not in titles:
            near = get_close_matches(name.lower(), titles, n=1)
            guess = f'; did you mean "{titles[near[0]].title}"?' if near else ""
            raise PyinfraError(
                f"--data {word}={given}: there is no phase {name!r}{guess}\n"
                f"    -> this run has: {_list(titles.values())}"
            )
    wanted = {name.lower() for name in names}
    return [phase for title, phase in titles.items() if title in wanted]


def _list(phases: Iterable[Phase]) -> str:
    return ", ".join(phase.title for phase in phases)

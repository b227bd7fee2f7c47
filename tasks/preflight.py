"""Nothing is touched before every setting and every host has been checked."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pyinfra import host, state

from kubestage.checks import preflight
from kubestage.checks.preflight import Checked
from kubestage.cluster import control_plane
from kubestage.cluster.folder import STATE
from kubestage.cluster.plan import HostPlan


def check() -> HostPlan:
    """This host's plan; raises with all that is wrong, anywhere."""
    return planned(preflight.check(state))


def targeted() -> tuple[str, ...]:
    """The hosts that the run is for, in the inventory's order."""
    return tuple(target.name for target in state.inventory.get_active_hosts())


def planned(checked: Checked, leaving: Collection[str] = ()) -> HostPlan:
    """This host's plan; none of the hosts that are `leaving` speaks for the cluster."""
    speakers = [name for name in checked.speakers if name not in leaving]
    return HostPlan(
        name=host.name,
        checked=checked,
        targeted=targeted(),
        speaker=control_plane.of_run(state, speakers, checked.cluster.common.timeout_s(control_plane.ANSWERS_WITHIN_S)),
        kubeconfig=Path(state.cwd or ".") / STATE / checked.folder / "kubeconfig",
    )

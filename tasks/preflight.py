"""Nothing is touched before every setting and every host has been checked."""

from __future__ import annotations

from pathlib import Path

from pyinfra import host, state

from kubestage.checks import preflight
from kubestage.cluster import control_plane
from kubestage.cluster.folder import STATE
from kubestage.cluster.plan import HostPlan


def check() -> HostPlan:
    """This host's plan; raises with all that is wrong, anywhere."""
    checked = preflight.check(state)
    cluster = checked.cluster
    return HostPlan(
        name=host.name,
        checked=checked,
        targeted=tuple(target.name for target in state.inventory.get_active_hosts()),
        speaker=control_plane.of_run(state, checked.speakers, cluster.common.timeout_s(control_plane.ANSWERS_WITHIN_S)),
        kubeconfig=Path(state.cwd or ".") / STATE / checked.folder / "kubeconfig",
    )

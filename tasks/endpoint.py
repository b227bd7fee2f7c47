"""The API's endpoint on every node."""

from __future__ import annotations

from collections.abc import Collection

from kubestage.cluster.phase import phase
from kubestage.cluster.plan import HostPlan
from kubestage.kubernetes import ENDPOINT_UNIT
from kubestage.operations import apt, files, systemd
from kubestage.render import endpoint

_LOOK_AT = f"`journalctl -u {ENDPOINT_UNIT}` on the host"


@phase("API endpoint", look_at=_LOOK_AT)
def install(plan: HostPlan) -> None:
    """The balancer, before what asks the API through it. Before a host knows the cluster's CA, it does not start."""
    apt.packages(
        packages=endpoint.PACKAGES,
        masked=endpoint.THEIR_UNITS,
        timeout_s=plan.settings.timeout_s(300),
        name="haproxy",
    )
    _balance(plan, plan.api_servers())


@phase("API servers", look_at=_LOOK_AT)
def extend(plan: HostPlan) -> None:
    """Those that have joined: before that nobody is sent to them, as haproxy takes a new one for well at first."""
    if plan.joining:
        _balance(plan, plan.api_servers(joined=plan.targeted))


def _balance(plan: HostPlan, servers: Collection[str]) -> None:
    files.files(
        files=[endpoint.config(servers, plan.settings.api_port), endpoint.unit()], name="Configuration of the endpoint"
    )
    systemd.services(units=endpoint.UNITS, reloads=True, name="Endpoint of the API")

"""The API's endpoint on every node."""

from __future__ import annotations

from kubestage.cluster.phase import phase
from kubestage.cluster.plan import HostPlan
from kubestage.kubernetes import ENDPOINT_UNIT
from kubestage.operations import apt, files, systemd
from kubestage.render import endpoint


@phase("API endpoint", look_at=f"`journalctl -u {ENDPOINT_UNIT}` on the host")
def install(plan: HostPlan) -> None:
    """The balancer, before what asks the API through it. Before a host knows the cluster's CA, it does not start."""
    settings = plan.settings
    apt.packages(
        packages=endpoint.PACKAGES,
        masked=endpoint.THEIR_UNITS,
        timeout_s=settings.timeout_s(300),
        name="haproxy",
    )
    files.files(
        files=[endpoint.config(plan.control_plane.values(), settings.api_port), endpoint.unit()],
        name="Configuration of the endpoint",
    )
    systemd.services(units=endpoint.UNITS, reloads=True, name="Endpoint of the API")

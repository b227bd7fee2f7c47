"""containerd, which the kubelet uses, and Docker beside it."""

from __future__ import annotations

from kubestage.cluster import traces
from kubestage.cluster.phase import SYSTEM, phase
from kubestage.cluster.plan import HostPlan
from kubestage.facts.packages import REPLACED
from kubestage.kubernetes import CERTS_D
from kubestage.operations import apt, files, systemd
from kubestage.render import apt_sources, runtime


@phase("Runtime", look_at=SYSTEM)
def install(plan: HostPlan) -> None:
    """Apt sources of the mirror profile, both runtimes at their pinned version, configured before they first start."""
    settings, own = plan.settings, plan.host_settings
    containerd_files = [runtime.containerd_config(settings, own), *runtime.registry_hosts(own)]
    # First of all: the repositories' keys are fetched by HTTPS.
    apt.packages(
        packages=traces.CERTIFICATE_PACKAGES, timeout_s=settings.timeout_s(300), name="Programs for certificates"
    )
    apt.sources(entries=apt_sources.sources(plan), name="apt sources")
    files.files(
        files=[*containerd_files, runtime.docker_config(settings, own), *runtime.unit_files()],
        marked={f"{CERTS_D}/*/hosts.toml": runtime.MIRROR_MARK},
        name="Configuration of containerd and Docker",
    )
    apt.pinned_packages(
        packages=apt_sources.runtime_packages(plan),
        entries=apt_sources.sources(plan),
        replaced=REPLACED,
        in_turn=True,
        timeout_s=settings.timeout_s(300),
        name="containerd and Docker",
    )
    systemd.services(units=runtime.UNITS, name="Services of containerd and Docker")

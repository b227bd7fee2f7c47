"""kubelet, kubeadm and kubectl."""

from __future__ import annotations

from kubestage.cluster.phase import SYSTEM, phase
from kubestage.cluster.plan import HostPlan
from kubestage.operations import apt, files
from kubestage.render import apt_sources, kubelet


@phase("Kubernetes packages", look_at=SYSTEM)
def install(plan: HostPlan) -> None:
    """The pinned version, held: an unattended upgrade must not move a node. The kubelet finds its settings."""
    settings = kubelet.files(plan.host_settings, plan.name, plan.report.resolv_conf)
    files.files(files=settings, name="The kubelet's settings")
    apt.pinned_packages(
        packages=apt_sources.kubernetes_packages(plan),
        entries=apt_sources.sources(plan),
        timeout_s=plan.settings.timeout_s(300),
        name="kubelet, kubeadm, kubectl",
    )

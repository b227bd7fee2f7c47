"""Where a host's packages come from, and the exact versions that its settings mean there."""

from __future__ import annotations

from kubestage.cluster.plan import HostPlan
from kubestage.operations.apt import Source

KUBERNETES_KEY, DOCKER_KEY = "/etc/apt/keyrings/kubestage-kubernetes.asc", "/etc/apt/keyrings/kubestage-docker.asc"


def sources(plan: HostPlan) -> list[Source]:
    """The two repositories of the mirror profile: Kubernetes' is flat, Docker's is by release."""
    profile = plan.host_settings.profile.filled(os=plan.report.os_id)
    return [
        Source(profile.kubernetes_apt, "/", (), profile.kubernetes_key, KUBERNETES_KEY),
        Source(
            profile.docker_apt,
            plan.report.os_codename,
            ("stable",),
            profile.docker_key,
            DOCKER_KEY,
        ),
    ]


def runtime_packages(plan: HostPlan) -> dict[str, str]:
    """containerd and Docker: name -> version as Docker's own repository writes it (5:29.9.3-1~debian.12~bookworm)."""
    system = plan.report
    release = f"1~{system.os_id}.{system.os_version}~{system.os_codename}"
    docker = f"5:{plan.host_settings.docker_version}-{release}"
    return {
        "containerd.io": f"{plan.host_settings.containerd_version}-{release}",
        "docker-ce-cli": docker,
        "docker-ce": docker,
    }


def kubernetes_packages(plan: HostPlan) -> dict[str, str]:
    """kubeadm, kubelet and kubectl: name -> version."""
    return dict.fromkeys(("kubelet", "kubeadm", "kubectl"), plan.host_settings.kubernetes_package_version)

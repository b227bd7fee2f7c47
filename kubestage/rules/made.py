"""Rules about what a living cluster was made with: kubeadm writes it once, and no run changes it."""

from __future__ import annotations

from collections.abc import Iterator

from kubestage.rules.cluster_hosts import ClusterHosts
from kubestage.settings import Problem

# What the control plane's own files call it (HostReport.made) -> the setting.
FIXED = {
    "version": "kubernetes_version",
    "cluster-name": "cluster_name",
    "cluster-cidr": "pod_cidr",
    "service-cluster-ip-range": "service_cidr",
    "secure-port": "api_port",
    "clusterDomain": "cluster_domain",
    "cgroupDriver": "cgroup_driver",
}


def fixed(hosts: ClusterHosts) -> Iterator[Problem]:
    """A changed setting would be half of a change: packages, flannel or the runtime would follow it, the rest not."""
    if not hosts.ca:
        return
    common, made = hosts.cluster.common, hosts.reports[hosts.leader].made
    for name, setting in FIXED.items():
        value = getattr(common, setting)
        if name in made and made[name] != str(value):
            yield Problem(
                "the cluster",
                f"it was made with {made[name]}, and a run can't change that in a living cluster",
                f"set it back to {made[name]}; or make a new cluster on blank hosts",
                setting,
                value,
            )

"""Rules about what a living cluster was made with: kubeadm writes it once, and no run changes it."""

from __future__ import annotations

from collections.abc import Iterator

from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.kubernetes import ENDPOINT, RESET
from kubestage.settings import Problem
from kubestage.settings.values import parse_version

# What the control plane's own files call it (HostReport.made) -> the setting.
FIXED = {
    "cluster-name": "cluster_name",
    "cluster-cidr": "pod_cidr",
    "service-cluster-ip-range": "service_cidr",
    "secure-port": "api_port",
    "clusterDomain": "cluster_domain",
    "cgroupDriver": "cgroup_driver",
}


def kubelets(hosts: ClusterHosts) -> Iterator[Problem]:
    """A worker's setting decides about its packages, and apt would restart a living kubelet as another version."""
    for name, settings, report in hosts:
        installed = report.packages.get("kubelet", "").partition("-")[0]
        wanted = settings.kubernetes_version
        if name in hosts.cluster.control_plane or not hosts.is_member(name) or installed in ("", wanted):
            continue
        newer = parse_version(installed) > parse_version(hosts.cluster.kubernetes_version)
        back = "" if newer else f"set it back to {installed} for this host; or "
        yield hosts.wrong(
            "kubernetes_version",
            f"its kubelet is {installed}, and a deploy can't change that on a host that has joined",
            f"{back}upgrade it: give this inventory to upgrade.py (with --limit {name} this host alone)"
            if parse_version(installed) < parse_version(wanted)
            else f"{back}drain the node, give on {name}: {RESET} ; then run the deploy again: it joins with {wanted}",
            name,
        )


def endpoint(hosts: ClusterHosts) -> Iterator[Problem]:
    """kubeadm takes no second control plane into a cluster whose init named no endpoint, and kubelets keep theirs."""
    made = hosts.reports[hosts.leader].made.get("endpoint", "") if hosts.ca else ""
    if made not in ("", ENDPOINT):
        yield Problem(
            "the cluster",
            f"its nodes ask the API at one host's address: it was made before each had an endpoint, {ENDPOINT}",
            f"a run can't change that in a living cluster: make a new one on blank hosts; or on each host: {RESET}",
            f"API server in admin.conf on {hosts.leader}",
            made,
        )


def version(hosts: ClusterHosts) -> Iterator[Problem]:
    """It is no deploy that leads from one to another: nodes are drained for it, one after the other."""
    now = hosts.version
    if now not in ("", hosts.cluster.kubernetes_version):
        yield hosts.wrong(
            "kubernetes_version",
            f"the living cluster is of {now}, and a deploy can't change that",
            f"upgrade it: give this inventory to upgrade.py; or set it back to {now}",
            "the cluster",
        )


def fixed(hosts: ClusterHosts) -> Iterator[Problem]:
    """A changed setting would be half of a change: packages, flannel or the runtime would follow it, the rest not."""
    if not hosts.ca:
        return
    made = hosts.reports[hosts.leader].made
    for name, setting in FIXED.items():
        value = getattr(hosts.common, setting)
        if name in made and made[name] != str(value):
            yield hosts.wrong(
                setting,
                f"it was made with {made[name]}, and a run can't change that in a living cluster",
                f"set it back to {made[name]}; or make a new cluster on blank hosts",
                "the cluster",
            )

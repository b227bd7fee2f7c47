"""The nodes are those of the inventory, as their settings say, and take pods."""

from __future__ import annotations

from typing import Any

from testinfra.host import Host as Machine

from kubestage.cluster.inventory import Target
from kubestage.settings import HostSettings, Problem
from tests.verify.api import is_ready
from tests.verify.findings import expect_none

CONTROL_PLANE_TAINT = "node-role.kubernetes.io/control-plane:NoSchedule"  # kubeadm's own


def test_node_set(nodes: dict[str, Any], target: Target) -> None:
    wanted = set(target.cluster.nodes)
    absent = [
        Problem(name, "the inventory names this host, but the cluster has no such node", target.deploy)
        for name in sorted(wanted - set(nodes))
    ]
    foreign = [
        Problem(
            name,
            f"the cluster has this node, but {target.inventory} does not name it",
            f"add it to the inventory, or: kubectl drain {name} --ignore-daemonsets; kubectl delete node {name}",
        )
        for name in sorted(set(nodes) - wanted)
    ]
    expect_none([*absent, *foreign])


def test_ready(node_object: Any, node: str) -> None:
    problems = []
    if not is_ready(node_object):
        ready = next((one for one in node_object.status.conditions if one.type == "Ready"), None)
        problems.append(
            Problem(
                node,
                f"the node is not Ready: {ready.reason}: {ready.message}" if ready else "the node was never Ready",
                f"on {node}: systemctl status kubelet containerd; journalctl -u kubelet -n 50",
                "Ready",
                ready.status if ready else "",
            )
        )
    if node_object.spec.unschedulable:
        remedy = f"kubectl uncordon {node}"
        problems.append(Problem(node, "the node takes no new pods: it is cordoned", remedy, "unschedulable", True))
    expect_none(problems)


def test_versions(node_object: Any, node: str, own: HostSettings, target: Target) -> None:
    """The versions that run: a package may have been installed and its service not restarted."""
    info = node_object.status.node_info
    expect_none(
        Problem(
            node, f"{wanted} is pinned", f"{target.deploy}; if it stays: systemctl restart {unit} on {node}", what, runs
        )
        for what, unit, runs, wanted in (
            ("kubelet", "kubelet", info.kubelet_version, f"v{own.kubernetes_version}"),
            (
                "container runtime",
                "containerd",
                info.container_runtime_version.replace("://v", "://"),
                f"containerd://{own.containerd_version}",
            ),
        )
        if runs != wanted
    )


def test_internal_address(node_object: Any, node: str, own: HostSettings, machine: Machine) -> None:
    found = [one.address for one in node_object.status.addresses if one.type == "InternalIP"]
    # Where none is set, it is the address that the host itself would use for the way out.
    route = machine.run("ip -4 -oneline route get 192.0.2.1").stdout.split()
    wanted = own.private_address or (route[route.index("src") + 1] if "src" in route else "")
    if found[:1] != [wanted]:
        expect_none(
            [
                Problem(
                    node,
                    f"the other nodes reach it there, but its private address is {wanted or 'not to be found'}",
                    f"see --node-ip in /var/lib/kubelet/kubeadm-flags.env on {node}, and private_address",
                    "InternalIP",
                    ", ".join(found),
                )
            ]
        )


def test_labels(node_object: Any, node: str, own: HostSettings, target: Target) -> None:
    labels = node_object.metadata.labels
    expect_none(
        Problem(
            node, f"node_labels says {wanted!r}", target.deploy, f"label {name}", labels.get(name, "(no such label)")
        )
        for name, wanted in own.node_labels.items()
        if labels.get(name) != wanted
    )


def test_taints(node_object: Any, node: str, own: HostSettings, target: Target) -> None:
    found = {
        f"{taint.key}={taint.value}:{taint.effect}" if taint.value else f"{taint.key}:{taint.effect}"
        for taint in node_object.spec.taints or ()
    }
    wanted = {taint.replace("=:", ":") for taint in own.node_taints}
    reserved = node in target.cluster.control_plane and not target.cluster.common.schedule_on_control_plane
    if reserved:
        wanted.add(CONTROL_PLANE_TAINT)
    problems = [
        Problem(node, f"the node does not have it; it has: {', '.join(sorted(found)) or 'none'}", target.deploy, taint)
        for taint in sorted(wanted - found)
    ]
    if CONTROL_PLANE_TAINT in found and not reserved:
        why = "the node has it, though it is a worker or schedule_on_control_plane is set"
        remedy = f"{target.deploy}; if it stays: kubectl taint node {node} {CONTROL_PLANE_TAINT}-"
        problems.append(Problem(node, why, remedy, CONTROL_PLANE_TAINT))
    expect_none(problems)

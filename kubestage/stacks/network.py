"""The pod network, and the Service that holds the NodePorts which no other Service may have."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from kubestage.facts.kubernetes import Workload
from kubestage.settings import ClusterSettings
from kubestage.stacks.stack import Namespace, Stack, template

# kubeadm's own.
CLUSTER_DNS = Workload("kube-system", "Deployment", "coredns")
KUBE_PROXY = Workload("kube-system", "DaemonSet", "kube-proxy")
FLANNEL = "kube-flannel"  # its namespace, as upstream has it
RESERVED_SERVICE = "kubestage-reserved-node-ports"


def flannel(settings: ClusterSettings) -> Stack:
    """The pod network."""
    return Stack(
        "flannel",
        template("flannel", settings),
        namespace=Namespace(FLANNEL, "privileged"),
        workloads=(Workload(FLANNEL, "DaemonSet", "kube-flannel-ds"),),
    )


def reserved_node_ports(ports: Sequence[int]) -> Stack:
    """A Service that holds `ports`, so that the API server gives them to no other one.

    kube-proxy ignores a Service with this label, and the allocator counts its NodePorts all the same: the ports stay
    with the programs that listen on them
    (https://kubernetes.io/docs/reference/labels-annotations-taints/#servicekubernetesioservice-proxy-name).
    """
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": RESERVED_SERVICE,
            "namespace": "kube-system",
            "labels": {"service.kubernetes.io/service-proxy-name": "reserved"},
        },
        "spec": {
            "type": "NodePort",
            "ports": [{"name": f"port-{port}", "protocol": "TCP", "port": port, "nodePort": port} for port in ports],
        },
    }
    return Stack(RESERVED_SERVICE, lambda _: yaml.safe_dump(service, sort_keys=False))

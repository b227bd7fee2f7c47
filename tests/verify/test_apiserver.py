"""The API server runs as the settings say, and gives no Service a port that somebody else listens on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import yaml
from testinfra.host import Host as Machine

from kubestage.cluster.inventory import Target
from kubestage.kubernetes import STATIC_PODS, static_pod_pid
from kubestage.render import static_pods
from kubestage.settings import Problem
from kubestage.settings.component_flags import ENCRYPTION_FLAG
from tests.verify.api import REQUEST_TIMEOUT_S, Api
from tests.verify.connection import Machines
from tests.verify.findings import expect_none
from tests.verify.probe import is_taken

# https://kubernetes.io/docs/reference/networking/ports-and-protocols/, kube-proxy's two, and flannel's vxlan.
CLUSTER_PORTS = (2379, 2380, 8472, 10248, 10249, 10250, 10256, 10257, 10259)
RESERVATION = "kubestage-reserved-node-ports"
RANDOM_PORTS = 200


def test_healthy(api: Api, leader: str) -> None:
    expect_none(
        Problem(
            leader,
            "the API server says that it is not ready",
            f"on {leader}: ls -t /var/log/pods/kube-system_*/*/*; kubectl get --raw '/readyz?verbose'",
            "readyz",
            line,
        )
        for line in api.readyz().splitlines()
        if line.startswith("[-]")
    )


def _by_name(words: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Flags from words of a command line: name -> values."""
    found: dict[str, tuple[str, ...]] = {}
    for word in words:
        name, _, value = word.removeprefix("--").partition("=")
        found[name] = (*found.get(name, ()), value)
    return found


@pytest.mark.parametrize("pod", STATIC_PODS)
def test_running_flags(machines: Machines, pod: str, target: Target) -> None:
    """What the process was started with, of what settings decide; its manifest may say something else already."""
    script = f"for pid in $({static_pod_pid(pod)}); do tr '\\0' '\\n' < /proc/$pid/cmdline; done"
    expect_none(
        Problem(
            node,
            f"{pod} should run with {', '.join(values)}",
            f"{target.deploy}; if it stays: see /etc/kubernetes/manifests/{pod}.yaml",
            f"--{name}",
            ", ".join(running.get(name, ())) or ("(no such flag)" if running else f"(no {pod} runs)"),
        )
        for node in target.cluster.control_plane
        for running in [_by_name(machines[node].run(script).stdout.splitlines())]
        for name, values in static_pods.flags(target.cluster.common, pod).items()
        if running.get(name) != values
    )


def test_kubeadm_configuration(api: Api, target: Target) -> None:
    """What the next `kubeadm upgrade` will go by."""
    stored = api.core.read_namespaced_config_map("kubeadm-config", "kube-system", _request_timeout=REQUEST_TIMEOUT_S)
    document = yaml.safe_load(stored.data["ClusterConfiguration"])
    arguments = document.get("apiServer", {}).get("extraArgs") or []
    encryption = next((each["value"] for each in arguments if each["name"] == ENCRYPTION_FLAG), "")
    own = encryption if target.cluster.common.encrypt_secrets else ""
    wanted = static_pods.components(target.cluster.common, own)  # test_etcd.py looks at what the file does
    expect_none(
        Problem(
            "kube-system/kubeadm-config",
            "it is not what settings say, and an upgrade would set it back",
            target.deploy,
            f"{component}.{name}",
            found,
        )
        for component in ("apiServer", "controllerManager", "scheduler")
        for name, value in wanted[component].items()
        if (found := document.get(component, {}).get(name) or []) != value
    )


@pytest.fixture(scope="module")
def reserved(api: Api) -> set[int]:
    """The NodePorts that the reservation holds; none where it is missing."""
    services: list[Any] = api.services()
    own = [one for one in services if (one.metadata.namespace, one.metadata.name) == ("kube-system", RESERVATION)]
    return {port.node_port for service in own for port in service.spec.ports}


def test_reservation(reserved: set[int], target: Target) -> None:
    """Kubernetes' own ports, SSH's, and those of node_port_reserved, as far as they lie in the range."""
    common = target.cluster.common
    wanted = {*CLUSTER_PORTS, common.api_port, *target.cluster.ssh_ports, *common.reserved_ports}
    expect_none(
        Problem(
            f"kube-system/{RESERVATION}",
            "it does not hold this port, so a Service may get it, and every node would send its traffic elsewhere",
            target.deploy,
            "NodePort",
            port,
        )
        for port in sorted(wanted - reserved)
        if port in common.node_ports
    )


def test_ports_in_use_are_reserved(machine: Machine, node: str, reserved: set[int], api: Api, target: Target) -> None:
    """What this host listens on, in the range, whoever it is."""
    # kube-proxy itself answers there for the health of a Service with externalTrafficPolicy: Local.
    health = {service.spec.health_check_node_port for service in api.services()}
    # Local address and state are the second and fourth field; 0A: listening (proc_pid_net(5)).
    told = machine.run("awk '$4 == \"0A\" {print $2}' /proc/net/tcp /proc/net/tcp6").stdout.split()
    listening = {int(address.rpartition(":")[2], 16) for address in told}
    expect_none(
        Problem(
            node,
            "a program listens on it and it is not reserved: a Service that gets it would take its traffic",
            f"{target.deploy} reserves it; to see whose it is: ss -ltnp 'sport = :{port}'",
            "TCP port",
            port,
        )
        for port in sorted(listening - reserved - health)
        if port in target.cluster.common.node_ports
    )


def test_a_reserved_port_is_refused(api: Api, target: Target) -> None:
    """An explicit claim of the kubelet's port and of all others that nobody may have. Nothing is made by asking."""
    common = target.cluster.common
    expect_none(
        Problem(
            "the API server",
            f"it would give this port to a Service, though it has to be held by kube-system/{RESERVATION}",
            target.deploy,
            "NodePort",
            port,
        )
        for port in sorted({*CLUSTER_PORTS, common.api_port, *target.cluster.ssh_ports, *common.reserved_ports})
        if port in common.node_ports and not is_taken(api, port)
    )


def test_random_ports_are_not_reserved_ones(api: Api, reserved: set[int], target: Target, namespace: str) -> None:
    """A Service with many ports and no number is given random ones. kube-proxy is told to leave it alone."""
    common = target.cluster.common
    taboo = {*reserved, *CLUSTER_PORTS, common.api_port, *target.cluster.ssh_ports, *common.reserved_ports}
    service = {
        "metadata": {"name": "random", "labels": {"service.kubernetes.io/service-proxy-name": "none"}},
        "spec": {"type": "NodePort", "ports": [{"name": f"p{n}", "port": n} for n in range(1, RANDOM_PORTS + 1)]},
    }
    made = api.core.create_namespaced_service(namespace, service, _request_timeout=REQUEST_TIMEOUT_S)
    api.core.delete_namespaced_service("random", namespace, _request_timeout=REQUEST_TIMEOUT_S)
    given = {port.node_port for port in made.spec.ports}
    expect_none(
        Problem(
            "the API server",
            "it gave a random Service a port that nobody may have",
            target.deploy,
            "NodePort",
            port,
        )
        for port in sorted(given & taboo)
    )

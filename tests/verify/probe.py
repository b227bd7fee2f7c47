"""What the network is tried with: on every node a pod that serves its node's name, and one Service before them all."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from gevent.pool import Pool
from kubernetes.client import ApiException

from kubestage.cluster.inventory import Target
from kubestage.settings import Problem
from tests.verify.api import REQUEST_TIMEOUT_S, Api, is_ready, reason, until
from tests.verify.findings import expect_none
from tests.verify.system_pods import trouble

NAME = "kubestage-verify"
LABELS = {"app.kubernetes.io/name": NAME}
PORT = 8080
PODS_WITHIN_S = 60.0  # with the pull of the image
PODS_GONE_WITHIN_S = 20.0
GONE_WITHIN_S = 60.0
STALE_AFTER = timedelta(minutes=15)  # no verification takes that long
_SERVE = f"mkdir /tmp/www && echo $NODE > /tmp/www/index.html && exec httpd -f -p {PORT} -h /tmp/www"


@dataclass
class Probe:
    """The pods, and where their Service answers.

    `pods`: node -> the Ready pod there. `missing`: node -> why there is none.
    """

    api: Api
    target: Target
    namespace: str
    cluster_ip: str = ""
    node_port: int = 0
    pods: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def in_pods(self, script: str) -> dict[str, str]:
        """node -> what a shell script prints in the pod there; the error where it can't be run. All at once."""

        def run(node: str) -> str:
            try:
                return self.api.run(self.namespace, self.pods[node].metadata.name, script)
            except ApiException as error:
                return f"exec into the pod: {reason(error)}"

        return dict(zip(self.pods, Pool().map(run, self.pods), strict=True))

    def without_pod(self, node: str) -> Problem:
        """The finding about a node that has no Ready pod."""
        return Problem(
            node,
            f"a pod that tolerates everything does not become Ready there: {self.missing[node]}",
            f"kubectl describe node {node}; journalctl -u kubelet -u containerd on {node}",
            "image",
            self.target.cluster.common.busybox_image,
        )


@contextmanager
def own_namespace(api: Api) -> Iterator[str]:
    """The name of a new namespace, which is gone with all that is in it at the end, whatever happens."""
    _remove_stale(api)
    namespace = f"{NAME}-{secrets.token_hex(3)}"
    try:
        api.core.create_namespace(
            {"metadata": {"name": namespace, "labels": LABELS}}, _request_timeout=REQUEST_TIMEOUT_S
        )
        yield namespace
    finally:
        delete(partial(api.core.delete_namespace, namespace, _request_timeout=REQUEST_TIMEOUT_S))
        remedy = f"kubectl describe namespace {namespace} says what is left; delete that"
        if not until(lambda: namespace not in _own_namespaces(api), GONE_WITHIN_S):
            expect_none(
                [Problem("the cluster", f"not gone {GONE_WITHIN_S:.0f} s after its deletion", remedy, namespace)]
            )


@contextmanager
def running(api: Api, target: Target, namespace: str) -> Iterator[Probe]:
    """A Probe whose pods are as far as they will come; at the end its pods are gone and its NodePort is free again."""
    probe = Probe(api, target, namespace)
    image = target.cluster.common.busybox_image
    try:
        api.apps.create_namespaced_daemon_set(namespace, _daemon_set(image), _request_timeout=REQUEST_TIMEOUT_S)
        probe.node_port = _free_node_port(api, target)
        service = api.core.create_namespaced_service(
            namespace, node_port_service(probe.node_port), _request_timeout=REQUEST_TIMEOUT_S
        )
        probe.cluster_ip = service.spec.cluster_ip
        _wait_for_pods(probe)
        yield probe
    finally:
        _remove(probe)


def node_port_service(node_port: int) -> dict[str, Any]:
    """A Service of port 80 with that NodePort, before the pods."""
    ports = [{"port": 80, "targetPort": PORT, "nodePort": node_port}]
    return {"metadata": {"name": NAME}, "spec": {"type": "NodePort", "selector": LABELS, "ports": ports}}


def _free_node_port(api: Api, target: Target) -> int:
    """Port 80 where a Service can have it, else the first port of the range that is free."""
    wanted = target.cluster.common.node_ports
    services = api.services()  # the reservation is one of them
    used = {port.node_port for service in services for port in service.spec.ports or ()}
    used |= {service.spec.health_check_node_port for service in services}
    port = next((one for one in (80, *range(wanted.first, wanted.last + 1)) if one in wanted and one not in used), 0)
    if not port:
        remedy = "widen node_port_range, or delete Services that nobody needs"
        expect_none([Problem("the cluster", "no NodePort is free", remedy, "node_port_range", str(wanted))])
    return port


def _daemon_set(image: str) -> dict[str, Any]:
    container = {
        "name": "httpd",
        "image": image,
        "command": ["sh", "-c", _SERVE],
        "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1},
    }
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,  # httpd is the first process, which no signal ends but the last
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
    }
    template = {"metadata": {"labels": LABELS}, "spec": pod}
    return {"metadata": {"name": NAME}, "spec": {"selector": {"matchLabels": LABELS}, "template": template}}


def _wait_for_pods(probe: Probe) -> None:
    """Fill `pods` and `missing`. Nobody waits for a node that is not Ready."""
    nodes = probe.api.nodes()
    hoped_for = {name for name, node in nodes.items() if is_ready(node)}
    found: dict[str, Any] = {}

    def all_there() -> bool:
        found.update({pod.spec.node_name: pod for pod in probe.api.pods(probe.namespace)})
        probe.pods = {node: pod for node, pod in found.items() if node in nodes and is_ready(pod)}
        return hoped_for <= set(probe.pods)

    until(all_there, PODS_WITHIN_S)
    for node in probe.target.cluster.nodes:
        if node in probe.pods:
            continue
        if node not in nodes:
            probe.missing[node] = "there is no such node"
        elif node not in hoped_for:
            probe.missing[node] = "the node is not Ready"
        else:
            probe.missing[node] = trouble(probe.api, found[node]) if node in found else "no pod was made for it"


def _remove(probe: Probe) -> None:
    """Remove the pods and the Service, and see that its NodePort can be had again."""
    api, namespace = probe.api, probe.namespace
    delete(partial(api.core.delete_namespaced_service, NAME, namespace, _request_timeout=REQUEST_TIMEOUT_S))
    # The pods before their namespace: one that still has some when it is looked at takes much longer to go.
    delete(partial(api.apps.delete_namespaced_daemon_set, NAME, namespace, _request_timeout=REQUEST_TIMEOUT_S))
    if not until(lambda: not api.pods(namespace), PODS_GONE_WITHIN_S):
        # The kubelet of a node that is down can't say that its pod has ended.
        api.core.delete_collection_namespaced_pod(namespace, grace_period_seconds=0, _request_timeout=REQUEST_TIMEOUT_S)
    if probe.node_port and not until(lambda: not is_taken(api, probe.node_port), GONE_WITHIN_S):
        why = "its Service is gone, and yet the API server gives it to nobody"
        remedy = "kubectl get services -A; the API server counts anew some minutes later, or when it is restarted"
        expect_none([Problem("the cluster", why, remedy, "NodePort", probe.node_port)])


def is_taken(api: Api, node_port: int) -> bool:
    """Whether the API would refuse this NodePort to a Service because another has it. Nothing is made."""
    return "already allocated" in api.refusal("default", node_port_service(node_port))


def delete(request: Callable[[], object]) -> None:
    """Do a request for a deletion; it is no error if there is nothing of that name."""
    try:
        request()
    except ApiException as error:
        if error.status != 404:
            raise


def _own_namespaces(api: Api) -> dict[str, datetime]:
    """The namespaces that verifications have made: name -> when."""
    selector = ",".join(f"{key}={value}" for key, value in LABELS.items())
    found = api.core.list_namespace(label_selector=selector, _request_timeout=REQUEST_TIMEOUT_S).items
    return {one.metadata.name: one.metadata.creation_timestamp for one in found}


def _remove_stale(api: Api) -> None:
    """Remove what a verification has left that was killed. One that runs beside this one is younger."""
    now = api.now()
    for name, made in _own_namespaces(api).items():
        if now - made > STALE_AFTER:
            delete(partial(api.core.delete_namespace, name, _request_timeout=REQUEST_TIMEOUT_S))

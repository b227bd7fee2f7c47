"""The pod network and Services, from a pod on every node and from outside."""

from __future__ import annotations

import shlex
import urllib.request
from collections.abc import Mapping
from typing import Any

import pytest
from gevent.pool import Pool

from kubestage.cluster.inventory import Target
from kubestage.settings import Problem
from tests.verify.api import REQUEST_TIMEOUT_S, Api, until
from tests.verify.findings import expect_none
from tests.verify.probe import PORT, Probe

# A Service is not answered for at once: kube-proxy on each node has to hear of it.
SERVICE_WITHIN_S = 15

# Each question is asked beside the others; its answer is one line, "NAME ANSWER".
_QUESTIONS = f"""
page() {{
    answer=$(timeout 5 wget -q -O - "$1" 2>&1) || answer=${{answer:-no answer within 5 s}}
    echo "$answer" | tail -n 1
}}
pod() {{ echo "pod/$1 $(page http://$2:{PORT}/)"; }}
service() {{
    deadline=$(($(date +%s) + {SERVICE_WITHIN_S}))
    until
        answer=$(page http://$1/)
        case " $2 " in *" $answer "*) true ;; *) test $(date +%s) -ge $deadline ;; esac
    do sleep 1; done
    echo "service $answer"
}}
dns() {{ echo "dns $(timeout 10 nslookup "$1" 2>&1 | tr '\\n' ' ')"; }}
"""


@pytest.fixture(scope="module")
def answers(probe: Probe) -> dict[str, dict[str, str]]:
    """node -> what the pod there was told: by the pod of each node, by the Service, by DNS.

    pod/NODE -> the page of that node's pod; service -> the page of the Service; dns -> nslookup's output.
    """
    names = shlex.quote(" ".join(probe.pods))
    questions = [f"pod {node} {pod.status.pod_ip}" for node, pod in probe.pods.items()]
    questions += [f"service {probe.cluster_ip} {names}", f"dns {_api_name(probe.target)}"]
    script = _QUESTIONS + "".join(f"{question} & " for question in questions) + "wait"
    return {node: _parsed(output) for node, output in probe.in_pods(script).items()}


def _parsed(output: str) -> dict[str, str]:
    pairs = (line.partition(" ") for line in output.splitlines())
    return {name: answer.strip() for name, _, answer in pairs} | {"all": output.strip()}


def _api_name(target: Target) -> str:
    return f"kubernetes.default.svc.{target.cluster.common.cluster_domain}."


def _heard(answers: Mapping[str, Mapping[str, str]], probe: Probe, node: str) -> Mapping[str, str]:
    """What the pod on `node` was told; the test fails where there is no pod."""
    if node not in answers:
        expect_none([probe.without_pod(node)])
    return answers[node]


def test_pod_to_pod(answers: dict[str, dict[str, str]], probe: Probe, node: str) -> None:
    """From the pod on this node to the pod on every node."""
    heard = _heard(answers, probe, node)
    problems = []
    for other in probe.target.cluster.nodes:
        if other not in probe.pods:
            problems.append(probe.without_pod(other))
        elif heard.get(f"pod/{other}") != other:
            address = probe.pods[other].status.pod_ip
            problems.append(
                Problem(
                    node,
                    f"a pod here does not get the page of the pod on {other}",
                    f"is UDP 8472 open between {node} and {other}? ip -d link show flannel.1; ip route; "
                    "kubectl -n kube-flannel logs -l app=flannel",
                    f"http://{address}:{PORT}",
                    heard.get(f"pod/{other}", heard["all"]),
                )
            )
    expect_none(problems)


def test_dns(answers: dict[str, dict[str, str]], probe: Probe, node: str, api: Api) -> None:
    """A pod asks the name server that its kubelet gave it for the API's own Service."""
    service = api.core.read_namespaced_service("kubernetes", "default", _request_timeout=REQUEST_TIMEOUT_S)
    told = _heard(answers, probe, node).get("dns", "")
    # The first address in the answer is the name server's own.
    _, _, answer = told.partition("Name:")
    if service.spec.cluster_ip not in answer.split():
        expect_none(
            [
                Problem(
                    node,
                    f"a pod here can't look up {_api_name(probe.target)} ({service.spec.cluster_ip})",
                    "kubectl -n kube-system get pods,endpointslices -l k8s-app=kube-dns; "
                    "kubectl -n kube-system logs -l k8s-app=kube-dns",
                    "nslookup",
                    told,
                )
            ]
        )


def test_cluster_ip(answers: dict[str, dict[str, str]], probe: Probe, node: str) -> None:
    heard = _heard(answers, probe, node)
    if heard.get("service") not in probe.pods:
        expect_none(
            [
                Problem(
                    node,
                    "a pod here gets no page from a Service at its ClusterIP",
                    f"kubectl -n kube-system logs -l k8s-app=kube-proxy; on {node}: iptables-save -t nat",
                    f"http://{probe.cluster_ip}",
                    heard.get("service", heard["all"]),
                )
            ]
        )


@pytest.fixture(scope="module")
def outside(probe: Probe, target: Target) -> dict[str, str]:
    """node -> what this machine gets from the Service's NodePort there, or the error; from all nodes at once."""
    # A proxy of this machine's would be asked for an address that only this machine may reach.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(node: str) -> str:
        answer = ""

        def answered() -> bool:
            nonlocal answer
            try:
                with opener.open(node_port_url(target, probe, node), timeout=5) as response:
                    answer = response.read().decode().strip()
            except OSError as error:
                answer = str(error)
            return answer in probe.pods

        if probe.pods:
            until(answered, SERVICE_WITHIN_S)
        return answer

    nodes: list[Any] = target.cluster.nodes
    return dict(zip(nodes, Pool().map(get, nodes), strict=True))


def node_port_url(target: Target, probe: Probe, node: str) -> str:
    return f"http://{target.outside_address(node)}:{probe.node_port}/"


def test_node_port(outside: dict[str, str], probe: Probe, node: str, target: Target) -> None:
    """From this machine, by port 80 where the range and the cluster's other Services leave it free."""
    if not probe.pods:
        expect_none([probe.without_pod(node)])
    if outside[node] not in probe.pods:
        expect_none(
            [
                Problem(
                    node,
                    "a Service's NodePort does not answer from outside",
                    f"let TCP {probe.node_port} pass to {node} in the cloud's security group and every firewall; "
                    f"on {node}: iptables-save -t nat | grep KUBE-NODEPORTS",
                    node_port_url(target, probe, node),
                    outside[node],
                )
            ]
        )

"""What the cluster itself and its platform run is there, Ready, and not dying over and over."""

from __future__ import annotations

from typing import Any

import pytest

from kubestage.cluster.inventory import Target
from kubestage.settings import Problem
from tests.verify.api import REQUEST_TIMEOUT_S, Api
from tests.verify.findings import expect_none
from tests.verify.system_pods import is_in_a_loop, is_well, statuses, trouble

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
DAEMONS = {"kube-proxy": "kube-system", "kube-flannel-ds": "kube-flannel"}


def test_ready_pods(settled: dict[str, list[Any]], system_namespace: str, api: Api) -> None:
    expect_none(
        Problem(
            f"{system_namespace}/{pod.metadata.name} on {pod.spec.node_name or 'no node'}",
            f"the pod is not Ready: {trouble(api, pod)}",
            f"kubectl -n {system_namespace} describe pod {pod.metadata.name}; "
            f"kubectl -n {system_namespace} logs --all-containers {pod.metadata.name}",
        )
        for pod in settled[system_namespace]
        if not is_well(pod)
    )


def test_no_restart_loop(settled: dict[str, list[Any]], system_namespace: str, api: Api) -> None:
    now = api.now()
    problems = []
    for pod in settled[system_namespace]:
        for status in statuses(pod):
            if is_in_a_loop(status, now):
                last = status.last_state.terminated if status.last_state else None
                why = f", last time with exit code {last.exit_code} ({last.reason})" if last else ""
                problems.append(
                    Problem(
                        f"{system_namespace}/{pod.metadata.name} on {pod.spec.node_name}",
                        f"container {status.name} keeps dying{why}",
                        f"kubectl -n {system_namespace} logs --previous -c {status.name} {pod.metadata.name}",
                        "restarts",
                        status.restart_count,
                    )
                )
    expect_none(problems)


@pytest.mark.parametrize("component", CONTROL_PLANE)
def test_control_plane_pod(settled: dict[str, list[Any]], component: str, target: Target) -> None:
    there = {pod.metadata.name for pod in settled["kube-system"]}
    expect_none(
        Problem(
            f"kube-system/{component}-{node}",
            "there is no such pod",
            f"see /etc/kubernetes/manifests and `journalctl -u kubelet` on {node}",
        )
        for node in target.cluster.control_plane
        if f"{component}-{node}" not in there
    )


@pytest.mark.parametrize("daemon", DAEMONS)
def test_daemon_on_every_node(settled: dict[str, list[Any]], daemon: str, target: Target) -> None:
    namespace = DAEMONS[daemon]
    nodes = {
        pod.spec.node_name
        for pod in settled[namespace]
        if is_well(pod) and any(owner.name == daemon for owner in pod.metadata.owner_references or ())
    }
    remedy = f"kubectl -n {namespace} describe daemonset {daemon}; if there is none: {target.deploy}"
    expect_none(
        Problem(name, f"{daemon} of {namespace} has no Ready pod there", remedy)
        for name in target.cluster.nodes
        if name not in nodes
    )


def test_cluster_dns(settled: dict[str, list[Any]], api: Api) -> None:
    assert settled
    deployments = api.apps.list_namespaced_deployment("kube-system", _request_timeout=REQUEST_TIMEOUT_S).items
    coredns = next((one for one in deployments if one.metadata.name == "coredns"), None)
    wanted = coredns.spec.replicas if coredns else 0
    ready = (coredns.status.ready_replicas or 0) if coredns else 0
    if not wanted or ready < wanted:
        expect_none(
            [
                Problem(
                    "kube-system/coredns",
                    f"{wanted} are asked for" if coredns else "there is no such Deployment",
                    "kubectl -n kube-system describe deployment coredns"
                    + ("" if wanted else "; kubectl -n kube-system scale deployment coredns --replicas 2"),
                    "ready replicas",
                    ready,
                )
            ]
        )

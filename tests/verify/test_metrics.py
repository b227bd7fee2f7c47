"""What `kubectl top` shows: the use of every node and of pods."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes.client import ApiException

from kubestage.cluster.inventory import Target
from kubestage.commands.api import reason
from kubestage.settings import Problem
from kubestage.stacks.metrics import metrics
from tests.verify.api import Api, until
from tests.verify.findings import expect_none, fail

pytestmark = pytest.mark.stack("metrics")

# metrics-server asks each kubelet every 15 s, and has something to tell of a node after it has asked twice.
KNOWN_WITHIN_S = 45.0
_METRICS = "/apis/metrics.k8s.io/v1beta1"
_REMEDY = "kubectl -n kube-system logs deployment/metrics-server; kubectl get csr; kubectl get apiservice"


def test_api_service(api: Api, target: Target) -> None:
    problems = []
    for name in metrics(target.cluster.common).apis:
        try:
            conditions = api.get(f"/apis/apiregistration.k8s.io/v1/apiservices/{name}")["status"]["conditions"]
        except ApiException as error:
            problems.append(Problem("the cluster", reason(error), target.deploy, "APIService", name))
            continue
        problems += [
            Problem("the cluster", f"not Available: {one['message']}", _REMEDY, "APIService", name)
            for one in conditions
            if one["type"] == "Available" and one["status"] != "True"
        ]
    expect_none(problems)


@pytest.fixture(scope="module")
def used(api: Api, target: Target, settled: dict[str, list[Any]]) -> dict[str, dict[str, str]]:
    """Node -> its use of "cpu" and "memory", as the API has it once it knows of every node."""
    assert settled
    found: dict[str, dict[str, str]] = {}

    def all_known() -> bool:
        try:
            items = api.get(f"{_METRICS}/nodes")["items"]
        except ApiException:  # test_api_service says why
            return False
        found.update({one["metadata"]["name"]: one["usage"] for one in items})
        return set(target.cluster.nodes) <= set(found)

    until(all_known, KNOWN_WITHIN_S)
    return found


def test_top_node(used: dict[str, dict[str, str]], node: str) -> None:
    usage = used.get(node, {})
    expect_none(
        Problem(node, "`kubectl top nodes` does not show it", _REMEDY, what, usage.get(what, "nothing"))
        for what in ("cpu", "memory")
        if usage.get(what, "0").startswith("0")
    )


@pytest.mark.usefixtures("used")  # by then all else has been waited for
def test_top_pod(api: Api, leader: str) -> None:
    name = f"kube-apiserver-{leader}"
    containers: list[dict[str, Any]] = []
    why = ""

    def is_known() -> bool:
        nonlocal containers, why
        try:
            containers = api.get(f"{_METRICS}/namespaces/kube-system/pods/{name}")["containers"]
        except ApiException as error:
            why = reason(error)
        return bool(containers)

    if not until(is_known, KNOWN_WITHIN_S):
        fail(Problem(f"kube-system/{name}", f"`kubectl top pods` does not show it: {why}", _REMEDY))
    if not any(one["name"] == "kube-apiserver" and not one["usage"]["memory"].startswith("0") for one in containers):
        fail(Problem(f"kube-system/{name}", "its use is not known", _REMEDY, "containers", containers))

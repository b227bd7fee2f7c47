"""A stack's manifest as the API server would read it."""

from __future__ import annotations

from typing import Any

import yaml
from sample_cluster import GROUPS, hosts_data

from kubestage.checks.load import load
from kubestage.settings import ClusterSettings
from kubestage.stacks.stack import Stack


def settings(**changed: Any) -> ClusterSettings:
    return load(hosts_data({"domain": "lab.test", **changed}), GROUPS).common


def documents(stack: Stack, kind: str = "") -> list[dict[str, Any]]:
    """The documents of its own namespace and manifest, of one kind or all, in their order."""
    namespaces = [each for each in yaml.safe_load_all(stack.namespaces.content) if "labels" in each["metadata"]]
    found = [*namespaces, *yaml.safe_load_all(stack.manifest.content)]
    return [document for document in found if kind in ("", document["kind"])]


def one(stack: Stack, kind: str, name: str = "") -> dict[str, Any]:
    """The only document of its kind, or of that name as well."""
    (document,) = [found for found in documents(stack, kind) if name in ("", found["metadata"]["name"])]
    return document


def pods(stack: Stack) -> list[dict[str, Any]]:
    """The pod templates of everything that makes pods."""
    templates = [found["spec"]["template"] for found in documents(stack) if "template" in found.get("spec", {})]
    return templates + [
        found["spec"]["jobTemplate"]["spec"]["template"] for found in documents(stack) if found["kind"] == "CronJob"
    ]


def images(stack: Stack) -> set[str]:
    return {container["image"] for pod in pods(stack) for container in pod["spec"]["containers"]}


def secrets_mounted(pod: dict[str, Any]) -> set[str]:
    return {volume["secret"]["secretName"] for volume in pod["spec"].get("volumes", []) if "secret" in volume}


def check_labels(stack: Stack) -> None:
    """Every selector of a Deployment and a Service finds the pods that it is meant for, and no others."""
    for found in documents(stack, "Deployment"):
        assert found["spec"]["selector"]["matchLabels"] == found["spec"]["template"]["metadata"]["labels"]
    for found in documents(stack, "Service"):
        meant = [pod for pod in pods(stack) if pod["metadata"]["labels"] == found["spec"]["selector"]]
        assert len(meant) == 1
        ports = {port["name"] for container in meant[0]["spec"]["containers"] for port in container.get("ports", [])}
        assert {port["targetPort"] for port in found["spec"]["ports"]} <= ports


def check_namespaced(stack: Stack, cluster_wide: set[str]) -> None:
    """What is in no namespace is of the kinds `cluster_wide`, and nothing comes before the Namespace that it is in."""
    there: set[str] = {"default", "kube-system"}
    for found in documents(stack):
        if found["kind"] in cluster_wide:
            assert "namespace" not in found["metadata"]
        else:
            assert found["metadata"]["namespace"] in there
        if found["kind"] == "Namespace":
            there.add(found["metadata"]["name"])


def check_unprivileged(pod: dict[str, Any]) -> None:
    """What the Pod Security Standard "restricted" asks of a pod, and a root that can't be written to."""
    own = pod["spec"].get("securityContext", {})
    for container in pod["spec"]["containers"]:
        has = {**own, **container["securityContext"]}
        assert has["runAsNonRoot"] is True and has["runAsUser"] > 0
        assert has["allowPrivilegeEscalation"] is False and has["readOnlyRootFilesystem"] is True
        assert has["capabilities"] == {"drop": ["ALL"]}
        assert has["seccompProfile"] == {"type": "RuntimeDefault"}

"""Stacks on the lab's cluster, where the host's files say nothing of them, or say less than the cluster has.

Each test leaves the cluster as the deploy wants it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from kubestage.kubernetes import FIELD_MANAGER, MANIFESTS, STACK_LABEL
from kubestage.stacks.catalogue import STACKS
from tests.lab.commands import deploy, kubectl, kubectl_json, on, settle

pytestmark = pytest.mark.life

NAMESPACE = "kube-system"  # that of metrics-server, among others' objects


def manifest(name: str, **labels: str) -> str:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app": "test", **labels}}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


def labelled(stack: str) -> set[str]:
    """Everything that bears the stack's label, of every kind, but for what controllers have made of it."""
    kinds = kubectl("api-resources", "--verbs=list,delete", "--output=name").split()
    found = kubectl_json("get", ",".join(kinds), "--all-namespaces", "--selector", f"{STACK_LABEL}={stack}")["items"]
    made = ("Endpoints", "EndpointSlice")
    return {f"{one['kind']} {one['metadata']['name']}" for one in found if one["kind"] not in made}


@pytest.fixture
def foreign(cluster: None) -> Iterator[None]:
    """Beside metrics-server: one object of somebody else's, and one with a copy of our label."""
    copied = manifest("test-copied", **{STACK_LABEL: "metrics"})
    kubectl("apply", "--server-side", "--filename=-", given=f"{manifest('test-foreign')}---\n{copied}")
    yield
    kubectl("--namespace", NAMESPACE, "delete", "configmaps", "test-copied", "test-foreign")


FOREIGN = {"test-copied", "test-foreign"}


def config_maps() -> set[str]:
    found = kubectl_json("--namespace", NAMESPACE, "get", "configmaps", "--selector=app=test")["items"]
    return {one["metadata"]["name"] for one in found}


def test_a_stack_goes_whose_manifest_is_not_on_the_host(foreign: None) -> None:
    there = labelled("metrics")
    assert {"Deployment metrics-server", "APIService v1beta1.metrics.k8s.io", "Secret metrics-server-serving"} < there
    on("cp1", f"rm -r {MANIFESTS}")
    try:
        without = (
            "--data",
            f"stacks={[name for name in STACKS if name not in ('descheduler', 'metrics')]}".replace("'", '"'),
        )
        assert "Removal | metrics: not there" in deploy(*without).changed
        assert labelled("metrics") == {"ConfigMap test-copied"}
        assert config_maps() == FOREIGN
        assert deploy(*without).changed == {}
    finally:
        deploy()
    assert labelled("metrics") == {*there}
    settle()


def test_an_object_goes_that_the_manifest_no_longer_has(foreign: None) -> None:
    """As an earlier revision of the stack has left it."""
    apply = ("apply", "--server-side", "--field-manager", FIELD_MANAGER, "--filename=-")
    kubectl(*apply, given=manifest("test-dropped", **{STACK_LABEL: "metrics"}))
    assert config_maps() == {"test-dropped", *FOREIGN}
    assert deploy().changed == {"Metrics | metrics": ["cp1"]}
    assert config_maps() == FOREIGN
    assert deploy().changed == {}


def test_a_label_that_was_taken_off_comes_back(cluster: None) -> None:
    """Contour's definitions too, which are upstream's file."""
    definition = "customresourcedefinition/httpproxies.projectcontour.io"
    kubectl("label", definition, f"{STACK_LABEL}-")
    assert deploy().changed == {"Ingress | ingress": ["cp1"]}
    assert kubectl_json("get", definition)["metadata"]["labels"][STACK_LABEL] == "ingress"
    assert deploy().changed == {}

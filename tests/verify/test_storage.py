"""A volume of the default StorageClass: what a pod writes, the next one reads."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from kubestage.cluster.inventory import Target
from kubestage.settings import Problem
from tests.verify.api import REQUEST_TIMEOUT_S, Api, until
from tests.verify.findings import fail
from tests.verify.pods import CONFINED, ended
from tests.verify.system_pods import trouble

pytestmark = pytest.mark.stack("storage")

CLAIM = "kubestage-verify"
GONE_WITHIN_S = 60.0
_PROVISIONER = "kubectl -n local-path-storage logs deployment/local-path-provisioner; kubectl get storageclass,pv"


@pytest.fixture
def claim(api: Api, namespace: str, settled: dict[str, list[Any]]) -> Iterator[str]:
    """A claim that names no class. Its volume is gone at the end, or the test fails."""
    assert settled
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    body = {"metadata": {"name": CLAIM}, "spec": spec}
    api.core.create_namespaced_persistent_volume_claim(namespace, body, _request_timeout=REQUEST_TIMEOUT_S)
    try:
        yield CLAIM
    finally:
        volume = _volume(api, namespace)
        api.core.delete_namespaced_persistent_volume_claim(CLAIM, namespace, _request_timeout=REQUEST_TIMEOUT_S)
    if volume and not until(lambda: volume not in _volumes(api), GONE_WITHIN_S):
        why = f"it is there {GONE_WITHIN_S:.0f} s after its claim was deleted"
        fail(Problem("the cluster", why, _PROVISIONER, "PersistentVolume", volume))


def _volume(api: Api, namespace: str) -> str:
    """The claim's volume; "" if it has none."""
    claim = api.core.read_namespaced_persistent_volume_claim(CLAIM, namespace, _request_timeout=REQUEST_TIMEOUT_S)
    return str(claim.spec.volume_name or "")


def _volumes(api: Api) -> set[str]:
    return {one.metadata.name for one in api.core.list_persistent_volume(_request_timeout=REQUEST_TIMEOUT_S).items}


def test_data_outlives_its_pod(api: Api, namespace: str, claim: str, target: Target) -> None:
    written = secrets.token_hex(8)
    _run(api, namespace, "writer", f"echo {written} >/volume/data && sync", target)
    read = _run(api, namespace, "reader", "cat /volume/data", target)
    if read != written:
        why = f"a pod has written {written!r}, and the next one does not read it"
        fail(Problem("the cluster", why, _PROVISIONER, "the volume's data", read))


def _run(api: Api, namespace: str, name: str, script: str, target: Target) -> str:
    """What a shell script prints in a pod of its own with the volume at /volume; the test fails where it fails."""
    container = {
        "name": name,
        "image": target.cluster.common.busybox_image,
        "command": ["sh", "-c", script],
        "securityContext": CONFINED,
        "volumeMounts": [{"name": "volume", "mountPath": "/volume"}],
    }
    volume = {"name": "volume", "persistentVolumeClaim": {"claimName": CLAIM}}
    with ended(api, namespace, {name: {"containers": [container], "volumes": [volume]}}) as pods:
        pod = pods.get(name)
        if not pod or pod.status.phase != "Succeeded":
            where = (pod and pod.spec.node_name) or "no node"
            what = trouble(api, pod) if pod else "somebody has deleted it"
            why = f"a pod with a volume of the default StorageClass does not do its work: {what}"
            fail(Problem(where, why, _PROVISIONER, "pod", name))
        log = api.core.read_namespaced_pod_log(name, namespace, _request_timeout=REQUEST_TIMEOUT_S)
        return str(log).strip()

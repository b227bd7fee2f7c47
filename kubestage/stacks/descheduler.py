"""The descheduler, which moves pods to nodes with more room: a rebuilt node is empty, and would stay so."""

from __future__ import annotations

from kubestage.facts.kubernetes import Workload
from kubestage.settings import ClusterSettings
from kubestage.settings.model import StackSettings, setting
from kubestage.settings.values import Image
from kubestage.stacks.stack import Stack, Upstream
from kubestage.stacks.stack_type import Place, Row, StackType

_VERSION = "v0.36.0"
_IMAGE = "registry.k8s.io/descheduler/descheduler"
_URL = f"https://raw.githubusercontent.com/kubernetes-sigs/descheduler/{_VERSION}/kubernetes"
_MANIFESTS = {  # upstream's, with its own policy -> SHA-256
    "base/rbac.yaml": "cf00874a8ff4b1ee4cd8d4ba4651e42178d9fb0f89bc0ed2f647efcb5db45eef",
    "base/configmap.yaml": "7ebeed18c46e5606e277ad383df4cd2625be5cd96db06555045c83795fc5b8db",
    "deployment/deployment.yaml": "fdbd5f67e7ba899e6e82b8ecadfac06728d0a0fbd522e3d31ea0642f58173066",
}
WORKLOAD = Workload("kube-system", "Deployment", "descheduler")


class DeschedulerSettings(StackSettings):
    """`descheduler` in group_data."""

    image: Image = setting(f"{_IMAGE}:{_VERSION}", "of the descheduler")


def descheduler(settings: ClusterSettings) -> Stack:
    """Upstream's manifests, whole."""
    images = {_IMAGE: settings.of(DeschedulerSettings).image}
    upstream = tuple(Upstream(f"{_URL}/{path}", sha256, images) for path, sha256 in _MANIFESTS.items())
    return Stack("descheduler", upstream=upstream, workloads=(WORKLOAD,))


def _row(settings: ClusterSettings, place: Place) -> Row:
    return Row("descheduler", "kubectl -n kube-system logs deployment/descheduler")


DESCHEDULER = StackType("descheduler", DeschedulerSettings, descheduler, _row)

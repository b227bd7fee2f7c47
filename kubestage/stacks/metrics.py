"""metrics-server: what `kubectl top` shows, and what autoscalers go by."""

from __future__ import annotations

from kubestage.certificates.platform import PKI, SERVER
from kubestage.facts.kubernetes import Workload
from kubestage.settings import ClusterSettings
from kubestage.settings.model import StackSettings, setting
from kubestage.settings.values import Image
from kubestage.stacks.stack import Certificates, Secret, Stack, template
from kubestage.stacks.stack_type import Place, Row, StackType

NAMESPACE = "kube-system"  # upstream's

# Its certificate, on the control plane host, of a CA of its own: the API server is told that CA by the manifest.
SERVING = f"{PKI}/metrics"
_NAME = f"metrics-server.{NAMESPACE}.svc"  # as the API server calls it
SERVING_USES = {_NAME: SERVER}


class MetricsSettings(StackSettings):
    """`metrics` in group_data."""

    image: Image = setting("registry.k8s.io/metrics-server/metrics-server:v0.9.0", "of metrics-server")


def metrics(settings: ClusterSettings) -> Stack:
    """metrics-server, and the API that it serves."""
    serving = Secret(
        NAMESPACE,
        "metrics-server-serving",
        {"tls.crt": f"{SERVING}/{_NAME}.crt", "tls.key": f"{SERVING}/{_NAME}.key"},
        type="kubernetes.io/tls",
    )
    return Stack(
        "metrics",
        template(
            "metrics", settings, own=settings.of(MetricsSettings), namespace=NAMESPACE, serving_secret=serving.name
        ),
        asked={
            "ca": f"base64 -w 0 < {SERVING}/ca.crt",
            "certificate": f"sha256sum < {SERVING}/{_NAME}.crt | cut -c1-16",
        },
        secrets=(serving,),
        certificates=Certificates(SERVING, SERVING_USES),
        workloads=(Workload(NAMESPACE, "Deployment", "metrics-server"),),
        apis=("v1beta1.metrics.k8s.io",),
    )


def _row(settings: ClusterSettings, place: Place) -> Row:
    return Row("metrics", "kubectl top nodes")


METRICS = StackType("metrics", MetricsSettings, metrics, _row)

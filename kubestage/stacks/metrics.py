"""metrics-server: what `kubectl top` shows, and what autoscalers go by."""

from __future__ import annotations

from kubestage.certificates.platform import PKI, SERVER
from kubestage.facts.kubernetes import Workload
from kubestage.settings import ClusterSettings
from kubestage.stacks.stack import Secret, Stack, manifest

NAMESPACE = "kube-system"  # upstream's

# Its certificate, on the control plane host, of a CA of its own: the API server is told that CA by the manifest.
SERVING = f"{PKI}/metrics"
_NAME = f"metrics-server.{NAMESPACE}.svc"  # as the API server calls it
SERVING_USES = {_NAME: SERVER}

_CA, _CERTIFICATE = "@ca@", "@certificate@"


def metrics(settings: ClusterSettings) -> Stack:
    """metrics-server, and the API that it serves."""
    serving = Secret(
        NAMESPACE,
        "metrics-server-serving",
        {"tls.crt": f"{SERVING}/{_NAME}.crt", "tls.key": f"{SERVING}/{_NAME}.key"},
        type="kubernetes.io/tls",
    )
    values = {"namespace": NAMESPACE, "serving_secret": serving.name, "ca": _CA, "certificate": _CERTIFICATE}
    return Stack(
        "metrics",
        manifest("metrics", settings, **values),
        secrets=(serving,),
        workloads=(Workload(NAMESPACE, "Deployment", "metrics-server"),),
        apis=("v1beta1.metrics.k8s.io",),
        filled={
            _CA: f"base64 -w 0 < {SERVING}/ca.crt",
            _CERTIFICATE: f"sha256sum < {SERVING}/{_NAME}.crt | cut -c1-16",
        },
    )

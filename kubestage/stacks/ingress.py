"""The ingress: Contour, an Envoy on every node, and a default backend for hosts that no site is for."""

from __future__ import annotations

from kubestage.certificates.platform import CLIENT, PKI, SERVER, wildcard_names
from kubestage.facts.kubernetes import Workload
from kubestage.kubernetes import MANIFESTS
from kubestage.settings import ClusterSettings
from kubestage.stacks.sites import WILDCARD
from kubestage.stacks.stack import Secret, Stack, manifest, render

NAMESPACE = WILDCARD.namespace
DEFINITIONS = f"{MANIFESTS}/contour-definitions.yaml"  # Contour's CRDs, as upstream has them

# By which Contour and the Envoys know each other: only who is sure to be an Envoy is told the sites' keys.
XDS = f"{PKI}/xds"
XDS_USES = {"contour": SERVER, "envoy": CLIENT}  # the names of the Services: an Envoy asks for "contour"

_DEFAULT_BACKEND_PORT = 8080


def ingress(settings: ClusterSettings) -> Stack:
    """All of the ingress; Contour's CRDs come from a file on the control plane host."""
    content = manifest(
        "ingress",
        settings,
        configuration=render("ingress/contour.yaml.j2", settings),
        default_backend=render("ingress/default-backend.yaml.j2", settings, port=_DEFAULT_BACKEND_PORT),
        default_port=_DEFAULT_BACKEND_PORT,
        wildcard=WILDCARD,
        wildcard_names=wildcard_names(settings.domain),
    )
    return Stack(
        "ingress",
        content,
        secrets=(WILDCARD, *(_xds_secret(name) for name in XDS_USES)),
        workloads=(
            Workload(NAMESPACE, "Deployment", "contour"),
            Workload(NAMESPACE, "DaemonSet", "envoy"),
            Workload(NAMESPACE, "Deployment", "default-backend"),
        ),
        definitions=DEFINITIONS,
    )


def _xds_secret(name: str) -> Secret:
    files = {"ca.crt": f"{XDS}/ca.crt", "tls.crt": f"{XDS}/{name}.crt", "tls.key": f"{XDS}/{name}.key"}
    return Secret(NAMESPACE, f"{name}cert", files, type="kubernetes.io/tls")

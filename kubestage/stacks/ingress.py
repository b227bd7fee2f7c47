"""The ingress: Contour, an Envoy on every node, and a default backend for hosts that no site is for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from kubestage.certificates.platform import CLIENT, PKI, SERVER, wildcard_names
from kubestage.facts.kubernetes import Workload
from kubestage.settings import Cluster, ClusterSettings, Problem
from kubestage.settings.model import StackSettings, setting
from kubestage.settings.values import Count, Image, Sha256, Url
from kubestage.stacks.sites import WILDCARD
from kubestage.stacks.stack import Certificates, Namespace, Secret, Stack, Upstream, template
from kubestage.stacks.stack_type import Place, Row, Site, StackType

NAMESPACE = WILDCARD.namespace

# By which Contour and the Envoys know each other: only who is sure to be an Envoy is told the sites' keys.
XDS = f"{PKI}/xds"
XDS_USES = {"contour": SERVER, "envoy": CLIENT}  # the names of the Services: an Envoy asks for "contour"

_DEFAULT_BACKEND_PORT = 8080


class IngressSettings(StackSettings):
    """`ingress` in group_data."""

    contour_image: Image = setting("ghcr.io/projectcontour/contour:v1.33.8", "of Contour")
    envoy_image: Image = setting("docker.io/envoyproxy/envoy:distroless-v1.38.3", "of Envoy, the dashboard's as well")
    replicas: Count | None = setting(
        None, "of Contour, which tells the Envoys what to serve, and of the default backend; None: 1 or 2"
    )
    traffic_policy: Literal["Local", "Cluster"] = setting(
        "Local", '"Local": sites see clients\' addresses; "Cluster": any node serves for any other'
    )
    crds_url: Url = setting(
        "https://raw.githubusercontent.com/projectcontour/contour/v1.33.8/examples/contour/01-crds.yaml",
        "Contour's CRDs, as upstream has them",
    )
    crds_sha256: Sha256 = setting("c02ed88146211c84edcafb718191f403ab35d8a9c6593bdc244338d20e8461b2", "of that file")


def ingress(settings: ClusterSettings) -> Stack:
    """All of the ingress."""
    own = settings.of(IngressSettings)
    return Stack(
        "ingress",
        template(
            "ingress",
            settings,
            own=own,
            default_port=_DEFAULT_BACKEND_PORT,
            wildcard=WILDCARD,
            wildcard_names=wildcard_names(settings.domain),
        ),
        namespace=Namespace(NAMESPACE),
        secrets=(WILDCARD, *(_xds_secret(name) for name in XDS_USES)),
        upstream=(Upstream(own.crds_url, own.crds_sha256),),
        certificates=Certificates(XDS, XDS_USES),
        workloads=(
            Workload(NAMESPACE, "Deployment", "contour"),
            Workload(NAMESPACE, "DaemonSet", "envoy"),
            Workload(NAMESPACE, "Deployment", "default-backend"),
        ),
    )


def _xds_secret(name: str) -> Secret:
    files = {"ca.crt": f"{XDS}/ca.crt", "tls.crt": f"{XDS}/{name}.crt", "tls.key": f"{XDS}/{name}.key"}
    return Secret(NAMESPACE, f"{name}cert", files, type="kubernetes.io/tls")


def _replicas(cluster: Cluster) -> Iterator[Problem]:
    room = cluster.room
    if not room and cluster.alone:
        return  # what is wrong there is told of already
    if (cluster.common.of(IngressSettings).replicas or 1) > room:
        yield cluster.wrong(
            "ingress.replicas",
            f"only {room} of the nodes take{'s' if room == 1 else ''} any pod" if room else "no node takes any pod",
            f"set it to {room}, or add workers" if room else "leave a worker without a taint in node_taints",
        )


def _fits(cluster: Cluster) -> dict[str, Any]:
    own = cluster.common.of(IngressSettings)
    return {"replicas": max(1, min(2, cluster.room))} if own.replicas is None else {}


def _row(settings: ClusterSettings, place: Place) -> Row:
    return Row("ingress", f"https://{settings.site('NAME')}")


INGRESS = StackType(
    "ingress",
    IngressSettings,
    ingress,
    _row,
    namespace=NAMESPACE,
    # Its default backend answers, as it does for a site that should be there and is not.
    site=Site("no-such-site", (404,), own=False),
    rules=(_replicas,),
    fits=_fits,
)

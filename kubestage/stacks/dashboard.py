"""The dashboard, in one of two flavours: Headlamp, or kube-web-view with a login put before it.

People log in with a short-lived token of the ServiceAccount dashboard/dashboard.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

from kubestage.facts.kubernetes import Workload
from kubestage.kubernetes import KUBECTL
from kubestage.settings import Cluster, ClusterSettings, Problem
from kubestage.settings.model import StackSettings, setting
from kubestage.settings.values import Image
from kubestage.stacks.ingress import IngressSettings
from kubestage.stacks.sites import WILDCARD
from kubestage.stacks.stack import Namespace, Stack, template
from kubestage.stacks.stack_type import Place, Row, Site, StackType

NAMESPACE = "dashboard"
PEOPLE = "dashboard"  # the ServiceAccount whose tokens let people in
TOKEN_LIFETIME_S = 3600
_PORT, _UPSTREAM_PORT = 8080, 8081  # in kube-web-view's pod: of Envoy, of kube-web-view on the loopback
_CLOCK_SKEW_S = 60  # between who makes a token and who reads it
_SHOW_KEYS = f"{KUBECTL} get --raw /openid/v1/jwks"  # the public keys of the API server's tokens


Flavour = Literal["headlamp", "kube-web-view"]
FLAVOURS: tuple[Flavour, ...] = get_args(Flavour)


class DashboardSettings(StackSettings):
    """`dashboard` in group_data."""

    flavour: Flavour = setting("headlamp", 'or "kube-web-view"')
    admin: bool = setting(False, "True: whoever is let in may change everything, by headlamp")
    headlamp_image: Image = setting("ghcr.io/headlamp-k8s/headlamp:v0.45.0", "of Headlamp")
    kube_web_view_image: Image = setting("docker.io/hjacobs/kube-web-view:21.2.0", "of kube-web-view")


def flavours(settings: ClusterSettings) -> dict[str, Stack]:
    """Every flavour by its name, as the setting `flavour` has it."""
    return {"headlamp": headlamp(settings), "kube-web-view": kube_web_view(settings)}


def dashboard(settings: ClusterSettings) -> Stack:
    """The flavour that the settings choose."""
    return flavours(settings)[settings.of(DashboardSettings).flavour]


def others(settings: ClusterSettings) -> tuple[Stack, ...]:
    """The flavour that the settings do not choose. It has the same namespace, and goes before the other one comes."""
    chosen = settings.of(DashboardSettings).flavour
    return tuple(stack for name, stack in flavours(settings).items() if name != chosen)


def token_audiences(settings: ClusterSettings, flavour: str) -> list[str]:
    """For whom a person's token is: for the API where Headlamp passes it on, else for the site alone."""
    return [] if flavour == "headlamp" else [_site(settings)]


def headlamp(settings: ClusterSettings) -> Stack:
    """Headlamp, whose login takes a token for the API."""
    text = template(
        "headlamp",
        settings,
        own=settings.of(DashboardSettings),
        namespace=NAMESPACE,
        people=PEOPLE,
        reader=PEOPLE,
        session_s=TOKEN_LIFETIME_S,
        wildcard=WILDCARD,
    )
    workload = Workload(NAMESPACE, "Deployment", "headlamp")
    return Stack("headlamp", text, namespace=Namespace(NAMESPACE), workloads=(workload,))


def kube_web_view(settings: ClusterSettings) -> Stack:
    """kube-web-view behind an Envoy that checks tokens by the cluster's own keys; a run renews the keys."""
    text = template(
        "kube-web-view",
        settings,
        own=settings.of(DashboardSettings),
        envoy_image=settings.of(IngressSettings).envoy_image,
        namespace=NAMESPACE,
        people=PEOPLE,
        reader="kube-web-view",
        issuer=_issuer(settings),
        audience=_site(settings),
        subject=f"system:serviceaccount:{NAMESPACE}:{PEOPLE}",
        lifetime_s=TOKEN_LIFETIME_S + _CLOCK_SKEW_S,
        port=_PORT,
        upstream_port=_UPSTREAM_PORT,
        wildcard=WILDCARD,
    )
    return Stack(
        "kube-web-view",
        text,
        asked={"keys": _SHOW_KEYS},
        namespace=Namespace(NAMESPACE),
        workloads=(Workload(NAMESPACE, "Deployment", "kube-web-view"),),
    )


def _site(settings: ClusterSettings) -> str:
    return f"https://{settings.site('dashboard')}"


def _issuer(settings: ClusterSettings) -> str:
    """As whom the API server signs tokens: kubeadm's default, or the flag's first value."""
    (issuer, *_) = settings.apiserver_extra_args.get("service-account-issuer", ("",))
    return issuer or f"https://kubernetes.default.svc.{settings.cluster_domain}"


def _admin(cluster: Cluster) -> Iterator[Problem]:
    own = cluster.common.of(DashboardSettings)
    if own.admin and own.flavour == "kube-web-view":
        yield cluster.wrong(
            "dashboard.admin",
            "kube-web-view changes nothing, whoever is let in",
            'set it to False, or dashboard.flavour = "headlamp"',
        )


def _row(settings: ClusterSettings, place: Place) -> Row:
    token = f"make dashboard-token INVENTORY={place.inventory}"
    return Row("dashboard", f"https://{settings.site('dashboard')}", "any", token)


DASHBOARD = StackType(
    "dashboard",
    DashboardSettings,
    dashboard,
    _row,
    namespace=NAMESPACE,
    site=Site("dashboard", (200, 401)),
    others=others,
    rules=(_admin,),
)

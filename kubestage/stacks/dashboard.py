"""The dashboard, in one of two flavours: Headlamp, or kube-web-view with a login put before it.

People log in with a short-lived token of the ServiceAccount dashboard/dashboard.
"""

from __future__ import annotations

from kubestage.facts.kubernetes import Workload
from kubestage.kubernetes import KUBECTL
from kubestage.settings import ClusterSettings
from kubestage.stacks import sites
from kubestage.stacks.stack import Stack, manifest, render

NAMESPACE = "dashboard"
PEOPLE = "dashboard"  # the ServiceAccount whose tokens let people in
TOKEN_LIFETIME_S = 3600
_PORT, _UPSTREAM_PORT = 8080, 8081  # in kube-web-view's pod: of Envoy, of kube-web-view on the loopback
_CLOCK_SKEW_S = 60  # between who makes a token and who reads it

# What stands in the manifest for the public keys of the API server's tokens, known on the control plane alone.
_KEYS, _KEYS_DIGEST = "@SIGNING_KEYS@", "@SIGNING_KEYS_DIGEST@"
_SHOW_KEYS = f"{KUBECTL} get --raw /openid/v1/jwks"


def flavours(settings: ClusterSettings) -> dict[str, Stack]:
    """Every flavour by its name, as settings.dashboard_flavour has it."""
    return {"headlamp": headlamp(settings), "kube-web-view": kube_web_view(settings)}


def dashboard(settings: ClusterSettings) -> Stack:
    """The flavour that the settings choose."""
    return flavours(settings)[settings.dashboard_flavour]


def other_dashboard(settings: ClusterSettings) -> Stack:
    """The flavour that the settings do not choose. It has the same namespace, and goes before the other one comes."""
    (stack,) = (stack for name, stack in flavours(settings).items() if name != settings.dashboard_flavour)
    return stack


def token_audiences(settings: ClusterSettings, flavour: str) -> list[str]:
    """For whom a person's token is: for the API where Headlamp passes it on, else for the site alone."""
    return [] if flavour == "headlamp" else [_site(settings)]


def headlamp(settings: ClusterSettings) -> Stack:
    """Headlamp, whose login takes a token for the API."""
    content = manifest(
        "headlamp",
        settings,
        access=_access(settings, reader=PEOPLE),
        ingress=sites.ingress(settings, "dashboard", NAMESPACE, "headlamp", 80),
        namespace=NAMESPACE,
        people=PEOPLE,
        session_s=TOKEN_LIFETIME_S,
    )
    return Stack("headlamp", content, workloads=(Workload(NAMESPACE, "Deployment", "headlamp"),))


def kube_web_view(settings: ClusterSettings) -> Stack:
    """kube-web-view behind an Envoy that checks tokens by the cluster's own keys; a run renews the keys."""
    configuration = render(
        "kube-web-view/envoy.yaml.j2",
        settings,
        issuer=_issuer(settings),
        audience=_site(settings),
        subject=f"system:serviceaccount:{NAMESPACE}:{PEOPLE}",
        lifetime_s=TOKEN_LIFETIME_S + _CLOCK_SKEW_S,
        keys=_KEYS,
        port=_PORT,
        upstream_port=_UPSTREAM_PORT,
    )
    content = manifest(
        "kube-web-view",
        settings,
        access=_access(settings, reader="kube-web-view"),
        ingress=sites.ingress(settings, "dashboard", NAMESPACE, "kube-web-view", 80),
        configuration=configuration,
        filter=render("kube-web-view/basic_to_bearer.lua", settings),
        keys_digest=_KEYS_DIGEST,
        namespace=NAMESPACE,
        port=_PORT,
        upstream_port=_UPSTREAM_PORT,
    )
    return Stack(
        "kube-web-view",
        content,
        workloads=(Workload(NAMESPACE, "Deployment", "kube-web-view"),),
        filled={_KEYS: _SHOW_KEYS, _KEYS_DIGEST: f"{_SHOW_KEYS} | sha256sum | cut -c 1-16"},
    )


def _access(settings: ClusterSettings, reader: str) -> str:
    """The namespace, people's account, and what `reader`, an account there, may read."""
    return render("dashboard/access.yaml.j2", settings, namespace=NAMESPACE, people=PEOPLE, reader=reader)


def _site(settings: ClusterSettings) -> str:
    return f"https://{settings.site('dashboard')}"


def _issuer(settings: ClusterSettings) -> str:
    """As whom the API server signs tokens: kubeadm's default, or the flag's first value."""
    (issuer, *_) = settings.apiserver_extra_args.get("service-account-issuer", ("",))
    return issuer or f"https://kubernetes.default.svc.{settings.cluster_domain}"

"""The platform's own sites: https://NAME.<domain>, with the wildcard certificate that stays in one namespace."""

from __future__ import annotations

from kubestage.certificates.platform import WILDCARD_CERTIFICATE, WILDCARD_KEY
from kubestage.settings import ClusterSettings
from kubestage.stacks.stack import Secret, render

WILDCARD = Secret(
    "projectcontour",
    "wildcard",
    {"tls.crt": WILDCARD_CERTIFICATE, "tls.key": WILDCARD_KEY},
    type="kubernetes.io/tls",
)


def ingress(settings: ClusterSettings, name: str, namespace: str, service: str, port: int) -> str:
    """The Ingress `name` (YAML) that serves NAME.<domain> from `service`'s `port`.

    No limits of size or time stand in the way of uploads, downloads and websockets.
    """
    return render(
        "sites/ingress.yaml.j2",
        settings,
        name=name,
        namespace=namespace,
        service=service,
        port=port,
        wildcard=WILDCARD,
    )

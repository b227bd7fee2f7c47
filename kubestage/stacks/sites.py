"""What the platform's own sites have in common: the wildcard certificate, which stays in one namespace."""

from __future__ import annotations

from kubestage.certificates.platform import WILDCARD_CERTIFICATE, WILDCARD_KEY
from kubestage.stacks.stack import Secret

WILDCARD = Secret(
    "projectcontour",
    "wildcard",
    {"tls.crt": WILDCARD_CERTIFICATE, "tls.key": WILDCARD_KEY},
    type="kubernetes.io/tls",
)

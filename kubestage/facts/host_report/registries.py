"""Whether a host can connect to where its images come from, as preflight asks for it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from kubestage.facts.answers import Answers, filled
from kubestage.facts.host_report.wanted import Wanted
from kubestage.kubernetes import KUBELET_CONF

# Whether containerd has a proxy, as systemd starts it.
BEHIND_A_PROXY = "grep -rqi proxy /etc/systemd/system/containerd.service.d /etc/systemd/system.conf.d 2>/dev/null"

_SCRIPT = r"""
try() {  # REGISTRY URL HOST PORT: whether it can be connected to
    error=$(timeout 5 bash -c ": </dev/tcp/$3/$4" 2>&1)
    case $? in
        0) error= ;;
        124) error="no answer within 5 s" ;;
        *) error=$(echo "$error" | sed -n '1s/^bash: //p') ;;
    esac
    echo "registry $1 $2 $error"
}
if ! [ -e @KUBELET_CONF@ ] && [ -z "$(ctr --namespace k8s.io images list --quiet 2>/dev/null)" ] &&
    ! @BEHIND_A_PROXY@; then
    @REGISTRIES@
    wait
fi
"""


@dataclass(frozen=True, kw_only=True)
class Registries:
    """`registries`: of images -> each address where containerd would ask for them -> what is in the way, or "".

    Empty where the host has joined or has images already, and where containerd has a proxy.
    """

    registries: Mapping[str, Mapping[str, str]]


def script(wanted: Wanted) -> str:
    def quoted_host(address: str) -> str:
        url = urlsplit(address)
        return f"{shlex.quote(url.hostname or '')} {url.port or {'http': 80}.get(url.scheme, 443)}"

    asked = [
        f"try {shlex.quote(registry)} {shlex.quote(address)} {quoted_host(address)} &"
        for registry, addresses in wanted.registries.items()
        for address in addresses
    ]
    words = {"REGISTRIES": "\n    ".join(asked), "KUBELET_CONF": KUBELET_CONF, "BEHIND_A_PROXY": BEHIND_A_PROXY}
    return filled(_SCRIPT, words)


def read(said: Answers) -> Registries:
    return Registries(registries=_registries(said.all("registry")))


def _registries(lines: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        registry, address, *error = line.split(" ", 2)
        found.setdefault(registry, {})[address] = " ".join(error)
    return found

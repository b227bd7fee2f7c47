"""The certificates with which kubelets serve: what the API server asks for logs, and metrics-server for numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubestage.facts.framed import Fact
from kubestage.facts.unknown import Unknown, or_unknown, unknown
from kubestage.kubernetes import ADMIN_CONF, KUBECTL

SIGNER = "kubernetes.io/kubelet-serving"


@dataclass(frozen=True)
class Served:
    """`nodes`: those whose kubelet serves with a certificate of the cluster's CA for its address.

    `requests`: the CertificateSigningRequests of kubelets, as the API gives them, on which nobody has decided yet.
    """

    nodes: frozenset[str] = frozenset()
    requests: tuple[dict[str, Any], ...] = ()


class NodeCertificates(Fact[Served | Unknown]):
    """On the control plane: what is Served, of the kubelets at `addresses` (node -> IP address); one round trip."""

    @staticmethod
    def default() -> Unknown:
        return Unknown()

    def ask(self, addresses: Mapping[str, str]) -> str:
        # With admin.conf's own CA and credentials.
        asked = "".join(
            f"{{ {KUBECTL} --server https://{address}:10250 --request-timeout 5s get --raw /healthz >/dev/null 2>&1 "
            f"&& echo serves {name}; }} & "
            for name, address in addresses.items()
        )
        requests = or_unknown(
            f"{KUBECTL} get certificatesigningrequests --request-timeout 10s "
            f"--field-selector spec.signerName={SIGNER} -o json"
        )
        return f"{asked}wait; if test -f {ADMIN_CONF}; then {requests}; else echo none; fi"

    def parse(self, output: Sequence[str]) -> Served | Unknown:
        lines = list(output)
        if lines == ["none"]:
            return Served()
        if silent := unknown(lines):
            return silent
        nodes = frozenset(line.removeprefix("serves ") for line in lines if line.startswith("serves "))
        requests = json.loads("\n".join(line for line in lines if not line.startswith("serves ")))
        undecided = (one for one in requests["items"] if not one.get("status", {}).get("conditions"))
        return Served(nodes, tuple(undecided))

"""The kubelets' serving certificates: requested by each kubelet, approved by a run, signed by the cluster."""

from __future__ import annotations

import base64
import time
from collections.abc import Generator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from pyinfra import host, logger
from pyinfra.api import FunctionCommand, OperationError, StringCommand

from kubestage.cluster.control_plane import ControlPlane
from kubestage.cluster.operation import operation
from kubestage.cluster.shell import call
from kubestage.facts.node_certificates import SIGNER, NodeCertificates
from kubestage.facts.unknown import Unknown
from kubestage.kubernetes import KUBECTL

# https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
_USER, _GROUP = "system:node:", "system:nodes"
_USAGES = (
    ["digital signature", "server auth"],
    ["digital signature", "key encipherment", "server auth"],
)


@operation()
def approvals(
    control_plane: ControlPlane, addresses: Mapping[str, str], awaited: Sequence[str], timeout_s: float = 120
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Approve what the nodes of `addresses` (name -> private address) request for themselves, and nothing else.

    Waits until the kubelets of `awaited` serve with their certificates: each requests one as soon as it is registered.
    """
    asked = {name: addresses[name] for name in awaited}
    deadline = time.monotonic() + timeout_s
    told: set[str] = set()
    changed = looked = False
    while True:
        served = control_plane.ask(NodeCertificates, fresh=looked, addresses=asked)
        looked = True
        if isinstance(served, Unknown):
            yield StringCommand("kubectl certificate approve")  # nobody says what there is to approve
            return
        refused = {request["metadata"]["name"]: refusal(request, addresses) for request in served.requests}
        good = sorted(name for name, reason in refused.items() if not reason)
        waiting = [name for name in awaited if name not in served.nodes]
        if not (good or waiting):
            break
        if not host.state.is_executing:
            yield StringCommand("kubectl certificate approve")  # what there is to approve is not known yet
            return
        for name, reason in refused.items():
            if reason and name not in told:
                told.add(name)
                logger.warning(
                    f"CertificateSigningRequest {name} is left as it is: {reason}. See `kubectl describe csr {name}`."
                )
        if time.monotonic() > deadline:
            raise OperationError(_late(control_plane, waiting, good, timeout_s))
        if good:
            changed = True
            yield call(control_plane.run, f"{KUBECTL} certificate approve {' '.join(good)}")
        else:
            time.sleep(0.3)
    if not changed:
        host.noop(f"serving with certificates of the cluster: {', '.join(awaited)}")


def _late(control_plane: ControlPlane, waiting: Sequence[str], good: Sequence[str], timeout_s: float) -> str:
    if not waiting:
        return (
            f"{control_plane.name}: for {timeout_s:.0f} s the API server did not take the approval of a kubelet's "
            f"certificate. Try there: {KUBECTL} certificate approve {' '.join(good)}"
        )
    return (
        f"{', '.join(waiting)}: after {timeout_s:.0f} s the kubelet does not serve with a certificate of the cluster, "
        "so logs, exec and metrics can't reach it. See there: journalctl -u kubelet | grep -i cert ; "
        f"and on {control_plane.name}: {KUBECTL} get csr"
    )


def refusal(request: Mapping[str, Any], addresses: Mapping[str, str]) -> str:
    """Why a CertificateSigningRequest is not what one of the nodes `addresses` requests for itself; "" if it is."""
    spec = request["spec"]
    user: str = spec.get("username", "")
    name = user.removeprefix(_USER)
    if spec["signerName"] != SIGNER:
        return f"it is for the signer {spec['signerName']}"
    if not user.startswith(_USER) or name not in addresses:
        return f"{user!r} is no node of the inventory, or one whose address is not known"
    if _GROUP not in spec.get("groups", ()):
        return f"{user!r} is not in the group {_GROUP}"
    if sorted(spec["usages"]) not in _USAGES:
        return f"it is for the usages {', '.join(spec['usages'])}"
    try:
        wanted = x509.load_pem_x509_csr(base64.b64decode(spec["request"]))
        signed = wanted.is_signature_valid
        subject = sorted((attribute.rfc4514_attribute_name, attribute.value) for attribute in wanted.subject)
        names = list(wanted.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return "it names no host and no address"
    except ValueError as error:
        return f"it can't be read: {error}"
    if not signed:
        return "its signature does not fit"
    if subject != [("CN", user), ("O", _GROUP)]:
        return f"its subject is {wanted.subject.rfc4514_string()!r}"
    own = [x509.DNSName(name), x509.IPAddress(ip_address(addresses[name]))]
    if not names or any(other not in own for other in names):
        return f"it is for {', '.join(repr(other.value) for other in names)}, and not for {name} alone"
    return ""

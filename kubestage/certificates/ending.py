"""Which certificates of a host end soon, and who renews which.

`found` is what a HostReport has: path -> the certificate in the file, None where it can't be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from kubestage.certificates import pem
from kubestage.certificates.platform import PKI, is_late
from kubestage.kubernetes import KUBEADM_CERTIFICATES, KUBECONFIGS, KUBELET_CLIENT, KUBELET_SERVER

Found = Mapping[str, x509.Certificate | None]

CA_MANUAL = "https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/"
_KUBELET_RENEWS_AT = 0.1  # of its life that is left: a kubelet renews its own when 30 to 10 % are


@dataclass(frozen=True)
class Due:
    """What a run renews on a host.

    `kubeadm`: paths of kubeadm's own on a control plane host; `unfinished`: a run was killed while it renewed those.
    `kubelet_server`: the kubelet's serving certificate. `kubelet_client`: the one with which it asks the API server has
    ended: before that it renews it by itself.
    """

    kubeadm: tuple[str, ...] = ()
    unfinished: bool = False
    kubelet_server: bool = False
    kubelet_client: bool = False

    @property
    def control_plane(self) -> bool:
        """Whether those of a control plane host are renewed: all of kubeadm's, and the kubelet's if need be."""
        return bool(self.kubeadm) or self.unfinished or self.kubelet_client


def due(found: Found, unfinished: bool, now: datetime, renew_days: int) -> Due:
    return Due(
        kubeadm_due(found, now, renew_days),
        unfinished,
        kubelet_server_due(found, now, renew_days),
        kubelet_client_over(found, now),
    )


def kubeadm_due(found: Found, now: datetime, renew_days: int) -> tuple[str, ...]:
    """kubeadm's own but for its CAs, on a control plane host: a run renews all of them where there are any of these."""
    return tuple(
        path
        for path, each in _late(found, now, renew_days)
        if (path.startswith(f"{KUBEADM_CERTIFICATES}/") or path in KUBECONFIGS)
        and not pem.is_ca(each)
        and not _ends_with_its_ca(each, found)
    )


def kubelet_server_due(found: Found, now: datetime, renew_days: int) -> bool:
    """Whether a run has the kubelet request a serving certificate anew."""
    each = found.get(KUBELET_SERVER)
    return each is not None and is_late(each, now, renew_days) and not _ends_with_its_ca(each, found)


def kubelet_client_over(found: Found, now: datetime) -> bool:
    """Whether the kubelet can't talk to the API server any more, nor get itself another certificate."""
    each = found.get(KUBELET_CLIENT)
    return each is not None and each.not_valid_after_utc < now


def _late(found: Found, now: datetime, renew_days: int) -> Iterator[tuple[str, x509.Certificate]]:
    """Those that end soon, the first one first."""
    known = ((path, each) for path, each in found.items() if each is not None)
    for path, each in sorted(known, key=lambda one: (one[1].not_valid_after_utc, one[0])):
        if is_late(each, now, renew_days):
            yield path, each


def _ends_with_its_ca(each: x509.Certificate, found: Found) -> bool:
    """Whether it lives as long as its CA lets it: a new one would end as early."""
    return any(
        ca is not None and ca.subject == each.issuer and ca.not_valid_after_utc <= each.not_valid_after_utc
        for ca in found.values()
        if ca is not each
    )


def said(found: Found, now: datetime, renew_days: int) -> Iterator[str]:
    """What a person should know of a host's certificates, a sentence each: what ends soon, and who renews it."""
    due = kubeadm_due(found, now, renew_days)
    if due:
        first = found[due[0]]
        assert first is not None
        more = f" and {len(due) - 1} more of the control plane" if len(due) > 1 else ""
        yield f"{due[0]}{more} {_when(first, now)}: a run for this host renews what is kubeadm's"
    for path, each in _late(found, now, renew_days):
        if path.startswith(f"{KUBEADM_CERTIFICATES}/") and pem.is_ca(each):
            yield f"{path}, a CA of the cluster, {_when(each, now)}, and no run renews it: see {CA_MANUAL}"
        elif path == KUBELET_SERVER:
            yield f"{path} {_when(each, now)}: a run for this host has the kubelet request a new one"
        elif path == KUBELET_CLIENT:
            life = each.not_valid_after_utc - each.not_valid_before_utc
            if each.not_valid_after_utc < now:
                yield f"{path} {_when(each, now)}: a run for this host has the kubelet ask for a new one by a token"
            elif each.not_valid_after_utc - now < life * _KUBELET_RENEWS_AT:
                log = "journalctl -u kubelet | grep -i certificate"
                yield f"{path} {_when(each, now)}, and the kubelet should have renewed it by now: {log}"
        elif path.startswith(f"{PKI}/"):
            yield f"{path} {_when(each, now)}: a run for this host replaces it, unless it is your own"
    for path, unread in found.items():
        if unread is None:
            yield f"{path} is there, and holds no certificate that can be read"


def _when(each: x509.Certificate, now: datetime) -> str:
    ends = each.not_valid_after_utc
    if ends < now:
        return f"ended on {ends:%Y-%m-%d}"
    return f"ends on {ends:%Y-%m-%d}, in {days_left(each, now)} days"


def days_left(each: x509.Certificate, now: datetime) -> int:
    """Whole days until it ends, below 0 where it has."""
    return (each.not_valid_after_utc - now) // timedelta(days=1)

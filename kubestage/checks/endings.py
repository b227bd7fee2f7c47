"""What preflight tells of certificates that end; nothing of it is a reason not to run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from kubestage.certificates import pem
from kubestage.certificates.ending import days_left, said
from kubestage.certificates.platform import is_late
from kubestage.checks.cluster_hosts import ClusterHosts


def of_hosts(hosts: ClusterHosts) -> Iterator[str]:
    now, renew_days = datetime.now(UTC), hosts.common.certificate_renew_days
    for name, _, report in hosts:
        if hosts.is_member(name):
            for sentence in said(report.certificates, now, renew_days):
                yield f"{name}: {sentence}"


def of_the_user(hosts: ClusterHosts) -> Iterator[str]:
    """The user's own, whose files are on this machine: no run renews them."""
    now, common = datetime.now(UTC), hosts.common
    for name in ("ca_certificate", "wildcard_certificate"):
        if path := getattr(common, name):
            for each in pem.certificates(pem.text(Path(path).expanduser().read_bytes())):
                if is_late(each, now, common.certificate_renew_days):
                    whose, left = each.subject.rfc4514_string(), days_left(each, now)
                    ends = f"{each.not_valid_after_utc:%Y-%m-%d}, in {left} days"
                    yield f"{name} = {path!r}: {whose!r} ends on {ends}: renew it"


def first_to_end(hosts: ClusterHosts) -> str:
    """Which of all certificates on the hosts ends first; "" where there is none."""
    now = datetime.now(UTC)
    known = [
        (each.not_valid_after_utc, path, name, days_left(each, now))
        for name, _, report in hosts
        for path, each in report.certificates.items()
        if each is not None
    ]
    if not known:
        return ""
    ends, path, name, days = min(known)
    return f"Of {len(known)} certificates on the hosts, {path} on {name} ends first: {ends:%Y-%m-%d}, in {days} days"

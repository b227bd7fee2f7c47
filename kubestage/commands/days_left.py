"""How long all certificates of a cluster live yet: on its hosts, asked over SSH, and on this machine."""

from __future__ import annotations

import base64
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path

import yaml
from cryptography import x509
from gevent.pool import Pool
from pyinfra.api import Config
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.facts import get_fact
from pyinfra.context import ctx_config, ctx_host, ctx_state

from kubestage.certificates import pem
from kubestage.certificates.ending import Found, days_left, said
from kubestage.cluster.inventory import Target
from kubestage.facts.host_certificates import HostCertificates
from kubestage.kubernetes import KUBELET_CLIENT, KUBELET_SERVER

HERE = "this machine"
_WIDTH = 118
_SHORT = {KUBELET_CLIENT: "kubelet-client", KUBELET_SERVER: "kubelet-server"}


def ask(target: Target) -> dict[str, Found | str]:
    """Host, or HERE -> its certificates by their paths; or why they are not known."""
    names = target.cluster.nodes
    answers = Pool(len(names)).map(lambda name: _ask_host(target, name), names)
    return {HERE: _of_this_machine(target), **dict(zip(names, answers, strict=True))}


def _ask_host(target: Target, name: str) -> Found | str:
    host = target.host(name)
    config = Config()  # type: ignore[no-untyped-call]
    try:
        with ctx_state.use(target.state), ctx_config.use(config), ctx_host.use(host):
            found: Found = get_fact(target.state, host, HostCertificates, apply_failed_hosts=False)
    except PyinfraError as error:
        return str(error)
    return found or "it gave no answer"


def _of_this_machine(target: Target) -> Found:
    """The client's in the kubeconfig, and the files that settings name."""
    common = target.cluster.common
    found: dict[str, x509.Certificate | None] = {}
    user = yaml.safe_load(target.kubeconfig.read_text())["users"][0]["user"]
    data = base64.b64decode(user.get("client-certificate-data", ""))
    texts = {str(target.kubeconfig): pem.text(data)} if data else {}
    for path in (common.ca_certificate, common.wildcard_certificate):
        if path:
            texts[path] = pem.text(Path(path).expanduser().read_bytes())
    for path, content in texts.items():
        try:
            found[path] = pem.first(content)
        except ValueError:
            found[path] = None
    return found


def troubles(answers: Mapping[str, Found | str], now: datetime, renew_days: int) -> list[str]:
    """What ends soon and who renews it, a sentence each, with the host before it."""
    return [
        f"{name}: {sentence}"
        for name, found in answers.items()
        if not isinstance(found, str)
        for sentence in said(found, now, renew_days)
    ]


def table(answers: Mapping[str, Found | str], now: datetime) -> str:
    """All certificates with their days left, those that end first before the others; of a host and a day in a row."""
    rows: dict[tuple[date, int, str], list[str]] = defaultdict(list)
    for name, found in answers.items():
        if not isinstance(found, str):
            for path, each in found.items():
                if each is not None:
                    rows[each.not_valid_after_utc.date(), days_left(each, now), name].append(_short(path))
    lines = [f"{'DAYS':>7}  {'ENDS':<10}  {'WHERE':<12}  CERTIFICATES"]
    for (ends, days, name), paths in sorted(rows.items()):
        lines += textwrap.wrap(
            f"{days:>7}  {ends:%Y-%m-%d}  {name:<12}  " + ", ".join(sorted(paths)),
            _WIDTH,
            subsequent_indent=" " * 35,
            drop_whitespace=True,
            break_long_words=False,
            break_on_hyphens=False,
        )
    lines += list(_unknown(answers))
    return "\n".join(lines)


def as_rows(answers: Mapping[str, Found | str], now: datetime) -> list[dict[str, object]]:
    """For programs: a certificate a row; "days" and "ends" (ISO 8601) are null where it can't be read."""
    return [
        {
            "where": name,
            "path": path,
            "days": days_left(each, now) if each else None,
            "ends": each.not_valid_after_utc.isoformat() if each else None,
        }
        for name, found in answers.items()
        if not isinstance(found, str)
        for path, each in found.items()
    ]


def _unknown(answers: Mapping[str, Found | str]) -> Iterator[str]:
    for name, found in answers.items():
        if isinstance(found, str):
            yield f"      ?  not known     {name:<12}  {found}"
        else:
            for path, each in found.items():
                if each is None:
                    yield f"      ?  not readable  {name:<12}  {path}"


def _short(path: str) -> str:
    return _SHORT.get(path, path.removeprefix("/etc/kubernetes/").removesuffix(".crt"))

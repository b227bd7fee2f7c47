"""How a cluster and its platform do, seen from this machine."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from kubestage.commands.api import Api
from kubestage.commands.web import Site, SiteError
from kubestage.facts.kubernetes import Workload
from kubestage.facts.pressure import by_summary, conditions, pressures, told
from kubestage.kubernetes import BACKED_UP, BACKUP_TIME
from kubestage.settings import ClusterSettings
from kubestage.stacks.catalogue import STACKS, chosen


@dataclass(frozen=True)
class Health:
    """What to say where all is well, and what is not, in a few words each."""

    well: str
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """A site's at one node: the HTTP status and when its certificate ends; or why there was none."""

    status: int = 0
    valid_until: datetime | None = None
    error: str = ""


def readiness(api: Api) -> dict[Workload, tuple[int, int]]:
    """Every workload -> how many of its pods are ready and of its current version, and how many there should be."""
    found = {}
    for each in api.items("/apis/apps/v1/deployments"):
        status = each["status"]  # JSON has no count of 0 in it
        ready = min(status.get("updatedReplicas", 0), status.get("readyReplicas", 0))
        found[_workload("Deployment", each)] = (ready, each["spec"]["replicas"])
    for each in api.items("/apis/apps/v1/daemonsets"):
        status = each["status"]
        ready = min(status.get("updatedNumberScheduled", 0), status["numberReady"])
        found[_workload("DaemonSet", each)] = (ready, status["desiredNumberScheduled"])
    return found


def _workload(kind: str, found: Mapping[str, Any]) -> Workload:
    return Workload(found["metadata"]["namespace"], kind, found["metadata"]["name"])


def summaries(api: Api, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Node -> its kubelet's stats/summary, for those that answer; all at once."""

    def ask(name: str) -> dict[str, Any]:
        try:
            return dict(api.get(f"/api/v1/nodes/{name}/proxy/stats/summary"))
        except (ApiException, HTTPError, ValueError):
            return {}

    with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
        return {name: found for name, found in zip(names, pool.map(ask, names), strict=True) if found}


def shortages(nodes: Iterable[Any], summaries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each pressure of a node, with how much is left by its kubelet's summary."""
    lines = []
    for node in nodes:
        name = node["metadata"]["name"]
        kinds = pressures(conditions(node))
        lines += [told(name, kind, by_summary(kind, summaries.get(name, {}))) for kind in kinds]
    return lines


def ask_sites(settings: ClusterSettings, addresses: Mapping[str, str], ca: Path | None) -> dict[str, dict[str, Answer]]:
    """Stack -> node -> what its site answers there, at the node's address of `addresses`; all at once.

    The certificate has to be of `ca`, or of a CA that this machine trusts where there is none.
    """
    if "ingress" not in settings.stacks:
        return {}
    context = ssl.create_default_context(cafile=ca)
    names = {name: kind.site.name for name, kind in STACKS.items() if kind.site and name in settings.stacks}
    asked = [(stack, node) for stack in names for node in addresses]

    def ask(stack: str, node: str) -> Answer:
        return ask_site(addresses[node], settings.https_port, f"{names[stack]}.{settings.domain}", context)

    answers: dict[str, dict[str, Answer]] = {}
    with ThreadPoolExecutor() as pool:
        for (stack, node), answer in zip(asked, pool.map(ask, *zip(*asked, strict=True)), strict=True):
            answers.setdefault(stack, {})[node] = answer
    return answers


def ask_site(address: str, port: int, host: str, context: ssl.SSLContext) -> Answer:
    """GET https://HOST:PORT/ from the machine at `address`, whatever DNS says of the host."""
    try:
        answer = Site(host, address, port, context).ask()
    except SiteError as error:
        return Answer(error=str(error))
    return Answer(answer.status, x509.load_der_x509_certificate(answer.certificate).not_valid_after_utc)


def platform_health(
    settings: ClusterSettings,
    names: Sequence[str],
    nodes: Iterable[Any],
    short: Sequence[str],
    ready: Mapping[Workload, tuple[int, int]],
    records: Mapping[str, str],
    answers: Mapping[str, Mapping[str, Answer]],
    now: datetime,
) -> dict[str, Health]:
    """What the overview has a row for -> its health. `names`: of the inventory's hosts; `nodes`: Node objects.

    `short`: what nodes are short of. `records`: stack -> the digest of what was applied of it.
    """
    health = {"API": _nodes_health(names, nodes, short)}
    for name, stack in chosen(settings).items():
        troubles = [*_not_ready(stack.workloads, ready), *_not_served(name, answers.get(name, {}))]
        if not troubles and records.get(stack.name) != stack.digest:
            troubles = ["it was applied by other settings than these"]
        health[name] = Health("serves on every node" if name in answers else "ready", tuple(troubles))
    ends = [answer.valid_until for found in answers.values() for answer in found.values() if answer.valid_until]
    if ends:
        health["certificate"] = _certificate_health(min(ends), now, settings.certificate_renew_days)
    return health


def _nodes_health(names: Sequence[str], nodes: Iterable[Any], short: Sequence[str]) -> Health:
    ready = {node["metadata"]["name"] for node in nodes if ("Ready", "True") in conditions(node)}
    return Health(
        f"{len(names)} of {len(names)} nodes Ready",
        (*(f"node {name} is not Ready" for name in names if name not in ready), *(f"node {each}" for each in short)),
    )


def etcd_health(names: Sequence[str], pods: Iterable[Any]) -> Health:
    """`names`: of the hosts that are to have a member; `pods`: etcd's. It takes writes while most of them are ready."""
    ready = {pod["spec"].get("nodeName") for pod in pods if ("Ready", "True") in conditions(pod)}
    away = [name for name in names if name not in ready]
    few = () if 2 * len(away) < len(names) else ("nobody can write",)
    return Health(
        f"{len(names)} of {len(names)} members ready", (*(f"its member on {name} is not ready" for name in away), *few)
    )


def backup_health(namespaces: Iterable[Any]) -> Health:
    """`namespaces`: the platform's own, which says when the last one was made."""
    for each in namespaces:
        if when := each["metadata"].get("annotations", {}).get(BACKED_UP):
            return Health(f"of {datetime.strptime(when, BACKUP_TIME):%Y-%m-%d %H:%M} UTC")
    return Health("none yet")


def _not_ready(workloads: Iterable[Workload], ready: Mapping[Workload, tuple[int, int]]) -> list[str]:
    troubles = []
    for workload in workloads:
        name = f"{workload.kind} {workload.namespace}/{workload.name}"
        there, wanted = ready.get(workload, (0, 0))
        if workload not in ready:
            troubles.append(f"no {name}")
        elif there < wanted:
            troubles.append(f"{name}: {there} of {wanted} ready")
    return troubles


def _not_served(stack: str, answers: Mapping[str, Answer]) -> list[str]:
    nodes: dict[str, list[str]] = {}
    site = STACKS[stack].site
    for node, answer in answers.items():
        if answer.error or (site and answer.status not in site.statuses):
            nodes.setdefault(answer.error or f"HTTP {answer.status}", []).append(node)
    return [f"at {', '.join(where)}: {what}" for what, where in nodes.items()]


def _certificate_health(ends: datetime, now: datetime, renew_days: int) -> Health:
    when = f"{ends:%Y-%m-%d}"
    return Health(f"until {when}", (f"it ends on {when}",) if ends - now < timedelta(days=renew_days) else ())

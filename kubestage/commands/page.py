"""The page of `make status`: all that is looked at, all of it at once; then as text or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from kubestage.certificates.ending import Found
from kubestage.cluster.inventory import CHECKOUT, Target, TargetError
from kubestage.commands import days_left
from kubestage.commands.api import Api, connected
from kubestage.commands.health import (
    ask_sites,
    backup_health,
    etcd_health,
    platform_health,
    readiness,
    shortages,
    summaries,
)
from kubestage.commands.inside import NodeRow, VolumeRow, leftovers, node_rows, volume_rows
from kubestage.kubernetes import PLATFORM_NAMESPACE
from kubestage.output.kept import LastRun, last_run
from kubestage.output.overview import Overview, overview
from kubestage.output.overview import text as overview_text
from kubestage.output.table import table
from kubestage.stacks.catalogue import chosen
from kubestage.stacks.stack import RECORD_TYPE, recorded
from kubestage.stacks.stack_type import Place


@dataclass(frozen=True)
class Page:
    """`certificates`: as days_left.ask gives them. `leftovers`, `troubles`: a line each."""

    when: datetime
    deploy: str
    overview: Overview
    nodes: Sequence[NodeRow]
    volumes: Sequence[VolumeRow]
    certificates: Mapping[str, Found | str]
    leftovers: Sequence[str]
    last_run: LastRun | None
    troubles: Sequence[str]


def look(target: Target) -> Page:
    """An inventory's cluster as it is now; TargetError where its API does not answer, with what may be the reason."""
    settings, now = target.cluster.common, datetime.now(UTC)
    ca = target.ca if target.ca.exists() else None
    addresses = {name: target.outside_address(name) for name in target.cluster.nodes}
    with ThreadPoolExecutor() as aside:
        asked = aside.submit(days_left.ask, target)
        sites = aside.submit(ask_sites, settings, addresses, ca)
        try:
            with connected(target) as api:
                found = _asked(api)
        except TargetError as error:
            # One that has ended may be the reason.
            raise TargetError(f"{error}\n\n{days_left.table(asked.result(), now)}") from None
        certificates, answers = asked.result(), sites.result()
    short = shortages(found["nodes"], found["summaries"])
    health = platform_health(
        settings,
        target.cluster.nodes,
        found["nodes"],
        short,
        found["ready"],
        found["records"],
        answers,
        now,
    )
    members = target.cluster.control_plane if len(target.cluster.control_plane) > 1 else ()
    if members:
        health["etcd"] = etcd_health(members, found["etcd"])
    health["backup"] = backup_health(found["namespace"])
    words = {what: "not well" if each.troubles else each.well for what, each in health.items()}
    place = Place(target.inventory, target.folder.relative_to(CHECKOUT), target.first, api.server, addresses, members)
    ours = {workload.namespace for stack in chosen(settings).values() for workload in stack.workloads}
    troubles = [f"{what}: {trouble}" for what, each in health.items() for trouble in each.troubles]
    return Page(
        when=now,
        deploy=target.deploy,
        overview=overview(settings, place, has_ca=ca is not None).with_health(words),
        nodes=node_rows(found["nodes"], found["summaries"]),
        volumes=volume_rows(found["volumes"]),
        certificates=certificates,
        leftovers=leftovers(found["pods"], {*ours, "kube-flannel", "kube-system"}),
        last_run=last_run(target.folder),
        troubles=[*troubles, *days_left.troubles(certificates, now, settings.certificate_renew_days)],
    )


def records(api: Api) -> dict[str, str]:
    """Stack -> its digest when it was applied. No other Secret beside the records is asked for."""
    path = f"/api/v1/namespaces/{PLATFORM_NAMESPACE}/secrets"
    return recorded(api.items(path, fieldSelector=f"type={RECORD_TYPE}"))


def _asked(api: Api) -> dict[str, Any]:
    """What the API server says of each of these; ApiException or HTTPError where it does not."""
    nodes = api.items("/api/v1/nodes")
    asked: dict[str, Callable[[], Any]] = {
        "summaries": lambda: summaries(api, [node["metadata"]["name"] for node in nodes]),
        "ready": lambda: readiness(api),
        "volumes": lambda: api.items("/api/v1/persistentvolumes"),
        "records": lambda: records(api),
        "namespace": lambda: api.items("/api/v1/namespaces", fieldSelector=f"metadata.name={PLATFORM_NAMESPACE}"),
        "etcd": lambda: api.items("/api/v1/namespaces/kube-system/pods", labelSelector="component=etcd"),
        "pods": lambda: api.items("/api/v1/pods", fieldSelector="status.phase=Failed"),
    }
    with ThreadPoolExecutor() as pool:
        answers = {name: pool.submit(question) for name, question in asked.items()}
        return {"nodes": nodes, **{name: answer.result() for name, answer in answers.items()}}


def text(page: Page) -> str:
    """For people."""
    parts = [
        overview_text(page.overview),
        _rows(NodeRow, page.nodes),
        _rows(VolumeRow, page.volumes),
        days_left.table(page.certificates, page.when),
        _last_run(page.last_run),
        _list("Left over, and to be deleted once you have seen why:", page.leftovers),
        _list("Not well:", page.troubles, f"What a run can mend, it does: {page.deploy}"),
    ]
    return "\n\n".join(part for part in parts if part)


def _rows(kind: type[NodeRow | VolumeRow], rows: Sequence[NodeRow | VolumeRow]) -> str:
    titles = [field.name.replace("_", " ").upper() for field in fields(kind)]
    return "\n".join(table(titles, [astuple(row) for row in rows])) if rows else ""


def _list(title: str, lines: Sequence[str], end: str = "") -> str:
    return "\n  ".join([title, *lines, *([end] if end else [])]) if lines else ""


def _last_run(run: LastRun | None) -> str:
    """When it was, what came of it, what it changed and how long its phases took; "" if there was none."""
    if run is None:
        return ""
    changed = [f"{operation} ({', '.join(hosts)})" for operation, hosts in run.changes.items()]
    phases = [f"{title:<24}{seconds:7.1f} s" for title, seconds in run.phases.items()]
    return "\n  ".join([f"The last run from here, {run.began:%Y-%m-%d %H:%M}: {run.ending}", *changed, *phases])


def as_json(page: Page) -> str:
    """For programs: times in ISO 8601, days left of each certificate, "well" where there is no trouble."""
    run = page.last_run
    return json.dumps(
        {
            "when": page.when.isoformat(timespec="seconds"),
            "well": not page.troubles,
            "troubles": list(page.troubles),
            "platform": [asdict(row) for row in page.overview.rows],
            "nodes": [asdict(row) for row in page.nodes],
            "volumes": [asdict(row) for row in page.volumes],
            "certificates": days_left.as_rows(page.certificates, page.when),
            "leftovers": list(page.leftovers),
            "last_run": {**asdict(run), "began": run.began.isoformat(timespec="seconds")} if run else None,
        },
        indent=2,
    )

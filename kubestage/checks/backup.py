"""Check that a cluster can be backed up, and a backup restored, before any host is touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyinfra import logger
from pyinfra.api.state import State

from kubestage.backups.archive import Archive, BackupError
from kubestage.backups.archive import checked as checked_archive
from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.checks.preflight import BACKUP, IDENTITY, RULES, Checked, PreflightError, checked, gather, once
from kubestage.checks.volumes import REGISTRY
from kubestage.cluster.answers import ask
from kubestage.cluster.encryption import planned
from kubestage.facts.backups import RestoredFrom
from kubestage.kubernetes import RESET
from kubestage.settings import Problem
from kubestage.settings.cluster import ALL_HOSTS, INVENTORY
from kubestage.settings.values import parse_version


def check(state: State) -> Checked:
    """The cluster lives, and somebody is named who can read what is written. PreflightError with what is in the way."""
    return once(state, _check)


def _check(state: State) -> Checked:
    hosts, problems = gather(state)
    if not hosts.common.backup_recipients:
        problems.append(
            hosts.cluster.wrong(
                "backup_recipients",
                "nobody is named who could read a backup",
                'make a key, age-keygen -o backup.key, keep it elsewhere, and name its public one: "age1..."',
            )
        )
    if not hosts.living:
        problems.append(
            Problem("the cluster", "its API does not answer: there is nothing to back up", "see: make status")
        )
    if problems:
        raise PreflightError("Backup", problems)
    return checked(state, hosts)


def check_restore(state: State) -> Checked:
    """The backup opens, is whole, and is of this cluster; its hosts are blank, or are being made of it already."""
    return once(state, _check_restore)


def _check_restore(state: State) -> Checked:
    archive = _archive(state)
    hosts, problems = gather(state)
    if "registry" not in hosts.common.stacks:
        archive = replace(archive, blobs=None)
    for rule in RULES:
        problems += rule(hosts)
    problems += fits(hosts, archive)
    targeted = {host.name for host in state.inventory.get_active_hosts()}
    if left := [name for name in hosts.cluster.nodes if name not in targeted]:
        problems.append(
            Problem(
                INVENTORY,
                f"a cluster is restored on all of its hosts: {', '.join(left)} is left out",
                "give no --limit",
            )
        )
    is_made = any(report.initialized for report in hosts.reports.values())
    if is_made and not hosts.living:
        problems.append(Problem(hosts.leader, "it is of a cluster whose API does not answer", "see: make status"))
    if not problems and is_made:
        speaker = state.inventory.get_host(hosts.leader)
        if ask(RestoredFrom, of=speaker) != archive.mark:
            problems.append(
                Problem(
                    hosts.leader,
                    "it is of a cluster that was not made of this backup, and nothing is restored over that",
                    "rebuild all hosts first: python -m kubestage rebuild INVENTORY HOST... --destroy-cluster; or give "
                    f"there: {RESET}",
                )
            )
    if problems:
        raise PreflightError("Restore", problems)
    encryption = planned(state, hosts, rotates=False) if is_made else archive.encryption
    if not is_made:
        for line in told(hosts, archive):
            logger.warning(line)
    return replace(checked(state, hosts), encryption=encryption, backup=archive)


def _archive(state: State) -> Archive:
    given: dict[str, Any] = state.inventory.override_data
    for name, what in (
        (BACKUP, "the folder of a backup, .state/NAME/backups/TIME"),
        (IDENTITY, "the file with its key"),
    ):
        if not given.get(name):
            raise PreflightError(
                "Restore", [Problem("the command line", f"it does not name {what}", f"add: --data {name}=PATH")]
            )
    try:
        return checked_archive(Path(str(given[BACKUP])), Path(str(given[IDENTITY])))
    except BackupError as error:
        remedy = f"name a backup that is whole, and the file of its key: --data {BACKUP}=PATH --data {IDENTITY}=PATH"
        raise PreflightError("Restore", [Problem("the backup", str(error), remedy)]) from None


def fits(hosts: ClusterHosts, archive: Archive) -> Iterator[Problem]:
    """What nobody can change in a cluster: restored, it has them as they were."""
    common, was = hosts.common, archive.kubeadm
    then, now = archive.version, hosts.cluster.kubernetes_version
    if parse_version(then)[:2] != parse_version(now)[:2]:
        yield Problem(
            ALL_HOSTS,
            f"the backup is of Kubernetes {then}: etcd's data is read by the programs that wrote it",
            f'restore with kubernetes_version = "{then}", and upgrade afterwards: upgrade.py',
            "kubernetes_version",
            now,
        )
    network = was.get("networking", {})
    for setting, own, found in (
        ("cluster_name", common.cluster_name, was.get("clusterName")),
        ("cluster_domain", common.cluster_domain, network.get("dnsDomain")),
        ("pod_cidr", str(common.pod_cidr), network.get("podSubnet")),
        ("service_cidr", str(common.service_cidr), network.get("serviceSubnet")),
    ):
        if own != found:
            yield Problem(ALL_HOSTS, f'the backup is of a cluster with "{found}"', "set that", setting, own)


def told(hosts: ClusterHosts, archive: Archive) -> Iterator[str]:
    """What is not in it."""
    gone = [name for name in archive.nodes if name not in hosts.cluster.nodes]
    empty = sorted(each.claim for each in archive.volumes if each.node not in gone and each.claim != REGISTRY)
    lost = sorted(each.claim for each in archive.volumes if each.node in gone and each.claim != REGISTRY)
    if empty:
        yield f"What was in these volumes is not in the backup; they will be empty: {', '.join(empty)}"
    if gone:
        yield f"These nodes were there, and are in no group now: {', '.join(gone)}" + (
            f"; with them go the volumes of {', '.join(lost)}" if lost else ""
        )
    if archive.blobs is None and "registry" in hosts.common.stacks:
        yield "The registry's images are not in the backup: it will be empty"

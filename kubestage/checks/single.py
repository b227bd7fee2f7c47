"""Rules about one host, whatever the others are."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from difflib import get_close_matches

from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.checks.wanted import packages as packages_of
from kubestage.facts.host_report import KUBERNETES_PACKAGES, TOOLS, HostReport
from kubestage.kubernetes import INIT_UNIT, INITIALIZED, RESET
from kubestage.settings import HostSettings, Problem
from kubestage.settings.cluster import CONTROL_PLANE, WORKERS

SYSTEMS = {("debian", "12"), ("debian", "13"), ("ubuntu", "22.04"), ("ubuntu", "24.04")}
ARCHITECTURES = ("amd64", "arm64")


def root(hosts: ClusterHosts) -> Iterator[Problem]:
    for name, _, report in hosts:
        if report.uid != 0:
            yield Problem(
                name,
                "commands run there without root's rights",
                'log in as root (ssh_user = "root"), or by sudo (_sudo = True in the host\'s data or in group_data)',
                "user id",
                report.uid,
            )


def system(hosts: ClusterHosts) -> Iterator[Problem]:
    supported = ", ".join(f"{os_id} {version}" for os_id, version in sorted(SYSTEMS))
    for name, _, report in hosts:
        if (report.os_id, report.os_version) not in SYSTEMS:
            yield Problem(
                name,
                "the operating system is not supported",
                f"install one of: {supported}",
                "os",
                f"{report.os_id} {report.os_version}".strip(),
            )
        if report.architecture not in ARCHITECTURES:
            yield Problem(
                name,
                "there are no packages and images for it",
                f"use a machine of one of: {', '.join(ARCHITECTURES)}",
                "architecture",
                report.architecture,
            )
        for tool in TOOLS:
            if tool not in report.tools:
                package = {"ip": "iproute2", "systemctl": "systemd"}.get(tool, "apt")
                yield Problem(
                    name, f"it has no {tool}", f"install the package {package} there: apt-get install {package}"
                )


def size(hosts: ClusterHosts) -> Iterator[Problem]:
    for name, settings, report in hosts:
        for what, unit, has, setting in (
            ("cpus", "", report.cpus, "require_cpus"),
            ("memory", " MiB", report.memory_mib, "require_memory_mib"),
        ):
            least: int = getattr(settings, setting)
            if has < least:
                yield Problem(
                    name,
                    f"too little: at least {least}{unit} is asked for",
                    f"give the machine more, or lower {setting} for it",
                    what,
                    f"{has}{unit}",
                )


def membership(hosts: ClusterHosts) -> Iterator[Problem]:
    for name, _, report in hosts:
        if report.uid == 0 and name not in hosts.cluster.control_plane and report.admin_ca == hosts.ca != "":
            yield Problem(
                name,
                f"it is of this cluster's control plane, and a run can't make it one of the {WORKERS}",
                f"put it back into {CONTROL_PLANE}",
                "group",
                WORKERS,
            )
        if report.uid != 0 or hosts.is_member(name):
            continue
        if name in hosts.cluster.control_plane:
            yield from _control_plane(hosts, name, report)
        elif report.kubelet_conf:
            if not hosts.ca and hosts.leader not in hosts.reports:
                continue  # the control plane did not answer: that is a problem of its own
            why = "our control plane has another CA" if hosts.ca else "our control plane is not initialised"
            yield Problem(
                name,
                f"the host is a node of another cluster: {why}",
                f"check that this is the right machine; to give up its old cluster: {RESET}",
                "API server in kubelet.conf",
                report.kubelet_server,
            )


def _control_plane(hosts: ClusterHosts, name: str, report: HostReport) -> Iterator[Problem]:
    left = report.debris or report.admin_conf or report.kubelet_conf
    if hosts.ca and {report.admin_ca, report.kubelet_ca} <= {"", hosts.ca} and (report.ours or not left):
        if report.kubelet_conf and not report.admin_conf:
            yield Problem(
                name,
                f"it is a worker of this cluster, and a run can't make it one of the {CONTROL_PLANE}",
                f"put it back into {WORKERS}; or drain the node, give on {name}: {RESET} ; then run the deploy again",
                "group",
                CONTROL_PLANE,
            )
        return  # what a join that was ended has left is mended by the next one
    if hosts.ca and hosts.leader != name and report.initialized and report.admin_conf:
        yield Problem(
            name,
            f"it is of the control plane of another cluster than {hosts.leader}",
            f"check that this is the right machine; to give up its cluster: {RESET}",
            "API server in kubelet.conf",
            report.kubelet_server,
        )
    elif left and report.ours:
        yield Problem(
            name,
            f"an earlier `kubeadm init` did not come to its end; its log is /var/log/{INIT_UNIT}.log"
            if not report.initialized
            else "the control plane was initialised, but its admin.conf is gone",
            f"nothing of an unfinished cluster can be in use; on {name}: {RESET} ; then run the deploy again"
            if not report.initialized
            else f"on {name}: kubeadm init phase kubeconfig admin ; or, to begin anew: {RESET}",
            "success marker",
            f"{INITIALIZED} {'present' if report.initialized else 'absent'}",
        )
    elif left:
        yield Problem(
            name,
            "the host belongs to a cluster that was not made by kubestage",
            f"check that this is the right machine; to give up that cluster: {RESET}",
            "API server in kubelet.conf",
            report.kubelet_server,
        )


def packages(hosts: ClusterHosts) -> Iterator[Problem]:
    """The mirror, as the host sees it. A host that has every pinned package already has not asked it."""
    for name, settings, report in hosts:
        if (report.os_id, report.os_version) not in SYSTEMS or report.repositories is None:
            continue
        for repository, found in report.repositories.items():
            if found.error:
                yield hosts.wrong(
                    "mirror",
                    f"the {repository} repository of this profile can't be reached: {found.error}",
                    f"check the address in mirrors, and from the host: {_try(settings, report, repository)}",
                    name,
                )
        for package, version in packages_of(settings).items():
            repository = "kubernetes" if package in KUBERNETES_PACKAGES else "docker"
            found = report.repositories[repository]
            if found.error or any(_matches(there, version) for there in found.versions.get(package, ())):
                continue
            yield _no_version(name, settings, package, version, found.versions.get(package, ()))


def registries(hosts: ClusterHosts) -> Iterator[Problem]:
    """Where images come from, as a host sees it that has none yet: nothing of a cluster could start there."""
    for name, _, report in hosts:
        away = {registry: errors for registry, errors in report.registries.items() if all(errors.values())}
        if not away:
            continue
        told = dict.fromkeys(f"{address}: {error}" for errors in away.values() for address, error in errors.items())
        yield hosts.wrong(
            "mirror",
            f"the images of {', '.join(away)} can't be had: {'; '.join(told)}",
            "choose a mirror profile that can be reached from the host, or correct its registries in mirrors",
            name,
        )


def _matches(there: str, version: str) -> bool:
    return there.startswith(version) if version.endswith("~") else there == version


def _no_version(name: str, settings: HostSettings, package: str, version: str, versions: tuple[str, ...]) -> Problem:
    setting = {"containerd.io": "containerd_version", "docker-ce": "docker_version", "docker-ce-cli": "docker_version"}
    chosen = setting.get(package, "kubernetes_version")
    close = get_close_matches(version, versions, n=3, cutoff=0)
    return Problem(
        name,
        f"the mirror {settings.mirror!r} has no {package} {version.removesuffix('-1~')}",
        f"choose a version that it has, e.g. {', '.join(close)}, or another mirror: one may be days behind upstream"
        if close
        else f"it has no {package} at all: see mirrors",
        chosen,
        getattr(settings, chosen),
    )


def _try(settings: HostSettings, report: HostReport, repository: str) -> str:
    profile = settings.profile.filled(os=report.os_id)
    url = profile.kubernetes_key if repository == "kubernetes" else profile.docker_key
    return f"/usr/lib/apt/apt-helper download-file {shlex.quote(url)} /tmp/key"

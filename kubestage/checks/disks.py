"""Rules about a host's disks: there is room before the kubelet evicts pods, and programs on them can start."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.checks.wanted import folders
from kubestage.facts.host_report import FileSystem, HostReport
from kubestage.facts.host_report.wanted import CNI, DOCKER, IMAGES, KUBELET, PACKAGES, VOLUMES
from kubestage.facts.pressure import Left
from kubestage.settings import HostSettings, Problem
from kubestage.settings.eviction import Threshold, thresholds

# The kubelet's names of file systems, https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
_FILE_SYSTEMS = {"nodefs": KUBELET, "imagefs": IMAGES, "containerfs": IMAGES}
_LOW = {"evictionHard": {"nodefs.available": "1Gi", "imagefs.available": "1Gi"}}  # thresholds that messages offer
_LOW_MIB = 1024


@dataclass(frozen=True)
class Disk:
    """A file system of a host: the first folder of ours that is on it, and the kubelet's thresholds for it."""

    path: str
    system: FileSystem
    thresholds: tuple[Threshold, ...]

    def evicts_below_mib(self) -> tuple[int, str]:
        """How much must be free so that the kubelet evicts no pods, and by which threshold; 0 and "" for none."""
        size = self.system.size_kib * 1024
        found = [(each.amount(size) // 2**20, str(each)) for each in self.thresholds if each.of_size]
        return max(found, default=(0, ""))

    @property
    def left(self) -> Left:
        return Left(f"the disk of {self.path}", self.system.free_kib * 1024, self.system.size_kib * 1024)


def disks(hosts: ClusterHosts, settings: HostSettings, report: HostReport) -> Iterator[Disk]:
    """The file systems of packages, the kubelet and images, each once."""
    paths = folders(hosts.common, settings)
    mounts: dict[str, list[str]] = {}
    for use in (PACKAGES, KUBELET, IMAGES):
        mounts.setdefault(report.folders[use].mount, []).append(use)
    known = thresholds(settings.kubelet_config)
    for uses in mounts.values():
        its = tuple(each for each in known if _FILE_SYSTEMS.get(each.signal.partition(".")[0]) in uses)
        yield Disk(paths[uses[0]], report.folders[uses[0]], its)


def room(hosts: ClusterHosts) -> Iterator[Problem]:
    """Where a host joins, what is asked for comes on top of what the kubelet keeps free; later, no pod is evicted."""
    for name, settings, report in hosts:
        least, member = settings.require_disk_mib, hosts.is_member(name)
        for disk in disks(hosts, settings, report):
            free, (kept, threshold) = disk.system.free_mib, disk.evicts_below_mib()
            needed = max(least, kept) if member else least + kept
            if free >= needed:
                continue
            if not kept or (member and free >= kept):
                reason = f"too little: at least {least} MiB is asked for"
            else:
                reason = f"the kubelet evicts pods when less than {kept} MiB is free there ({threshold})"
                reason += "" if member else f", and at least {least} MiB more is asked for"
            remedies = ["give the machine a larger disk", "make room there"]
            if free >= kept:
                remedies.append("lower require_disk_mib for it")
            if kept > _LOW_MIB and free >= _LOW_MIB + least and "evictionSoft" not in settings.kubelet_config:
                remedies.append(f"lower the threshold: kubelet_config = {json.dumps(_LOW)}")
            yield Problem(
                name,
                reason,
                f"{', '.join(remedies[:-1])}, or {remedies[-1]}",
                f"free disk at {disk.path}",
                f"{free} MiB, {disk.left.percent} %",
            )


def inodes(hosts: ClusterHosts) -> Iterator[Problem]:
    for name, settings, report in hosts:
        for disk in disks(hosts, settings, report):
            free, whole = disk.system.free_inodes, disk.system.inodes
            crossed = [each for each in disk.thresholds if not each.of_size and free < each.amount(whole)]
            if whole and crossed:
                yield Problem(
                    name,
                    f"the kubelet evicts pods ({crossed[0]}): there are too many files",
                    f"find the folder with so many, and delete what nobody needs: du --inodes -x {disk.system.mount} "
                    "| sort -n | tail",
                    f"free inodes at {disk.path}",
                    f"{free} of {whole}",
                )


def volumes(hosts: ClusterHosts) -> Iterator[Problem]:
    """The disk of the volumes, where it is not one that `room` tells of."""
    for name, settings, report in hosts:
        least, system = settings.require_disk_mib, report.folders[VOLUMES]
        others = {disk.system.mount for disk in disks(hosts, settings, report)}
        if "storage" in hosts.common.stacks and system.free_mib < least and system.mount not in others:
            yield hosts.wrong(
                "storage.path",
                f"too little is free on its file system: {system.free_mib} MiB, and at least {least} MiB is asked for",
                "choose a folder on a larger disk, make room there, or lower require_disk_mib for the host",
                name,
            )


def executable(hosts: ClusterHosts) -> Iterator[Problem]:
    """What runs in a container, and what makes its network, is started from these folders."""
    for name, settings, report in hosts:
        for use, what in ((IMAGES, "container of Kubernetes"), (DOCKER, "container of Docker"), (CNI, "pod's network")):
            system = report.folders[use]
            if system.noexec:
                yield Problem(
                    name,
                    f"its file system, {system.mount}, is mounted noexec, so no {what} could start",
                    f"take noexec out of its line in /etc/fstab, and: mount -o remount,exec {system.mount}",
                    folders(hosts.common, settings)[use],
                    "noexec",
                )

"""The settings of a whole inventory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .model import ClusterSettings, HostSettings
from .problems import Problem

CONTROL_PLANE = "control_plane"
WORKERS = "workers"
INVENTORY = "the inventory"
ALL_HOSTS = "all hosts"


@dataclass(frozen=True)
class Cluster:
    """An inventory's settings. Until all are checked, those without a valid value raise Invalid when asked for.

    `raw`: host -> all that pyinfra has for it. `written`: the cluster's settings as they are there.
    `hosts`: each host's own settings, the control plane's first.
    """

    raw: Mapping[str, Mapping[str, Any]] = field(repr=False)
    groups: Mapping[str, Sequence[str]]
    written: Mapping[str, Any] = field(repr=False)
    common: ClusterSettings
    hosts: Mapping[str, HostSettings]

    def wrong(self, setting: str, reason: str, remedy: str, host: str = ALL_HOSTS) -> Problem:
        """A problem with the value that a setting has on a host; else, as the cluster's, or the control plane's.

        A stack's is "registry.size".
        """
        stack, _, name = setting.partition(".")
        if name:
            given = self.written.get(stack, {})
            value = given[name] if name in given else getattr(self.common.by_stack[stack], name)
            return Problem(host, reason, remedy, setting, value)
        written = self.raw[host] if host in self.raw else {**self.raw[self.nodes[0]], **self.written}
        return Problem(host, reason, remedy, setting, written[setting])

    @property
    def control_plane(self) -> list[str]:
        return [name for name in dict.fromkeys(self.groups.get(CONTROL_PLANE, ())) if name in self.raw]

    @property
    def first(self) -> str:
        """The control plane host that is initialised where there is no cluster yet."""
        return self.control_plane[0]

    @property
    def kubernetes_version(self) -> str:
        """The control plane's."""
        return self.hosts[self.first].kubernetes_version

    @property
    def workers(self) -> list[str]:
        return list(dict.fromkeys(self.groups.get(WORKERS, ())))

    @property
    def nodes(self) -> list[str]:
        """Every host's name, the control plane first."""
        return list(self.hosts)

    @property
    def alone(self) -> bool:
        """Whether there is no worker: whatever runs, runs on the control plane."""
        return list(self.hosts) == self.control_plane

    @cached_property
    def ssh_ports(self) -> frozenset[int]:
        """Where SSH listens on the hosts; the usual port where a host's own is none."""
        return frozenset(map(ssh_port, self.raw.values()))

    @property
    def room(self) -> int:
        """The number of hosts on which a pod may run that tolerates no taint."""
        return sum(self._takes_pods(host, settings) for host, settings in self.hosts.items())

    def _takes_pods(self, host: str, settings: HostSettings) -> bool:
        scheduled = self.common.schedule_on_control_plane
        if host in self.control_plane and not (self.alone if scheduled is None else scheduled):
            return False
        return not any(taint.endswith((":NoSchedule", ":NoExecute")) for taint in settings.node_taints)


def ssh_port(data: Mapping[str, Any]) -> int:
    """Where SSH listens on a host with that data; the usual port where its own is none."""
    port = data.get("ssh_port")
    return port if type(port) is int else 22

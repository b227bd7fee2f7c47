"""The settings of a whole inventory, checked."""

from __future__ import annotations

from dataclasses import dataclass

from .model import ClusterSettings, HostSettings


@dataclass(frozen=True)
class Cluster:
    """Valid settings: `common` those of the cluster, `hosts` each host's own by its name."""

    common: ClusterSettings
    hosts: dict[str, HostSettings]
    control_plane: list[str]
    workers: list[str]

    @property
    def nodes(self) -> list[str]:
        """Every host's name, the control plane first."""
        return [*self.control_plane, *self.workers]

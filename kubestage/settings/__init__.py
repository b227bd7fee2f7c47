"""Settings: their types, and what is told where one is wrong."""

from .cluster import Cluster
from .model import SETTINGS, ClusterSettings, HostSettings, Mirror
from .problems import Problem, SettingsError
from .values import PortRange

__all__ = ["SETTINGS", "Cluster", "ClusterSettings", "HostSettings", "Mirror", "PortRange", "Problem", "SettingsError"]

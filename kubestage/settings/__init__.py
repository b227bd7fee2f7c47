"""Group data as one validated object a host, and every error at once."""

from .cluster import Cluster, load
from .model import Mirror, Settings
from .problems import Problem, SettingsError
from .values import PortRange

__all__ = ["Cluster", "Mirror", "PortRange", "Problem", "Settings", "SettingsError", "load"]

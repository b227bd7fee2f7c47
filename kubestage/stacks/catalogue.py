"""Every stack that a setting switches."""

from __future__ import annotations

from kubestage.settings import ClusterSettings
from kubestage.stacks.dashboard import dashboard
from kubestage.stacks.ingress import ingress
from kubestage.stacks.metrics import metrics
from kubestage.stacks.registry import registry
from kubestage.stacks.stack import Stack
from kubestage.stacks.storage import storage

_STACKS = {"storage": storage, "ingress": ingress, "registry": registry, "dashboard": dashboard, "metrics": metrics}


def chosen(settings: ClusterSettings) -> dict[str, Stack]:
    """The stacks that are on, by their name in settings.stacks."""
    return {name: make(settings) for name, make in _STACKS.items() if name in settings.stacks}

"""Every stack that a setting switches, in the order in which they come; they go in the reverse order."""

from __future__ import annotations

from kubestage.settings import ClusterSettings
from kubestage.stacks import dashboard, descheduler, ingress, metrics, registry, storage
from kubestage.stacks.stack import Stack
from kubestage.stacks.stack_type import StackType

STACKS: dict[str, StackType] = {
    kind.name: kind
    for kind in (
        storage.STORAGE,
        ingress.INGRESS,
        registry.REGISTRY,
        dashboard.DASHBOARD,
        metrics.METRICS,
        descheduler.DESCHEDULER,
    )
}


def chosen(settings: ClusterSettings) -> dict[str, Stack]:
    """The stacks that are on, by their name in settings.stacks."""
    return {name: kind.make(settings) for name, kind in STACKS.items() if name in settings.stacks}


def left_out(settings: ClusterSettings) -> list[Stack]:
    """All others, and what may be in the cluster in the stead of one that is on; what needs another goes before it."""
    return [
        stack
        for name, kind in reversed(STACKS.items())
        for stack in (*kind.others(settings), *(() if name in settings.stacks else (kind.make(settings),)))
    ]


def sites(settings: ClusterSettings) -> list[str]:
    """The names of the sites of the stacks that are on: "registry.lab.test"."""
    return [f"{name}.{settings.domain}" for name in site_names() if name in settings.stacks]


def site_names() -> list[str]:
    """What is before the domain in the sites of all stacks: the stack's own name."""
    return sorted(name for name, kind in STACKS.items() if kind.site and kind.site.own)

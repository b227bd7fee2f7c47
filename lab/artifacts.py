"""Everything that the lab's mirror serves."""

from __future__ import annotations

from collections.abc import Callable

from lab import build, files, images, packages


def prepare() -> None:
    """All the cold work that needs no running lab: programs, packages, images, files. Minutes once, then a second."""
    steps: tuple[Callable[[], object], ...] = (build.programs, packages.apt_tree, images.storage, files.tree)
    for step in steps:
        step()

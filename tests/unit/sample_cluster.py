"""A cluster as tests want it: the real defaults of group_data/all.py, one control plane, two workers."""

from __future__ import annotations

import copy
import runpy
from pathlib import Path
from typing import Any, cast

from kubestage.cluster.control_plane import ControlPlane

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("cp1", "w1", "w2")
NO_SPEAKER = cast(ControlPlane, object())  # the speaker of a plan whose tasks' operations are not run
GROUPS = {"control_plane": ["cp1"], "workers": ["w1", "w2"]}


def group_data(name: str = "all") -> dict[str, Any]:
    """The settings of group_data/NAME.py, a copy of one's own."""
    values = runpy.run_path(str(ROOT / "group_data" / f"{name}.py"))
    return {key: copy.deepcopy(value) for key, value in values.items() if key.islower() and not key.startswith("_")}


def hosts_data(everywhere: dict[str, Any] | None = None, **single: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each host's merged data: defaults, then `everywhere`, then its own, e.g. w1={"node_taints": [...]}."""
    return {
        name: {
            **group_data(),
            "ssh_hostname": f"10.0.0.{11 + number}",
            "ssh_user": "root",
            "_sudo": False,
            **(everywhere or {}),
            **single.get(name, {}),
        }
        for number, name in enumerate(NAMES)
    }

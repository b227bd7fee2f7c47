"""When a kubelet begins to evict pods: by the disk that is left (Kubernetes 1.36).

https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#eviction-thresholds
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Of the kubelet itself, where its configuration has no evictionHard at all.
DEFAULTS = {
    "memory.available": "100Mi",
    "nodefs.available": "10%",
    "nodefs.inodesFree": "5%",
    "imagefs.available": "15%",
    "imagefs.inodesFree": "5%",
}
SIGNALS = (*DEFAULTS, "containerfs.available", "containerfs.inodesFree", "pid.available")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_AMOUNT = re.compile(rf"([0-9]+(?:\.[0-9]+)?)({'|'.join(_UNITS)}|%)")


@dataclass(frozen=True)
class Threshold:
    """Below which amount of a `signal` ("nodefs.available") pods are evicted: "10%" of all there is, or "1Gi"."""

    signal: str
    text: str

    def __str__(self) -> str:
        return f"{self.signal} < {self.text}"

    @property
    def of_size(self) -> bool:
        """Whether it is about bytes; else about inodes or process ids."""
        return self.signal.endswith(".available") and not self.signal.startswith("pid.")

    def amount(self, whole: int) -> int:
        """In the unit of `whole`, bytes or inodes, which is all there is."""
        number, unit = split(self.text)
        return int(whole * number / 100) if unit == "%" else int(number * _UNITS[unit])


def split(text: str) -> tuple[float, str]:
    """("10%") -> (10.0, "%"). Raises ValueError where that is no amount."""
    match = _AMOUNT.fullmatch(text)
    if not match:
        raise ValueError(f"no amount: {text!r}")
    return float(match[1]), match[2]


def thresholds(kubelet_config: Mapping[str, Any]) -> list[Threshold]:
    """Those by which a kubelet with this configuration goes, hard and soft ones."""
    hard = kubelet_config.get("evictionHard")
    if hard is None:
        hard = DEFAULTS
    elif kubelet_config.get("mergeDefaultEvictionSettings"):
        hard = {**DEFAULTS, **hard}  # else what is left out is never evicted for
    both = [*hard.items(), *(kubelet_config.get("evictionSoft") or {}).items()]
    return [Threshold(signal, text) for signal, text in both if text != "100%"]  # as good as none, to the kubelet

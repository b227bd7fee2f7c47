"""A file as a host is to have it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class HostFile:
    """A text file owned by root. `mode` is in octal, as chmod takes it."""

    path: str
    content: str
    mode: str = "644"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content.encode()).hexdigest()

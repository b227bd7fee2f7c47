"""A file as a host is to have it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True)
class HostFile:
    """A text file owned by root. `mode` is in octal, as chmod takes it. No message or log shows the content.

    A byte of a file of the system's own that is not UTF-8 stands in `content` as a surrogate (PEP 383).
    """

    path: str
    content: str = field(repr=False)
    mode: str = "644"

    @property
    def data(self) -> bytes:
        return self.content.encode(errors="surrogateescape")

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

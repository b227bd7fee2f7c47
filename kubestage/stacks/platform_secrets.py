"""What the platform keeps of itself in the cluster: which files of the control plane host are in which Secret."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from kubestage.certificates.platform import CA_CERTIFICATE, CA_KEY, WILDCARD_CERTIFICATE, WILDCARD_KEY
from kubestage.facts.registry import HTPASSWD, PULL_CONFIG, SUMS, USERS


@dataclass(frozen=True)
class Kept:
    """A Secret in PLATFORM_NAMESPACE. `files`: the key -> the path of the file that has its value."""

    name: str
    files: Mapping[str, str]


def kept(name: str, paths: Iterable[str]) -> Kept:
    """Files by their names, in the order in which they are written."""
    return Kept(name, {PurePosixPath(path).name: path for path in paths})


# In the order in which they are written: a certificate after its key, the sums last.
CERTIFICATES = kept("certificates", (CA_KEY, CA_CERTIFICATE, WILDCARD_KEY, WILDCARD_CERTIFICATE))
LOGINS = kept("registry-logins", (USERS, HTPASSWD, PULL_CONFIG, SUMS))

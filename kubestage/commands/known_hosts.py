"""A host's keys in the known_hosts file by which pyinfra knows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kubestage.cluster.inventory import Target
from kubestage.local_file import save

SSH_PORT = 22
WAIT_S = 120  # how long a console may be behind


@dataclass(frozen=True)
class Known:
    """`name`: by which the file has the host, as sshd(8) writes it. `wait_s`: how long a provider's word may take."""

    path: Path
    name: str
    wait_s: int

    def now(self) -> list[str]:
        """ "TYPE DATA" of each of them."""
        found = []
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            words = line.split()
            if len(words) >= 3 and self.name in words[0].split(","):
                found.append(f"{words[1]} {words[2]}")
        return found

    def replace(self, keys: Sequence[str]) -> None:
        """Have the file name these, and no others, for the host."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        kept = [line for line in lines if self.name not in (line.split() or [""])[0].split(",")]
        new = [f"{self.name} {' '.join(key.split()[:2])}" for key in keys]
        save(self.path, "".join(f"{line}\n" for line in [*kept, *new]))


def of(target: Target, host: str) -> Known:
    """The host's."""
    path = Path(str(target.data(host, "ssh_known_hosts_file") or "~/.ssh/known_hosts")).expanduser()
    address, port = str(target.data(host, "ssh_hostname") or host), target.data(host, "ssh_port") or SSH_PORT
    name = address if int(port) == SSH_PORT else f"[{address}]:{port}"
    return Known(path, name, target.cluster.common.timeout_s(WAIT_S))

"""The host keys of machines that nobody has met yet: fetched, shown, and kept in the cluster's own known_hosts."""

from __future__ import annotations

import base64
import hashlib
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from paramiko import SSHException, Transport
from paramiko.hostkeys import HostKeyEntry

from kubestage.commands.new.hosts import NewHost
from kubestage.local_file import save

WITHIN_S = 10.0
SSH_PORT = 22

# Gives a connected socket to an address and a port; OSError or SSHException where there is none.
Connect = Callable[[str, int], socket.socket]


@dataclass(frozen=True)
class HostKey:
    """A line of known_hosts, and what people compare: "SHA256:…" as `ssh-keygen -lf` prints it."""

    line: str
    kind: str
    fingerprint: str


def directly(address: str, port: int) -> socket.socket:
    return socket.create_connection((address, port), WITHIN_S)


def fetch(host: NewHost, connect: Connect = directly) -> HostKey:
    """The key that the machine there shows, whoever it is; OSError or SSHException where it shows none."""
    port = host.port or SSH_PORT
    with connect(host.address, port) as plain:
        transport = Transport(plain)
        try:
            transport.start_client(timeout=WITHIN_S)
            key = transport.get_remote_server_key()
        finally:
            transport.close()
    name = host.address if port == SSH_PORT else f"[{host.address}]:{port}"  # as sshd(8) writes it
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return HostKey(str(HostKeyEntry([name], key).to_line()), key.get_name(), f"SHA256:{digest}")


def fetch_all(hosts: Sequence[NewHost], connect: Connect = directly) -> tuple[dict[str, HostKey], dict[str, str]]:
    """By the hosts' names: their keys; and why there is none. All at once."""

    def one(host: NewHost) -> HostKey | str:
        try:
            return fetch(host, connect)
        except (OSError, SSHException, EOFError) as error:
            return str(error) or type(error).__name__

    with ThreadPoolExecutor(max_workers=max(1, len(hosts))) as pool:
        answers = dict(zip((host.name for host in hosts), pool.map(one, hosts), strict=True))
    keys = {name: answer for name, answer in answers.items() if isinstance(answer, HostKey)}
    return keys, {name: answer for name, answer in answers.items() if isinstance(answer, str)}


def keep(path: Path, keys: Mapping[str, HostKey]) -> None:
    """Add the keys to a known_hosts file; a line that is there already is not written again."""
    known = path.read_text().splitlines(keepends=True) if path.exists() else []
    save(path, "".join([*known, *(key.line for key in keys.values() if key.line not in known)]))

"""A real sshd on this machine's loopback, as Debian configures it, for tests of a run's connections."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.definition import cache_dir


def _sshd() -> Path | None:
    """This machine's own, or that of the lab's hosts, which `python -m lab build` has fetched."""
    own = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    fetched = sorted(cache_dir().glob("rootfs/[!.]*/tree/usr/sbin/sshd"))
    return Path(own) if own else next(iter(fetched), None)


SSHD = _sshd()
needs_sshd = pytest.mark.skipif(
    SSHD is None, reason="there is no sshd yet: `make lab-test` fetches one and runs these tests then"
)
_WITHIN_S = 10


@dataclass(frozen=True)
class Loopback:
    """One sshd and the folder that is a host to it: what a command says of /etc/kubernetes is done in there."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def host(self, name: str) -> tuple[str, dict[str, str | int]]:
        """It as a host of an inventory."""
        return name, {
            "ssh_hostname": "127.0.0.1",
            "ssh_port": self.port,
            "ssh_user": getpass.getuser(),
            "ssh_key": str(self.folder / "user"),
            "ssh_known_hosts_file": str(self.folder / "known"),
        }

    @contextmanager
    def sessions(self, once: Path, sent: signal.Signals) -> Iterator[None]:
        """Send this signal to what serves each connection, once there is the file `once`."""
        over = threading.Event()

        def send() -> None:
            while not once.exists() and not over.wait(0.02):
                pass
            for pid in self._serving():
                os.kill(pid, sent)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            for pid in self._serving():
                os.kill(pid, signal.SIGKILL)

    def _serving(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def calls(self) -> list[str]:
        """What the stub programs were called with: "+ kubectl WORDS" as one begins, "-" as it ends."""
        log = self.folder / "calls"
        return log.read_text().splitlines() if log.exists() else []

    def most_at_once(self) -> int:
        """How many stub programs ran at the same time, at most."""
        running = most = 0
        for line in self.calls():
            running += 1 if line.startswith("+") else -1
            most = max(most, running)
        return most


@contextmanager
def loopback(folder: Path, programs: Mapping[str, str], greeting: str = "", **options: str) -> Iterator[Loopback]:
    """`programs`: name -> what it does, in sh; put before the machine's own. `options`: of sshd_config.

    `greeting`: what the login does at every command, in sh.
    """
    stubs, root = folder / "stubs", folder / "etc/kubernetes"
    for made in (stubs, root):
        made.mkdir(parents=True)
    (root / "admin.conf").touch()
    for name, script in programs.items():
        _program(
            stubs / name,
            f'echo "+ {name} $*" >> {folder}/calls\n(\n{script}\n)\nresult=$?\necho - >> {folder}/calls\nexit $result',
        )
    moved = shlex.quote(f"s,/etc/kubernetes,{root},g")
    _program(
        folder / "login",
        f'{greeting}\nPATH={stubs}:$PATH\nexport PATH\nexec sh -c "$(printf %s "$SSH_ORIGINAL_COMMAND" | sed {moved})"',
    )
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    port = _free_port()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host",
        "PidFile": "none",
        "AuthorizedKeysFile": folder / "user.pub",
        "StrictModes": "no",  # a test's folder may be anybody's
        "KbdInteractiveAuthentication": "no",
        "ForceCommand": folder / "login",
        **options,
    }
    (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it is confined to; a service has it from systemd
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(_command(folder), stdout=log, stderr=log, env=_environment())
    try:
        _await(process, port, folder / "log")
        yield Loopback(folder, port, process)
    finally:
        process.terminate()
        process.wait()


def _command(folder: Path) -> list[str | Path]:
    """As root it wants a user of its own, which a machine without the package lacks: it sees one in its own mounts."""
    assert SSHD
    sshd: list[str | Path] = [SSHD, "-D", "-e", "-f", folder / "config"]
    users = Path("/etc/passwd").read_text()
    if os.geteuid() or "\nsshd:" in users:
        return sshd
    (folder / "passwd").write_text(f"{users}sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n")
    show = f'mount --bind {shlex.quote(str(folder / "passwd"))} /etc/passwd && exec "$0" "$@"'
    return ["unshare", "--mount", "sh", "-c", show, *sshd]


def _environment() -> dict[str, str]:
    assert SSHD
    libraries = SSHD.parents[2] / "usr/lib/x86_64-linux-gnu"
    return {**os.environ, "LD_LIBRARY_PATH": str(libraries)} if SSHD.is_relative_to(cache_dir()) else dict(os.environ)


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

"""The lab's mirror: a file server (packages, pinned files) and the image registry, on the bridge's address alone."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from lab import build, files, images, packages
from lab.definition import CHECKOUT, GATEWAY, MIRROR_URL, REGISTRY_URL
from lab.progress import StepFailed
from lab.registry import detached, serve, wait_until_up

STOP_WITHIN_S = 10.0


def start(state: Path, address: str = GATEWAY) -> list[int]:
    """Start both servers on `address`, which must be there; wait until they answer; their pids.

    Their pids, logs and configuration lie in <state>/mirror, for `stop`.
    """
    tree, storage, program = packages.apt_tree(), images.storage(), build.REGISTRY.build() / "registry"
    stop(state)  # what a crash has left
    folder = state / "mirror"
    folder.mkdir(parents=True)
    www = folder / "www"
    www.mkdir()
    for part in tree.iterdir():
        (www / part.name).symlink_to(part)
    (www / "files").symlink_to(files.tree())

    files_at = f"{address}:{urlsplit(MIRROR_URL).port}"
    files_log = folder / "files.log"
    file_server = detached([sys.executable, "-m", "lab.mirror", www, files_at], files_log, folder=CHECKOUT)
    _remember(folder, "files", file_server.pid)

    registry_at = f"{address}:{urlsplit(REGISTRY_URL).port}"
    registry_log = folder / "registry.log"
    registry = serve(
        program,
        storage,
        registry_at,
        readonly=True,
        configuration=folder / "registry.yml",
        log=registry_log,
    )
    _remember(folder, "registry", registry.pid)
    try:
        wait_until_up(f"http://{files_at}/", file_server, "start the package mirror", files_log)
        wait_until_up(f"http://{registry_at}/v2/", registry, "start the image registry", registry_log)
    except StepFailed:
        stop(state, keep_logs=True)
        raise
    return [file_server.pid, registry.pid]


def running(state: Path) -> list[int]:
    """The pids of the servers that `start` made and that still run."""
    recorded = [_recall(path) for path in sorted((state / "mirror").glob("*.pid"))]
    return [pid for pid, begin in recorded if _begin(pid) == begin]


def stop(state: Path, *, keep_logs: bool = False) -> None:
    """End the servers, each by its own pid if that is still the process that `start` made; fine if none runs."""
    pids = running(state)
    for pid in pids:
        _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_WITHIN_S
    while running(state):
        if time.monotonic() > deadline:
            for pid in running(state):
                _signal(pid, signal.SIGKILL)
        time.sleep(0.05)
    folder = state / "mirror"
    for path in folder.glob("*.pid"):
        path.unlink()
    if folder.is_dir() and not keep_logs:
        shutil.rmtree(folder)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it may just have ended
        os.kill(pid, number)


def _remember(folder: Path, name: str, pid: int) -> None:
    (folder / f"{name}.pid").write_text(f"{pid} {_begin(pid)}\n")


def _recall(path: Path) -> tuple[int, str]:
    pid, begin = path.read_text().split()
    return int(pid), begin


def _begin(pid: int) -> str:
    """When a process began, in clock ticks since boot (proc_pid_stat(5), field 22); empty if it runs no more.

    Pids are used again; a pid together with this is one process.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] == "Z" else fields[19]


class FileHandler(SimpleHTTPRequestHandler):
    """Files as apt asks for them: If-Modified-Since, one Range (RFC 9110, 14.2), connections that stay open."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    _length: int | None = None  # how much of the file to send; None: all

    def send_head(self) -> BinaryIO | None:
        path = Path(self.translate_path(self.path))
        wanted = self.headers.get("Range")
        self._length = None
        if not wanted or not path.is_file():
            return super().send_head()
        size, changed = path.stat().st_size, self.date_time_string(int(path.stat().st_mtime))
        span = byte_range(wanted, size)
        if span is None or self.headers.get("If-Range", changed) != changed:
            return super().send_head()
        first, last = span
        if first > last:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        stream = path.open("rb")
        stream.seek(first)
        self._length = last - first + 1
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(self._length))
        self.send_header("Last-Modified", changed)
        self.end_headers()
        return stream

    def copyfile(self, source: BinaryIO, outputfile: BinaryIO) -> None:  # type: ignore[override]
        if self._length is None:
            shutil.copyfileobj(source, outputfile, 1 << 20)
            return
        left = self._length
        while left and (data := source.read(min(left, 1 << 20))):
            outputfile.write(data)
            left -= len(data)


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte that a Range header asks for of `size` bytes (first > last: none there); None: send all."""
    unit, _, spec = header.partition("=")
    first, dash, last = spec.strip().partition("-")
    if unit.strip() != "bytes" or not dash or "," in spec:
        return None
    try:
        if not first:
            return max(0, size - int(last)), size - 1
        return int(first), min(int(last), size - 1) if last else size - 1
    except ValueError:
        return None


class FileServer(ThreadingHTTPServer):
    """A thread a connection."""

    request_queue_size = 128  # many hosts' apt and curl at once; the library's 5 would make them wait for a second


def serve_files(root: Path, address: str) -> None:
    """Serve the files below `root` on `address` (host:port) until a signal ends the process."""
    host, _, port = address.rpartition(":")
    FileServer((host, int(port)), partial(FileHandler, directory=str(root))).serve_forever()


if __name__ == "__main__":
    serve_files(Path(sys.argv[1]), sys.argv[2])

"""Write files: all those of a phase in one round trip, and only those that differ."""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Generator, Iterable, Mapping, Sequence

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.operation import operation
from pyinfra.facts.files import Directory

from kubestage.facts.files import FileState, FileStates
from kubestage.host_file import HostFile


def archive(files: Sequence[HostFile]) -> str:
    """`files` as a tar in base64, for a command's standard input: so they are on no command line and in no log."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for file in files:
            content = file.content.encode()
            member = tarfile.TarInfo(file.path.lstrip("/"))
            member.size = len(content)
            member.mode = int(file.mode, 8)
            tar.addfile(member, io.BytesIO(content))
    return base64.b64encode(buffer.getvalue()).decode()


def put(files: Sequence[HostFile]) -> StringCommand:
    """The command that writes `files`, whatever is there."""
    # --touch: the modification time says when it was written here, which is what a service's restart goes by.
    unpack = "base64 -d | tar --extract --touch --no-same-owner --preserve-permissions --directory / --verbose"
    return StringCommand(unpack, _stdin=archive(files))


def differing(files: Iterable[HostFile], states: Mapping[str, FileState]) -> list[HostFile]:
    """Those of `files` that are not on the host with their content, their mode and root as owner."""
    return [
        file
        for file in files
        if (state := states.get(file.path)) is None
        or (state.sha256, state.mode, state.owner) != (file.sha256, file.mode, "0:0")
    ]


@operation()
def write(files: Sequence[HostFile], absent: Sequence[str] = ()) -> Generator[StringCommand, None, None]:
    """Make `files` be on the host with that content, that mode and root as owner, and the files of `absent` not be."""
    states = host.get_fact(FileStates, paths=[*(file.path for file in files), *absent])
    wrong = differing(files, states)
    surplus = [path for path in absent if path in states]
    if not wrong and not surplus:
        host.noop("files are as they should be")
    if wrong:
        yield put(wrong)
    if surplus:
        yield StringCommand("rm", *surplus)


@operation()
def downloaded(address: str, path: str, sha256: str) -> Generator[StringCommand, None, None]:
    """Make the file at `address` be at `path`, if its content has this SHA-256; it is downloaded when it differs."""
    state = host.get_fact(FileStates, paths=[path]).get(path)
    if state is not None and state.sha256 == sha256:
        host.noop(f"{path} is there")
        return
    new = f"{path}.new"
    # apt's own downloader: curl may be missing on a bare host. It would go on with what a killed run has left.
    yield StringCommand(
        f"mkdir -p $(dirname {path}) && rm -f {new} &&",
        f"/usr/lib/apt/apt-helper -q download-file {address} {new} SHA256:{sha256} && mv {new} {path}",
    )


@operation()
def folder_absent(path: str) -> Generator[StringCommand, None, None]:
    """Make the folder `path` be gone, with all that is in it."""
    if host.get_fact(Directory, path=path):
        yield StringCommand(f"rm -r {path}")
    else:
        host.noop(f"{path} is not there")

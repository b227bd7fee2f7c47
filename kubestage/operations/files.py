"""Write files: all those of a phase in one round trip, and only those that differ."""

from __future__ import annotations

import base64
import io
import shlex
import tarfile
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from types import MappingProxyType

from pyinfra import host
from pyinfra.api import StringCommand

from kubestage.cluster.answers import ask, is_foretelling
from kubestage.cluster.operation import operation
from kubestage.facts.files import FileState, FileStates, Missing, Texts
from kubestage.host_file import HostFile
from kubestage.output import difference


def aside(path: str) -> str:
    """Where a file is written before it is renamed to `path`: no program takes it for one of the folder's own.

    So with its dot, and without the ending: kubelet, apt and systemd, for instance, go by those.
    """
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.kubestage"


def archive(files: Sequence[HostFile]) -> str:
    """`files`, aside, as a tar in base64 for a command's standard input: they are on no command line and in no log."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for file in files:
            member = tarfile.TarInfo(aside(file.path).lstrip("/"))
            member.size = len(file.data)
            member.mode = int(file.mode, 8)
            tar.addfile(member, io.BytesIO(file.data))
    return base64.b64encode(buffer.getvalue()).decode()


# Nobody sees the half of a file, nor an empty one after a power cut: all are on the disk before the first is renamed.
# A container has /etc/hosts as a mount, which no rename can replace: it alone is written in place.
_RENAME = """\
    new="${file%/*}/.${file##*/}.kubestage"
    if mountpoint --quiet "$file"; then
        cat "$new" > "$file" && chmod --reference="$new" "$file" && sync "$file" && rm "$new"
    else
        mv --force --no-target-directory "$new" "$file"
    fi || exit"""


def put(files: Sequence[HostFile]) -> StringCommand:
    """The command that writes `files`, whatever is there; they are renamed into their places in this order."""
    new, paths = _words(aside(file.path) for file in files), _words(file.path for file in files)
    folders = _words(dict.fromkeys(file.path.rpartition("/")[0] or "/" for file in files))
    return StringCommand(
        # --touch: else it would be of 1970.
        "base64 -d | tar --extract --touch --no-same-owner --preserve-permissions --directory / &&",
        f"sync {new} && for file in {paths}; do\n{_RENAME}\ndone && sync {folders}",
        _stdin=archive(files),
    )


def download_command(address: str, path: str, *checks: str) -> str:
    """The command that puts the file at `address` at `path`, for all to read, if it passes apt-helper's `checks`.

    By apt's own downloader: curl may be missing on a bare host. It would go on with what a killed run has left.
    """
    new = shlex.quote(aside(path))
    words = _words([address, aside(path), *checks])
    return (
        f"mkdir -p {shlex.quote(path.rpartition('/')[0])} && rm -f {new} && "
        f"/usr/lib/apt/apt-helper -q download-file {words} && chmod 644 {new} && "
        f"sync {new} && mv --force --no-target-directory {new} {shlex.quote(path)}"
    )


def _words(texts: Iterable[str]) -> str:
    return " ".join(map(shlex.quote, texts))


def differing(files: Iterable[HostFile], states: Mapping[str, FileState]) -> list[HostFile]:
    """Those of `files` that are not on the host with their content, their mode and root as owner."""
    return [
        file
        for file in files
        if (state := states.get(file.path)) is None
        or (state.sha256, state.mode, state.owner) != (file.sha256, file.mode, "0:0")
    ]


@operation()
def files(
    files: Sequence[HostFile], marked: Mapping[str, str] = MappingProxyType({}), whole: str = ""
) -> Generator[StringCommand, None, None]:
    """Make `files` be on the host with that content, that mode and root as owner.

    `marked`: a pattern of paths -> a line; whatever has it there is of our making and goes, unless it is of `files`.
    `whole`: a folder that is to hold nothing but `files`.
    """
    wanted = [file.path for file in files]
    states = ask(FileStates, paths=wanted, marked=marked, below=whole)
    wrong = differing(files, states)
    surplus = [path for path in states if path not in wanted]
    if not (wrong or surplus):
        host.noop("files are as they should be")
    if wrong:
        if host.state.config.DIFF and not (_is_noted() or is_foretelling()):
            texts = ask(Texts, paths=[file.path for file in wrong])
            for file in wrong:
                difference.note(host.name, file, texts.get(file.path, ""))
        yield put(wrong)
    for path in surplus:
        yield StringCommand(f"rm {path} && rmdir --ignore-fail-on-non-empty $(dirname {path})")


def _is_noted() -> bool:
    """Whether the run has looked for changes before it makes them."""
    return bool(host.state.is_executing and host.state.should_check_for_changes())  # type: ignore[no-untyped-call]


@operation()
def download(address: str, path: str, sha256: str) -> Generator[StringCommand, None, None]:
    """Make the file at `address` be at `path`, if its content has this SHA-256; it is downloaded when it differs."""
    state = ask(FileStates, paths=[path]).get(path)
    if state is not None and state.sha256 == sha256:
        host.noop(f"{path} is there")
        return
    yield StringCommand(download_command(address, path, f"SHA256:{sha256}"))


@operation()
def no_others(folder: str, keep: Collection[str]) -> Generator[StringCommand, None, None]:
    """Make the folder have no other files than those at the paths `keep`."""
    found = ask(FileStates, paths=[], below=folder)
    others = sorted(found.keys() - set(keep))
    if others:
        yield StringCommand("rm -f", *map(shlex.quote, others))
    else:
        host.noop(f"nothing else is in {folder}")


@operation()
def no_folder(path: str) -> Generator[StringCommand, None, None]:
    """Make the folder `path` be gone, with all that is in it."""
    if path in ask(Missing, paths=[path]):
        host.noop(f"{path} is not there")
    else:
        yield StringCommand("rm -r", shlex.quote(path))

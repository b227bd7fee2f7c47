"""Debian packages at a pinned version, held there."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.operation import operation

from kubestage.facts.files import FileStates
from kubestage.facts.packages import PackageStates
from kubestage.host_file import HostFile
from kubestage.operations.files import download, write

SOURCES = "/etc/apt/sources.list.d/kubestage.list"

# Our configuration files are there before the package.
_APT = "apt-get -q -o Dpkg::Options::=--force-confold"
# Only our own source's list is read anew; the others' are kept.
_OURS_ALONE = f"-o Dir::Etc::sourcelist={SOURCES} -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0"

# `free COMMAND`: run it once nobody else is at work with packages: a first boot's own upgrade, or what a run that was
# killed has left running. apt itself can wait for one of its locks alone, and dpkg for none.
_FREE = """\
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
deadline=$(($(date +%s) + 300))
free() {
    while ! said=$("$@" 2>&1); do
        case $said in
            *"Could not get lock"* | *"was locked by"*) test $(date +%s) -lt $deadline ;;
            *) false ;;
        esac || { echo "$said" >&2; return 1; }
        sleep 0.5
    done
}
"""


@dataclass(frozen=True)
class Source:
    """An apt repository: address, suite ("/" where it is flat), its key's address, and where the host keeps the key."""

    address: str
    suite: str
    key_address: str
    key: str


@operation()
def sources(entries: Sequence[Source]) -> Generator[StringCommand, None, None]:
    """Keep SOURCES naming exactly `entries`, each trusted by its own key. It is written last."""
    lines = [f"deb [signed-by={entry.key}] {entry.address} {entry.suite}\n" for entry in entries]
    listed = HostFile(SOURCES, "".join(lines))
    states = host.get_fact(FileStates, paths=[SOURCES, *(entry.key for entry in entries)])
    known = SOURCES in states and states[SOURCES].sha256 == listed.sha256
    for entry in entries:
        if not known or entry.key not in states:
            yield StringCommand(download(entry.key_address, entry.key))
    yield from write._inner([listed])


@operation()
def pinned(packages: Mapping[str, str], origins: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Make each package (name -> version) be installed at exactly that version and held.

    `origins` are the addresses that SOURCES names. The distribution's own package lists are read anew only when
    something has to come from there. A dpkg run that was cut off is finished first.
    """
    states = host.get_fact(PackageStates, names=sorted(packages))
    if all(
        (state := states.get(name)) is not None and state.version == version and state.held
        for name, version in packages.items()
    ):
        host.noop(f"installed and held: {', '.join(packages)}")
        return
    install = f"{_APT} -y --no-install-recommends --allow-downgrades --allow-change-held-packages install"
    wanted = " ".join(f"{name}={version}" for name, version in packages.items())
    ours = " ".join(f'-e "\'{origin}"' for origin in origins)
    yield StringCommand(
        _FREE,
        "free dpkg --force-confold --configure -a &&",
        f"free {_APT} {_OURS_ALONE} update &&",
        f"if ! files=$({install} --print-uris -qq {wanted} 2>/dev/null) ||",
        f'echo "$files" | grep . | grep -qvF {ours}; then free {_APT} update || exit; fi &&',
        f"free {install} {wanted} && free apt-mark hold {' '.join(packages)}",
    )


@operation()
def installed(packages: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Make `packages` of the distribution be there, at any version. Package lists are read anew only when they lack."""
    states = host.get_fact(PackageStates, names=sorted(packages))
    missing = " ".join(name for name in packages if name not in states)
    if not missing:
        host.noop(f"installed: {', '.join(packages)}")
        return
    install = f"{_APT} -y --no-install-recommends install {missing}"
    yield StringCommand(
        _FREE,
        "free dpkg --force-confold --configure -a &&",
        f"{{ free {install} || {{ free {_APT} update && free {install}; }}; }}",
    )

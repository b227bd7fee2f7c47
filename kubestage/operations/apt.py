"""Debian packages at a pinned version, held there."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from pyinfra import host, logger
from pyinfra.api import OperationError, StringCommand

from kubestage.cluster.answers import ask
from kubestage.cluster.operation import operation
from kubestage.cluster.turns import turn
from kubestage.facts.apt import SOURCES, AptSources, Entry
from kubestage.facts.files import COMMENT
from kubestage.facts.packages import PackageStates
from kubestage.facts.untouched import Untouched
from kubestage.host_file import HostFile
from kubestage.kubernetes import UNTOUCHED
from kubestage.operations.files import download_command, files

# Our configuration files are there before the package.
_APT = "apt-get -q -o Dpkg::Options::=--force-confold"
_INSTALL = f"{_APT} -y --no-install-recommends --allow-downgrades --allow-change-held-packages install"
# Only our own source's list is read anew; the others' are kept.
_OURS_ALONE = f"-o Dir::Etc::sourcelist={SOURCES} -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0"
# By itself apt says that all is well when a list could not be had, or was not signed by the key.
_UPDATE = f"{_APT} -o APT::Update::Error-Mode=any update"
# A source of somebody else's that is dead must not stop us, as long as it is not needed.
_UPDATE_ALL = f"{{ free {_UPDATE} || echo 'Not all package lists could be had: see above.' >&2; }}"


def _free(timeout_s: int) -> str:
    """`free COMMAND`: run it once nobody else is at work with packages; wait for that so long, all in all.

    It may be a first boot's own upgrade, or what a run that was killed has left running. apt itself can wait for one of
    its locks alone, and dpkg for none.
    """
    return f"""\
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
deadline=$(($(date +%s) + {timeout_s}))
free() {{
    while ! said=$("$@" 2>&1); do
        case $said in
            *"Could not get lock"* | *"was locked by"*) test $(date +%s) -lt $deadline ;;
            *) false ;;
        esac || {{ echo "$said" >&2; return 1; }}
        sleep 0.5
    done
}}
"""


@dataclass(frozen=True)
class Source:
    """An apt repository, and where the host keeps its key. The suite is "/" where it is flat, without components."""

    address: str
    suite: str
    components: tuple[str, ...]
    key_address: str
    key: str


# What apt wants to be the same in all sources of one repository and suite (apt 2.6, debmetaindex.cc). One that ours
# does not name must not be named by another either.
_SHARED_OPTIONS = (
    "signed-by",
    "trusted",
    "check-valid-until",
    "valid-until-min",
    "valid-until-max",
    "check-date",
    "date-max-future",
    "allow-insecure",
    "allow-weak",
    "allow-downgrade-to-insecure",
    "inrelease-path",
    "snapshot",
)


@operation()
def sources(entries: Sequence[Source]) -> Generator[StringCommand, None, None]:
    """Keep SOURCES naming exactly `entries`, each trusted by its own key. It is written last.

    apt reads no source at all while two of one repository and suite differ in their key. So another's that gives
    nothing more than ours is commented out; with one that gives more, say components, ours shares the key.
    """
    state = ask(AptSources, keys=[entry.key for entry in entries], addresses=[entry.address for entry in entries])
    lines, surplus, told = [], [], []
    for entry in entries:
        same = [other for other in state.others if other.names(entry.address, entry.suite)]
        more = [other for other in same if not other.gives_no_more(entry.components)]
        surplus += [other for other in same if other not in more]
        lines.append(_line(entry, _shared_options(more[0]) if more else {"signed-by": entry.key}))
        if more:
            told.append(f"{more[0].path} names {entry.address} as well, for more than we need: its key is used")
    listed = HostFile(SOURCES, "".join(lines))
    known = SOURCES in state.files and state.files[SOURCES].sha256 == listed.sha256
    for entry in entries:
        if f"signed-by={entry.key}]" in listed.content and (not known or entry.key not in state.files):
            yield StringCommand(download_command(entry.key_address, entry.key))
    for other in surplus:
        told.append(f"{other.path} names {other.addresses[0]} as well: it is commented out, as {SOURCES} has it now")
        yield StringCommand(
            f"sed -i --follow-symlinks '{other.first},{other.last}s/^/{COMMENT}/' {shlex.quote(other.path)}"
        )
    if host.state.is_executing and not (known and not surplus):
        for line in told:
            logger.warning(f"{host.name}: {line}.")
    yield from files._inner([listed])


def _line(entry: Source, options: Mapping[str, str]) -> str:
    given = f"[{' '.join(f'{name}={value}' for name, value in options.items())}] " if options else ""
    return f"{' '.join(['deb', f'{given}{entry.address}', entry.suite, *entry.components])}\n"


def _shared_options(other: Entry) -> dict[str, str]:
    """What a source of ours must have in common with `other`."""
    options = {name: other.options[name] for name in _SHARED_OPTIONS if name in other.options}
    for name, value in options.items():
        if len(value.split()) != 1:
            raise OperationError(
                f"{host.name}: {other.path} (line {other.first}) names a repository of ours, {other.addresses[0]}, "
                f"with a {name} that is not one word: apt would take no other source of it. Put the key into a file "
                "in /etc/apt/keyrings and name that there, or take this source away."
            )
    return options


@operation()
def pinned_packages(
    packages: Mapping[str, str],
    entries: Sequence[Source],
    timeout_s: int,
    replaced: Sequence[str] = (),
    in_turn: bool = False,
) -> Generator[StringCommand, None, None]:
    """Make each package (name -> version) be installed at exactly that version and held.

    `entries` are those of SOURCES. Where a list of theirs can't be had, their keys are fetched anew: one may have been
    replaced. The distribution's own package lists are read anew only when something has to come from there; one that
    can't be had is told of when the packages can't either. A dpkg run that was cut off is finished first.
    Packages of `replaced` are removed as the others come. `in_turn`: where another version is at work, one host comes
    after the other, and none after one on which it failed. `timeout_s`: how long it may wait for somebody else who is
    at work with packages.
    """
    states = ask(PackageStates, names=sorted([*packages, *replaced]))
    if all(
        (state := states.get(name)) is not None and state.version == version and state.held
        for name, version in packages.items()
    ):
        host.noop(f"installed and held: {', '.join(packages)}")
        return
    surplus = [name for name in replaced if name in states]
    # "NAME-" takes it away: apt does so by itself only where one is said to conflict with the other.
    wanted = " ".join([*(f"{name}={version}" for name, version in packages.items()), *(f"{name}-" for name in surplus)])
    ours = " ".join(f'-e "\'{entry.address}"' for entry in entries)
    keys = f"sha256sum {' '.join(entry.key for entry in entries)} 2>/dev/null"
    renew = " ".join(f"{{ {download_command(entry.key_address, entry.key)}; }};" for entry in entries)
    update = f"free {_UPDATE} {_OURS_ALONE}"
    command = StringCommand(
        _free(timeout_s),
        "free dpkg --force-confold --configure -a &&",
        f'{{ {update} || {{ had=$({keys}); {renew} test "$({keys})" != "$had" && {update}; }}; }} &&',
        f"if ! files=$({_INSTALL} --print-uris -qq {wanted} 2>/dev/null) ||",
        f'echo "$files" | grep . | grep -qvF {ours}; then {_UPDATE_ALL}; fi &&',
        f"free {_INSTALL} {wanted} && free apt-mark hold {' '.join(packages)}",
    )
    others = [name for name, version in packages.items() if name in states and states[name].version != version]
    if in_turn and others and host.state.is_executing:
        with turn(host, "upgraded"):
            yield command
    else:
        yield command


@operation()
def packages(
    packages: Sequence[str], timeout_s: int, masked: Sequence[str] = ()
) -> Generator[StringCommand, None, None]:
    """Make `packages` of the distribution be there, at any version. Package lists are read anew only when they lack.

    `timeout_s`: as in pinned(). `masked`: units of theirs that are never to run; where the packages are there already,
    somebody may need them, and they are let be.
    """
    states = ask(PackageStates, names=sorted(packages))
    missing = " ".join(name for name in packages if name not in states)
    if not missing:
        host.noop(f"installed: {', '.join(packages)}")
        return
    install = f"{_APT} -y --no-install-recommends install {missing}"
    yield StringCommand(
        _free(timeout_s),
        *([f"systemctl mask --quiet {' '.join(masked)} &&"] if masked else []),
        "free dpkg --force-confold --configure -a &&",
        f"{{ free {install} || {{ {_UPDATE_ALL}; free {install}; }}; }}",
    )


# By itself apt keeps what is only recommended by something.
_NEEDED_ALONE = "-o APT::AutoRemove::RecommendsImportant=false -o APT::AutoRemove::SuggestsImportant=false"
# Of all that nobody needs, what was not there before.
_PURGE = f"""\
known=$(mktemp) && sed -n 's/^package \\([^ ]*\\) .*/\\1/p' {UNTOUCHED} > $known &&
gone=$(apt-get -s {_NEEDED_ALONE} autoremove | sed -n 's/^Remv \\([^ :]*\\).*/\\1/p' | grep -vxF -f $known)
rm $known
test -z "$gone" || free {_APT} -y purge $gone"""


@operation()
def packages_as_they_were(
    was: Untouched, ours: Sequence[str], replaced: Sequence[str], timeout_s: int
) -> Generator[StringCommand, None, None]:
    """Make packages be gone that came with `ours`; and those of `ours` and `replaced` that were there be as they were.

    What somebody has installed since stays, with what it needs. Where apt has the old version of one no more, it is
    installed at the version that apt has. `timeout_s`: as in pinned_packages().
    """
    names = sorted({*ours, *replaced})
    now = ask(PackageStates, names=names)
    came = [name for name in names if name in now and name not in was.packages]
    known = [name for name in names if name in was.packages]
    lost = [name for name in known if name not in now or now[name].version != was.packages[name].version]
    free = [name for name in now if now[name].held and not (name in was.packages and was.packages[name].held)]
    hold = [name for name in known if was.packages[name].held and not (name in now and now[name].held)]
    steps = ["free dpkg --force-confold --configure -a"]
    if free:
        steps.append(f"free apt-mark unhold {' '.join(free)}")
    if came:
        steps.append(f"free apt-mark auto {' '.join(came)} && {{ {_PURGE}; }}")
    if lost:
        exactly = " ".join(f"{name}={was.packages[name].version}" for name in lost)
        steps.append(f"{{ {_UPDATE_ALL}; free {_INSTALL} {exactly} || free {_INSTALL} {' '.join(lost)}; }}")
    if lost and (automatic := [name for name in lost if name in was.automatic]):
        steps.append(f"free apt-mark auto {' '.join(automatic)}")
    if hold:
        steps.append(f"free apt-mark hold {' '.join(hold)}")
    if len(steps) == 1:
        host.noop("packages are as they were")
    else:
        yield StringCommand(_free(timeout_s), " && ".join(steps))

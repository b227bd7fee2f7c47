"""A host's own settings as they were before a run first touched it: written down once, and brought back."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Generator, Mapping, Sequence

from pyinfra import host
from pyinfra.api import OperationError, StringCommand

from kubestage.cluster.answers import ask
from kubestage.cluster.operation import operation
from kubestage.facts.certificates import TRUSTED, Trust
from kubestage.facts.files import COMMENT, Commented, FileStates, Missing, Texts
from kubestage.facts.leftovers import Trees
from kubestage.facts.system import Accounts, HostNames, IdleModules, Swap, Sysctls
from kubestage.facts.units import UnitFiles
from kubestage.facts.untouched import FULL, Untouched, script
from kubestage.host_file import HostFile
from kubestage.kubernetes import HOST_FOLDER, UNTOUCHED
from kubestage.operations.files import aside, differing, put
from kubestage.operations.system import HOSTS, HOSTS_TEMPLATE, without_block


@operation()
def record(joined: bool, files: Sequence[str], folders: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Write down once what the host is, with the content of `files`, and what of `folders` is there.

    A host that has `joined` was touched before: what it is now is not what it was.
    """
    if joined or not ask(Missing, paths=[UNTOUCHED]):
        host.noop("what the host was is known" if not joined else "the host was touched before")
        return
    new = aside(UNTOUCHED)
    yield StringCommand(
        f"record=$(sh) && mkdir -p {HOST_FOLDER} && ( umask 077 && printf '%s\\n' \"$record\" > {new} ) &&",
        f"sync {new} && mv {new} {UNTOUCHED} && sync {HOST_FOLDER}",
        _stdin=script(files, folders),
    )


@operation()
def files(
    was: Untouched, own: Sequence[str], replaced: Sequence[str], marked: Mapping[str, str]
) -> Generator[StringCommand, None, None]:
    """Make `own` be gone, and `replaced` be what they were, or gone; with folders that were not there and are empty.

    `marked`: a pattern of paths -> a line; what has it is of our making as well. So is what makes it trust our CA.
    """
    states = ask(FileStates, paths=[*own, *replaced], marked=marked)
    trust = ask(Trust)
    surplus = sorted(path for path in {**states, **trust.files} if path not in was.files)
    back = differing([file for path, file in was.files.items() if path in replaced], states)
    folders = _made(was, [*surplus, *own, *replaced])
    empty = [folder for folder, tree in ask(Trees, paths=folders).items() if not tree.full]
    if surplus:
        yield StringCommand("rm -f", *map(shlex.quote, surplus))
    if back:
        yield put(back)
    if TRUSTED in surplus or not trust.bundled:
        yield StringCommand("update-ca-certificates --fresh")
    if surplus or empty:
        yield StringCommand(f"{no_empty(folders)} && systemctl daemon-reload")
    if not (surplus or back or empty) and trust.bundled:
        host.noop("no file of ours is here")


def _made(was: Untouched, paths: Collection[str]) -> list[str]:
    """The folders around `paths` that were not there, each before that which it is in."""
    return sorted((folder for folder in parents(paths) if folder not in was.folders), key=len, reverse=True)


def no_empty(folders: Collection[str]) -> str:
    """The command that removes those of `folders` that are empty."""
    return (
        f'for folder in {" ".join(map(shlex.quote, folders))}; do if test -d "$folder"; then '
        'rmdir --ignore-fail-on-non-empty "$folder" || exit; fi; done'
    )


def parents(paths: Collection[str]) -> list[str]:
    """The folders of `paths`, and theirs, without the first two of each path, which no run makes: "/etc", "/"."""
    found: dict[str, None] = {}
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder.count("/") > 1:
            found[folder] = None
            folder = folder.rpartition("/")[0]
    return list(found)


@operation()
def no_data(was: Untouched, paths: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Make the folders `paths` be gone, with all that is in them; those that were there be empty, as they were.

    One that held something then is let be. What is mounted in one is somebody's own: it is not gone into.
    """
    trees = {path: tree for path, tree in ask(Trees, paths=paths).items() if was.folders.get(path) != FULL}
    commands = []
    for path, tree in trees.items():
        if tree.below:
            raise OperationError(
                f"{host.name}: {', '.join(tree.below)} is mounted in {path}, which is to go\n"
                f"    -> unmount it there (umount {tree.below[0]}), then run again"
            )
        name = shlex.quote(path)
        if not (tree.mounted or path in was.folders):
            commands.append(f"rm -rf --one-file-system {name}")
        elif tree.full:
            commands.append(f"find {name} -xdev -mindepth 1 -delete")
    if commands:
        yield StringCommand(" && ".join([*commands, no_empty(_made(was, paths))]))
    else:
        host.noop("no data of the cluster's is here")


@operation()
def hostname(was: Untouched) -> Generator[StringCommand, None, None]:
    """Make the host's name be what it was; after a boot it is by its file, which is one of those that are put back."""
    if ask(HostNames)[:1] == [was.hostname]:
        host.noop(f"hostname is {was.hostname}")
    else:
        yield StringCommand(f"hostname {shlex.quote(was.hostname)}")


@operation()
def hosts_file(names: Collection[str]) -> Generator[StringCommand, None, None]:
    """Keep no block of ours in /etc/hosts, nor in cloud-init's template; `names`: what it may hold, where it is cut."""
    texts = ask(Texts, paths=[HOSTS, HOSTS_TEMPLATE])
    wanted = [HostFile(path, without_block(text, names)) for path, text in texts.items()]
    changed = [file for file in wanted if file.content != texts[file.path]]
    if changed:
        yield put(changed)
    else:
        host.noop("no address of ours is in it")


@operation()
def commented_lines(paths: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Make the lines count again that runs have commented out in files at `paths`, which may be patterns."""
    found = ask(Commented, paths=paths)
    if not found:
        host.noop("no line is commented out by us")
        return
    # As they are, with their modes, where the links lead.
    yield StringCommand(f"sed -i --follow-symlinks 's/^{COMMENT}//'", *map(shlex.quote, found))
    yield StringCommand("systemctl daemon-reload")  # of /etc/fstab it makes units


@operation()
def units(was: Untouched, names: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Make the units `names`, which may be patterns, be masked, enabled and at work as they were."""
    now = ask(UnitFiles, names=names)
    unmask = [unit for unit, (state, _) in now.items() if state == "masked" and was.units.get(unit) != "masked"]
    enable = [unit for unit, (state, _) in now.items() if was.units.get(unit) == "enabled" != state]
    disable = [unit for unit, (state, _) in now.items() if was.units.get(unit) == "disabled" and state == "enabled"]
    known = [unit for unit in now if unit in was.units]
    start = [unit for unit in known if unit in was.active and not now[unit][1]]
    stop = [unit for unit in known if unit not in was.active and now[unit][1]]
    # systemd's names for disks hold backslashes: dev-disk-by\\x2duuid-0c1d.swap.
    for verb, those in (
        ("unmask", unmask),
        ("enable", enable),
        ("disable", disable),
        ("start", start),
        ("stop", stop),
    ):
        if those:
            yield StringCommand(f"systemctl {verb} --quiet", *map(shlex.quote, those))
    if not (unmask or enable or disable or start or stop):
        host.noop("units are as they were")


@operation()
def swap(was: Untouched) -> Generator[StringCommand, None, None]:
    """Make swap be on that was on; after what puts it on at boot is as it was."""
    if set(was.swaps) <= set(ask(Swap).in_use):
        host.noop("swap is as it was")
    else:
        yield StringCommand("swapon --all")


@operation()
def sysctls(was: Untouched, names: Collection[str]) -> Generator[StringCommand, None, None]:
    """Make those of the kernel settings `names` that were there have the values that they had."""
    known = sorted(name for name in names if name in was.sysctls)
    now = ask(Sysctls, names=known) if known else {}
    differing = [name for name in known if name in now and now[name] != was.sysctls[name]]
    if differing:
        pairs = (shlex.quote(f"{name}={was.sysctls[name]}") for name in differing)
        yield StringCommand("sysctl --quiet --write", *pairs)
    else:
        host.noop("kernel settings are as they were")


@operation()
def modules(was: Untouched, names: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Make the kernel not have those of the modules `names` that it did not have, as far as nothing uses them now."""
    surplus = [name for name in ask(IdleModules, names=names) if name not in was.modules]
    if surplus:
        yield StringCommand("modprobe --remove", *surplus)
    else:
        host.noop("modules are as they were")


@operation()
def accounts(was: Untouched, users: Sequence[str], groups: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Make those users and groups be gone that packages have made, and leave."""
    there = ask(Accounts, users=users, groups=groups)
    gone = [f"userdel {name}" for name in users if f"user {name}" in there and name not in was.users]
    # With a user goes the group of its own.
    gone += [
        f"{{ ! getent group {name} >/dev/null || groupdel {name}; }}"
        for name in groups
        if f"group {name}" in there and name not in was.groups
    ]
    if gone:
        yield StringCommand(" && ".join(gone))
    else:
        host.noop("users and groups are as they were")


@operation()
def forgotten(was: Untouched, logs: str) -> Generator[StringCommand, None, None]:
    """Make the record be gone, as the last of all, with `logs`, a pattern, and our folder if nothing else is in it."""
    if ask(Missing, paths=[UNTOUCHED]):
        host.noop("nothing of ours is here")
        return
    folder = "" if HOST_FOLDER in was.folders else f" && rmdir --ignore-fail-on-non-empty {HOST_FOLDER}"
    yield StringCommand(f"rm -f {logs} && rm {UNTOUCHED}{folder}")

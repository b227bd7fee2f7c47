"""The base system as Kubernetes wants it: swap, kernel modules, kernel settings, names."""

from __future__ import annotations

import shlex
from collections.abc import Container, Generator, Mapping, Sequence
from itertools import takewhile

from pyinfra import host
from pyinfra.api import StringCommand

from kubestage.cluster.answers import ask
from kubestage.cluster.operation import operation
from kubestage.facts.files import COMMENT, Texts
from kubestage.facts.system import FSTAB, HostNames, LoadedModules, Swap, Sysctls, is_swap
from kubestage.host_file import HostFile
from kubestage.operations.files import files, put

HOSTS = "/etc/hosts"
HOSTS_TEMPLATE = "/etc/cloud/templates/hosts.debian.tmpl"  # of Ubuntu as well
_BEGIN, _END = "# BEGIN kubestage: the cluster's hosts", "# END kubestage"


@operation()
def first_boot(cloud_init: bool, timeout_s: int) -> Generator[StringCommand, None, None]:
    """Wait for `cloud_init`, where it is at work: it names the host and writes its files as long as that."""
    if not cloud_init:
        host.noop("cloud-init is not at work")
        return
    # Its exit code tells of modules that failed as well, which are their owner's.
    yield StringCommand(
        f"timeout {timeout_s} cloud-init status --wait >/dev/null; test $? -ne 124 ||",
        f"{{ echo 'cloud-init is still at work after {timeout_s} s, and what it writes a run would write too.",
        "See cloud-init status --long ; then run again, once it has ended, or was stopped:",
        "systemctl stop cloud-config.service cloud-final.service' >&2; exit 1; }",
    )


@operation()
def hostname(wanted: str) -> Generator[StringCommand, None, None]:
    """Make `wanted` the host's name, now and after a boot."""
    if ask(HostNames) == [wanted, wanted]:
        host.noop(f"hostname is {wanted}")
        return
    yield put([HostFile("/etc/hostname", f"{wanted}\n")])
    yield StringCommand(f"hostname {shlex.quote(wanted)}")


@operation()
def hosts_file(addresses: Mapping[str, str]) -> Generator[StringCommand, None, None]:
    """Keep a block of `addresses` (name -> IP address) in /etc/hosts; the rest of the file stays as it is.

    The same block is kept in cloud-init's template, where there is one: with `manage_etc_hosts: true` in the machine's
    user data, which goes before all files of its own on the host, cloud-init makes /etc/hosts of it at each boot
    (https://docs.cloud-init.io/en/latest/reference/modules.html#update-etc-hosts).
    """
    texts = ask(Texts, paths=[HOSTS, HOSTS_TEMPLATE])
    wanted = [HostFile(HOSTS, with_block(texts.get(HOSTS, ""), addresses))]
    if HOSTS_TEMPLATE in texts:
        wanted.append(HostFile(HOSTS_TEMPLATE, with_block(texts[HOSTS_TEMPLATE], addresses)))
    yield from files._inner(wanted)


def with_block(text: str, addresses: Mapping[str, str]) -> str:
    """`text` of /etc/hosts, or of a template for it, with the block of `addresses` put in or renewed before the rest.

    Installers and cloud-init write the host's own name at 127.0.1.1: what comes first counts. A block whose end is
    missing is over at the first line that is of no host of ours.
    """
    lines = without_block(text, addresses).split("\n")
    # What a template is written for stands in its first line.
    head = [lines.pop(0)] if lines[0].startswith("## template:") else []
    block = [_BEGIN, *(f"{address} {name}" for name, address in addresses.items()), _END]
    return "\n".join([*head, *block, *(lines or [""])])


def without_block(text: str, names: Container[str]) -> str:
    """`text` without its block, or blocks; `names` are those that one may hold whose end is missing."""
    lines = text.split("\n")
    kept: list[str] = []
    while lines:
        line = lines.pop(0)
        if line == _BEGIN:
            del lines[: _length_of_block(lines, names)]
        elif line != _END:
            kept.append(line)
    return "\n".join(kept)


def _length_of_block(lines: Sequence[str], names: Container[str]) -> int:
    """How many of `lines`, which begin behind _BEGIN, are ours."""
    if _END in lines:
        end = lines.index(_END)
        if _BEGIN not in lines[:end]:
            return end + 1
    ours = takewhile(lambda line: len(line.split()) == 2 and line.split()[1] in names, lines)
    return len(list(ours))


@operation()
def no_swap() -> Generator[StringCommand, None, None]:
    """Turn swap off and keep it off, with its lines in /etc/fstab commented out: the kubelet does not start with it."""
    swap = ask(Swap)
    if swap.fstab:
        yield put([HostFile(FSTAB, without_swap(swap.fstab.content), swap.fstab.mode)])
        yield StringCommand("systemctl daemon-reload")
    if swap.units:
        # systemd's names for disks hold backslashes: dev-disk-by\x2duuid-0c1d.swap.
        names = " ".join(map(shlex.quote, swap.units))
        # A unit file that somebody has put into /etc/systemd/system can't be masked.
        yield StringCommand(
            f'for unit in {names}; do systemctl mask --now "$unit" || systemctl disable --now "$unit" || exit; done'
        )
    if swap.in_use:
        yield StringCommand("swapoff --all")
    if swap == Swap.default():
        host.noop("no swap, now or at boot")


def without_swap(text: str) -> str:
    """`text` of /etc/fstab with its lines for swap commented out."""
    return "\n".join(f"{COMMENT}{line}" if is_swap(line) else line for line in text.split("\n"))


@operation()
def modules(names: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Make the kernel have the modules `names` now. What loads them at boot is a file in /etc/modules-load.d."""
    loaded = ask(LoadedModules, modules=names)
    if missing := [name for name in names if name not in loaded]:
        yield StringCommand("modprobe --all", *missing)
    else:
        host.noop(f"modules are there: {', '.join(names)}")


@operation()
def sysctls(values: Mapping[str, str]) -> Generator[StringCommand, None, None]:
    """Make the running kernel have `values` (name -> value). What sets them at boot is a file in /etc/sysctl.d."""
    current = ask(Sysctls, names=sorted(values))
    if differing := [name for name, value in values.items() if current.get(name) != " ".join(value.split())]:
        pairs = (shlex.quote(f"{name}={values[name]}") for name in differing)
        yield StringCommand("sysctl --quiet --write", *pairs)
    else:
        host.noop("kernel settings are as they should be")

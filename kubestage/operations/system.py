"""The base system as Kubernetes wants it: swap, kernel modules, kernel settings, names."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping, Sequence

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.operation import operation
from pyinfra.facts.files import FileContents

from kubestage.facts.system import HostNames, LoadedModules, Swap, Sysctls
from kubestage.host_file import HostFile
from kubestage.operations.files import write

_BEGIN, _END = "# BEGIN kubestage: the cluster's hosts", "# END kubestage"


@operation()
def first_boot_ended(cloud_init: bool, timeout_s: int) -> Generator[StringCommand, None, None]:
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
    if host.get_fact(HostNames) == [wanted, wanted]:
        host.noop(f"hostname is {wanted}")
        return
    yield StringCommand(f"printf '%s\\n' {shlex.quote(wanted)} > /etc/hostname && hostname {shlex.quote(wanted)}")


@operation()
def hosts_file(addresses: Mapping[str, str]) -> Generator[StringCommand, None, None]:
    """Keep a block of `addresses` (name -> IP address) in /etc/hosts; the rest of the file stays as it is."""
    lines = host.get_fact(FileContents, path="/etc/hosts") or []
    yield from write._inner([HostFile("/etc/hosts", with_block(lines, addresses))])


def with_block(lines: Sequence[str], addresses: Mapping[str, str]) -> str:
    """The content of /etc/hosts that has `lines`, with the block of `addresses` put in or renewed before the rest.

    Installers and cloud-init write the host's own name at 127.0.1.1: what comes first counts.
    """
    kept, inside = [], False
    for line in lines:
        if line == _BEGIN:
            inside = True
        if not inside:
            kept.append(line)
        if line == _END:
            inside = False
    block = [_BEGIN, *(f"{address} {name}" for name, address in addresses.items()), _END]
    return "\n".join([*block, *kept]) + "\n"


@operation()
def no_swap() -> Generator[StringCommand, None, None]:
    """Turn swap off and keep it off, with its lines in /etc/fstab commented out: the kubelet does not start with it."""
    swap = host.get_fact(Swap)
    if swap.fstab:
        third_field = r"^[[:space:]]*[^#[:space:]]+[[:space:]]+[^[:space:]]+[[:space:]]+swap\b"
        yield StringCommand(f"sed -i -E '/{third_field}/s/^/# kubestage: /' /etc/fstab")
        yield StringCommand("systemctl daemon-reload")
    if swap.units:
        # systemd's names for disks hold backslashes: dev-disk-by\x2duuid-0c1d.swap.
        yield StringCommand("systemctl mask --now", *(shlex.quote(unit) for unit in swap.units))
    if swap.in_use:
        yield StringCommand("swapoff --all")
    if swap == Swap.default():
        host.noop("no swap, now or at boot")


@operation()
def modules(names: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Make the kernel have the modules `names` now. What loads them at boot is a file in /etc/modules-load.d."""
    loaded = host.get_fact(LoadedModules, modules=names)
    if missing := [name for name in names if name not in loaded]:
        yield StringCommand("modprobe --all", *missing)
    else:
        host.noop(f"modules are there: {', '.join(names)}")


@operation()
def sysctls(values: Mapping[str, str]) -> Generator[StringCommand, None, None]:
    """Make the running kernel have `values` (name -> value). What sets them at boot is a file in /etc/sysctl.d."""
    current = host.get_fact(Sysctls, names=sorted(values))
    if differing := [name for name, value in values.items() if current.get(name) != " ".join(value.split())]:
        pairs = (shlex.quote(f"{name}={values[name]}") for name in differing)
        yield StringCommand("sysctl --quiet --write", *pairs)
    else:
        host.noop("kernel settings are as they should be")

"""The base system: each operation's exact commands where a host differs, and none where it does not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from fake_hosts import Facts, fact, run, told_by, unpacked
from pyinfra.facts.files import FileContents
from stub_programs import calls, run_with

from kubestage.facts.files import FileStates
from kubestage.facts.system import HostNames, LoadedModules, Swap, Sysctls
from kubestage.host_file import HostFile
from kubestage.operations import system

BLOCK = ["# BEGIN kubestage: the cluster's hosts", "10.0.0.11 cp1", "10.0.0.12 w1", "# END kubestage"]
ADDRESSES = {"cp1": "10.0.0.11", "w1": "10.0.0.12"}


class TestFirstBoot:
    def test_no_cloud_init_at_work(self) -> None:
        assert run(system.first_boot_ended, {}, cloud_init=False, timeout_s=300) == []

    @pytest.mark.parametrize(
        ("does", "code"),
        [("", 0), ("exit 2", 0), ("exit 1", 0), ("sleep 9", 1)],
        ids=["ends", "warns", "fails", "hangs"],
    )
    def test_waited_for(self, tmp_path: Path, does: str, code: int) -> None:
        """But not for ever; what it has failed to do is none of ours."""
        (command,) = run(system.first_boot_ended, {}, cloud_init=True, timeout_s=1)
        result = run_with(tmp_path, command, {"cloud-init": does})
        assert (result.returncode, calls(tmp_path)) == (code, ["cloud-init status --wait"])
        assert ("cloud-init is still at work after 1 s" in result.stderr) == bool(code)


def test_hostname() -> None:
    command = "printf '%s\\n' w1 > /etc/hostname && hostname w1"
    for names in (["bookworm", "bookworm"], ["w1", "bookworm"], ["bookworm", "w1"], ["w1"]):
        assert run(system.hostname, {fact(HostNames): names}, wanted="w1") == [command]
    assert run(system.hostname, {fact(HostNames): ["w1", "w1"]}, wanted="w1") == []


def hosts_facts(content: str) -> Facts:
    known = HostFile("/etc/hosts", content)
    return {
        fact(FileContents, path="/etc/hosts"): content.splitlines(),
        fact(FileStates, paths=["/etc/hosts"]): [f"644 0:0 {known.sha256} /etc/hosts"],
    }


def test_hosts_file() -> None:
    before = "127.0.0.1 localhost\n"
    after = "\n".join([*BLOCK, "127.0.0.1 localhost", ""])
    told = told_by(system.hosts_file, hosts_facts(before), addresses=ADDRESSES)
    assert [unpacked(each) for each in told] == [{"/etc/hosts": (after, "644")}]
    assert run(system.hosts_file, hosts_facts(after), addresses=ADDRESSES) == []


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], BLOCK),
        (["127.0.0.1 localhost", "", "::1 localhost"], [*BLOCK, "127.0.0.1 localhost", "", "::1 localhost"]),
        (["127.0.0.1 localhost", *BLOCK], [*BLOCK, "127.0.0.1 localhost"]),
        ([BLOCK[0], "10.9.9.9 gone", BLOCK[-1], "10.1.1.1 theirs"], [*BLOCK, "10.1.1.1 theirs"]),
    ],
    ids=["empty", "first", "again", "renewed"],
)
def test_block_of_hosts(lines: list[str], expected: list[str]) -> None:
    assert system.with_block(lines, ADDRESSES) == "\n".join(expected) + "\n"


SWAP_LINE = r"^[[:space:]]*[^#[:space:]]+[[:space:]]+[^[:space:]]+[[:space:]]+swap\b"
SED = f"sed -i -E '/{SWAP_LINE}/s/^/# kubestage: /' /etc/fstab"


@pytest.mark.parametrize(
    ("found", "commands"),
    [
        (["fstab /dev/vdb none swap sw 0 0"], [SED, "systemctl daemon-reload"]),
        (["unit dev-vdb.swap", "unit swap.img.swap"], ["systemctl mask --now dev-vdb.swap swap.img.swap"]),
        (["in_use /dev/vdb"], ["swapoff --all"]),
        (
            ["in_use /dev/vdb", "unit dev-vdb.swap", "fstab /dev/vdb none swap sw 0 0"],
            [SED, "systemctl daemon-reload", "systemctl mask --now dev-vdb.swap", "swapoff --all"],
        ),
        ([], []),
    ],
    ids=["fstab", "units", "in use", "all", "none"],
)
def test_no_swap(found: list[str], commands: list[str]) -> None:
    assert run(system.no_swap, {fact(Swap): found}) == commands


def test_swap_unit_with_an_escaped_name() -> None:
    """systemd's own names for disks hold backslashes."""
    commands = run(system.no_swap, {fact(Swap): [r"unit dev-disk-by\x2duuid-0c1d.swap"]})
    assert commands == [r"systemctl mask --now 'dev-disk-by\x2duuid-0c1d.swap'"]


FSTAB = """\
# /etc/fstab: swap none swap
UUID=0a-b / ext4 errors=remount-ro 0 1
UUID=0c-d none swap sw 0 0
  /swap.img\tswap\tswap\tdefaults
/srv/swap /mnt/swap none bind 0 0
#/dev/vdc none swap sw 0 0
"""


def test_fstab_as_it_is_read_and_as_it_is_mended(tmp_path: Path) -> None:
    """The fact's awk and the operation's sed mean the same lines."""
    fstab = tmp_path / "fstab"
    fstab.write_text(FSTAB)

    def lines_of_swap() -> list[str]:
        ask = Swap().ask().rpartition("; ")[2].replace("/etc/fstab", str(fstab))
        return subprocess.run(ask, shell=True, check=True, capture_output=True, text=True).stdout.splitlines()

    assert lines_of_swap() == ["fstab UUID=0c-d none swap sw 0 0", "fstab   /swap.img\tswap\tswap\tdefaults"]
    mend = run(system.no_swap, {fact(Swap): lines_of_swap()})[0]
    subprocess.run(mend.replace("/etc/fstab", str(fstab)), shell=True, check=True)
    assert lines_of_swap() == []
    changed = set(fstab.read_text().splitlines()) - set(FSTAB.splitlines())
    assert changed == {"# kubestage: UUID=0c-d none swap sw 0 0", "# kubestage:   /swap.img\tswap\tswap\tdefaults"}


def test_modules() -> None:
    wanted = ["overlay", "br_netfilter", "vxlan"]
    ask = fact(LoadedModules, modules=wanted)
    assert run(system.modules, {ask: ["br_netfilter"]}, names=wanted) == ["modprobe --all overlay vxlan"]
    assert run(system.modules, {ask: wanted}, names=wanted) == []


def test_sysctls() -> None:
    wanted = {"net.ipv4.ip_forward": "1", "net.ipv4.tcp_rmem": "4096 87380 6291456", "vm.new": "2"}
    ask = fact(Sysctls, names=sorted(wanted))
    before = ["net.ipv4.ip_forward = 1", "net.ipv4.tcp_rmem = 4096\t131072\t6291456"]
    assert run(system.sysctls, {ask: before}, values=wanted) == [
        "sysctl --quiet --write 'net.ipv4.tcp_rmem=4096 87380 6291456' vm.new=2"
    ]
    after = ["net.ipv4.ip_forward = 1", "net.ipv4.tcp_rmem = 4096\t87380\t6291456", "vm.new = 2"]
    assert run(system.sysctls, {ask: after}, values=wanted) == []


def test_blanks_in_a_kernel_setting_mean_nothing() -> None:
    ask = fact(Sysctls, names=["net.ipv4.tcp_rmem"])
    values = {"net.ipv4.tcp_rmem": "4096\t87380  6291456"}
    assert run(system.sysctls, {ask: ["net.ipv4.tcp_rmem = 4096\t87380\t6291456"]}, values=values) == []

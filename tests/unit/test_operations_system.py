"""The base system: each operation's exact commands where a host differs, and none where it does not."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
from fake_hosts import Facts, fact, run, told_by, unpacked, writes
from jinja2 import Environment
from stub_programs import calls, run_with

from kubestage.facts.files import FileStates, Texts
from kubestage.facts.system import HostNames, LoadedModules, Swap, Sysctls
from kubestage.host_file import HostFile
from kubestage.operations import system

BLOCK = ["# BEGIN kubestage: the cluster's hosts", "10.0.0.11 cp1", "10.0.0.12 w1", "# END kubestage"]
ADDRESSES = {"cp1": "10.0.0.11", "w1": "10.0.0.12"}


class TestFirstBoot:
    def test_no_cloud_init_at_work(self) -> None:
        assert run(system.first_boot, {}, cloud_init=False, timeout_s=300) == []

    @pytest.mark.parametrize(
        ("does", "code"),
        [("", 0), ("exit 2", 0), ("exit 1", 0), ("sleep 9", 1)],
        ids=["ends", "warns", "fails", "hangs"],
    )
    def test_waited_for(self, tmp_path: Path, does: str, code: int) -> None:
        """But not for ever; what it has failed to do is none of ours."""
        (command,) = run(system.first_boot, {}, cloud_init=True, timeout_s=1)
        result = run_with(tmp_path, command, {"cloud-init": does})
        assert (result.returncode, calls(tmp_path)) == (code, ["cloud-init status --wait"])
        assert ("cloud-init is still at work after 1 s" in result.stderr) == bool(code)


def test_hostname() -> None:
    for names in (["bookworm", "bookworm"], ["w1", "bookworm"], ["bookworm", "w1"], ["w1"]):
        write, rename = told_by(system.hostname, {fact(HostNames): names}, wanted="w1")
        assert unpacked(write) == {"/etc/hostname": ("w1\n", "644")}
        assert rename.command == "hostname w1"
    assert run(system.hostname, {fact(HostNames): ["w1", "w1"]}, wanted="w1") == []


TEMPLATE = """\
## template:jinja
{# only utilized if enabled in cloud-config -#}
# Your system has configured 'manage_etc_hosts' as True.
127.0.1.1 {{fqdn}} {{hostname}}
127.0.0.1 localhost
"""


def hosts_facts(**contents: bytes) -> Facts:
    """`contents`: of the system's file "hosts", and of cloud-init's "template" for it where there is one."""
    paths = {"hosts": "/etc/hosts", "template": "/etc/cloud/templates/hosts.debian.tmpl"}
    files = [HostFile(paths[name], data.decode(errors="surrogateescape")) for name, data in contents.items()]
    return {
        fact(Texts, paths=list(paths.values())): [f"{b64encode(file.data).decode()} {file.path}" for file in files],
        fact(FileStates, paths=[file.path for file in files]): [f"644 0:0 {file.sha256} {file.path}" for file in files],
    }


def hosts_file(**contents: bytes) -> dict[str, bytes]:
    """path -> what is written there."""
    told = told_by(system.hosts_file, hosts_facts(**contents), addresses=ADDRESSES)
    return {
        path: content.encode(errors="surrogateescape")
        for each in told
        for path, (content, mode) in unpacked(each).items()
        if mode == "644"
    }


def text(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def test_hosts_file() -> None:
    after = text(*BLOCK, "127.0.0.1 localhost")
    assert hosts_file(hosts=text("127.0.0.1 localhost")) == {"/etc/hosts": after}
    assert hosts_file(hosts=after) == {}


def test_bytes_that_are_not_text_survive() -> None:
    """Nothing after them is lost either."""
    theirs = b"10.1.1.1 d\xe9p\xf4t\n127.0.0.1 localhost\x85 # \xc3\xa9\r\n::1 localhost"
    after = hosts_file(hosts=theirs)["/etc/hosts"]
    assert after == text(*BLOCK) + theirs
    assert hosts_file(hosts=after) == {}


def test_cloud_inits_template() -> None:
    """By which it writes /etc/hosts at each boot where its user data says so, whatever files on the host say."""
    after = hosts_file(hosts=text(*BLOCK), template=TEMPLATE.encode())
    assert list(after) == ["/etc/cloud/templates/hosts.debian.tmpl"]
    (template,) = after.values()
    head, _, rest = template.decode().partition("\n")
    assert head == "## template:jinja"
    rendered = Environment(trim_blocks=True).from_string(rest).render(hostname="w1", fqdn="w1.example.com")
    assert rendered.splitlines()[: len(BLOCK)] == BLOCK
    assert rendered.splitlines()[-2:] == ["127.0.1.1 w1.example.com w1", "127.0.0.1 localhost"]
    assert hosts_file(hosts=text(*BLOCK), template=template) == {}


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ([], []),
        (["127.0.0.1 localhost", "", "::1 localhost"], ["127.0.0.1 localhost", "", "::1 localhost"]),
        (["127.0.0.1 localhost", *BLOCK], ["127.0.0.1 localhost"]),
        ([BLOCK[0], "10.9.9.9 gone", BLOCK[-1], "10.1.1.1 theirs"], ["10.1.1.1 theirs"]),
        ([*BLOCK[:-1], "127.0.0.1 localhost", "10.1.1.1 theirs"], ["127.0.0.1 localhost", "10.1.1.1 theirs"]),
        ([BLOCK[0], "10.9.9.9 w1", "10.9.9.8 w1 theirs"], ["10.9.9.8 w1 theirs"]),
        ([*BLOCK[:-1], "127.0.0.1 localhost", *BLOCK], ["127.0.0.1 localhost"]),
        (["127.0.0.1 localhost", BLOCK[-1], "::1 localhost"], ["127.0.0.1 localhost", "::1 localhost"]),
        ([*BLOCK, "127.0.0.1 localhost", *BLOCK], ["127.0.0.1 localhost"]),
    ],
    ids=["empty", "first", "again", "renewed", "no end", "no end, renewed", "no end, twice", "no beginning", "twice"],
)
def test_block_of_hosts(lines: list[str], kept: list[str]) -> None:
    after = text(*BLOCK, *kept).decode()
    assert system.with_block(text(*lines).decode(), ADDRESSES) == after
    assert system.with_block(after, ADDRESSES) == after


FSTAB = b"""\
# /etc/fstab: swap none swap
UUID=0a-b / ext4 errors=remount-ro 0 1
UUID=0c-d none swap sw 0 0
  /swap.img\tswap\tswap\tdefaults
/srv/swap /mnt/swap none bind 0 0
#/dev/vdc none swap sw 0 0
//nas/d\xe9p\xf4t /mnt cifs noauto 0 0
"""
SWAP_IN_FSTAB = f"fstab 640 {b64encode(FSTAB).decode()}"


def masks(units: str) -> str:
    return f'for unit in {units}; do systemctl mask --now "$unit" || systemctl disable --now "$unit" || exit; done'


@pytest.mark.parametrize(
    ("found", "commands"),
    [
        ([SWAP_IN_FSTAB], [writes("/etc/fstab"), "systemctl daemon-reload"]),
        (["unit dev-vdb.swap", "unit swap.img.swap"], [masks("dev-vdb.swap swap.img.swap")]),
        (["in_use /dev/vdb"], ["swapoff --all"]),
        (
            ["in_use /dev/zram0", "unit dev-zram0.swap", "unit zramswap.service"],
            [masks("dev-zram0.swap zramswap.service"), "swapoff --all"],
        ),
        (
            ["in_use /dev/vdb", "unit dev-vdb.swap", SWAP_IN_FSTAB],
            [writes("/etc/fstab"), "systemctl daemon-reload", masks("dev-vdb.swap"), "swapoff --all"],
        ),
        ([], []),
    ],
    ids=["fstab", "units", "in use", "zram", "all", "none"],
)
def test_no_swap(found: list[str], commands: list[str]) -> None:
    assert [told.command for told in told_by(system.no_swap, {fact(Swap): found})] == commands


def test_swap_unit_with_an_escaped_name() -> None:
    """systemd's own names for disks hold backslashes."""
    commands = run(system.no_swap, {fact(Swap): [r"unit dev-disk-by\x2duuid-0c1d.swap"]})
    assert commands == [masks(r"'dev-disk-by\x2duuid-0c1d.swap'")]


def test_a_swap_unit_of_the_users_own_is_disabled(tmp_path: Path) -> None:
    """systemctl does not mask a unit whose file is in /etc/systemd/system."""
    systemctl = 'case "$*" in *mask*own.swap) exit 1 ;; esac'
    assert run_with(tmp_path, masks("own.swap dev-vdb.swap"), {"systemctl": systemctl}).returncode == 0
    assert calls(tmp_path) == [
        "systemctl mask --now own.swap",
        "systemctl disable --now own.swap",
        "systemctl mask --now dev-vdb.swap",
    ]


def test_fstab() -> None:
    """Its other bytes, and its mode, are as they were."""
    write, _ = told_by(system.no_swap, {fact(Swap): [SWAP_IN_FSTAB]})
    ((content, mode),) = unpacked(write).values()
    assert mode == "640"
    before, after = (set(file.split(b"\n")) for file in (FSTAB, content.encode(errors="surrogateescape")))
    assert before - after == {b"UUID=0c-d none swap sw 0 0", b"  /swap.img\tswap\tswap\tdefaults"}
    assert after - before == {f"# kubestage: {line.decode()}".encode() for line in before - after}
    mended = b64encode(content.encode(errors="surrogateescape")).decode()
    assert run(system.no_swap, {fact(Swap): [f"fstab 640 {mended}"]}) == []


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

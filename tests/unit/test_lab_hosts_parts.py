"""What of the lab's hosts can be told without one: what is read of the machine, and what it is checked for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from sample_cluster import group_data

from kubestage.settings.eviction import thresholds
from lab import __main__ as command_line
from lab import cgroups, definition, demo, disk, host_delay, host_kernel, host_processes, lock, network, rootfs, setup
from lab.definition import NETWORK
from lab.progress import StepFailed

V1_MOUNTS = """\
30 26 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 30 0:28 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
34 30 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
40 30 0:36 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 30 0:37 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V1_MEMBERSHIP = "9:name=systemd:/user.slice\n4:memory:/x\n3:cpuset:/\n2:cpu,cpuacct:/a/b\n0::/user.slice/s-1.scope\n"
V2_MOUNTS = "30 26 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

GOOD = setup.Machine(
    root=True,
    system="debian 12",
    architecture="x86_64",
    cpus=2,
    memory_mib=8000,
    disk_mib=50000,
    disk_of=Path("/root"),
    warm=False,
    python=(3, 11),
    go="go1.26.8",
    tools=frozenset({"git", "make"}),
    kernel_lacks=(),
)


def test_own_groups_of_cgroup_v1() -> None:
    mounted = cgroups.parse_hierarchies(V1_MOUNTS)
    assert not cgroups.unified(mounted)
    assert cgroups.own_groups(mounted, cgroups.parse_membership(V1_MEMBERSHIP)) == [
        Path("/sys/fs/cgroup/cpuset"),
        Path("/sys/fs/cgroup/cpu,cpuacct/a/b"),
        Path("/sys/fs/cgroup/systemd/user.slice"),
        Path("/sys/fs/cgroup/unified/user.slice/s-1.scope"),
    ]


def test_own_group_where_only_a_part_of_the_hierarchy_is_mounted() -> None:
    mounted = cgroups.parse_hierarchies("32 30 0:28 /box/7 /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n")
    assert cgroups.own_groups(mounted, cgroups.parse_membership("3:cpuset:/box/7/inner\n")) == [
        Path("/sys/fs/cgroup/cpuset/inner")
    ]


def test_cgroup_v2_alone_is_told_from_both() -> None:
    assert cgroups.unified(cgroups.parse_hierarchies(V2_MOUNTS))
    assert not cgroups.unified([])


def on_hierarchy(monkeypatch: pytest.MonkeyPatch, point: Path, version: int) -> None:
    controllers = frozenset({"cpuset"}) if version == 1 else frozenset[str]()
    monkeypatch.setattr(cgroups, "hierarchies", lambda: [cgroups.Hierarchy(point, "/", version, controllers)])


def test_a_v1_group_gets_the_cpus_of_its_parent_before_anything_joins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on_hierarchy(monkeypatch, tmp_path, 1)
    monkeypatch.setattr(cgroups, "parse_membership", lambda text: {frozenset({"cpuset"}): "/"})
    group = tmp_path / "kubestage0-w1"
    group.mkdir()
    for folder, cpus in ((tmp_path, "0-1\n"), (group, "")):
        (folder / "cpuset.cpus").write_text(cpus)
    words = cgroups.launcher("kubestage0-w1")
    assert (group / "cpuset.cpus").read_text() == "0-1\n"
    assert words[-2:] == [str(group), "--"]


def test_a_v2_group_without_systemd_gets_all_controllers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_hierarchy(monkeypatch, tmp_path, 2)
    monkeypatch.setattr(cgroups, "under_systemd", lambda: False)
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpu\n")
    assert cgroups.launcher("kubestage0-w1")[-2:] == [str(tmp_path / "kubestage0-w1"), "--"]
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"
    assert (tmp_path / "kubestage0-w1").is_dir()


def test_a_v2_host_is_a_delegated_scope_of_systemd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_hierarchy(monkeypatch, tmp_path, 2)
    monkeypatch.setattr(cgroups, "under_systemd", lambda: True)
    words = cgroups.launcher("kubestage0-w1")
    assert words[:2] == ["systemd-run", "--scope"]
    assert {"--unit=kubestage0-w1", "--property=Delegate=yes"} <= set(words)
    assert list(tmp_path.iterdir()) == []


def test_only_the_labs_groups_are_found_and_a_scope_by_its_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on_hierarchy(monkeypatch, tmp_path, 2)
    for name in ("a/kubestage0-w1/inner", "machine.slice/kubestage0-w1.scope", "kubestage0-w11", "kubestage", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a/kubestage0-w1/cgroup.procs").write_text("")
    (tmp_path / "a/kubestage0-w1/inner/cgroup.procs").write_text("12\n0\n13\n")
    assert cgroups.groups("kubestage0-w1") == [
        tmp_path / "a/kubestage0-w1",
        tmp_path / "machine.slice/kubestage0-w1.scope",
    ]
    assert tmp_path / "kubestage0-w11" in cgroups.groups()
    assert len(cgroups.groups()) == 3
    assert cgroups.processes("kubestage0-w1") == {12, 13}


def test_namespace_pids() -> None:
    assert host_processes.parse_namespace_pids("Name:\tsystemd\nNSpid:\t4157\t1\nNSpgid:\t1\n") == [4157, 1]
    assert host_processes.parse_namespace_pids("Name:\tx\n") == []


def test_a_process_that_is_gone_is_nobodys_leader() -> None:
    assert host_processes.leader([2**22 + 1]) is None
    assert host_processes.leader([os.getpid()]) is None
    assert host_processes.end(2**22 + 1)


def test_every_address_of_the_lab_has_names_that_the_kernel_takes() -> None:
    addresses = [str(address) for address in NETWORK.hosts()]
    assert max(len(network.link_name(address)) for address in addresses) <= 15
    assert len({network.hardware_address(address) for address in addresses}) == len(addresses)
    assert network.hardware_address("10.77.0.11") == "02:4b:53:4d:00:0b"  # locally administered, no group's
    assert len(host_delay.LINK) <= 15


def test_the_mirrors_answers_are_never_delayed() -> None:
    *near, far = host_delay.rules()
    assert [rule.split()[6:10] for rule in near] == [["sport", port, "lookup", "main"] for port in ("8080", "5000")]
    assert far.endswith("lookup 7700 pref 7703")
    assert all("iif lo" in rule for rule in [*near, far])  # what only passes through the machine is left alone


def test_kernel_settings_are_given_back_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = dict.fromkeys(host_kernel.SHARED, "1") | {"fs/inotify/max_user_instances": "128"}
    monkeypatch.setattr(host_kernel, "read", lambda name: values[name])
    monkeypatch.setattr(host_kernel, "write", values.__setitem__)
    monkeypatch.setenv("KUBESTAGE_CACHE", str(tmp_path))
    before = dict(values)
    host_kernel.prepare()
    assert int(values["fs/inotify/max_user_instances"]) > 128
    values["kernel/panic"] = "10"  # as the kubelet does
    host_kernel.prepare()  # a second `up` must not take this for the machine's own
    host_kernel.restore()
    assert values == before
    values["kernel/panic"] = "5"
    host_kernel.restore()
    assert values["kernel/panic"] == "5"


def test_settings_from_before_a_reboot_are_not_given_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = dict.fromkeys(host_kernel.SHARED, "1")
    monkeypatch.setattr(host_kernel, "read", lambda name: values[name])
    monkeypatch.setattr(host_kernel, "write", values.__setitem__)
    monkeypatch.setenv("KUBESTAGE_CACHE", str(tmp_path))
    host_kernel.prepare()
    values["kernel/panic"] = "7"
    monkeypatch.setattr(host_kernel, "_boot", lambda: "another boot")
    host_kernel.restore()
    assert values["kernel/panic"] == "7"


def test_a_lab_of_another_cache_is_not_touched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "other" / "running"
    other.mkdir(parents=True)
    monkeypatch.setattr(lock, "OWNER", tmp_path / "owner")
    monkeypatch.setenv("KUBESTAGE_CACHE", str(tmp_path / "mine"))
    lock.claim()
    lock.OWNER.write_text(f"{other}\n")
    with pytest.raises(StepFailed, match=f"KUBESTAGE_CACHE={tmp_path / 'other'} python -m lab down"):
        lock.claim()
    other.rmdir()  # its remains are gone: after a crash, say
    lock.claim()


def test_a_file_of_the_root_tree_never_follows_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root" / "etc" / "resolv.conf").symlink_to(outside)
    rootfs.write(tmp_path / "root", "etc/resolv.conf", "theirs", 0o600)
    assert outside.read_text() == "mine"
    assert (tmp_path / "root" / "etc" / "resolv.conf").stat().st_mode & 0o777 == 0o600


def test_the_root_tree_changes_its_key_with_its_content(monkeypatch: pytest.MonkeyPatch) -> None:
    key = rootfs.key()
    monkeypatch.setattr(rootfs, "PACKAGES", (*rootfs.PACKAGES, "vim"))
    assert rootfs.key() != key


def test_a_good_machine_has_no_problem() -> None:
    assert setup.problems(GOOD) == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"root": False}, "not root"),
        ({"system": "ubuntu 24.04"}, "the system is ubuntu 24.04"),
        ({"system": ""}, "the system is unknown"),
        ({"architecture": "aarch64"}, "the architecture is aarch64"),
        ({"cpus": 1}, "1 CPU: at least 2"),
        ({"memory_mib": 2048}, "2048 MiB of memory: at least 6144"),
        ({"disk_mib": 9000}, "9000 MiB free at /root: 20480 MiB"),
        ({"disk_mib": 4000, "warm": True}, "4000 MiB free at /root: 5120 MiB"),
        ({"python": (3, 9)}, "Python 3.9: at least 3.11"),
        ({"go": "go1.22.1"}, "Go go1.22.1: at least 1.26"),
        ({"go": ""}, "Go is not on PATH"),
        ({"tools": frozenset({"git"})}, "make is not on PATH"),
        ({"kernel_lacks": ("vxlan links",)}, "the kernel has no vxlan links"),
    ],
)
def test_a_lack_of_the_machine_is_told(bad: dict[str, object], message: str) -> None:
    (problem,) = setup.problems(replace(GOOD, **bad))  # type: ignore[arg-type]
    assert problem.startswith(message)


def test_all_lacks_are_told_at_once() -> None:
    assert len(setup.problems(replace(GOOD, root=False, cpus=1, go="", tools=frozenset()))) == 5


def test_a_warm_cache_needs_less_disk() -> None:
    assert setup.problems(replace(GOOD, disk_mib=9000, warm=True)) == []


@pytest.mark.parametrize(("free", "blank", "need"), [(5119, True, 5120), (1023, True, 5120), (1023, False, 1024)])
def test_a_disk_that_is_too_full_for_hosts(monkeypatch: pytest.MonkeyPatch, free: int, blank: bool, need: int) -> None:
    monkeypatch.setattr(disk, "free_mib", lambda: free)
    with pytest.raises(StepFailed, match=f"too full for the lab's hosts: {free} MiB free at .*, {need} MiB are needed"):
        disk.require(blank_hosts=blank)
    monkeypatch.setattr(disk, "free_mib", lambda: need)
    disk.require(blank_hosts=blank)


def test_no_share_of_the_disk_has_hosts_evict_pods() -> None:
    """Other work on the machine takes that share: the thresholds are absolute, and what preflight asks fits them."""
    known = group_data("lab")
    on_disk = [each for each in thresholds(known["kubelet_config"]) if not each.signal.startswith("memory")]
    assert {each.signal: each.amount(10**15) for each in on_disk} == {
        "nodefs.available": disk.EVICTED_BELOW_MIB * 2**20,
        "imagefs.available": disk.EVICTED_BELOW_MIB * 2**20,
    }
    assert known["require_disk_mib"] + disk.EVICTED_BELOW_MIB == disk.NEED_MIB


def test_hosts_that_install_from_a_mirror_need_no_compiler_and_less_disk() -> None:
    assert setup.problems(replace(GOOD, disk_mib=9000, go="", builds=False)) == []


def test_a_mirror_profile_that_does_not_exist_is_told() -> None:
    assert setup.profile_problems("upstream") == setup.profile_problems("lab") == []
    assert setup.profile_problems("upsteam") == [
        "there is no mirror profile 'upsteam': MIRROR is one of lab, upstream, aliyun, aliyun-vpc, or left out"
    ]


def test_the_mirror_that_a_lab_was_made_with_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBESTAGE_CACHE", str(tmp_path))
    monkeypatch.delenv("KUBESTAGE_LAB_MIRROR", raising=False)
    assert (definition.mirror(), definition.builds()) == ("lab", True)
    definition.state_dir().mkdir()
    monkeypatch.setenv("KUBESTAGE_LAB_MIRROR", "upstream")
    definition.keep_mirror()
    monkeypatch.setenv("KUBESTAGE_LAB_MIRROR", "")  # as the Makefile has it where MIRROR is left out
    assert (definition.mirror(), definition.builds()) == ("upstream", False)


def test_the_demo_says_first_what_will_be_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBESTAGE_CACHE", str(tmp_path))
    monkeypatch.setenv("KUBESTAGE_LAB_MIRROR", "")
    assert "built from source, once: about 25 minutes" in demo.announcement()
    (tmp_path / "registry" / "0123").mkdir(parents=True)
    assert demo.announcement().startswith("Everything is built; then a cluster of 3 hosts")
    monkeypatch.setenv("KUBESTAGE_LAB_MIRROR", "upstream")
    assert demo.announcement().startswith("Nothing is built: the hosts install from the mirror profile 'upstream'")


@pytest.mark.parametrize(
    ("version", "numbers"), [("go1.26.8", (1, 26)), ("go1.27rc1", (1, 27)), ("", ()), ("devel +abc", ())]
)
def test_go_numbers(version: str, numbers: tuple[int, ...]) -> None:
    assert setup.go_numbers(version) == numbers


def test_os_release() -> None:
    assert setup.os_release('NAME="Debian GNU/Linux"\nVERSION_ID="12"\n# note\nID=debian\n') == "debian 12"
    assert setup.os_release("ID=arch\n") == "arch"


def test_every_requirement_is_pinned() -> None:
    lines = setup.REQUIREMENTS.read_text().splitlines()
    assert lines
    assert [line for line in lines if line.count("==") != 1] == []


@pytest.mark.parametrize(
    ("typed", "passed_on"),
    [
        (["ssh", "w1"], []),
        (["ssh", "w1", "--", "ls", "-l"], ["ls", "-l"]),
        (["ssh", "w1", "ls", "--", "x"], ["ls", "--", "x"]),
    ],
)
def test_ssh_passes_a_command_on_as_it_is(
    monkeypatch: pytest.MonkeyPatch, typed: list[str], passed_on: list[str]
) -> None:
    calls: list[tuple[str, list[str]]] = []

    def ssh(host: str, words: list[str]) -> int:
        calls.append((host, words))
        return 3

    monkeypatch.setattr(command_line, "ssh", ssh)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert command_line.main(typed) == 3
    assert calls == [("w1", passed_on)]


def test_a_host_that_is_not_there_is_named_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("KUBESTAGE_LAB_WORKERS", raising=False)
    assert command_line.main(["logs", "w9"]) == 1
    assert "no host 'w9'. inventory/lab.py names: cp1, w1, w2" in capsys.readouterr().err


def test_nobody_but_root_gets_further(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert command_line.main(["status"]) == 1
    assert "needs root" in capsys.readouterr().err

"""The lab's own promises, on two hosts: they boot, are rebuilt, survive crashes of the lab, and leave nothing behind.

It begins and ends with the lab down, so it does not share a cluster with other tests.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from lab import build, cgroups, host_delay, host_processes, hosts, lock
from lab.definition import CHECKOUT, GATEWAY, NETWORK, state_dir
from tests.lab import commands

WORKER = "kubestage0-w1"
ETH_P_IP, ETH_P_ALL = 0x0800, 0x0003  # linux/if_ether.h


lab = partial(commands.lab, KUBESTAGE_LAB_WORKERS="1")
lab_refuses = partial(commands.lab_refuses, KUBESTAGE_LAB_WORKERS="1")
on = partial(commands.on, KUBESTAGE_LAB_WORKERS="1")


def status() -> dict[str, dict[str, Any]]:
    report: dict[str, Any] = json.loads(lab("status", "--json"))
    return {host["name"]: host for host in report["hosts"]}


def machine_state() -> dict[str, list[str]]:
    """What of the machine the lab could leave changed."""
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {
        "mounts": sorted(Path("/proc/self/mountinfo").read_text().splitlines()),
        "links": sorted(link.name for link in Path("/sys/class/net").iterdir()),
        "firewall": [rule for rule in rules if rule.startswith("-")],
        "routing": subprocess.run(["ip", "rule"], capture_output=True, text=True, check=True).stdout.splitlines(),
        "cgroups": sorted(map(str, cgroups.groups())),
        "forwarding": [Path("/proc/sys/net/ipv4/ip_forward").read_text()],
        "inotify": [Path("/proc/sys/fs/inotify/max_user_instances").read_text()],
    }


@pytest.fixture(scope="module")
def before() -> Iterator[dict[str, list[str]]]:
    """The machine before the lab was up; the lab is up then, and down at the end whatever happens."""
    lab("down")
    state = machine_state()
    lab("up")
    yield state
    lab("down")


@pytest.fixture(autouse=True)
def _up(before: dict[str, list[str]]) -> None:
    """Every test begins with both hosts running."""
    assert before is not None
    lab("up")


def test_hosts_run_and_let_both_users_in() -> None:
    assert {name: (host["state"], host["ssh"]) for name, host in status().items()} == {
        "cp1": ("running", True),
        "w1": ("running", True),
    }
    assert on("cp1", "id -un") == "root"
    assert on("w1", "id -un; sudo -n id -un", KUBESTAGE_LAB_USER="admin").split() == ["admin", "root"]


def test_a_host_is_a_bare_server_with_all_that_kubernetes_needs_of_a_kernel() -> None:
    told = on(
        "w1",
        "set -e; hostname; systemctl is-system-running; cat /proc/sys/net/ipv4/ip_forward; grep -c ' swap ' /etc/fstab;"
        "test -c /dev/kmsg; ip link add vx type vxlan id 7 dstport 4789; ip link delete vx;"
        "iptables -t nat -L -n >/dev/null; iptables-legacy -t nat -L -n >/dev/null;"
        "cd $(mktemp -d -p /var/lib); mkdir l u w m; mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m; umount m;"
        "for group in $(ls -d /sys/fs/cgroup/memory /sys/fs/cgroup/pids 2>/dev/null || echo /sys/fs/cgroup); do"
        " mkdir $group/x; rmdir $group/x; done;"
        "timeout 5 bash -c 'read -r greeting </dev/tcp/10.77.0.11/22; echo $greeting | cut -c1-7';"
        f"curl -fsS -o /dev/null -w '%{{http_code}}' http://{GATEWAY}:5000/v2/",
    )
    assert told.split() == ["debian", "running", "0", "1", "SSH-2.0", "200"]


def test_no_packet_to_an_address_of_the_cluster_leaves_the_machine() -> None:
    """Nor one from there: a host without rules for a Service, or for pods, would send it on to its gateway."""
    inside = [IPv4Network(build.product()[name]) for name in ("service_cidr", "pod_cidr")]
    uplink = subprocess.run(["ip", "-4", "route", "show", "default"], capture_output=True, text=True, check=True)
    words = uplink.stdout.split()
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as listener:
        listener.bind((words[words.index("dev") + 1], ETH_P_ALL))
        listener.setblocking(False)
        for network in inside:
            refused = on("w1", f"timeout 5 bash -c ': </dev/tcp/{network[-2]}/9' 2>&1; true")
            assert refused.endswith("Network is unreachable"), refused
            own, outside = f"{network[1]}/32 dev lo", NETWORK.broadcast_address + 1
            on("w1", f"ip address add {own}; ping -c 1 -W 1 -I {network[1]} {outside}; ip address delete {own}")
        seen = [IPv4Address(address) for packet in received(listener) for address in (packet[12:16], packet[16:20])]
    assert [address for address in seen if any(address in network for network in inside)] == []


def received(listener: socket.socket) -> Iterator[bytes]:
    """The IPv4 packets that are there by now, from their headers on."""
    with suppress(BlockingIOError):
        while True:
            packet, (_, protocol, *_) = listener.recvfrom(65535)
            if protocol == ETH_P_IP:
                yield packet


def test_up_again_changes_nothing() -> None:
    leaders = {name: host["leader"] for name, host in status().items()}
    lab("up")
    assert {name: host["leader"] for name, host in status().items()} == leaders


def test_rebuild_gives_a_blank_disk_and_a_new_host_key() -> None:
    identity = on("w1", "touch /root/kept /var/lib/kept; cat /etc/machine-id")
    key, other_key = status()["w1"]["host_key"], status()["cp1"]["host_key"]
    lab("rebuild", "w1")
    assert status()["w1"]["host_key"] != key
    assert status()["cp1"]["host_key"] == other_key
    new_identity, *files = on("w1", "cat /etc/machine-id; ls /root /var/lib").split()
    assert new_identity != identity
    assert "kept" not in files


def test_reboot_keeps_the_disk_from_outside_and_from_inside() -> None:
    on("w1", "touch /root/kept")
    key, leader = status()["w1"]["host_key"], status()["w1"]["leader"]
    lab("reboot", "w1")
    rebooted = status()["w1"]["leader"]
    on(
        "w1",
        "test -e /root/kept; systemd-run --quiet --on-active=100ms --timer-property=AccuracySec=1ms systemctl reboot",
    )
    assert host_processes.wait_until(lambda: status()["w1"]["leader"] not in (leader, rebooted, None), 30)
    assert host_processes.wait_until(lambda: bool(status()["w1"]["ssh"]), 30)
    on("w1", "test -e /root/kept")
    assert status()["w1"]["host_key"] == key


def test_reboot_leaves_no_control_groups() -> None:
    """A kubelet would look for the containers of those that the last boot has left."""
    left = "/sys/fs/cgroup/memory/left" if cgroups.separate() else "/sys/fs/cgroup/left"
    on("w1", f"mkdir -p {left}/inner")
    lab("reboot", "w1")
    on("w1", f"! test -e {left}")


def test_a_host_that_was_switched_off_comes_back_with_its_disk() -> None:
    on("w1", "touch /root/kept")
    lab("poweroff", "w1")
    assert (status()["w1"]["state"], status()["w1"]["ssh"]) == ("off", False)
    assert not cgroups.groups(WORKER)
    lab("up")
    on("w1", "test -e /root/kept")


def test_a_second_command_is_refused_at_once_with_the_pid_of_the_first() -> None:
    with lock.held():
        told = lab_refuses("up")
    assert f"in use by process {os.getpid()}" in told


@pytest.mark.parametrize("victim", ["nspawn", "leader", "everything"])
def test_up_mends_what_a_crash_has_left(victim: str) -> None:
    on("w1", "touch /root/kept; sync")
    pids = cgroups.processes(WORKER)
    leader, nspawn = host_processes.leader(pids), host_processes.starter(pids)
    assert leader is not None
    assert nspawn is not None
    chosen = {"nspawn": [nspawn], "leader": [leader], "everything": sorted(pids)}[victim]
    for pid in chosen:
        host_processes.end(pid, signal.SIGKILL)
    assert host_processes.wait_until(lambda: status()["w1"]["state"] != "running", 10)
    lab("up")
    assert status()["w1"]["state"] == "running"
    on("w1", "test -e /root/kept")


def test_up_goes_on_after_an_up_that_was_killed() -> None:
    lab("down")
    argv = [sys.executable, "-m", "lab", "up"]
    with subprocess.Popen(
        argv, cwd=CHECKOUT, env=commands.environment(KUBESTAGE_LAB_WORKERS="1"), stderr=subprocess.DEVNULL
    ) as first:
        assert host_processes.wait_until(lambda: bool(cgroups.groups(WORKER)), 60)  # in the midst of it
        first.kill()
    lab("up")
    assert {host["state"] for host in status().values()} == {"running"}


def test_a_host_that_the_inventory_no_longer_names_goes() -> None:
    commands.lab("up", KUBESTAGE_LAB_WORKERS="0")
    assert not cgroups.groups(WORKER)
    assert not (state_dir() / "hosts" / "w1").exists()


def test_delay_makes_round_trips_longer_until_it_is_taken_away() -> None:
    lab("delay", "40")
    begin = time.monotonic()
    with socket.create_connection(("10.77.0.12", 22), timeout=10):
        assert time.monotonic() - begin >= 0.040
    lab("delay", "0")
    assert json.loads(lab("status", "--json"))["delay_ms"] == 0
    assert host_delay.present_rules() == []


def test_down_leaves_nothing_and_says_what_it_could_not_remove(before: dict[str, list[str]]) -> None:
    lab("delay", "5")
    held = state_dir() / "held"
    held.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "kubestage0-left", held], check=True)
    subprocess.run(["ip", "link", "add", "kubestage0-left", "type", "bridge"], check=True)
    assert {f"mount {held}", "link kubestage0-left"} <= set(hosts.leftovers())
    with subprocess.Popen(["sleep", "60"], cwd=held) as holder:
        told = lab_refuses("down")
        holder.kill()
    assert f"mount {held}" in told
    assert "link kubestage0-left" not in told
    lab("down")
    assert hosts.leftovers() == []
    assert machine_state() == before

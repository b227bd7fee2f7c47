"""Hosts made what they were before any run: all that can be seen of one is compared, before its first run and after.

One of a cluster that goes on; one that a run has hardly begun with; all of them, by a run that is killed on the way.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.commands import (
    deploy,
    deploy_refused,
    killed_once,
    kubectl_json,
    lab,
    on,
    settle,
    verify,
)

pytestmark = pytest.mark.life

RESET = "reset.py"
HOSTS = ("cp1", "w1", "w2")

# What may differ, and why: apt's and dpkg's own books and caches, of which the packages themselves are compared; what
# systemd remembers of timers and of its random seed; the copies that tools for accounts keep of their files; the cache
# of ldconfig; the locks of tools, and the folder of ip-netns.
MAY_DIFFER = (
    r"/var/lib/(apt|dpkg|systemd|ucf)(/|$)|"
    r"/etc/(passwd|shadow|group|gshadow|subuid|subgid)-$|"
    r"/etc/ld\.so\.cache$|/etc/\.pwd\.lock$|"
    r"/run/(systemd|udev|user|log|lock|utmp|xtables\.lock|netns|dbus|sshd|mount|credentials|initctl|sudo|screen)"
)
# What is asked of a host -> by which command.
SEEN = {
    "files": f"find /etc /opt /usr/local /srv /root /home /var/lib /run -xdev -printf '%p %y %m %u:%g %l\\n' "
    f"| grep -vE '^({MAY_DIFFER})'",
    "contents": f"find /etc /usr/local /root -xdev -type f -exec sha256sum {{}} + | grep -vE '  ({MAY_DIFFER})'",
    "disks": "for f in containerd docker kubelet etcd; do ls -A /var/lib/$f 2>/dev/null || true; done",
    "packages": "dpkg-query -W -f '${Package} ${Version} ${Status}\\n'; apt-mark showauto | sed 's/^/auto /'",
    "units": "systemctl list-unit-files --plain --no-legend; "
    "systemctl list-units --type service,timer,socket --state active --plain --no-legend | sed 's/ .*//'",
    "links": "ls /sys/class/net; ls /run/netns 2>/dev/null || true",
    "routes": "ip -4 route; ip rule",
    # An empty table of the kernel's is none.
    "rules": "for p in iptables-nft iptables-legacy ip6tables-nft ip6tables-legacy; do "
    "$p-save 2>/dev/null | grep -E '^-A|^:.* (-|DROP|REJECT) ' | sed 's/ \\[.*//' | sed \"s/^/$p /\"; done; true",
    "mounts": "findmnt --raw --noheadings --output TARGET | grep -v ^/run/user",
    "listening": "ss -Hlntu | awk '{ print $1, $5 }'",
    "accounts": "getent passwd; getent group",
    "names": "hostname; cat /etc/hosts",
    "settings": "sysctl net.ipv4.ip_forward net.ipv4.conf.all.route_localnet net.bridge 2>/dev/null || true",
    "processes": "ps -eo comm= | grep -E 'kube|containerd|docker|haproxy|etcd|flannel|coredns' || true",
}
# Of others' making, before the first run: a rule and a chain, a Docker configuration, a line for swap, a host's name.
STRANGE = """
iptables-nft -N SOMEBODYS && iptables-nft -A SOMEBODYS -p tcp --dport 8099 -m comment --comment 'KUBE- not' -j DROP
iptables-nft -A INPUT -j SOMEBODYS
mkdir -p /etc/docker && echo '{"log-level": "warn"}' > /etc/docker/daemon.json && chmod 640 /etc/docker/daemon.json
echo '/swapfile none swap sw 0 0 # 50% of it' >> /etc/fstab
echo '203.0.113.7 somebody' >> /etc/hosts
hostname before && echo before > /etc/hostname
"""

Seen = dict[str, list[str]]


def seen(host: str) -> Seen:
    return {what: sorted(on(host, command).splitlines()) for what, command in SEEN.items()}


def compare(host: str, before: Seen) -> None:
    now = seen(host)
    different = {
        what: {"gone": sorted({*lines} - {*now[what]}), "new": sorted({*now[what]} - {*lines})}
        for what, lines in before.items()
        if now[what] != lines
    }
    assert different == {}, f"{host}: {different}"


@pytest.fixture(scope="module")
def before(blank_hosts: None) -> Iterator[dict[str, Seen]]:
    """What each host is before its first run. Afterwards there is a cluster again, for other tests."""
    for host in HOSTS:
        lab("rebuild", host)
        on(host, STRANGE)
    yield {host: seen(host) for host in HOSTS}
    for host in HOSTS:
        lab("rebuild", host)
    deploy()


def test_a_host_that_a_run_has_hardly_begun_with(before: dict[str, Seen]) -> None:
    deploy("--limit", "w1", "--data", "only=Host,Runtime")
    assert deploy("--limit", "w1", script=RESET).changed
    compare("w1", before["w1"])
    assert deploy("--limit", "w1", script=RESET).changed == {}


def test_one_of_a_cluster_that_goes_on(before: dict[str, Seen]) -> None:
    deploy()
    on("w2", "docker volume create somebodys")
    told = deploy_refused("--limit", "w2", script=RESET)
    assert "volumes somebodys" in told and "with_docker=True" in told, told
    on("w2", "docker volume rm somebodys")

    deploy("--limit", "w2", script=RESET)
    compare("w2", before["w2"])
    assert sorted(each["metadata"]["name"] for each in kubectl_json("get", "nodes")["items"]) == ["cp1", "w1"]
    assert deploy("--limit", "w2", script=RESET).changed == {}
    deploy()
    settle()
    assert verify() == set()


def test_all_of_them_by_a_run_that_is_killed(before: dict[str, Seen]) -> None:
    there = "test -e /usr/bin/kubelet && echo yes || true"
    killed_once(lambda: on("w1", there) == "", script=RESET)
    assert deploy(script=RESET).changed
    for host in HOSTS:
        compare(host, before[host])
    assert deploy(script=RESET).changed == {}
    deploy()
    settle()
    assert verify() == set()
    assert deploy().changed == {}

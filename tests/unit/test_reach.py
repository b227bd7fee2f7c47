"""Hosts that try each other before any of them joins: for real on addresses of loopback, and what is told of it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from sample_cluster import GROUPS, hosts_data
from sample_reports import bare, control_plane, member

from kubestage.checks import reach
from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.checks.load import load
from kubestage.facts.host_report import HostReport, parse
from kubestage.facts.reach import TICKS, Peer, Port, Reach, Reached

ONE, OTHER, THIRD = "127.0.77.1", "127.0.77.2", "127.0.77.3"


@pytest.fixture
def ports() -> Iterator[tuple[Port, Port]]:
    """A TCP and a UDP port that nothing has on any address of loopback."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("", 0))
        udp.bind(("", 0))
        found = ("tcp", tcp.getsockname()[1]), ("udp", udp.getsockname()[1])
    yield found


def tried(trials: Mapping[str, tuple[list[Port], list[Peer]]], seconds: int = 15) -> dict[str, Reached]:
    """Every host's answer: address -> its listening ports and its peers; all at once, in the shell that hosts have."""
    running = {}
    for own, (listens, peers) in trials.items():
        command = Reach().ask(own, listens, peers, seconds)
        running[own] = subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, text=True)
        time.sleep(0.3)  # no host is asked at quite the same time
    return {own: Reach().parse(process.communicate()[0].splitlines()) for own, process in running.items()}


def among(addresses: list[str], ports: tuple[Port, Port]) -> dict[str, tuple[list[Port], list[Peer]]]:
    return {own: (list(ports), [Peer(other, ports, ports) for other in addresses if other != own]) for own in addresses}


def test_hosts_that_reach_each_other_end_soon(ports: tuple[Port, Port]) -> None:
    begin = time.monotonic()
    assert set(map(str, tried(among([ONE, OTHER, THIRD], ports), 60).values())) == {str(Reached({}))}
    assert time.monotonic() - begin < 30


def test_what_listens_already_is_reached_as_well(ports: tuple[Port, Port]) -> None:
    """As the kubelet of a host that has joined, which tries the new one as well."""
    tcp, udp = ports
    with socket.create_server((OTHER, tcp[1])):
        answers = tried({ONE: ([tcp, udp], [Peer(OTHER, (tcp,), ports)]), OTHER: ([], [Peer(ONE, ports, (tcp,))])})
    assert answers == {ONE: Reached({}), OTHER: Reached({})}


def test_what_is_in_the_way(ports: tuple[Port, Port]) -> None:
    """A packet that nobody answers, and one that is rejected; the others are tried all the same."""
    tcp, udp = ports
    trials = among([ONE, OTHER], ports)
    trials[ONE][1].append(Peer(THIRD, ports, ()))
    with socket.socket() as full, socket.socket(type=socket.SOCK_DGRAM) as silent:
        full.bind((THIRD, tcp[1]))
        full.listen(0)  # and never accepts: the kernel drops what comes once the queue is full
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex((THIRD, tcp[1]))
        silent.bind((THIRD, udp[1]))
        answers = tried(trials, seconds=3)
        for each in waiting:
            each.close()
    dropped = {(*tcp, THIRD): "no answer", (*udp, THIRD): "no answer"}
    assert answers == {ONE: Reached(dropped), OTHER: Reached({})}
    answers = tried({ONE: ([], [Peer(THIRD, ports, ())])}, seconds=1)
    assert set(answers[ONE].failed.values()) == {"Connection refused"}


def test_a_port_that_something_has(ports: tuple[Port, Port]) -> None:
    """As flannel's device, which a `kubeadm reset` leaves."""
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind((ONE, ports[1][1]))
        answers = tried(among([ONE, OTHER], ports), seconds=1)
    assert answers == {ONE: Reached({}, frozenset({ports[1]})), OTHER: Reached({(*ports[1], ONE): "no answer"})}


def test_nothing_goes_on_listening(ports: tuple[Port, Port]) -> None:
    """Also where a host is too slow to count: here its ticks take a minute."""
    tcp, _ = ports
    command = Reach().ask(ONE, [tcp], [Peer(OTHER, (), (tcp,))], 0).replace("$ticks-- > 0", "1")
    command = command.replace(f"select(undef, undef, undef, 1 / {TICKS})", "select(undef, undef, undef, 60)")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert Reach().parse(done.stdout.splitlines()).unable == "it took too long"
    with socket.create_server((ONE, tcp[1])):
        pass


@pytest.mark.parametrize("script", ["no-such-program", f"{sys.executable} -c 'raise SystemExit(\"no module\")'"])
def test_a_host_that_can_try_nothing(script: str) -> None:
    command = Reach().ask(ONE, [], [], 1).replace("perl -", script, 1)
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert Reach().parse(result.stdout.splitlines()).unable


# --- Who tries what, and what is told of it --------------------------------------------------------------------------
KUBELET, API, FLANNEL = ("tcp", 10250), ("tcp", 6443), ("udp", 8472)


def report(text: str) -> HostReport:
    return parse(text.splitlines(), 1000.0, 1001.0)


def hosts(**reports: str) -> ClusterHosts:
    return ClusterHosts(load(hosts_data(), GROUPS), {name: report(text) for name, text in reports.items()})


NEW = {"cp1": bare(11), "w1": bare(12), "w2": bare(13)}
JOINED = {"cp1": control_plane(), "w1": member(12, "w1"), "w2": member(13, "w2")}


def test_new_hosts_try_all_that_they_need_of_each_other() -> None:
    trials = reach.trials(hosts(**NEW))
    assert trials["cp1"].listens == (API, KUBELET, FLANNEL)
    assert trials["w1"] == reach.Trial(
        "10.0.0.12",
        (KUBELET, FLANNEL),
        (
            Peer("10.0.0.11", (API, KUBELET, FLANNEL), (KUBELET, FLANNEL)),
            Peer("10.0.0.13", (KUBELET, FLANNEL), (KUBELET, FLANNEL)),
        ),
    )


def test_hosts_that_have_joined_try_the_new_one_alone() -> None:
    assert reach.trials(hosts(**JOINED)) == {}
    assert reach.trials(hosts(cp1=JOINED["cp1"])) == {}
    trials = reach.trials(hosts(**{**JOINED, "w2": NEW["w2"]}))
    assert trials["w1"] == reach.Trial("10.0.0.12", (), (Peer("10.0.0.13", (KUBELET, FLANNEL), (KUBELET,)),))
    assert trials["w2"].peers[0] == Peer("10.0.0.11", (API, KUBELET), (KUBELET, FLANNEL))


def test_control_planes_try_each_others_etcd() -> None:
    groups = {"control_plane": ["cp1", "w1"], "workers": ["w2"]}
    several = hosts(**NEW)
    trials = reach.trials(replace(several, cluster=replace(several.cluster, groups=groups)))
    etcd = (("tcp", 2379), ("tcp", 2380))
    assert trials["cp1"].peers == (
        Peer("10.0.0.12", (API, KUBELET, FLANNEL, *etcd), (API, KUBELET, FLANNEL, *etcd)),
        Peer("10.0.0.13", (KUBELET, FLANNEL), (API, KUBELET, FLANNEL)),
    )
    assert trials["w1"].listens == trials["cp1"].listens == (API, KUBELET, FLANNEL, *etcd)


def told(hosts: ClusterHosts, **answers: Reached) -> list[str]:
    everyone = {name: Reached({}) for name in reach.trials(hosts)}
    return [str(problem) for problem in reach.blocked(hosts, {**everyone, **answers})]


def test_the_port_and_both_hosts_are_named() -> None:
    from_w1 = Reached({(*FLANNEL, "10.0.0.13"): "no answer", (*API, "10.0.0.11"): "No route to host"})
    from_cp1 = Reached({(*FLANNEL, "10.0.0.13"): "no answer"})
    first, second = told(hosts(**NEW), w1=from_w1, cp1=from_cp1)
    assert first.startswith(
        "cp1, w1: UDP port = 8472: the pod network of w2 (10.0.0.13) will not be reached from there"
    )
    assert "let UDP 8472 pass from cp1 (10.0.0.11), w1 (10.0.0.12) to w2 (10.0.0.13); python -m kube" in first
    assert second.startswith(
        "w1: TCP port = 6443: the API server of cp1 (10.0.0.11) will not be reached from there: No ro"
    )


def test_a_refusal_tells_something_where_something_listened() -> None:
    refused = Reached({(*KUBELET, "10.0.0.13"): "Connection refused"})
    assert len(told(hosts(**NEW), w1=refused)) == 1
    assert told(hosts(**NEW), w1=refused, w2=Reached({}, unable="no perl")) == []
    assert told(hosts(**NEW), w1=refused, w2=Reached({}, frozenset({KUBELET}))) == []
    joined = hosts(**{**JOINED, "w1": NEW["w1"]})
    assert told(joined, w1=refused) == []  # its kubelet is down, say
    assert len(told(joined, w1=Reached({(*KUBELET, "10.0.0.13"): "no answer"}))) == 1


def test_silence_of_a_port_that_flannel_holds_tells_nothing() -> None:
    silent = Reached({(*FLANNEL, "10.0.0.13"): "no answer"})
    assert told(hosts(**NEW), w1=silent, w2=Reached({}, frozenset({FLANNEL}))) == []

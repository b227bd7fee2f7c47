"""What has to be open between whom, and how `make ports` tells it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sample_cluster import GROUPS, ROOT, group_data, hosts_data

from kubestage.checks.load import load
from kubestage.cluster import openings
from kubestage.commands import ports
from kubestage.settings import Cluster


def cluster(everywhere: dict[str, Any] | None = None, **single: dict[str, Any]) -> Cluster:
    return load(hosts_data(everywhere, **single), GROUPS)


def lines(cluster: Cluster) -> list[str]:
    return [f"{each.source} -> {each.target} {each.protocol} {each.port}" for each in openings.openings(cluster)]


def test_the_defaults() -> None:
    assert lines(cluster()) == [
        "operator -> nodes tcp 22",
        "users -> control_plane tcp 6443",
        "users -> nodes tcp 80",
        "users -> nodes tcp 443",
        "users -> nodes tcp 80-32767",
        "nodes -> control_plane tcp 6443",
        "nodes -> nodes tcp 10250",
        "nodes -> nodes udp 8472",
        "nodes -> mirrors tcp 443",
        "nodes -> nameservers udp 53",
    ]


@pytest.mark.parametrize(
    ("settings", "there", "gone"),
    [
        ({"api_port": 7000}, ["users -> control_plane tcp 7000", "nodes -> control_plane tcp 7000"], ["tcp 6443"]),
        (
            {"node_port_range": "30000-32767", "http_port": 30080, "https_port": 30443, "http_redirect": False},
            ["tcp 30443"],
            ["nodes tcp 443 "],
        ),
        ({"http_port": 0, "http_redirect": False}, ["users -> nodes tcp 443"], ["tcp 80 "]),
        ({"stacks": []}, ["control_plane -> nodes tcp 10250"], ["users -> nodes tcp 443", "nodes -> nodes tcp 10250"]),
        ({"ssh_port": 2222}, ["operator -> nodes tcp 2222"], ["tcp 22 "]),
    ],
)
def test_they_follow_the_settings(settings: dict[str, Any], there: list[str], gone: list[str]) -> None:
    told = "".join(f"{line} \n" for line in lines(cluster(settings)))
    assert all(line in told for line in there) and not any(line in told for line in gone), told


def test_hosts_whose_ssh_has_a_port_of_its_own_are_named() -> None:
    assert lines(cluster(w2={"ssh_port": 2222}))[:2] == [
        "operator -> cp1, w1 tcp 22",
        "operator -> w2 tcp 2222",
    ]


def test_a_single_host_needs_nothing_between_hosts() -> None:
    alone = load({"cp1": hosts_data()["cp1"]}, {"control_plane": ["cp1"]})
    assert not any(each.between_hosts for each in openings.openings(alone))


def test_etcd_where_there_are_several_control_planes() -> None:
    several = replace(cluster(), groups={"control_plane": ["cp1", "w1"], "workers": ["w2"]})
    (etcd,) = (each for each in openings.openings(several) if each.what == "etcd")
    assert (etcd.port, etcd.sources, etcd.targets) == ("2379-2380", ("cp1", "w1"), ("cp1", "w1"))


def test_only_node_ports_are_optional() -> None:
    assert [each.what for each in openings.openings(cluster()) if not each.required] == ["NodePorts"]


def test_what_is_asked_outside_is_what_the_profile_and_the_images_name() -> None:
    own = {
        **group_data()["mirrors"]["upstream"],
        "kubernetes_apt": "http://apt.test:8080/{minor}",
        "registries": {name: ["http://10.0.0.1:5000"] for name in ("docker.io", "ghcr.io", "registry.k8s.io")},
        "registry_fallback": False,
        "files": "https://files.test/x",
    }
    found = cluster({"mirror": "own", "mirrors": {"own": own}})
    assert openings.mirrors(found) == [
        ("10.0.0.1", 5000),
        ("apt.test", 8080),
        ("download.docker.com", 443),
        ("files.test", 443),
        ("pkgs.k8s.io", 443),
    ]
    numeric = {
        **own,
        **dict.fromkeys(("kubernetes_apt", "kubernetes_key", "docker_apt", "docker_key"), "http://10.0.0.1"),
    }
    bare = cluster({"mirror": "own", "mirrors": {"own": numeric}, "stacks": []})
    assert lines(bare)[-2:] == ["nodes -> mirrors tcp 80", "nodes -> mirrors tcp 5000"]


def command(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "kubestage", "ports", *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def test_it_is_told_before_there_is_a_cluster() -> None:
    done = command("inventory/static.example.py")
    assert (done.returncode, done.stderr) == (0, "")
    rows, who = (part.splitlines() for part in done.stdout.split("\n\n"))
    assert rows[0].split() == ["FROM", "TO", "PROTOCOL", "PORT", "WHAT", "WHY"]
    assert any(row.split()[:4] == ["nodes", "control_plane", "TCP", "6443"] for row in rows)
    assert "control_plane  cp1 (192.168.10.10)" in who
    assert any("w1 (its default route's address)" in line for line in who)


def test_settings_that_are_wrong_are_told(tmp_path: Path) -> None:
    path = tmp_path / "staging.py"
    path.write_text("control_plane = [('cp1', {'api_port': 0})]\n")
    done = command(str(path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "api_port = 0: ports go from 1 to 65535" in done.stderr


def test_for_programs() -> None:
    found = json.loads(ports.as_json(cluster(w1={"private_address": "10.0.0.12"})))
    assert found["hosts"]["w1"] == {"private_address": "10.0.0.12", "public_address": ""}
    assert {"host": "pkgs.k8s.io", "port": 443} in found["mirrors"]
    (flannel,) = (each for each in found["openings"] if each["protocol"] == "udp" and each["to_hosts"])
    assert flannel == {
        "protocol": "udp",
        "first_port": 8472,
        "last_port": 8472,
        "from": "nodes",
        "to": "nodes",
        "from_hosts": ["cp1", "w1", "w2"],
        "to_hosts": ["cp1", "w1", "w2"],
        "what": "the pod network",
        "why": "flannel's VXLAN",
        "required": True,
    }

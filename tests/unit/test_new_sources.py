"""Hosts as the command line, ssh_config, Ansible and Terraform name them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from paramiko import SSHConfig

from kubestage.cluster.inventory import TargetError
from kubestage.commands.new import command
from kubestage.commands.new.hosts import Hosts, NewHost, parse, ssh_aliases
from kubestage.commands.new.sources import read

NOBODY = SSHConfig()


@pytest.mark.parametrize(
    ("words", "host"),
    [
        ("203.0.113.11", NewHost("203.0.113.11")),
        ("w1=admin@host.example:2222", NewHost("host.example", "w1", "admin", 2222)),
        ("admin@203.0.113.11", NewHost("203.0.113.11", user="admin")),
    ],
)
def test_a_host_in_words(words: str, host: NewHost) -> None:
    assert parse(words, NOBODY) == host


@pytest.mark.parametrize("words", ["", "two words", "a@b@c", "host:", "host:99999", "2001:db8::1", "=x"])
def test_no_host(words: str) -> None:
    with pytest.raises(TargetError, match="is no host's address"):
        parse(words, NOBODY)


ALIAS = """\
Host master
    HostName 10.0.0.11
    User admin
    Port 2200
    IdentityFile /keys/id
    ProxyJump gate@198.51.100.1
"""


def test_an_alias_of_ssh(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(ALIAS)
    aliases = ssh_aliases(tmp_path / "config")
    known = NewHost("10.0.0.11", "master", "admin", 2200, "/keys/id", "gate@198.51.100.1")
    assert parse("master", aliases) == known
    assert parse("cp1=root@master:22", aliases) == NewHost(
        "10.0.0.11", "cp1", "root", 22, "/keys/id", "gate@198.51.100.1"
    )
    assert parse("203.0.113.9", aliases) == NewHost("203.0.113.9")
    assert parse("master", ssh_aliases(tmp_path / "none")) == NewHost("master")


def test_names_are_made_where_there_are_none() -> None:
    hosts = Hosts((NewHost("a"),), (NewHost("b", "w2"), NewHost("c"), NewHost("d"))).named()
    assert [host.name for host in hosts.all] == ["cp1", "w2", "w1", "w3"]


def test_no_host_is_reached_through_itself() -> None:
    hosts = Hosts((NewHost("198.51.100.1", "cp1"),), (NewHost("10.0.0.12", "w1"),))
    behind = hosts.by_default(user="root", jump="gate@198.51.100.1:2200")
    assert [(host.name, host.jump) for host in behind.all] == [("cp1", ""), ("w1", "gate@198.51.100.1:2200")]


def shape(hosts: Hosts) -> tuple[list[str], list[str]]:
    return [host.name or host.address for host in hosts.control_plane], [
        host.name or host.address for host in hosts.workers
    ]


INI = """\
# a comment
bastion ansible_host=198.51.100.9
[kube_control_plane]
Node_1 ansible_host=203.0.113.11 ip=10.0.0.11   # another
[kube_node]
node[08:10] ansible_port=2222
203.0.113.20
[k8s:children]
kube_control_plane
kube_node
[k8s:vars]
ansible_user="ops"
[kube_node:vars]
ansible_ssh_private_key_file=/keys/id
"""


def test_an_ansible_inventory_in_ini(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text(INI)
    hosts = read(tmp_path / "hosts")
    assert shape(hosts) == (["node-1"], ["bastion", "node08", "node09", "node10", "203.0.113.20"])
    assert hosts.control_plane[0] == NewHost("203.0.113.11", "node-1", "ops", private_address="10.0.0.11")
    assert hosts.workers[1] == NewHost("node08", "", "ops", 2222, "/keys/id")


YAML = """\
all:
  vars: {ansible_user: ubuntu}
  hosts:
    node1: {ansible_host: 203.0.113.11, ip: 10.0.0.11}
  children:
    kube_control_plane:
      hosts: {node1: }
    kube_node:
      hosts:
        node2: {ansible_host: 203.0.113.12, ansible_user: root}
        node3: {ansible_host: 203.0.113.13}
    empty:
"""


def test_an_ansible_inventory_in_yaml(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(YAML)
    hosts = read(tmp_path / "hosts.yml")
    assert shape(hosts) == (["node1"], ["node2", "node3"])
    assert hosts.control_plane[0] == NewHost("203.0.113.11", "node1", "ubuntu", private_address="10.0.0.11")
    assert [host.user for host in hosts.workers] == ["root", "ubuntu"]


def test_the_first_host_leads_where_no_group_says_who(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("[web]\na\nb\n")
    assert shape(read(tmp_path / "hosts")) == (["a"], ["b"])


INSTANCE = {"public_ip": "203.0.113.11", "private_ip": "10.0.0.11", "host_name": "Alpha", "tags": {}}
TERRAFORM: list[tuple[Any, tuple[list[str], list[str]]]] = [
    (
        {"control_plane_ip": {"value": "203.0.113.11"}, "worker_ips": {"value": ["203.0.113.12", "203.0.113.13"]}},
        (["203.0.113.11"], ["203.0.113.12", "203.0.113.13"]),
    ),
    (
        {"masters": {"value": {"m1": "203.0.113.11"}}, "workers": {"value": {"a": "203.0.113.12"}}, "n": {"value": 3}},
        (["m1"], ["a"]),
    ),
    (
        {
            "version": 4,
            "resources": [
                {"type": "alicloud_instance", "name": "master", "instances": [{"attributes": INSTANCE}]},
                {
                    "type": "alicloud_instance",
                    "name": "worker",
                    "instances": [{"attributes": {"private_ip": "10.0.0.12", "tags": {"Name": "beta"}}}],
                },
                {"type": "alicloud_vpc", "name": "vpc", "instances": [{"attributes": {"name": "vpc"}}]},
            ],
        },
        (["alpha"], ["beta"]),
    ),
    (
        {"values": {"root_module": {"child_modules": [{"resources": [{"type": "aws_instance", "values": INSTANCE}]}]}}},
        (["alpha"], []),
    ),
]


@pytest.mark.parametrize(("document", "expected"), TERRAFORM, ids=["list", "map", "state", "show"])
def test_what_terraform_prints(tmp_path: Path, document: Any, expected: tuple[list[str], list[str]]) -> None:
    (tmp_path / "out.json").write_text(json.dumps(document))
    assert shape(read(tmp_path / "out.json")) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("hosts", b"# nothing\n", "there is no host in it"),
        ("hosts.yml", b"[a: b", "it is no YAML"),
        ("hosts.yml", b"just a text", "there is no host in it"),
        ("out.json", b"{", "it is no JSON"),
        ("out.json", b"{}", "there is no host in it"),
        ("hosts", b"\xff\xfe", "can't be read"),
        ("hosts", None, "can't be read"),
        ("hosts", b"[a]\nw1 'x\n", "can't be understood"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TargetError, match=message):
        read(tmp_path / name)


def test_three_of_the_control_plane_by_flags() -> None:
    flags = [word for host in ("10.0.0.11", "10.0.0.12", "x=10.0.0.13") for word in ("--control-plane", host)]
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    hosts = command._hosts(parser.parse_args(["staging", *flags]), SSHConfig(), command._take_default)
    assert [(host.name, host.address) for host in hosts.control_plane] == [
        ("cp1", "10.0.0.11"),
        ("cp2", "10.0.0.12"),
        ("x", "10.0.0.13"),
    ]
    assert hosts.workers == ()

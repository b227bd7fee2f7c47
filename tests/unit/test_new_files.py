"""The files of a new inventory: what a run reads in them is what was said."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from paramiko import RSAKey, SSHConfig
from paramiko.hostkeys import HostKeys

from kubestage.commands.new import files, host_keys
from kubestage.commands.new.files import Place
from kubestage.commands.new.hosts import Hosts, NewHost

CP1 = NewHost("47.96.0.11", "cp1", "root")
W1 = NewHost("47.96.0.12", "w1", "root", 2222)
FOUND = {"cp1": "10.0.0.11", "w1": "10.0.0.12"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    for folder in ("inventory", "group_data"):
        (tmp_path / folder).mkdir()
    return Place(tmp_path, "staging")


def read(place: Place, hosts: Hosts) -> dict[str, Any]:
    """The inventory's two groups, as pyinfra reads them."""
    place.inventory.write_text(files.inventory(place, hosts, FOUND))
    names = runpy.run_path(str(place.inventory))
    return {name: names[name] for name in ("control_plane", "workers")}


def test_one_and_one(place: Place) -> None:
    ssh = {"ssh_user": "root", "ssh_known_hosts_file": str(place.known_hosts)}
    assert read(place, Hosts((CP1,), (W1,))) == {
        "control_plane": [
            ("cp1", {**ssh, "ssh_hostname": CP1.address, "public_address": CP1.address, "private_address": "10.0.0.11"})
        ],
        "workers": [
            (
                "w1",
                {
                    **ssh,
                    "ssh_hostname": W1.address,
                    "ssh_port": 2222,
                    "public_address": W1.address,
                    "private_address": "10.0.0.12",
                },
            )
        ],
    }


def test_a_host_alone(place: Place) -> None:
    alone = NewHost("10.0.0.11", "cp1", "ops", key="~/.ssh/it's")
    assert read(place, Hosts((alone,))) == {
        "control_plane": [
            (
                "cp1",
                {
                    "ssh_hostname": "10.0.0.11",
                    "ssh_user": "ops",
                    "_sudo": True,
                    "ssh_key": "~/.ssh/it's",
                    "ssh_known_hosts_file": str(place.known_hosts),
                    "private_address": "10.0.0.11",  # people use it as well: it is no public one
                },
            )
        ],
        "workers": [],
    }


def test_a_moved_checkout_finds_its_host_keys(place: Place, tmp_path: Path) -> None:
    text = files.inventory(place, Hosts((CP1,)), FOUND)
    assert str(tmp_path) not in text


def test_the_files_are_as_our_own_are_written(place: Place) -> None:
    place.inventory.write_text(files.inventory(place, Hosts((CP1,), (W1,)), FOUND))
    place.group_data.write_text(files.group_data(place, {"domain": "staging.test", "mirror": "aliyun"}))
    argv = [
        sys.executable,
        "-m",
        "ruff",
        "format",
        "--check",
        "--line-length",
        "120",
        "--no-cache",
        str(place.checkout),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert runpy.run_path(str(place.group_data))["mirror"] == "aliyun"


def test_a_jump_host_is_in_an_ssh_config_of_its_own(place: Place) -> None:
    jump = "gate@198.51.100.1:2200"
    behind = Hosts((NewHost("10.0.0.11", "cp1", "root", key="/keys/id", jump=jump),), (W1,))
    assert read(place, behind)["control_plane"][0][1]["ssh_config_file"] == str(place.ssh_config)
    assert "ssh_config_file" not in read(place, behind)["workers"][0][1]
    config = SSHConfig.from_text(files.ssh_config(place, behind))
    assert config.lookup("10.0.0.11")["proxyjump"] == "198.51.100.1"
    hop: dict[str, object] = dict(config.lookup("198.51.100.1"))
    assert (hop["user"], hop["port"], hop["identityfile"]) == ("gate", "2200", ["/keys/id"])
    assert (hop["stricthostkeychecking"], hop["userknownhostsfile"]) == ("yes", ".state/staging/known_hosts")
    assert "proxyjump" not in config.lookup("47.96.0.12")


def test_files_that_are_there_are_named(place: Place) -> None:
    assert place.existing() == []
    place.group_data.touch()
    assert place.existing() == ["group_data/staging.py"]


def test_known_hosts_keeps_each_key_once(place: Place) -> None:
    key = RSAKey.generate(2048)
    line = f"47.96.0.11 {key.get_name()} {key.get_base64()}\n"
    found = {"cp1": host_keys.HostKey(line, key.get_name(), "SHA256:x")}
    for _ in range(2):
        host_keys.keep(place.known_hosts, found)
    assert place.known_hosts.read_text() == line
    assert HostKeys(str(place.known_hosts)).check("47.96.0.11", key)

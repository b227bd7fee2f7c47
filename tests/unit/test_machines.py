"""Machines as their owners have them: an ECS instance, by the real SDK, and a command of the user's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubestage.commands.known_hosts import Known
from kubestage.providers import ProviderError
from kubestage.providers.command import Command
from kubestage.providers.ecs import machine as module
from kubestage.providers.ecs.client import Client, EcsError
from kubestage.providers.ecs.keys import Key
from kubestage.providers.ecs.machine import EcsMachine
from kubestage.providers.machines import machine
from tests.ecs_server import KEY, SECRET, Ecs, Refused, instance, serving, tags_of

RIGHTS = {"StopInstance", "StartInstance", "ReplaceSystemDisk", "GetInstanceConsoleOutput", "DescribeDisks"}
KEYS = """\
[  OK  ] Reached target
<14>Nov 26 ci-info: -----BEGIN SSH HOST KEY FINGERPRINTS-----
-----BEGIN SSH HOST KEY KEYS-----
ecdsa-sha2-nistp256 AAAAold root@node\r
-----END SSH HOST KEY KEYS-----
-----BEGIN SSH HOST KEY KEYS-----
ecdsa-sha2-nistp256 AAAAEc root@node\r
ssh-ed25519 AAAAEd root@node\r
-----END SSH HOST KEY KEYS-----
-----BEGIN SSH HOST KEY KEYS-----
ssh-rsa AAAAcut"""


@pytest.fixture
def ecs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ecs]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "_AGAIN_S", 0.01)
    account = Ecs([instance(1, "control-plane"), instance(2)], may={"DescribeInstances", "DescribeImages", *RIGHTS})
    with serving(account):
        yield account


def made(ecs: Ecs, provider: str = "ecs:cn-hangzhou:staging:i-0002", timeout_s: int = 5) -> EcsMachine:
    return EcsMachine("w1", provider, timeout_s, Client("cn-hangzhou", Key("the test", KEY, SECRET), ecs.address))


class TestEcs:
    def test_all_steps(self, ecs: Ecs) -> None:
        one, said = made(ecs), ecs.instances[1]
        assert "i-0002 (Test 2)" in one.describe().what and one.describe().locked == ""
        one.stop()
        assert (said["Status"], said["StoppedMode"]) == ("Stopped", "KeepCharging")
        one.replace("")
        assert (said["ImageId"], said["KeyPairName"], said["_disks"]) == ("debian_12", "team", 1)
        one.start()
        assert said["Status"] == "Running"

    def test_each_is_done_already_where_it_is_given_again(self, ecs: Ecs) -> None:
        one = made(ecs)
        one.stop()
        one.stop()
        one.start()
        one.start()
        assert ecs.actions().count("StopInstance") == ecs.actions().count("StartInstance") == 1

    def test_an_answer_that_was_lost(self, ecs: Ecs) -> None:
        """It is done, and the API says of the call that is given again that the state is not right for it."""
        ecs.instances[1]["Status"] = "Stopping"
        ecs.answers["StartInstance"] = [Refused(403, "IncorrectInstanceStatus")]
        one = made(ecs, timeout_s=0)
        with pytest.raises(ProviderError, match="not within 0 s: it is Running; it is Stopping"):
            one.start()

    def test_the_newest_image_of_a_family(self, ecs: Ecs) -> None:
        ecs.families["acs:debian_12_11_x64"] = {"a": "2026-01-01T00:00Z", "b": "2026-09-01T00:00Z"}
        one = made(ecs)
        one.stop()
        one.replace("acs:debian_12_11_x64")
        assert ecs.instances[1]["ImageId"] == "b"
        with pytest.raises(ProviderError, match="there is no image of the family 'acs:debian_9'"):
            one.replace("acs:debian_9")

    def test_the_last_whole_block_of_keys(self, ecs: Ecs) -> None:
        ecs.instances[1]["_console"] = KEYS
        assert made(ecs).host_keys() == ["ecdsa-sha2-nistp256 AAAAEc", "ssh-ed25519 AAAAEd"]

    @pytest.mark.parametrize("console", ["", "no keys", KEYS.partition("-----END")[0]])
    def test_nobody_can_tell(self, console: str, ecs: Ecs) -> None:
        ecs.instances[1]["_console"] = console
        assert made(ecs).host_keys() == []

    def test_a_console_that_is_not_there_yet(self, ecs: Ecs) -> None:
        ecs.answers["GetInstanceConsoleOutput"] = [Refused(405, "IncorrectInstanceStatus")]
        assert made(ecs).host_keys() == []

    def test_an_image(self, ecs: Ecs) -> None:
        ecs.may.add("CreateImage")
        assert made(ecs).image("golden") == "m-1"
        assert tags_of(ecs.made[0]) == {"kubestage:cluster": "staging", "kubestage:instance": "i-0002"}
        assert made(ecs).image("golden") == "m-1"  # given again
        assert ecs.actions().count("CreateImage") == 1

    def test_an_image_that_is_not_made(self, ecs: Ecs) -> None:
        ecs.may.add("CreateImage")
        made(ecs).image("golden")
        ecs.made[0]["Status"] = "CreateFailed"
        with pytest.raises(ProviderError, match="the image golden of i-0002 is CreateFailed after"):
            made(ecs).image("golden")

    def test_an_image_of_another_instance(self, ecs: Ecs) -> None:
        ecs.may.add("CreateImage")
        made(ecs, "ecs:cn-hangzhou:staging:i-0001").image("golden")
        with pytest.raises(ProviderError, match="there is an image 'golden' already, m-1, and not of i-0002"):
            made(ecs).image("golden")

    def test_by_cloud_assistant_where_the_console_is_silent(self, ecs: Ecs) -> None:
        ecs.may |= {"DescribeCloudAssistantStatus", "RunCommand", "DescribeInvocationResults"}
        said, one = ecs.instances[1], made(ecs)
        assert one.host_keys() == [] and "RunCommand" not in ecs.actions()  # its agent has not started
        said["_agent"] = True
        said["_runs"] = [("Running", ""), ("Failed", ""), ("Success", "ssh-ed25519 AAAAEd root@node\n")]
        found = [one.host_keys() for _ in range(3)]
        assert found == [[], [], ["ssh-ed25519 AAAAEd"]]
        commands = [query["CommandContent"] for action, query in ecs.called if action == "RunCommand"]
        assert commands == ["cat /etc/ssh/ssh_host_*_key.pub"] * 2  # again for the one that failed
        said["_console"] = KEYS
        assert one.host_keys()[0].endswith("AAAAEc")  # the console's word goes before

    def test_who_may_not_use_cloud_assistant_is_not_asked_again(self, ecs: Ecs) -> None:
        one = made(ecs)
        assert one.host_keys() == one.host_keys() == []
        assert ecs.actions().count("DescribeCloudAssistantStatus") == 1

    def test_one_of_another_cluster(self, ecs: Ecs) -> None:
        ecs.instances[1] = instance(2, tags={"kubestage:cluster": "other"})
        with pytest.raises(ProviderError, match="it is not ours to replace"):
            made(ecs).describe()

    def test_one_that_is_gone(self, ecs: Ecs) -> None:
        with pytest.raises(ProviderError, match="there is no instance i-0009"):
            made(ecs, "ecs:cn-hangzhou:staging:i-0009").describe()

    def test_one_that_is_locked(self, ecs: Ecs) -> None:
        ecs.instances[1]["OperationLocks"] = {"LockReason": [{"LockReason": "security"}]}
        assert made(ecs).describe().locked == "it is locked: security"

    def test_without_the_right(self, ecs: Ecs) -> None:
        ecs.may.remove("StopInstance")
        with pytest.raises(EcsError, match="give it the right ecs:StopInstance"):
            made(ecs).stop()

    def test_an_odd_setting(self, ecs: Ecs) -> None:
        with pytest.raises(ProviderError, match="write it as ecs:REGION:CLUSTER:INSTANCE"):
            made(ecs, "ecs:i-1")


class TestCommand:
    def command(self, folder: Path, script: str, timeout_s: int = 5) -> Command:
        path = folder / "my vm"
        path.write_text(f"#!/bin/sh\necho \"$*\" >>'{folder}/calls'\n{script}\n")
        path.chmod(0o755)
        return Command("w1", f"'{path}' --of team", timeout_s)

    def test_all_steps(self, tmp_path: Path) -> None:
        script = "case $3 in describe) echo a disk ;; host-key) echo; echo ssh-ed25519 AAAA ;; esac"
        one = self.command(tmp_path, script)
        assert one.describe().what == "a disk"
        one.stop()
        one.replace("")
        one.replace("debian")
        one.start()
        assert one.host_keys() == ["ssh-ed25519 AAAA"]
        verbs = ["describe w1", "stop w1", "replace w1", "replace w1 debian", "start w1", "host-key w1"]
        assert (tmp_path / "calls").read_text().splitlines() == [f"--of team {verb}" for verb in verbs]

    def test_one_that_fails(self, tmp_path: Path) -> None:
        with pytest.raises(ProviderError, match=r"stop w1: it failed \(3\): no such machine\n    -> "):
            self.command(tmp_path, "echo no such machine >&2; exit 3").stop()

    def test_one_that_does_not_end(self, tmp_path: Path) -> None:
        with pytest.raises(ProviderError, match="it had not ended after 0 s"):
            self.command(tmp_path, "exec sleep 10", timeout_s=0).stop()

    def test_one_that_is_not_there(self) -> None:
        with pytest.raises(ProviderError, match="No such file or directory\n    -> correct the setting provider"):
            Command("w1", "/no/such/command", 5).stop()


def test_whose_it_is() -> None:
    assert isinstance(machine("w1", "./mine", 1), Command)
    with pytest.raises(ProviderError, match="w1: provider is not set"):
        machine("w1", "", 1)


class TestKnownHosts:
    def test_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "known_hosts"
        lines = [
            "10.0.0.1,w1 ssh-ed25519 OLD",
            "10.0.0.11 ssh-ed25519 OTHER",
            "# a comment",
            "",
            "10.0.0.1 ssh-rsa OLD2",
        ]
        path.write_text("\n".join(lines) + "\n")
        known = Known(path, "10.0.0.1", 1)
        assert known.now() == ["ssh-ed25519 OLD", "ssh-rsa OLD2"]
        known.replace(["ssh-ed25519 NEW root@w1"])
        assert known.now() == ["ssh-ed25519 NEW"]
        assert Known(path, "10.0.0.11", 1).now() == ["ssh-ed25519 OTHER"]
        assert "# a comment" in path.read_text()

    def test_none(self, tmp_path: Path) -> None:
        known = Known(tmp_path / "known_hosts", "[10.0.0.1]:2222", 1)
        assert known.now() == []
        known.replace(["ssh-rsa NEW"])
        assert known.path.read_text() == "[10.0.0.1]:2222 ssh-rsa NEW\n"

"""ECS instances as an inventory, by the real SDK against an API of the tests' own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sample_cluster import ROOT, group_data

from kubestage.checks.load import load
from kubestage.providers import ProviderError
from kubestage.providers.ecs import client as calls
from kubestage.providers.ecs import inventory
from kubestage.providers.ecs.client import Client, EcsError
from kubestage.providers.ecs.instances import instances
from kubestage.providers.ecs.inventory import Hosts, Login, grouped
from kubestage.providers.ecs.keys import Key
from tests import ecs_server
from tests.ecs_server import KEY, SECRET, Ecs, Refused, instance, serving

NOW = datetime(2026, 11, 26, tzinfo=UTC)
LOGIN = Login("~/.ssh/id")
GOOD = Key("the test", KEY, SECRET)


@pytest.fixture
def ecs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ecs]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    account = Ecs([instance(1, "control-plane"), instance(2), instance(3)])
    with serving(account):
        yield account


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how long a throttled call would have waited."""
    waited: list[float] = []
    monkeypatch.setattr(calls, "sleep", waited.append)
    return waited


def client(ecs: Ecs, key: Key = GOOD) -> Client:
    return Client("cn-hangzhou", key, ecs.address)


def groups(ecs: Ecs, folder: Path, login: Login = LOGIN, cluster: str = "staging") -> dict[str, Hosts]:
    api = client(ecs)
    return grouped(instances(api, cluster), api, cluster, login, folder, NOW)


def refused(ecs: Ecs, folder: Path, **more: Any) -> list[str]:
    """What the message says, a line each."""
    with pytest.raises(ProviderError) as caught:
        groups(ecs, folder, **more)
    return str(caught.value).splitlines()


class TestSignature:
    def test_it_is_that_of_the_vendors_description(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The example of the help page "V3 request structure and signature"."""
        monkeypatch.setattr(ecs_server, "SECRET", "YourAccessKeySecret")
        headers = {
            "host": "ecs.cn-shanghai.aliyuncs.com",
            "x-acs-action": "RunInstances",
            "x-acs-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "x-acs-date": "2023-10-26T10:22:32Z",
            "x-acs-signature-nonce": "3156853299f313e23d1673dc12e1703d",
            "x-acs-version": "2014-05-26",
        }
        query = "ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai"
        found = ecs_server.signature("POST", "/", query, headers, sorted(headers), b"")
        assert found == "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"

    def test_a_wrong_secret(self, ecs: Ecs) -> None:
        with pytest.raises(EcsError, match="the secret of the test is not that of its access key") as caught:
            client(ecs, Key("the test", KEY, "wrong")).call("DescribeInstances")
        assert "wrong" not in str(caught.value)

    def test_an_unknown_key(self, ecs: Ecs) -> None:
        with pytest.raises(EcsError, match="the access key of the test is not known"):
            client(ecs, Key("the test", "LTAI-other", SECRET)).call("DescribeInstances")


class TestGroups:
    def test_of_a_cluster(self, ecs: Ecs, tmp_path: Path) -> None:
        ecs.instances += [instance(4, tags={"kubestage:cluster": "other"})]
        found = groups(ecs, tmp_path)
        assert {group: [name for name, _ in hosts] for group, hosts in found.items()} == {
            "control_plane": ["node-1"],
            "workers": ["node-2", "node-3"],
        }
        assert found["control_plane"][0][1] == {
            "ssh_user": "root",
            "ssh_key": "~/.ssh/id",
            "ssh_hostname": "203.0.113.1",
            "ssh_known_hosts_file": str(tmp_path / "known_hosts"),
            "private_address": "172.16.0.1",
            "public_address": "203.0.113.1",
            "_kubestage_folder": tmp_path.name,
            "provider": "ecs:cn-hangzhou:staging:i-0001",
        }

    def test_they_are_settings_that_are_taken(self, ecs: Ecs, tmp_path: Path) -> None:
        found = groups(ecs, tmp_path)
        data = {name: {**group_data(), **own} for hosts in found.values() for name, own in hosts}
        cluster = load(data, {group: [name for name, _ in hosts] for group, hosts in found.items()})
        assert cluster.control_plane == ["node-1"]

    def test_many_pages(self, ecs: Ecs, tmp_path: Path) -> None:
        ecs.instances += [instance(number) for number in range(4, 251)]
        assert len(groups(ecs, tmp_path)["workers"]) == 249
        assert len(ecs.called) == 3

    def test_a_name_by_tag(self, ecs: Ecs, tmp_path: Path) -> None:
        ecs.instances[1] = instance(2, tags={"kubestage:name": "build"})
        assert [name for name, _ in groups(ecs, tmp_path)["workers"]] == ["build", "node-3"]

    def test_an_elastic_address_comes_first(self, ecs: Ecs, tmp_path: Path) -> None:
        ecs.instances[0] = instance(1, "control-plane", EipAddress={"IpAddress": "198.51.100.7"})
        ((_, data),) = groups(ecs, tmp_path)["control_plane"]
        assert (data["ssh_hostname"], data["public_address"]) == ("198.51.100.7", "198.51.100.7")

    def test_an_image_without_a_login_of_root(self, ecs: Ecs, tmp_path: Path) -> None:
        ecs.instances[0] = instance(1, "control-plane", ImageOptions={"LoginAsNonRoot": True})
        ((_, data),) = groups(ecs, tmp_path)["control_plane"]
        assert (data["ssh_user"], data["_sudo"]) == ("ecs-user", True)

    def test_from_inside_the_vpc(self, ecs: Ecs, tmp_path: Path) -> None:
        ((_, data),) = groups(ecs, tmp_path, Login("~/.ssh/id", "private"))["control_plane"]
        assert (data["ssh_hostname"], data["public_address"]) == ("172.16.0.1", "203.0.113.1")

    def test_through_a_jump_host(self, ecs: Ecs, tmp_path: Path) -> None:
        ecs.instances[1] = instance(2, PublicIpAddress={"IpAddress": []})
        login = Login("~/.ssh/id", jump_host="ops@203.0.113.99:2222")
        (_, behind), (_, direct) = groups(ecs, tmp_path, login)["workers"]
        assert behind["ssh_hostname"] == "172.16.0.2" and "public_address" not in behind
        config = Path(behind["ssh_config_file"]).read_text()
        assert "Host 203.0.113.99\n    User ops\n    Port 2222\n" in config
        assert config.endswith("Host 172.16.0.2\n    ProxyJump 203.0.113.99\n")
        assert "ssh_config_file" not in direct

    def test_settings_by_tags(self, ecs: Ecs, tmp_path: Path) -> None:
        tags = {"kubestage:setting:require_cpus": "4", "kubestage:setting:mirror": "aliyun"}
        tags["kubestage:setting:node_taints"] = '["a=b:NoSchedule"]'
        ecs.instances[1] = instance(2, tags=tags)
        (_, data), _ = groups(ecs, tmp_path)["workers"]
        assert (data["require_cpus"], data["mirror"], data["node_taints"]) == (4, "aliyun", ["a=b:NoSchedule"])

    @pytest.mark.parametrize("name", ["ssh_user", "_sudo", "registry.users", "requre_cpus"])
    def test_no_other_data_by_tags(self, name: str, ecs: Ecs, tmp_path: Path) -> None:
        ecs.instances[1] = instance(2, tags={f"kubestage:setting:{name}": "x"})
        (_, line) = refused(ecs, tmp_path)
        assert f"its tag kubestage:setting:{name} names no setting of a host" in line


class TestWrong:
    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"Status": "Stopped"}, "it is Stopped -> start it"),
            ({"Status": "Pending", "VpcAttributes": {}, "NetworkInterfaces": {}}, "it has no private address yet"),
            ({"OperationLocks": {"LockReason": [{"LockReason": "financial"}]}}, "it is locked: financial -> unlock"),
            ({"OperationLocks": {"LockReason": [{"LockReason": "Recycling"}]}}, "a spot instance that is being taken"),
            ({"InstanceChargeType": "PrePaid", "ExpiredTime": "2026-11-25T16:00Z"}, "it has expired on 2026-11-25"),
            ({"HostName": "iZbp1_x"}, "'izbp1_x' is no name for a node"),
            ({"HostName": ""}, "'' is no name for a node"),
            ({"HostName": "NODE-3"}, "i-0002 (Test 2) and i-0003 (Test 3): both are called 'node-3'"),
            ({"tags": {"kubestage:role": ""}}, "it has no tag kubestage:role -> set it to control-plane or worker"),
            ({"tags": {"kubestage:role": "workers"}}, "is 'workers'; did you mean \"worker\"? -> set it"),
            ({"PublicIpAddress": {"IpAddress": []}}, "it has no public address -> name a jump host"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_an_instance(self, changed: dict[str, Any], said: str, ecs: Ecs, tmp_path: Path) -> None:
        ecs.instances[1] = instance(2, **changed)
        head, *lines = refused(ecs, tmp_path)
        assert head == "Instances of staging in cn-hangzhou:"
        assert any(said in line and "i-0002" in line for line in lines), lines

    def test_one_that_is_being_rebuilt_may_be_stopped(self, ecs: Ecs, tmp_path: Path) -> None:
        """Whoever gives the command again, after it was killed, needs the inventory."""
        ecs.instances[1] = instance(2, Status="Stopped")
        (tmp_path / "rebuild").mkdir()
        (tmp_path / "rebuild" / "node-2.json").write_text("{}")
        assert "node-2" in [name for name, _ in groups(ecs, tmp_path)["workers"]]
        ecs.instances[1] = instance(2, Status="Stopped", OperationLocks={"LockReason": [{"LockReason": "security"}]})
        assert "it is locked" in refused(ecs, tmp_path)[1]

    def test_all_of_it_at_once(self, ecs: Ecs, tmp_path: Path) -> None:
        ecs.instances[1:] = [instance(2, Status="Stopped"), instance(3, Status="Stopping")]
        assert len(refused(ecs, tmp_path)) == 3

    def test_no_control_plane(self, ecs: Ecs, tmp_path: Path) -> None:
        ecs.instances[0] = instance(1)
        assert "no instance is of the control plane" in refused(ecs, tmp_path)[1]

    def test_no_instance(self, ecs: Ecs, tmp_path: Path) -> None:
        said = refused(ecs, tmp_path, cluster="stagign")
        assert "no instance bears the tag kubestage:cluster=stagign" in said[0]
        assert ecs.actions() == ["DescribeInstances"] * 2 and ecs.called[-1][1]["DryRun"] == "True"

    def test_no_permission_shows_an_empty_list(self, ecs: Ecs, tmp_path: Path) -> None:
        ecs.may.clear()
        said = "\n".join(refused(ecs, tmp_path))
        assert "the user of the test may not do that (Forbidden.RAM)" in said
        assert "ecs:DescribeInstances" in said


class TestApi:
    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (Refused(404, "InvalidRegionId.NotFound"), "there is no region 'cn-hangzhou'"),
            (Refused(400, "InvalidTimeStamp.Expired"), "the clock of this machine"),
            (Refused(403, "Forbidden.RAM", "not authorized"), "may not do that"),
            (Refused(400, "Odd.Code", "a message"), "a message (Odd.Code)"),
            (b"<html>a proxy's page</html>", "the answer is none of the ECS API's"),
            (b'{"RequestId": "r-1", "Insta', "the answer is none of the ECS API's"),
            (b"[]", "the answer is none of the ECS API's"),
            (b"{}", "the answer is none of the ECS API's"),
            (b'{"RequestId": "r-1"}', "the answer has no list of instances"),
            (b'{"RequestId": "r-1", "Instances": {"Instance": [{}]}}', "the answer has no list of instances"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_refused(self, answer: Refused | bytes, said: str, ecs: Ecs, waits: list[float]) -> None:
        ecs.answers["DescribeInstances"] = [answer]
        with pytest.raises(EcsError) as caught:
            instances(client(ecs), "staging")
        assert said in str(caught.value) and "\n    -> " in str(caught.value)
        assert len(str(caught.value).splitlines()) == 2 and waits == []

    @pytest.mark.parametrize(
        ("status", "code"), [(400, "Throttling.User"), (429, "Throttling"), (503, "ServiceUnavailable")]
    )
    def test_busy(self, status: int, code: str, ecs: Ecs, waits: list[float]) -> None:
        ecs.answers["DescribeInstances"] = [Refused(status, code) for _ in range(3)]
        assert len(instances(client(ecs), "staging")) == 3
        assert len(waits) == 3

    def test_throttled_for_longer(self, ecs: Ecs, waits: list[float]) -> None:
        ecs.answers["DescribeInstances"] = [Refused(400, "Throttling.Api") for _ in range(20)]
        with pytest.raises(EcsError, match="too often, for more than a minute"):
            instances(client(ecs), "staging")
        assert sum(waits) > 60

    def test_a_region_that_does_not_exist(self) -> None:
        with pytest.raises(EcsError, match="there is no such host: is 'cn-hangzou' a region") as caught:
            Client("cn-hangzou", GOOD, "ecs.cn-hangzou.invalid").call("DescribeInstances")
        assert len(str(caught.value).splitlines()) == 2

    def test_a_proxy_in_the_way(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        with pytest.raises(EcsError, match="the proxy does not let it through"):
            Client("cn-hangzhou", GOOD, "ecs.example.invalid").call("DescribeInstances")

    def test_nobody_listens(self) -> None:
        with pytest.raises(EcsError, match="nobody listens there"):
            Client("cn-hangzhou", GOOD, "http://127.0.0.1:9").call("DescribeInstances")

    def test_without_the_sdk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "alibabacloud_tea_openapi.client", None)
        with pytest.raises(ProviderError, match="the SDK of Alibaba Cloud is not installed"):
            Client("cn-hangzhou", GOOD)


class TestFile:
    """inventory/aliyun.py itself, by pyinfra's command line."""

    def run(self, ecs: Ecs, checkout: Path, **values: str) -> subprocess.CompletedProcess[str]:
        for name in ("kubestage", "group_data", "lab"):
            if not (checkout / name).exists():
                (checkout / name).symlink_to(ROOT / name)
        (checkout / "inventory").mkdir(exist_ok=True)
        (checkout / "inventory/aliyun.py").write_text((ROOT / "inventory/aliyun.py").read_text())
        given = {
            "ALIBABA_CLOUD_ACCESS_KEY_ID": KEY,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": SECRET,
            "KUBESTAGE_ECS_ENDPOINT": ecs.address,
            "KUBESTAGE_REGION": "cn-hangzhou",
            "KUBESTAGE_CLUSTER": "staging",
            **values,
        }
        environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        argv = [sys.executable, "-m", "pyinfra", "inventory/aliyun.py", "debug-inventory"]
        return subprocess.run(
            argv,
            cwd=checkout,
            env={**environment, "PYTHONPATH": str(checkout), "HOME": str(checkout), **given},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_it_is_an_inventory(self, ecs: Ecs, tmp_path: Path) -> None:
        result = self.run(ecs, tmp_path)
        assert result.returncode == 0, result.stderr
        assert "node-1" in result.stdout + result.stderr and "203.0.113.3" in result.stdout + result.stderr
        assert SECRET not in result.stdout + result.stderr
        assert json.loads((tmp_path / ".state/staging/ecs.json").read_text())["cluster"] == "staging"

    def test_two_clusters_of_one_file(self, ecs: Ecs, tmp_path: Path) -> None:
        other = {"kubestage:cluster": "other"}
        ecs.instances += [instance(8, "control-plane", tags=other)]
        assert self.run(ecs, tmp_path).returncode == self.run(ecs, tmp_path, KUBESTAGE_CLUSTER="other").returncode == 0
        assert sorted(path.name for path in (tmp_path / ".state").iterdir()) == ["other", "staging"]

    @pytest.mark.parametrize(
        ("values", "said"),
        [
            ({"KUBESTAGE_REGION": ""}, "set KUBESTAGE_REGION, e.g. cn-hangzhou"),
            ({"KUBESTAGE_CLUSTER": ""}, "set KUBESTAGE_CLUSTER, e.g. staging"),
            ({"KUBESTAGE_CLUSTER": "a/b"}, "KUBESTAGE_CLUSTER=a/b: a folder is named after it"),
            ({"KUBESTAGE_ADDRESSES": "inner"}, "KUBESTAGE_ADDRESSES=inner: there is no such kind"),
            ({"ALIBABA_CLOUD_ACCESS_KEY_ID": "", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": ""}, "there is no access key"),
            ({"ALIBABA_CLOUD_ACCESS_KEY_SECRET": ""}, "ALIBABA_CLOUD_ACCESS_KEY_SECRET is not"),
            ({"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "wrong"}, "is not that of its access key"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_errors_are_lines(self, values: dict[str, str], said: str, ecs: Ecs, tmp_path: Path) -> None:
        result = self.run(ecs, tmp_path, **values)
        assert result.returncode == 1
        assert said in result.stderr and "Traceback" not in result.stderr, result.stderr
        assert SECRET not in result.stderr

    def test_a_folder_of_another_cluster(self, ecs: Ecs, tmp_path: Path) -> None:
        assert self.run(ecs, tmp_path).returncode == 0
        (tmp_path / ".state/staging/ecs.json").write_text('{"region": "cn-beijing", "cluster": "staging"}')
        assert "it is of the cluster 'staging' in 'cn-beijing'" in self.run(ecs, tmp_path).stderr


def test_what_is_reached_by_which_addresses() -> None:
    assert inventory.of_environment({}, "public") == "public"
    assert inventory.of_environment({"KUBESTAGE_ADDRESSES": "private"}, "public") == "private"

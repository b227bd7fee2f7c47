"""The tests' own ECS API with the lab's hosts behind it: what is asked of an instance is done to its host."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.ecs_server import KEY, SECRET, Ecs, instance, serving
from tests.lab.commands import lab

CLUSTER = "lab-ecs"
MAY = {
    "DescribeInstances",
    "DescribeDisks",
    "GetInstanceConsoleOutput",
    "ReplaceSystemDisk",
    "StartInstance",
    "StopInstance",
}


@dataclass
class LabEcs(Ecs):
    """An account whose instances are the lab's hosts."""

    def _stop(self, query: dict[str, str]) -> dict[str, Any]:
        answer = super()._stop(query)
        self._machine("stop", query)
        return answer

    def _replace(self, query: dict[str, str]) -> dict[str, Any]:
        answer = super()._replace(query)
        self._machine("replace", query)
        return answer

    def _start(self, query: dict[str, str]) -> dict[str, Any]:
        answer = super()._start(query)
        self._machine("start", query)
        return answer

    def _console(self, query: dict[str, str]) -> dict[str, Any]:
        """As cloud-init prints the keys that a host has made."""
        keys = self._machine("host-key", query)
        self.one(query)["_console"] = (
            f"-----BEGIN SSH HOST KEY KEYS-----\r\n{keys}-----END SSH HOST KEY KEYS-----\r\n" if keys.strip() else ""
        )
        return super()._console(query)

    def _machine(self, verb: str, query: dict[str, str]) -> str:
        return lab("machine", verb, str(self.one(query)["HostName"]))


@contextmanager
def account() -> Iterator[tuple[LabEcs, Mapping[str, str]]]:
    """The account, and the environment by which inventory/aliyun.py finds it."""
    hosts = json.loads(lab("status", "--json"))["hosts"]
    ecs = LabEcs(may=set(MAY))
    for number, host in enumerate(hosts, 1):
        address = {"IpAddress": [host["address"]]}
        ecs.instances.append(
            instance(
                number,
                "control-plane" if host["name"].startswith("cp") else "worker",
                HostName=host["name"],
                VpcAttributes={"VpcId": "vpc-1", "PrivateIpAddress": address},
                NetworkInterfaces={"NetworkInterface": [{"Type": "Primary", "PrimaryIpAddress": host["address"]}]},
                PublicIpAddress={"IpAddress": []},
                tags={"kubestage:cluster": CLUSTER},
            )
        )
    with serving(ecs) as endpoint:
        yield (
            ecs,
            {
                "ALIBABA_CLOUD_ACCESS_KEY_ID": KEY,
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET": SECRET,
                "KUBESTAGE_ADDRESSES": "private",
                "KUBESTAGE_CLUSTER": CLUSTER,
                "KUBESTAGE_ECS_ENDPOINT": endpoint,
                "KUBESTAGE_REGION": "cn-lab",
            },
        )

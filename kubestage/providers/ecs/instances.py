"""ECS instances, as DescribeInstances tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kubestage.providers.ecs.client import Client, EcsError

CLUSTER_TAG, ROLE_TAG, NAME_TAG = "kubestage:cluster", "kubestage:role", "kubestage:name"
SETTING_TAG = "kubestage:setting:"  # and the name of a setting of a host
_PAGE = 100  # the most that a page may hold
_ALLOWED = "DryRunOperation"  # what a dry run answers to who may do it


@dataclass(frozen=True)
class Instance:
    """`private`, `public`: addresses, "" for none; `public`, an EIP or the instance's own, is on no card of it.

    `non_root`: one logs in as ecs-user, who may use sudo. `locks`: why the instance is locked. `expires`: None where it
    is paid as it is used. `status`: Pending, Running, Starting, Stopping or Stopped.
    """

    id: str
    name: str
    host_name: str
    status: str
    tags: Mapping[str, str]
    private: str
    public: str
    non_root: bool
    locks: tuple[str, ...]
    expires: datetime | None
    groups: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.id} ({self.name})" if self.name else self.id


def instances(client: Client, cluster: str) -> list[Instance]:
    """Those that bear the cluster's tag, whatever their status, sorted by their ids. EcsError where nobody can tell.

    To a RAM user without the right, the API shows an empty list (2021's reference of DescribeInstances): so an empty
    one is asked for once more, as a dry run, which says who may.
    """
    wanted = {"Tag": [{"Key": CLUSTER_TAG, "Value": cluster}]}
    found: list[Instance] = []
    token = ""
    while True:
        more = {"NextToken": token} if token else {}
        body = client.call("DescribeInstances", MaxResults=_PAGE, **wanted, **more)
        found += map(said_of, _listed(body, client))
        token = str(body.get("NextToken") or "")
        if not token:
            break
    if not found:
        _say_whether_it_is_allowed(client, wanted)
    return sorted(found, key=lambda each: each.id)


def _say_whether_it_is_allowed(client: Client, wanted: Mapping[str, Any]) -> None:
    try:
        client.call("DescribeInstances", DryRun=True, **wanted)
    except EcsError as error:
        if error.code == _ALLOWED:
            return
        raise
    raise EcsError(
        f"{client.endpoint}: DescribeInstances shows no instance, and does not say whether the key may see any\n"
        "    -> give its user the right ecs:DescribeInstances; README has the policy"
    )


def _listed(body: Mapping[str, Any], client: Client) -> list[dict[str, Any]]:
    found = body.get("Instances")
    listed = found.get("Instance") if isinstance(found, dict) else None
    if not isinstance(listed, list) or not all(isinstance(each, dict) and each.get("InstanceId") for each in listed):
        raise EcsError(
            f"{client.endpoint}: DescribeInstances: the answer has no list of instances: {str(found)[:200]}\n"
            "    -> look for a proxy in the way (HTTPS_PROXY), and run again"
        )
    return listed


def said_of(said: Mapping[str, Any]) -> Instance:
    """The Instance that the API tells of."""
    cards = _inner(said, "NetworkInterfaces", "NetworkInterface")
    primary: dict[str, Any] = next((card for card in cards if card.get("Type") == "Primary"), {})
    vpc = said.get("VpcAttributes") or {}
    private = _inner(vpc, "PrivateIpAddress", "IpAddress") or _inner(said, "InnerIpAddress", "IpAddress")
    public = _inner(said, "PublicIpAddress", "IpAddress")
    return Instance(
        id=said["InstanceId"],
        name=said.get("InstanceName") or "",
        host_name=said.get("HostName") or "",
        status=said.get("Status") or "",
        tags={tag.get("TagKey", ""): tag.get("TagValue", "") for tag in _inner(said, "Tags", "Tag")},
        private=next(iter(private), "") or primary.get("PrimaryIpAddress") or "",
        public=(said.get("EipAddress") or {}).get("IpAddress") or next(iter(public), ""),
        non_root=(said.get("ImageOptions") or {}).get("LoginAsNonRoot") is True,
        locks=tuple(lock.get("LockReason") or "unknown" for lock in _inner(said, "OperationLocks", "LockReason")),
        expires=_time(said.get("ExpiredTime") or "") if said.get("InstanceChargeType") == "PrePaid" else None,
        groups=tuple(_inner(said, "SecurityGroupIds", "SecurityGroupId")),
    )


def _inner(said: Mapping[str, Any], outer: str, inner: str) -> list[Any]:
    """The list that the API wraps: {"Tags": {"Tag": [...]}}."""
    found = (said.get(outer) or {}).get(inner) or []
    return list(found) if isinstance(found, list) else []


def _time(text: str) -> datetime | None:
    """As the API writes it: 2017-12-10T04:04Z."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%MZ").replace(tzinfo=UTC)
    except ValueError:
        return None

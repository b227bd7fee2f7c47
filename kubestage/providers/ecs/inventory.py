"""An inventory of ECS instances: which hosts they are, and how each is reached."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from kubestage.cluster.folder import FOLDER, REBUILDS, STATE, folder_name
from kubestage.local_file import save
from kubestage.providers import ProviderError
from kubestage.providers.ecs.client import Client, client
from kubestage.providers.ecs.instances import CLUSTER_TAG, NAME_TAG, ROLE_TAG, SETTING_TAG, Instance, instances
from kubestage.providers.ecs.keys import key
from kubestage.providers.ecs.machine import provider_of
from kubestage.settings import HostSettings
from kubestage.settings.cluster import CONTROL_PLANE, WORKERS
from kubestage.settings.values import is_host_name, near

Hosts = list[tuple[str, dict[str, Any]]]
Reached = Literal["public", "private"]
_ROLES = {"control-plane": CONTROL_PLANE, "worker": WORKERS}
_NON_ROOT = "ecs-user"  # Alibaba Cloud's own, where an image has LoginAsNonRoot


@dataclass(frozen=True)
class Login:
    """How hosts are reached: with which key file (here), by which addresses, and through which host, or "".

    `jump_host`: [USER@]ADDRESS[:PORT], for those without a public address. `by` "private": from inside the VPC.
    """

    ssh_key: str
    by: Reached = "public"
    jump_host: str = ""


def hosts(inventory: str, region: str, cluster: str, login: Login, checkout: Path) -> dict[str, Hosts]:
    """Group -> hosts of an inventory, as pyinfra takes them: the instances that bear the cluster's tag.

    `inventory`: the inventory file. Raises ProviderError with all that is wrong.
    """
    for what, value, example in (("region", region, "cn-hangzhou"), ("cluster", cluster, "staging")):
        if not value:
            name = f"KUBESTAGE_{what.upper()}"
            raise ProviderError(f"{inventory} names no {what}\n    -> set {name}, e.g. {example}; or write it there")
    folder = checkout / STATE / folder_name(inventory)
    _same_cluster(folder, region, cluster)
    api = client(region, key(os.environ, Path.home()))
    return grouped(instances(api, cluster), api, cluster, login, folder, datetime.now(UTC))


def _same_cluster(folder: Path, region: str, cluster: str) -> None:
    """What is kept in a folder is one cluster's: a kubeconfig of another would be taken for its own."""
    path, ours = folder / "ecs.json", {"region": region, "cluster": cluster}
    try:
        kept = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        save(path, json.dumps(ours) + "\n")
        return
    if kept != ours:
        raise ProviderError(
            f"{folder}: it is of the cluster {kept.get('cluster')!r} in {kept.get('region')!r}, and this is "
            f"{cluster!r} in {region!r}\n    -> name clusters by KUBESTAGE_CLUSTER, for each has a folder of its own "
            "then; or, if the other one is gone, remove the folder"
        )


def grouped(
    found: Sequence[Instance], api: Client, cluster: str, login: Login, folder: Path, now: datetime
) -> dict[str, Hosts]:
    """The groups of `found`; ProviderError with a line for each thing that is wrong."""
    if not found:
        raise ProviderError(
            f"{api.endpoint}: no instance bears the tag {CLUSTER_TAG}={cluster}\n"
            f"    -> give the cluster's instances that tag, and {ROLE_TAG}=control-plane or worker; or correct "
            "the region or the cluster"
        )
    rebuilt = {path.stem for path in (folder / REBUILDS).glob("*.json")}
    wrong = [line for each in found for line in _wrong(each, now, _name(each) in rebuilt)]
    names = {each.id: _name(each) for each in found}
    for name in sorted({name for name in names.values() if name}):
        if len(same := [str(each) for each in found if names[each.id] == name]) > 1:
            wrong.append(f"{' and '.join(same)}: both are called {name!r} -> give each a tag {NAME_TAG} of its own")
    roles = [_ROLES.get(each.tags.get(ROLE_TAG, "")) for each in found]
    if all(roles) and CONTROL_PLANE not in roles:
        wrong.append(f"no instance is of the control plane -> give one the tag {ROLE_TAG}=control-plane")
    groups: dict[str, Hosts] = {CONTROL_PLANE: [], WORKERS: []}
    if login.jump_host and login.by == "public":
        _write_ssh_config(folder / "ssh_config", [each for each in found if not each.public], login)
    for each, role in zip(found, roles, strict=True):
        try:
            data = {**_reached(each, login, folder), **_addresses(each), **_settings(each)}
            data["provider"] = provider_of(api.region, cluster, each.id)
        except ProviderError as error:
            wrong.append(str(error))
            continue
        if role:
            groups[role].append((names[each.id], data))
    if wrong:
        raise ProviderError("\n".join([f"Instances of {cluster} in {api.region}:", *(f"  {line}" for line in wrong)]))
    return {group: sorted(members, key=lambda member: member[0]) for group, members in groups.items()}


def _name(instance: Instance) -> str:
    return instance.tags.get(NAME_TAG) or instance.host_name.lower()


def _wrong(each: Instance, now: datetime, rebuilt: bool) -> Iterator[str]:
    """What is wrong with an instance, and the remedy, in a line each; `rebuilt`: it is being so, and may be stopped."""
    role = each.tags.get(ROLE_TAG, "")
    if role not in _ROLES:
        what = f"its tag {ROLE_TAG} is {role!r}{near(role, _ROLES)}" if role else f"it has no tag {ROLE_TAG}"
        yield f"{each}: {what} -> set it to control-plane or worker"
    name = _name(each)
    if not is_host_name(name):
        yield (
            f"{each}: {name!r} is no name for a node: lower-case letters, digits, hyphens and dots "
            f"-> give it one by the tag {NAME_TAG}"
        )
    if each.locks:
        spot = " (a spot instance that is being taken back)" if "recycling" in " ".join(each.locks).lower() else ""
        yield f"{each}: it is locked: {', '.join(each.locks)}{spot} -> unlock or release it, or take its tags away"
    elif each.expires and each.expires < now:
        yield f"{each}: it has expired on {each.expires:%Y-%m-%d %H:%M} UTC -> renew it, or take its tags away"
    elif each.status != "Running" and not rebuilt:
        yield f"{each}: it is {each.status or 'in no known state'} -> start it, or take its tags away"
    if not each.private:
        yield f"{each}: it has no private address yet -> wait until it is made, and run again"


def _reached(each: Instance, login: Login, folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = {
        "ssh_user": _NON_ROOT if each.non_root else "root",
        "ssh_key": login.ssh_key,
        "ssh_known_hosts_file": str(folder / "known_hosts"),
        FOLDER: folder.name,
    }
    if each.non_root:
        data["_sudo"] = True
    if login.by == "private":
        return {**data, "ssh_hostname": each.private}
    if each.public:
        return {**data, "ssh_hostname": each.public}
    if login.jump_host:
        return {**data, "ssh_hostname": each.private, "ssh_config_file": str(folder / "ssh_config")}
    raise ProviderError(
        f"{each}: it has no public address -> name a jump host at the top of the inventory, or run it inside the VPC "
        "with KUBESTAGE_ADDRESSES=private"
    )


def _write_ssh_config(path: Path, behind: Sequence[Instance], login: Login) -> None:
    """pyinfra knows of jump hosts by such a file alone (3.10)."""
    user, _, rest = login.jump_host.rpartition("@")
    address, _, port = rest.partition(":")
    lines = [
        f"Host {address}",
        f"    User {user or 'root'}",
        *([f"    Port {port}"] if port else []),
        f"    IdentityFile {login.ssh_key}",
        f"    UserKnownHostsFile {path.with_name('known_hosts')}",
        "    StrictHostKeyChecking accept-new",
        *(line for each in behind for line in (f"Host {each.private}", f"    ProxyJump {address}")),
    ]
    save(path, "\n".join(lines) + "\n")


def _addresses(each: Instance) -> dict[str, str]:
    return {"private_address": each.private, **({"public_address": each.public} if each.public else {})}


def _settings(each: Instance) -> dict[str, Any]:
    """The settings that tags give; their values are judged with all others."""
    given = {}
    for tag, value in each.tags.items():
        name = tag.removeprefix(SETTING_TAG)
        if not tag.startswith(SETTING_TAG):
            continue
        if name not in HostSettings.model_fields:  # a tag must not say how to log in, nor speak for other hosts
            known = HostSettings.model_fields
            raise ProviderError(f"{each}: its tag {tag} names no setting of a host{near(name, known)} -> correct it")
        given[name] = _value(value)
    return given


def _value(text: str) -> Any:
    """A tag's text as a value: JSON where it is that, such as 4 or ["a=b:NoSchedule"], else the text itself."""
    parse: Callable[[str], Any] = json.loads
    try:
        return parse(text)
    except ValueError:
        return text


def of_environment(environment: Mapping[str, str], default: Reached) -> Reached:
    """By which addresses hosts are reached: KUBESTAGE_ADDRESSES, else `default`."""
    value = environment.get("KUBESTAGE_ADDRESSES", default)
    if value == "private":
        return "private"
    if value == "public":
        return "public"
    raise ProviderError(f"KUBESTAGE_ADDRESSES={value}: there is no such kind\n    -> set it to public or private")

"""An ECS instance whose system disk can be replaced. It keeps its id, addresses, tags, groups and data disks."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from kubestage.providers import Description, ProviderError
from kubestage.providers.ecs.client import Client, EcsError, client
from kubestage.providers.ecs.instances import CLUSTER_TAG, said_of
from kubestage.providers.ecs.keys import key

SCHEME = "ecs:"
_AGAIN_S = 3.0
_UNCLEAR = "IncorrectInstanceStatus"  # also of a call that was done already, and whose answer was lost
# As cloud-init's keys-to-console writes them, once an instance, with no prefix (22.4.2).
_KEYS = re.compile(r"-----BEGIN SSH HOST KEY KEYS-----\s*\n(.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL)
INSTANCE_TAG = "kubestage:instance"  # of an image: of which instance it was made
_ANY_STATUS = "Creating,Waiting,Available,UnAvailable,CreateFailed"  # of images; by default it is those available
_SHOW_KEYS = "cat /etc/ssh/ssh_host_*_key.pub"
_KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+) ([A-Za-z0-9+/=]+)")


def provider_of(region: str, cluster: str, instance: str) -> str:
    """The value of the setting `provider` of a host."""
    return f"{SCHEME}{region}:{cluster}:{instance}"


def parts(host: str, provider: str) -> tuple[str, str, str]:
    """Region, cluster and instance of such a value; ProviderError where it is none."""
    try:
        region, cluster, instance = provider.removeprefix(SCHEME).split(":")
    except ValueError:
        raise ProviderError(
            f"{host}: provider = {provider!r}: it is none of inventory/aliyun.py's\n"
            "    -> write it as ecs:REGION:CLUSTER:INSTANCE"
        ) from None
    return region, cluster, instance


class EcsMachine:
    """A host's instance; see Machine."""

    def __init__(self, host: str, provider: str, timeout_s: int, api: Client | None = None) -> None:
        region, self._cluster, self._id = parts(host, provider)
        self._host, self._timeout_s = host, timeout_s
        self._invocation, self._may_assist = "", True
        self._api = api or client(region, key(os.environ, Path.home()))

    def describe(self) -> Description:
        said = self._said()
        tags = said_of(said).tags
        if tags.get(CLUSTER_TAG) != self._cluster:
            raise ProviderError(
                f"{self._host}: {self._id} does not bear the tag {CLUSTER_TAG}={self._cluster}: it is not ours to "
                "replace\n    -> look whether it is the right instance"
            )
        locks = said_of(said).locks
        return Description(
            f"{said_of(said)} in {said.get('ZoneId') or self._api.region}: its system disk, and what is made of the "
            f"image {said.get('ImageId')}; data disks stay, their lines in /etc/fstab don't",
            f"it is locked: {', '.join(locks)}" if locks else "",
        )

    def stop(self) -> None:
        if self._said()["Status"] not in ("Stopped", "Stopping"):
            # Else, as accounts are set up today, a stopped one may lose its address and its place.
            self._asked("StopInstance", StoppedMode="KeepCharging", ForceStop=False)
        self._await("it is Stopped", lambda said: said["Status"] == "Stopped")

    def replace(self, image: str) -> None:
        said = self._said()
        wanted, before = self._image(image) if image else str(said["ImageId"]), self._disk()
        token = hashlib.sha256(f"{self._id} {before} {wanted}".encode()).hexdigest()  # a lost answer does it once
        # Without its name, the key pair would not be on the new disk.
        pair = {"KeyPairName": said["KeyPairName"]} if said.get("KeyPairName") else {}
        self._asked("ReplaceSystemDisk", ImageId=wanted, ClientToken=token, **pair)
        self._await(
            f"it has another system disk than {before}, of {wanted}",
            lambda now: now.get("ImageId") == wanted and not said_of(now).locks and self._disk() != before,
        )

    def start(self) -> None:
        if self._said()["Status"] not in ("Running", "Starting"):
            self._asked("StartInstance")
        self._await("it is Running", lambda said: said["Status"] == "Running")

    def image(self, name: str) -> str:
        """A custom image of the account's, with tags that say of what it is; one that is there already is it."""
        found = self._images(ImageName=name, ImageOwnerAlias="self", Status=_ANY_STATUS)
        if found and _tags(found[0]).get(INSTANCE_TAG) != self._id:
            raise ProviderError(
                f"{self._host}: there is an image {name!r} already, {found[0].get('ImageId')}, and not of {self._id}\n"
                "    -> give another name, or delete it"
            )
        if not found:
            token = hashlib.sha256(f"{self._id} {self._disk()} {name}".encode()).hexdigest()
            tags = [{"Key": CLUSTER_TAG, "Value": self._cluster}, {"Key": INSTANCE_TAG, "Value": self._id}]
            self._api.call("CreateImage", InstanceId=self._id, ImageName=name, ClientToken=token, Tag=tags)
        begin = monotonic()
        while True:
            found = self._images(ImageName=name, ImageOwnerAlias="self", Status=_ANY_STATUS)
            status = str(found[0].get("Status")) if found else "nowhere yet"
            if status == "Available":
                return str(found[0]["ImageId"])
            if status == "CreateFailed" or monotonic() - begin > self._timeout_s:
                raise ProviderError(
                    f"{self._host}: the image {name} of {self._id} is {status} after {monotonic() - begin:.0f} s\n"
                    "    -> look at it in the console; delete it if its making has failed, and run again"
                )
            sleep(_AGAIN_S)

    def host_keys(self) -> list[str]:
        """Of the console's last output, else by Cloud Assistant, where the account's key may use it.

        Both are read over HTTPS with the account's own key, of a disk fresh from its image.
        """
        return self._by_console() or self._by_assistant()

    def _by_console(self) -> list[str]:
        try:
            output = self._api.call("GetInstanceConsoleOutput", InstanceId=self._id).get("ConsoleOutput") or ""
        except EcsError as error:
            if error.code.startswith(_UNCLEAR):
                return []
            raise
        text = base64.b64decode(output).decode(errors="replace").replace("\r", "")
        blocks = _KEYS.findall(text)
        return [f"{kind} {data}" for kind, data in _KEY.findall(blocks[-1])] if blocks else []

    def _by_assistant(self) -> list[str]:
        """What its agent prints, once it has started. It is root on the instance: asked for the public keys alone."""
        if not self._may_assist:
            return []
        try:
            if not self._invocation:
                status = self._api.call("DescribeCloudAssistantStatus", InstanceId=[self._id])
                agents = (status.get("InstanceCloudAssistantStatusSet") or {}).get("InstanceCloudAssistantStatus") or []
                if not agents or str(agents[0].get("CloudAssistantStatus")).lower() != "true":
                    return []
                self._invocation = str(
                    self._api.call(
                        "RunCommand",
                        Type="RunShellScript",
                        CommandContent=_SHOW_KEYS,
                        InstanceId=[self._id],
                        Timeout=60,
                    )["InvokeId"]
                )
            body = self._api.call("DescribeInvocationResults", InvokeId=self._invocation)
        except EcsError as error:
            if error.code.startswith(("Forbidden", "NoPermission")):
                self._may_assist = False  # it is a right that nobody has to give
                return []
            if error.code.startswith(_UNCLEAR):
                return []
            raise
        results = ((body.get("Invocation") or {}).get("InvocationResults") or {}).get("InvocationResult") or [{}]
        if results[0].get("InvocationStatus") == "Failed":
            self._invocation = ""  # an agent that was starting: once more
        if results[0].get("InvocationStatus") != "Success":
            return []
        text = base64.b64decode(results[0].get("Output") or "").decode(errors="replace")
        return [f"{kind} {data}" for kind, data in _KEY.findall(text)]

    def _image(self, image: str) -> str:
        """The id of an image; of a family ("acs:debian_12_11_x64") the newest."""
        if ":" not in image:
            return image
        found = self._images(ImageFamily=image, Status="Available", ActionType="ChangeOS")
        if not found:
            raise ProviderError(
                f"{self._host}: there is no image of the family {image!r} in {self._api.region}\n"
                "    -> name another one, or the id of an image"
            )
        return str(max(found, key=lambda each: str(each.get("CreationTime")))["ImageId"])

    def _images(self, **wanted: Any) -> list[Mapping[str, Any]]:
        body = self._api.call("DescribeImages", PageSize=100, **wanted)
        return list((body.get("Images") or {}).get("Image") or [])

    def _disk(self) -> str:
        """The system disk's id; "" while there is none."""
        body = self._api.call("DescribeDisks", InstanceId=self._id, DiskType="system")
        found = (body.get("Disks") or {}).get("Disk") or []
        return str(found[0].get("DiskId") or "") if found else ""

    def _said(self) -> Mapping[str, Any]:
        body = self._api.call("DescribeInstances", InstanceIds=f'["{self._id}"]')
        found = (body.get("Instances") or {}).get("Instance") or []
        if len(found) != 1:
            raise ProviderError(
                f"{self._host}: there is no instance {self._id} in {self._api.region}, or the key may not see it\n"
                "    -> look whether it was released; take its host out of the cluster if it was"
            )
        said: dict[str, Any] = found[0]
        return said

    def _asked(self, action: str, **query: Any) -> None:
        try:
            self._api.call(action, InstanceId=self._id, **query)
        except EcsError as error:
            if not error.code.startswith(_UNCLEAR):
                raise  # what is unclear is told by the state that is waited for

    def _await(self, what: str, reached: Callable[[Mapping[str, Any]], bool]) -> None:
        begin = monotonic()
        while not reached(said := self._said()):
            if monotonic() - begin > self._timeout_s:
                raise ProviderError(
                    f"{self._host}: {self._id}: not within {self._timeout_s} s: {what}; it is {said.get('Status')} "
                    f"with the image {said.get('ImageId')}\n    -> look at it in the console, and run again"
                )
            sleep(_AGAIN_S)


def _tags(image: Mapping[str, Any]) -> dict[str, str]:
    return {str(tag.get("TagKey")): str(tag.get("TagValue")) for tag in (image.get("Tags") or {}).get("Tag") or []}

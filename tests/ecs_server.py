"""An ECS API of the tests' own on this machine's loopback: it checks signatures, speaks in pages, and keeps state.

The signature is checked by code of its own, by the vendor's description of ACS3-HMAC-SHA256 (help: "V3 request
structure and signature"), and not by the SDK's.
"""

from __future__ import annotations

import base64
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

KEY, SECRET = "LTAI-test", "a secret of the tests"
_FRESH = timedelta(minutes=15)


class Refused(Exception):
    """An answer of the API that is an error."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(code)


def signature(method: str, path: str, query: str, headers: dict[str, str], signed: list[str], body: bytes) -> str:
    """Of a request, whose `query` is as it was sent; `headers` by lower-case names."""

    def encoded(text: str) -> str:
        return quote(text, safe="-_.~")

    pairs = sorted((encoded(key), encoded(value)) for key, value in parse_qsl(query, keep_blank_values=True))
    text = "\n".join(
        [
            method,
            quote(path, safe="/-_.~"),
            "&".join(f"{key}={value}" for key, value in pairs),
            "".join(f"{name}:{headers[name].strip()}\n" for name in signed),
            ";".join(signed),
            sha256(body).hexdigest(),
        ]
    )
    hashed = sha256(text.encode()).hexdigest().encode()
    return hmac.new(SECRET.encode(), b"ACS3-HMAC-SHA256\n" + hashed, sha256).hexdigest()


@dataclass
class Ecs:
    """What the account has, and how the API behaves.

    `answers`: an action -> what answers it instead, once for each in the list: a Refused, or bytes as they are sent.
    `may`: the actions that the key may do. `called`: the actions that were answered, with their parameters.
    """

    instances: list[dict[str, Any]] = field(default_factory=list)
    may: set[str] = field(default_factory=lambda: {"DescribeInstances"})
    answers: dict[str, list[Refused | bytes]] = field(default_factory=dict)
    called: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    families: dict[str, dict[str, str]] = field(default_factory=dict)  # an image family -> image -> when it was made
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)  # id -> "inner" (access policy), "rules"
    made: list[dict[str, Any]] = field(default_factory=list)  # images of instances
    page: int = 100
    nonces: set[str] = field(default_factory=set)
    address: str = ""

    def actions(self) -> list[str]:
        return [action for action, _ in self.called]

    def answer(self, action: str, query: dict[str, str]) -> dict[str, Any] | bytes:
        self.called.append((action, query))
        planned = self.answers.get(action)
        if planned:
            first = planned.pop(0)
            if isinstance(first, Refused):
                raise first
            return first
        known: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
            "DescribeInstances": self._describe,
            "StopInstance": self._stop,
            "StartInstance": self._start,
            "ReplaceSystemDisk": self._replace,
            "GetInstanceConsoleOutput": self._console,
            "DescribeCloudAssistantStatus": self._agent,
            "RunCommand": self._run,
            "DescribeInvocationResults": self._results,
            "DescribeDisks": self._disks,
            "DescribeImages": self._images,
            "CreateImage": self._create_image,
            "DescribeSecurityGroupAttribute": self._group,
        }
        if action not in known:
            raise Refused(404, "InvalidAction.NotFound", f"no such action: {action}")
        if action not in self.may and action != "DescribeInstances":  # to who may not, that shows an empty list
            raise Refused(403, "Forbidden.RAM", "User not authorized to operate on the specified resource.")
        return known[action](query)

    def one(self, query: dict[str, str]) -> dict[str, Any]:
        for each in self.instances:
            if each["InstanceId"] == query.get("InstanceId"):
                return each
        raise Refused(404, "InvalidInstanceId.NotFound")

    def _describe(self, query: dict[str, str]) -> dict[str, Any]:
        if query.get("DryRun") == "True":
            if "DescribeInstances" not in self.may:
                raise Refused(403, "Forbidden.RAM", "User not authorized to operate on the specified resource.")
            raise Refused(400, "DryRunOperation", "Request validation has been passed with DryRun flag set.")
        tags = {
            query[f"Tag.{number}.Key"]: query[f"Tag.{number}.Value"]
            for number in range(1, 21)
            if f"Tag.{number}.Key" in query
        }
        found = [each for each in self.instances if tags.items() <= tags_of(each).items()]
        if "InstanceIds" in query:
            found = [each for each in found if each["InstanceId"] in json.loads(query["InstanceIds"])]
        if "DescribeInstances" not in self.may:
            found = []
        begin = int(query.get("NextToken") or 0)
        size = min(self.page, max(10, int(query.get("MaxResults", 10))))
        more = str(begin + size) if begin + size < len(found) else ""
        return {"Instances": {"Instance": found[begin : begin + size]}, "NextToken": more, "TotalCount": 0}

    def _stop(self, query: dict[str, str]) -> dict[str, Any]:
        one = self.one(query)
        if one["Status"] != "Running":
            raise Refused(403, "IncorrectInstanceStatus")
        one["Status"] = "Stopped"
        one["StoppedMode"] = query.get("StoppedMode", "StopCharging")
        return {}

    def _start(self, query: dict[str, str]) -> dict[str, Any]:
        one = self.one(query)
        if one["Status"] != "Stopped":
            raise Refused(403, "IncorrectInstanceStatus")
        one["Status"] = "Running"
        return {}

    def _replace(self, query: dict[str, str]) -> dict[str, Any]:
        one = self.one(query)
        if one["Status"] != "Stopped":
            raise Refused(403, "IncorrectInstanceStatus")
        one["ImageId"], one["KeyPairName"] = query["ImageId"], query.get("KeyPairName", "")
        one["_disks"] = one.get("_disks", 0) + 1
        return {"DiskId": f"d-{one['_disks']}"}

    def _disks(self, query: dict[str, str]) -> dict[str, Any]:
        return {"Disks": {"Disk": [{"DiskId": f"d-{self.one(query).get('_disks', 0)}"}]}}

    def _group(self, query: dict[str, str]) -> dict[str, Any]:
        if query["SecurityGroupId"] not in self.groups:
            raise Refused(404, "InvalidSecurityGroupId.NotFound")
        said = self.groups[query["SecurityGroupId"]]
        rules, begin = said["rules"], int(query.get("NextToken") or 0)
        more = str(begin + self.page) if begin + self.page < len(rules) else ""
        shown = rules[begin : begin + self.page]
        return {"InnerAccessPolicy": said["inner"], "Permissions": {"Permission": shown}, "NextToken": more}

    def _images(self, query: dict[str, str]) -> dict[str, Any]:
        if "ImageName" in query:
            return {
                "Images": {
                    "Image": [self._older(each) for each in self.made if each["ImageName"] == query["ImageName"]]
                }
            }
        images = self.families.get(query["ImageFamily"], {})
        return {"Images": {"Image": [{"ImageId": name, "CreationTime": time} for name, time in images.items()]}}

    def _agent(self, query: dict[str, str]) -> dict[str, Any]:
        known = self.one({"InstanceId": query["InstanceId.1"]}).get("_agent", False)
        status = [{"InstanceId": query["InstanceId.1"], "CloudAssistantStatus": str(known).lower()}]
        return {"InstanceCloudAssistantStatusSet": {"InstanceCloudAssistantStatus": status}}

    def _run(self, query: dict[str, str]) -> dict[str, Any]:
        return {"CommandId": "c-1", "InvokeId": f"t-{query['InstanceId.1']}"}

    def _results(self, query: dict[str, str]) -> dict[str, Any]:
        one = self.one({"InstanceId": query["InvokeId"].removeprefix("t-")})
        status, output = one.get("_runs", [("Success", "")])[0]
        one["_runs"] = one.get("_runs", [])[1:] or [(status, output)]
        result = {"InvocationStatus": status, "Output": base64.b64encode(output.encode()).decode()}
        return {"Invocation": {"InvocationResults": {"InvocationResult": [result]}}}

    def _create_image(self, query: dict[str, str]) -> dict[str, Any]:
        if self.one(query)["Status"] not in ("Stopped", "Running"):
            raise Refused(403, "IncorrectInstanceStatus")
        tags = [{"TagKey": query[f"Tag.{number}.Key"], "TagValue": query[f"Tag.{number}.Value"]} for number in (1, 2)]
        made = {"ImageId": f"m-{len(self.made) + 1}", "ImageName": query["ImageName"], "Status": "Creating"}
        self.made.append({**made, "Tags": {"Tag": tags}})
        return {"ImageId": made["ImageId"]}

    def _older(self, image: dict[str, Any]) -> dict[str, Any]:
        """As it is, and by the next time it is made."""
        said = dict(image)
        if image["Status"] == "Creating":
            image["Status"] = "Available"
        return said

    def _console(self, query: dict[str, str]) -> dict[str, Any]:
        output = str(self.one(query).get("_console", ""))
        return {"ConsoleOutput": base64.b64encode(output.encode()).decode()}


def tags_of(instance: dict[str, Any]) -> dict[str, str]:
    return {tag["TagKey"]: tag["TagValue"] for tag in instance.get("Tags", {}).get("Tag", [])}


def instance(number: int, role: str = "worker", **changed: Any) -> dict[str, Any]:
    """An instance of the cluster "staging", as DescribeInstances has it; more tags are `tags`."""
    tags = {"kubestage:cluster": "staging", "kubestage:role": role, **changed.pop("tags", {})}
    said: dict[str, Any] = {
        "InstanceId": f"i-{number:04}",
        "InstanceName": f"Test {number}",
        "HostName": f"Node-{number}",
        "Status": "Running",
        "RegionId": "cn-hangzhou",
        "VpcAttributes": {"VpcId": "vpc-1", "PrivateIpAddress": {"IpAddress": [f"172.16.0.{number}"]}},
        "NetworkInterfaces": {"NetworkInterface": [{"Type": "Primary", "PrimaryIpAddress": f"172.16.0.{number}"}]},
        "PublicIpAddress": {"IpAddress": [f"203.0.113.{number}"]},
        "EipAddress": {"IpAddress": "", "AllocationId": ""},
        "OperationLocks": {"LockReason": []},
        "SecurityGroupIds": {"SecurityGroupId": ["sg-1"]},
        "InstanceChargeType": "PostPaid",
        "ExpiredTime": "2099-12-31T15:59Z",
        "SpotStrategy": "NoSpot",
        "ImageId": "debian_12",
        "KeyPairName": "team",
        "ImageOptions": {},
    }
    said.update(changed)
    said["Tags"] = {"Tag": [{"TagKey": key, "TagValue": value} for key, value in tags.items() if value]}
    return said


@contextmanager
def serving(ecs: Ecs) -> Iterator[str]:
    """The API on loopback; its address, http://127.0.0.1:PORT."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                action, query = self._checked(body)
                answer = ecs.answer(action, query)
                if isinstance(answer, bytes):
                    return self._send(200, answer)
                return self._send(200, json.dumps({"RequestId": "r-1", **answer}).encode())
            except Refused as refused:
                said = {"RequestId": "r-2", "Code": refused.code, "Message": refused.message, "HostId": ecs.address}
                return self._send(refused.status, json.dumps(said).encode())

        def _checked(self, body: bytes) -> tuple[str, dict[str, str]]:
            headers = {name.lower(): value for name, value in self.headers.items()}
            parts = urlsplit(self.path)
            kind, _, rest = headers["authorization"].partition(" ")
            said = dict(part.split("=", 1) for part in rest.split(","))
            if kind != "ACS3-HMAC-SHA256" or said["Credential"] != KEY:
                raise Refused(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
            signed = said["SignedHeaders"].split(";")
            wanted = {name for name in headers if name.startswith("x-acs-") or name == "host"}
            if not wanted <= set(signed):
                raise Refused(400, "IncompleteSignature", f"not signed: {wanted - set(signed)}")
            right = signature("POST", parts.path, parts.query, headers, signed, body)
            if not hmac.compare_digest(said["Signature"], right):
                raise Refused(400, "SignatureDoesNotMatch")
            if headers["x-acs-content-sha256"] != sha256(body).hexdigest():
                raise Refused(400, "InvalidContentSha256")
            sent = datetime.strptime(headers["x-acs-date"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            if abs(datetime.now(UTC) - sent) > _FRESH:
                raise Refused(400, "InvalidTimeStamp.Expired")
            if headers["x-acs-signature-nonce"] in ecs.nonces:
                raise Refused(400, "SignatureNonceUsed")
            ecs.nonces.add(headers["x-acs-signature-nonce"])
            assert headers["x-acs-version"] == "2014-05-26"
            return headers["x-acs-action"], dict(parse_qsl(parts.query, keep_blank_values=True))

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ecs.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield ecs.address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

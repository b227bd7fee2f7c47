"""Calls of the ECS API, by the SDK's generic client: what goes wrong is one line, and a throttled call is given again.

The typed client would take another 0.4 s of a run (alibabacloud_ecs20140526 7.11.8); signature, errors and time-outs
are the same code.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from time import sleep
from typing import Any

from kubestage.providers import ProviderError
from kubestage.providers.ecs.keys import Key

ENDPOINT = "KUBESTAGE_ECS_ENDPOINT"  # another one than a region's own, such as that of a VPC; http:// for a test's
VERSION = "2014-05-26"
_CONNECT_S, _READ_S = 5, 20
# Once throttled in a minute, a call is until the next one (help.aliyun.com/document_detail/437902).
_AGAIN_S = (2.0, 5.0, 10.0, 15.0, 20.0, 25.0)
_BUSY = ("Throttling", "Rejected.Throttling", "ServiceUnavailable", "InternalError")
_CLOCK = "correct this machine's clock (timedatectl)"


class EcsError(ProviderError):
    """A call that failed; `code` is that of the API, or ""."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Client:
    """The ECS API of a region."""

    def __init__(self, region: str, key: Key, endpoint: str = "") -> None:
        """`endpoint`: a host[:port], or http://HOST:PORT; by default the region's own.

        ProviderError where the SDK is not installed.
        """
        self.region = region
        self._key = key
        protocol, _, host = (endpoint or f"ecs.{region}.aliyuncs.com").rpartition("://")
        self.endpoint = host
        try:
            from alibabacloud_tea_openapi.client import Client as Generic
            from alibabacloud_tea_openapi.utils_models import Config
        except ModuleNotFoundError as error:
            raise ProviderError(
                f"the SDK of Alibaba Cloud is not installed: {error}\n"
                "    -> make aliyun; or in your own environment: pip install -r requirements-aliyun.txt"
            ) from None
        self._client = Generic(
            Config(
                **_credentials(key),
                region_id=region,
                endpoint=host,
                protocol=protocol.upper() or "HTTPS",
                connect_timeout=_CONNECT_S * 1000,
                read_timeout=_READ_S * 1000,
            )
        )

    def call(self, action: str, **query: Any) -> dict[str, Any]:
        """What the API answers to an action, whose parameters are lists and mappings as its reference has them.

        Raises EcsError. A call that is throttled, or met a server at fault, is given again for a minute and more.
        """
        for pause in (*_AGAIN_S, None):
            try:
                return self._call(action, query)
            except EcsError as error:
                if pause is None or not error.code.startswith(_BUSY):
                    raise
                sleep(pause)
        raise AssertionError("unreachable")

    def _call(self, action: str, query: Mapping[str, Any]) -> dict[str, Any]:
        from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
        from alibabacloud_tea_openapi.utils import Utils
        from alibabacloud_tea_openapi.utils_models import OpenApiRequest, Params
        from darabonba.runtime import RuntimeOptions

        parameters = Params(
            action=action,
            version=VERSION,
            protocol="HTTPS",
            pathname="/",
            method="POST",
            auth_type="AK",
            style="RPC",
            req_body_type="formData",
            body_type="json",
        )
        request = OpenApiRequest(query=Utils.query({"RegionId": self.region, **query}))
        try:
            answer = self._client.call_api(parameters, request, RuntimeOptions())
        except AlibabaCloudException as error:
            raise self._refused(action, str(error.code or ""), _message(error)) from None
        except Exception as error:  # of a key that is not to be had, the network, an odd answer: no two have a base
            raise self._unreached(action, error) from None
        body = answer.get("body") if isinstance(answer, dict) else None
        if not isinstance(body, dict) or "RequestId" not in body:
            raise EcsError(
                f"{self._where(action)}: the answer is none of the ECS API's: {_short(body)}\n"
                "    -> look for a proxy in the way (HTTPS_PROXY), and run again"
            )
        return body

    def _where(self, action: str) -> str:
        return f"{self.endpoint}: {action}"

    def _refused(self, action: str, code: str, message: str) -> EcsError:
        reason, remedy = _refusal(code, message, self._key, self.region, action)
        return EcsError(f"{self._where(action)}: {reason} ({code})\n    -> {remedy}", code)

    def _unreached(self, action: str, error: Exception) -> EcsError:
        causes = " ".join(str(each) for each in _causes(error))
        if "NameResolution" in causes or "Name or service not known" in causes or "getaddrinfo" in causes:
            reason = f"there is no such host: is {self.region!r} a region?"
            remedy = "write the region as the console does, e.g. cn-hangzhou; else look at this machine's DNS"
        elif "ProxyError" in causes or "tunnel connection failed" in causes.lower():
            reason = "the proxy does not let it through"
            remedy = "correct HTTPS_PROXY, or leave it out (the SDK takes no notice of NO_PROXY)"
        elif "timed out" in causes.lower() or "timeout" in causes.lower():
            reason, remedy = f"no answer within {_READ_S} s", "look at the network from here to it, and run again"
        elif "certificate" in causes.lower():
            reason, remedy = "its certificate is not trusted", f"look for a proxy in the way, and {_CLOCK}"
        elif "Connection refused" in causes:
            reason, remedy = "nobody listens there", "correct the endpoint; or look at the network from here to it"
        elif "<html" in causes.lower() or "json" in causes.lower() or "Expecting" in causes:
            reason = "the answer is none of the ECS API's"
            remedy = "look for a proxy in the way (HTTPS_PROXY), and run again"
        else:
            reason, remedy = _short(causes), "look at the network from here to it, and run again"
        return EcsError(f"{self._where(action)}: {reason}\n    -> {remedy}")


def _message(error: Any) -> str:
    """The API's own words: the SDK puts "code: 400, " before them and "request id: ..." behind them."""
    return re.sub(r"^code: \d+, |,? ?request id: .*$", "", str(error.message or ""), flags=re.DOTALL)


def _credentials(key: Key) -> dict[str, Any]:
    if not key.profile:
        return {
            "access_key_id": key.id,
            "access_key_secret": key.secret,
            **({"security_token": key.token} if key.token else {}),
        }
    from alibabacloud_credentials.client import Client as Credentials
    from alibabacloud_credentials.provider import CLIProfileCredentialsProvider

    return {"credential": Credentials(provider=CLIProfileCredentialsProvider(profile_name=key.profile))}


def _refusal(code: str, message: str, key: Key, region: str, action: str) -> tuple[str, str]:
    """Reason and remedy of a code of the API."""
    if code.startswith("InvalidAccessKeyId"):
        return f"the access key of {key.where} is not known", "correct it; the console lists yours under AccessKey"
    if code in ("SignatureDoesNotMatch", "IncompleteSignature"):
        return f"the secret of {key.where} is not that of its access key", "correct the secret"
    if code.startswith(("InvalidSecurityToken", "MissingSecurityToken")):
        return f"the token of {key.where} has ended, or is another key's", "get a new one"
    if code == "InvalidTimeStamp.Expired":
        return "the clock of this machine is more than a quarter of an hour off", _CLOCK
    if code.startswith(("Forbidden", "NoPermission")):
        return f"the user of {key.where} may not do that", f"give it the right ecs:{action}; README has the policy"
    if code.startswith("InvalidRegionId"):
        return f"there is no region {region!r}", "write it as the console does, e.g. cn-hangzhou"
    if code.startswith(("Throttling", "Rejected.Throttling")):
        return "the account has called it too often, for more than a minute", "wait for a minute, and run again"
    if code.startswith(("ServiceUnavailable", "InternalError")):
        return "the API is at fault, for more than a minute", "run again later; status.alibabacloud.com tells more"
    return _short(message) or "refused", "see the code in the reference of the ECS API"


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found and len(found) < 10:
        found.append(error)
        error = getattr(error, "inner_exception", None) or error.__cause__ or error.__context__
    return found


def _short(text: object) -> str:
    return " ".join(str(text).split())[:200]


def client(region: str, key: Key) -> Client:
    """The region's, at its own endpoint or at that of the environment."""
    return Client(region, key, os.environ.get(ENDPOINT, ""))

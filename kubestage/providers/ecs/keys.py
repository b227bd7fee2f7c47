"""Which access key is used: that of the environment, else that of a profile of Alibaba Cloud's command line tool.

A chain of our own: the SDK's asks 100.100.100.200, starts threads, and prints pages where it finds nothing
(alibabacloud_credentials 1.0.12).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kubestage.providers import ProviderError

_ID, _SECRET, _TOKEN = (
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
)
_PROFILE = "ALIBABA_CLOUD_PROFILE"
CONFIG = Path(".aliyun/config.json")  # in the user's home
_TWO_WAYS = f"set {_ID} and {_SECRET}, or give `aliyun configure`, whose profile is read from ~/{CONFIG}"
# The SDK reads profiles of these modes; they ask other services for a key that ends soon.
OF_THE_SDK = ("RamRoleArn", "EcsRamRole", "ChainableRamRoleArn", "OIDC", "CloudSSO", "External", "OAuth")


@dataclass(frozen=True)
class Key:
    """An access key; `token` is that of one which lasts for a while, else "". `where`: from where it is, for messages.

    `profile`: of which profile the SDK is to get it, or "".
    """

    where: str
    id: str = ""
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    profile: str = ""


def key(environment: Mapping[str, str], home: Path) -> Key:
    """The key to use; ProviderError where there is none."""
    known, secret = environment.get(_ID, "").strip(), environment.get(_SECRET, "").strip()
    if known and secret:
        return Key(f"the environment ({_ID})", known, secret, environment.get(_TOKEN, "").strip())
    if known or secret:
        there, missing = (_ID, _SECRET) if known else (_SECRET, _ID)
        raise ProviderError(f"{there} is set, and {missing} is not\n    -> set both, or neither to go by a profile")
    return _of_profile(home / CONFIG, environment.get(_PROFILE, ""))


def _of_profile(path: Path, wanted: str) -> Key:
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError:
        raise ProviderError(f"there is no access key for Alibaba Cloud\n    -> {_TWO_WAYS}") from None
    except OSError as error:
        raise ProviderError(f"{path}: {error.strerror}\n    -> {_TWO_WAYS}") from None
    except ValueError as error:
        raise ProviderError(f"{path}: it is no JSON: {error}\n    -> {_TWO_WAYS}") from None
    profiles = config.get("profiles") if isinstance(config, dict) else None
    known = {each.get("name"): each for each in profiles or () if isinstance(each, dict)}
    name = wanted or (config.get("current") if isinstance(config, dict) else "")
    if name not in known:
        listed = ", ".join(filter(None, known)) or "none"
        raise ProviderError(
            f"{path}: there is no profile {name!r} in it; it has: {listed}\n"
            f"    -> set {_PROFILE} to one, or {_TWO_WAYS}"
        )
    profile = known[name]
    where, mode = f"the profile {name!r} of {path}", profile.get("mode")
    if mode in OF_THE_SDK:
        return Key(where, profile=str(name))
    own = [str(profile.get(part) or "") for part in ("access_key_id", "access_key_secret", "sts_token")]
    if mode not in ("AK", "StsToken") or not (own[0] and own[1]):
        raise ProviderError(f"{where} has no access key in it (mode {mode!r})\n    -> {_TWO_WAYS}")
    return Key(where, own[0], own[1], own[2] if mode == "StsToken" else "")

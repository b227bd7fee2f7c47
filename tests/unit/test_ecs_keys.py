"""Which access key of Alibaba Cloud is used, and what is said where there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kubestage.providers import ProviderError
from kubestage.providers.ecs.keys import CONFIG, Key, key

ENVIRONMENT = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI-1", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "hidden"}


def home(folder: Path, config: Any) -> Path:
    path = folder / CONFIG
    path.parent.mkdir()
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return folder


def profile(mode: str = "AK", name: str = "default", **more: str) -> dict[str, str]:
    return {"name": name, "mode": mode, "access_key_id": "LTAI-2", "access_key_secret": "hidden", **more}


def test_of_the_environment(tmp_path: Path) -> None:
    found = key(ENVIRONMENT, home(tmp_path, {"current": "default", "profiles": [profile()]}))
    assert (found.id, found.secret, found.token) == ("LTAI-1", "hidden", "")
    assert key({**ENVIRONMENT, "ALIBABA_CLOUD_SECURITY_TOKEN": "t"}, tmp_path).token == "t"
    assert "hidden" not in repr(found)


def test_of_a_profile(tmp_path: Path) -> None:
    profiles = [profile(), profile("StsToken", "other", sts_token="t"), profile("EcsRamRole", "role")]
    place = home(tmp_path, {"current": "default", "profiles": profiles})
    assert key({}, place).id == "LTAI-2"
    assert key({"ALIBABA_CLOUD_PROFILE": "other"}, place).token == "t"
    where = f"the profile 'role' of {place / CONFIG}"
    assert key({"ALIBABA_CLOUD_PROFILE": "role"}, place) == Key(where, profile="role")


@pytest.mark.parametrize(
    ("environment", "config", "said"),
    [
        ({}, None, "there is no access key for Alibaba Cloud"),
        ({"ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI-1"}, None, "ALIBABA_CLOUD_ACCESS_KEY_SECRET is not"),
        ({"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "x"}, None, "ALIBABA_CLOUD_ACCESS_KEY_ID is not"),
        ({}, "{", "it is no JSON"),
        ({}, [], "there is no profile"),
        ({}, {"current": "gone", "profiles": [profile()]}, "there is no profile 'gone' in it; it has: default"),
        ({"ALIBABA_CLOUD_PROFILE": "x"}, {"profiles": []}, "there is no profile 'x' in it; it has: none"),
        ({}, {"current": "default", "profiles": [profile(access_key_secret="")]}, "has no access key in it"),
        ({}, {"current": "default", "profiles": [profile("Odd")]}, "has no access key in it (mode 'Odd')"),
    ],
)
def test_none(environment: dict[str, str], config: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ProviderError) as caught:
        key(environment, tmp_path if config is None else home(tmp_path, config))
    assert said in str(caught.value) and "\n    -> " in str(caught.value)
    assert "hidden" not in str(caught.value)

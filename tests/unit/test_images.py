"""From which registries images come, and where they are asked for."""

from __future__ import annotations

from typing import Any

import pytest
from sample_cluster import GROUPS, hosts_data
from sample_stacks import settings

from kubestage.checks.load import load
from kubestage.render import images

MIRROR: dict[str, Any] = {
    "kubernetes_apt": "http://m/k",
    "kubernetes_key": "http://m/key",
    "docker_apt": "http://m/d",
    "docker_key": "http://m/key",
    "files": "",
    "registries": {"docker.io": ["http://m:5000"]},
}


@pytest.mark.parametrize(
    ("registry", "fallback", "addresses"),
    [
        ("docker.io", False, ["http://m:5000"]),
        ("docker.io", True, ["http://m:5000", "https://registry-1.docker.io"]),
        ("ghcr.io", False, ["https://ghcr.io"]),
    ],
)
def test_asked(registry: str, fallback: bool, addresses: list[str]) -> None:
    own = {"mirror": "own", "mirrors": {"own": {**MIRROR, "registry_fallback": fallback}}}
    assert images.asked(load(hosts_data(own), GROUPS).hosts["cp1"], registry) == addresses


def test_registries_of_what_runs() -> None:
    bare = {"stacks": [], "flannel_image": "docker.io/f/f:1", "flannel_cni_plugin_image": "m.test:5000/cni:1"}
    assert images.registries(settings(**bare)) == ["docker.io", "m.test:5000", "registry.k8s.io"]
    assert "quay.io" in images.registries(settings(**bare | {"pause_image": "quay.io/pause:1"}))
    metrics = {**bare, "stacks": ["metrics"], "metrics_server_image": "example.com/metrics:1"}
    assert "example.com" in images.registries(settings(**metrics))

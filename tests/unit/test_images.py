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


@pytest.mark.parametrize(
    ("image", "address", "url"),
    [
        ("docker.io/library/x:1", "https://m.example", "https://m.example/v2/library/x/manifests/1"),
        ("docker.io/library/x:1", "https://m.example/", "https://m.example/v2/library/x/manifests/1"),
        ("ghcr.io/a/b/c:1", "http://m:5000/v2/ghcr.io", "http://m:5000/v2/ghcr.io/a/b/c/manifests/1"),
        ("ghcr.io/a:1@sha256:ab", "https://m.example", "https://m.example/v2/a/manifests/sha256:ab"),
        ("m.test:5000/a@sha256:ab", "https://m.test:5000", "https://m.test:5000/v2/a/manifests/sha256:ab"),
    ],
)
def test_manifest_url(image: str, address: str, url: str) -> None:
    assert images.manifest_url(image, address) == url


def test_registries_of_what_runs() -> None:
    bare = {"stacks": [], "flannel_image": "docker.io/f/f:1", "flannel_cni_plugin_image": "m.test:5000/cni:1"}
    assert images.registries(settings(**bare)) == ["docker.io", "m.test:5000", "registry.k8s.io"]
    assert "quay.io" in images.registries(settings(**bare | {"pause_image": "quay.io/pause:1"}))
    metrics = {**bare, "stacks": ["metrics"], "metrics": {"image": "example.com/metrics:1"}}
    assert "example.com" in images.registries(settings(**metrics))

"""containerd's and Docker's configuration files, rendered from settings.

Settings may put passwords into the files of both, which are root's alone for it.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import tomli_w

from kubestage.host_file import HostFile
from kubestage.kubernetes import CERTS_D, DOCKER_CERTS_D, TRUST_MARK
from kubestage.render import images
from kubestage.render.merge import merged
from kubestage.settings import ClusterSettings, HostSettings
from kubestage.started import recorded

CONTAINERD_CONFIG = "/etc/containerd/config.toml"
DOCKER_CONFIG = "/etc/docker/daemon.json"
UNITS = {"containerd.service": [CONTAINERD_CONFIG], "docker.service": [DOCKER_CONFIG]}  # -> what they are restarted for
MIRROR_MARK = "# kubestage: where the mirror profile has this registry's images"  # first line, by which they go again


def unit_file(unit: str) -> str:
    """Where the unit has what it is to do beside its package's own."""
    return f"/etc/systemd/system/{unit}.d/20-kubestage.conf"


def unit_files() -> list[HostFile]:
    """What makes the units record the configuration that they are started with."""
    return [HostFile(unit_file(unit), f"[Service]\n{recorded(unit, files)}\n") for unit, files in UNITS.items()]


def containerd_config(settings: ClusterSettings, own: HostSettings) -> HostFile:
    """containerd's config.toml (version 3, containerd 2). The CRI plugin is on, which Docker's package switches off."""
    runc = {
        "runtime_type": "io.containerd.runc.v2",
        "options": {"SystemdCgroup": settings.cgroup_driver == "systemd"},
    }
    ours = {
        "version": 3,
        "plugins": {
            "io.containerd.cri.v1.images": {
                "pinned_images": {"sandbox": settings.pause_image},
                "registry": {"config_path": CERTS_D},
            },
            "io.containerd.cri.v1.runtime": {"containerd": {"runtimes": {"runc": runc}}},
        },
    }
    return HostFile(CONTAINERD_CONFIG, tomli_w.dumps(merged(ours, own.containerd_config)), mode="600")


def registry_hosts(own: HostSettings) -> list[HostFile]:
    """certs.d/REGISTRY/hosts.toml of every registry that has a mirror: containerd asks the mirrors in their order.

    What is asked last is the registry itself, or the last mirror where the profile allows no fallback
    (https://github.com/containerd/containerd/blob/main/docs/hosts.md: `server`).
    """
    files = []
    for registry in own.mirrors_by_registry:
        *mirrors, last = images.asked(own, registry)
        content = {"server": last, **_host(last), "host": {address: _host(address) for address in mirrors}}
        files.append(HostFile(f"{CERTS_D}/{registry}/hosts.toml", f"{MIRROR_MARK}\n{tomli_w.dumps(content)}"))
    return files


def _host(address: str) -> dict[str, object]:
    # A path in the address is the whole of it: containerd must not put a /v2 of its own behind.
    path = {"override_path": True} if urlsplit(address).path.strip("/") else {}
    return {"capabilities": ["pull", "resolve"], **path}


def registry_trust(registry: str, ca: str, ca_path: str) -> list[HostFile]:
    """What makes containerd and Docker trust the CA (PEM, on the host at `ca_path`) for `registry`, host[:port]."""
    hosts = {"server": f"https://{registry}", "capabilities": ["pull", "resolve", "push"], "ca": ca_path}
    return [
        HostFile(f"{CERTS_D}/{registry}/hosts.toml", f"{TRUST_MARK}\n{tomli_w.dumps(hosts)}"),
        HostFile(f"{DOCKER_CERTS_D}/{registry}/ca.crt", f"{TRUST_MARK}\n{ca}"),
    ]


def docker_config(settings: ClusterSettings, own: HostSettings) -> HostFile:
    """Docker's daemon.json. Docker can ask mirrors for docker.io alone, and puts /v2 behind whatever path one has.

    Lists of the setting are put behind ours: replacing ours would take the cgroup driver or the mirror away.
    """
    mirrors = [url for url in own.mirrors_by_registry.get("docker.io", ()) if not urlsplit(url).path.strip("/")]
    ours: dict[str, Any] = {
        "exec-opts": [f"native.cgroupdriver={settings.cgroup_driver}"],
        "log-driver": "json-file",
        "registry-mirrors": mirrors,
        "insecure-registries": [
            address.removeprefix("http://") for address in mirrors if address.startswith("http://")
        ],
    }
    extra = dict(own.docker_config)
    if extra.get("log-driver", "json-file") in ("json-file", "local"):  # others refuse these options
        ours["log-opts"] = {"max-size": own.docker_log_max_size, "max-file": str(own.docker_log_max_files)}
    for key in ("exec-opts", "insecure-registries"):
        extra[key] = [*ours[key], *extra.get(key, ())]
    return HostFile(DOCKER_CONFIG, json.dumps(merged(ours, extra), indent=2) + "\n", mode="600")

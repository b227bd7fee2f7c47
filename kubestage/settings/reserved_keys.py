"""Keys of the plain mappings (kubelet_config and the like) that have a setting of their own, and which."""

from __future__ import annotations

import math
import re
from typing import Any

from kubestage.settings import eviction

from . import containerd_keys, docker_keys
from .values import near, refuse

_KUBELET = {
    "cgroupDriver": "cgroup_driver",
    "clusterDomain": "cluster_domain",
    "clusterDNS": "service_cidr",
    "podCIDR": "pod_cidr",
    "registerWithTaints": "node_taints",
}
_KUBE_PROXY = {"clusterCIDR": "pod_cidr"}
_DOCKER = {"registry-mirrors": "mirrors", "log-opts.max-size": "docker_log_max_size"}
_DOCKER |= {"log-opts.max-file": "docker_log_max_files"}
_FIXED = ("apiVersion", "kind")
# What a run, and kubeadm, wait for: the kubelet's certificate, its health, and its API.
_KUBELET_FIXED = (*_FIXED, "serverTLSBootstrap", "healthzBindAddress", "healthzPort", "port")
# What holds settings of ours, and has to stay a mapping: key by key.
_DOCKER_MAPPINGS = (("log-opts",),)
_CRI = ("plugins", "io.containerd.cri.v1.runtime")
_IMAGES = ("plugins", "io.containerd.cri.v1.images")
_CONTAINERD_MAPPINGS = (
    (*_CRI, "containerd", "runtimes", "runc", "options"),
    (*_IMAGES, "pinned_images"),
    (*_IMAGES, "registry"),
)


def _find(config: dict[str, Any], path: str) -> bool:
    node: Any = config
    for key in path.split("."):
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return True


def _check_plain(value: Any, path: str, *, null: bool) -> None:
    """Only what JSON, YAML and TOML can say alike; TOML has no null."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise refuse(f'the key {key!r} in "{path}" is not a text', "put it in quotes")
            _check_plain(inner, f"{path}.{key}", null=null)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_plain(inner, path, null=null)
    elif isinstance(value, str) and re.search(r"[\x00\ud800-\udfff]", value):
        raise refuse(f'the value of "{path}" has a character that no file can hold', "correct the text")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise refuse(f'the value of "{path}" is too large', "write a number of 64 bits at most")
    elif isinstance(value, float) and not math.isfinite(value):
        raise refuse(f'the value of "{path}" is no number', "write a finite one")
    elif not (isinstance(value, str | int | float) or (value is None and null)):
        kind = "None" if value is None else f"a {type(value).__name__}"  # the value itself may be a password
        raise refuse(
            f'the value of "{path}" is {kind}, which the file can\'t hold',
            "use text, numbers, True, False, lists and mappings",
        )


def _check_all_plain(config: dict[str, Any], *, null: bool = True) -> None:
    for key, value in config.items():
        _check_plain(value, key, null=null)


def _check_mappings(config: dict[str, Any], paths: tuple[tuple[str, ...], ...]) -> None:
    for path in paths:
        node: Any = config
        for depth, key in enumerate(path, 1):
            if key not in node:
                break
            node = node[key]
            if not isinstance(node, dict):
                raise refuse(f'"{".".join(path[:depth])}" is not a mapping', "write it as {NAME: VALUE}")


def _refuse(key: str, setting: str) -> Exception:
    return refuse(f'"{key}" has a setting of its own', f'remove "{key}" here and set {setting}')


def _check(config: dict[str, Any], owned: dict[str, str], fixed: tuple[str, ...] = ()) -> dict[str, Any]:
    for key, setting in owned.items():
        if _find(config, key):
            raise _refuse(key, setting)
    for key in fixed:
        if key in config:
            raise refuse(f'"{key}" is fixed', f'remove "{key}"')
    return config


def _check_eviction(key: str, thresholds: Any) -> None:
    """The kubelet would not start with what is wrong here, and preflight goes by it."""
    if thresholds is None:
        return
    if not isinstance(thresholds, dict):
        raise refuse(f'"{key}" is not a mapping', 'write it as {"nodefs.available": "10%", "imagefs.available": "15%"}')
    for signal, amount in thresholds.items():
        if signal not in eviction.SIGNALS:
            known = ", ".join(sorted(eviction.SIGNALS))
            guess = near(signal, eviction.SIGNALS)
            raise refuse(f'"{signal}" is no signal for "{key}"{guess}', f"call it one of: {known}")
        try:
            number, unit = eviction.split(amount)
        except (ValueError, TypeError):
            number, unit = -1, ""
        if number < 0 or (unit == "%" and number > 100):
            raise refuse(f'"{key}.{signal}" is {amount!r:.40}, which is no amount', 'write it as "10%" or "2Gi"')


def kubelet(config: dict[str, Any]) -> dict[str, Any]:
    _check_all_plain(config)
    for key in ("evictionHard", "evictionSoft"):
        _check_eviction(key, config.get(key))
    return _check(config, _KUBELET, _KUBELET_FIXED)


def kube_proxy(config: dict[str, Any]) -> dict[str, Any]:
    _check_all_plain(config)
    return _check(config, _KUBE_PROXY, _FIXED)


def docker(config: dict[str, Any]) -> dict[str, Any]:
    _check_all_plain(config)
    _check_mappings(config, _DOCKER_MAPPINGS)
    for key in ("exec-opts", "insecure-registries"):
        if not isinstance(config.get(key, []), list | tuple):
            raise refuse(f'"{key}" is not a list', "write it as [ONE, TWO]")
    if any("native.cgroupdriver" in str(option) for option in config.get("exec-opts", ())):
        raise _refuse("native.cgroupdriver", "cgroup_driver")
    _check(config, _DOCKER)
    docker_keys.check(config)
    return config


def containerd(config: dict[str, Any]) -> dict[str, Any]:
    """containerd 2's configuration (version 3): plugin names hold dots, so the keys are looked for at any depth."""
    owned = {"SystemdCgroup": "cgroup_driver", "config_path": "mirrors"}
    owned |= dict.fromkeys(("sandbox", "sandbox_image"), "pause_image")

    def search(node: Any) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                if key in owned:
                    raise _refuse(key, owned[key])
                search(value)

    _check_all_plain(config, null=False)
    _check_mappings(config, _CONTAINERD_MAPPINGS)
    search(config)
    _check(config, {}, ("version",))
    containerd_keys.check(config)
    return config

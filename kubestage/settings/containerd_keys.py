"""Keys of containerd_config with which no pod would start. containerd itself tells of them in its log alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .values import refuse

_RUNTIME, _IMAGES = "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images"
# The CRI plugin of containerd 1. In containerd 2 it has what is in _SERVER; anything else in it is put over what the
# new plugins have, ours included (containerd 2.4, plugins/cri/images/plugin.go and runtime/plugin.go, configMigration).
_OLD = "io.containerd.grpc.v1.cri"
_SERVER = (
    "disable_tcp_service",
    "stream_server_address",
    "stream_server_port",
    "stream_idle_timeout",
    "enable_tls_streaming",
    "x509_key_pair_streaming",
)
_OF_IMAGES = (
    "registry",
    "image_decryption",
    "max_concurrent_downloads",
    "image_pull_progress_timeout",
    "image_pull_with_sync_fs",
    "stats_collect_period",
)
# Beginnings of names: what the CRI plugin is, or asks for.
_NEEDED = (
    "io.containerd.content.",
    "io.containerd.cri.",
    "io.containerd.differ.",
    "io.containerd.event.",
    "io.containerd.grpc.v1.cri",
    "io.containerd.lease.",
    "io.containerd.metadata.",
    "io.containerd.podsandbox.",
    "io.containerd.runtime.v2.",
    "io.containerd.sandbox.",
    "io.containerd.server.v1.grpc",
    "io.containerd.service.",
    "io.containerd.shim.",
    "io.containerd.snapshotter.v1.overlayfs",
    "io.containerd.transfer.",
    "io.containerd.warning.",
)


def check(config: Mapping[str, Any]) -> None:
    """Refuses what containerd 2 can't serve pods with."""
    plugins = config.get("plugins", {})
    _check_old_plugin(plugins.get(_OLD, {}))
    _check_disabled(config.get("disabled_plugins", []))
    _check_places(config, plugins)
    _check_runtimes(plugins.get(_RUNTIME, {}).get("containerd", {}))
    if "mirrors" in plugins.get(_IMAGES, {}).get("registry", {}):
        raise refuse(
            '"registry.mirrors" keeps containerd from its mirrors: it takes no such list beside their files',
            'remove "mirrors" here and set mirrors',
        )


def _check_old_plugin(old: Any) -> None:
    for key in old if isinstance(old, Mapping) else ():
        if key not in _SERVER:
            new = _IMAGES if key in _OF_IMAGES else _RUNTIME
            raise refuse(
                f'"{key}" is under "{_OLD}", the name that containerd 1 had for its plugin, and would beat settings',
                f'write it under "{new}"',
            )


def _check_disabled(names: Any) -> None:
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise refuse('"disabled_plugins" is not a list of names', 'write it as ["io.containerd.snapshotter.v1.zfs"]')
    for name in names:
        if name == "cri" or name.startswith(_NEEDED):
            raise refuse(f'the kubelet needs the plugin "{name}"', f'remove "{name}"')
        if "." not in name:  # containerd does not start
            raise refuse(
                f'containerd 2 knows no plugin by a short name like "{name}"',
                'call it in full, e.g. "io.containerd.snapshotter.v1.zfs"',
            )


def _check_places(config: Mapping[str, Any], plugins: Mapping[str, Any]) -> None:
    """What others look for at the place where it is."""
    for key in ("root", "state"):
        if key in config:
            raise refuse(
                f'"{key}" would leave behind what a host runs: its pods would be started a second time',
                f'remove "{key}"; for another disk, mount that at /var/lib/containerd',
            )
    grpc = config.get("grpc", {})
    server = plugins.get("io.containerd.server.v1.grpc", {})
    if any(isinstance(part, Mapping) and "address" in part for part in (grpc, server)):
        raise refuse(
            "kubeadm, the kubelet and Docker ask containerd at /run/containerd/containerd.sock, and nowhere else",
            'remove "address"',
        )
    cni = plugins.get(_RUNTIME, {}).get("cni", {})
    for key in ("bin_dir", "bin_dirs", "conf_dir"):
        if isinstance(cni, Mapping) and key in cni:
            raise refuse(f'"cni.{key}" is where the pod network puts its files', f'remove "{key}"')


def _check_runtimes(containerd: Mapping[str, Any]) -> None:
    name = containerd.get("default_runtime_name", "runc")
    if name != "runc" and name not in containerd.get("runtimes", {}):
        raise refuse(
            f'"default_runtime_name" is {name!r:.40}, which "runtimes" does not have',
            "leave it out, or add that runtime to runtimes",
        )

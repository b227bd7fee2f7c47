"""Keys of docker_config with which Docker would not start, or would take what is the kubelet's."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from .values import refuse

_BRIDGE = "172.17.0.1/16"  # docker0, unless "bip" says otherwise
# Flags on dockerd's command line in the unit of Docker's package: dockerd refuses what is in its file as well.
_FLAGS = {
    "hosts": "from elsewhere, ask by docker -H ssh://HOST",
    "containerd": "Docker shares the kubelet's",
}


def check(config: Mapping[str, Any]) -> None:
    for key, advice in _FLAGS.items():
        if key in config:
            raise refuse(
                f'"{key}" is on dockerd\'s command line already, and it does not start with both',
                f'remove "{key}"; {advice}',
            )
    for key in ("containerd-namespace", "containerd-plugin-namespace"):
        if config.get(key) == "k8s.io":
            raise refuse(f'"{key}" is that of the kubelet: Docker would clear its pods away', f'remove "{key}"')
    if config.get("bridge") and "bip" in config:
        raise refuse(
            '"bip" is for Docker\'s own bridge, and "bridge" names another one', 'remove "bip", or remove "bridge"'
        )
    _check_pools(config.get("default-address-pools", []))


def _check_pools(pools: Any) -> None:
    if not isinstance(pools, list | tuple) or not all(map(_is_pool, pools)):
        raise refuse(
            '"default-address-pools" are not such as Docker takes: IPv4 networks, and the size of the parts of each',
            'write it as [{"base": "192.168.128.0/17", "size": 24}]',
        )


def _is_pool(pool: Any) -> bool:
    try:
        network, size = ipaddress.IPv4Network(pool["base"]), pool["size"]
    except (TypeError, KeyError, ValueError):
        return False
    return set(pool) == {"base", "size"} and type(size) is int and network.prefixlen <= size <= 32


def networks(config: Mapping[str, Any]) -> Iterator[tuple[str, ipaddress.IPv4Network]]:
    """The IPv4 networks of which Docker gives its containers addresses, each by its key in docker_config."""
    if config.get("bridge") != "none":
        with suppress(ValueError):  # what is no network is Docker's own business
            yield "bip", ipaddress.IPv4Interface(str(config.get("bip", _BRIDGE))).network
    for pool in config.get("default-address-pools", ()):
        yield "default-address-pools", ipaddress.IPv4Network(pool["base"])

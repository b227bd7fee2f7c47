"""Kernel settings of a host: their names in one form, and none that takes away what a cluster stands on."""

from __future__ import annotations

import re
from typing import Any

from .values import SYSCTLS, refuse

_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]*([./][A-Za-z0-9_-]+)+")
# What the kubelet sets itself at each start: pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables (v1.36).
_KUBELETS_OWN = {
    "vm.overcommit_memory": "1",
    "vm.panic_on_oom": "0",
    "kernel.panic": "10",
    "kernel.panic_on_oops": "1",
    "kernel.keys.root_maxkeys": "1000000",
    "kernel.keys.root_maxbytes": "25000000",
}
# "all" is ip_forward by another name; the others take the pods of one interface, or of all new ones, from the network.
_FORWARDING = re.compile(r"net\.ipv4\.conf\..+\.forwarding")


def dotted(name: str) -> str:
    """The name as sysctl prints it: "net/ipv4/conf/eth0.10/mtu" is "net.ipv4.conf.eth0/10.mtu" (sysctl.d(5)).

    What separates first says how the whole name is written.
    """
    first = re.search("[./]", name)
    return name.translate(str.maketrans("./", "/.")) if first and first[0] == "/" else name


def sysctls(value: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, wanted in value.items():
        if not _NAME.fullmatch(name):
            raise refuse(f'"{name}" is no kernel setting', 'call it as sysctl does, e.g. "vm.max_map_count"')
        if isinstance(wanted, bool) or not isinstance(wanted, str | int) or not str(wanted).strip():
            raise refuse(f'the value of "{name}" is neither a number nor text', "write it as sysctl shows it, e.g. 1")
        if re.search(r"[^ -~\t]", str(wanted)):
            raise refuse(f'the value of "{name}" is not one line of plain characters', "write it as sysctl shows it")
        own, text = dotted(name), str(wanted).strip()
        if own in SYSCTLS:
            raise refuse(f'every cluster needs "{name}" as it is', f'remove "{name}"')
        if _FORWARDING.fullmatch(own) and text != "1":
            raise refuse(f'"{name}" takes pods from the network: a node forwards their packets', f'remove "{name}"')
        if text != _KUBELETS_OWN.get(own, text):
            raise refuse(f'the kubelet sets "{name}" to {_KUBELETS_OWN[own]} whenever it starts', f'remove "{name}"')
        if own in found:
            raise refuse(f'"{name}" is there twice, in two ways to write it', f'remove "{name}"')
        found[own] = text
    return found

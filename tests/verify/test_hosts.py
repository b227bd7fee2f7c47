"""The hosts, over SSH: what a run installs and sets is there now, and will be after a boot."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
from kubernetes.client import ApiException
from testinfra.host import Host as Machine

from kubestage.certificates.platform import WILDCARD_KEY
from kubestage.cluster.inventory import Target
from kubestage.facts.registry import HTPASSWD, LOGINS, PULL_CONFIG, USERS
from kubestage.facts.system import SWAP_SERVICES
from kubestage.facts.units import UnitStates
from kubestage.kubernetes import ENDPOINT, ENDPOINT_CA, ENDPOINT_CONFIG, ENDPOINT_UNIT, KUBELET_CONF, RESET
from kubestage.render import endpoint, kubelet
from kubestage.render.runtime import CONTAINERD_CONFIG, DOCKER_CONFIG
from kubestage.settings import HostSettings, Problem
from kubestage.settings.kernel import dotted
from kubestage.stacks.ingress import XDS, XDS_USES
from kubestage.stacks.metrics import SERVING, SERVING_USES
from tests.verify.api import Api, reason
from tests.verify.findings import expect_none

# https://kubernetes.io/docs/setup/production-environment/container-runtimes/ and, for flannel, bridged packets.
SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
}
# module -> what the kernel gives with it, for kernels that have it built in
MODULES = {"overlay": "grep -qw overlay /proc/filesystems", "br_netfilter": "test -d /proc/sys/net/bridge"}
UNITS = ("containerd", "docker", ENDPOINT_UNIT.removesuffix(".service"), "kubelet")
TIME_SYNC = ("chrony", "systemd-timesyncd", "ntpsec")

SECRETS = (
    "/etc/kubernetes/kubelet.conf",
    "/var/lib/kubelet/pki/kubelet-client-current.pem",
    CONTAINERD_CONFIG,
    DOCKER_CONFIG,
)
CONTROL_PLANE_SECRETS = (
    "/etc/kubernetes/admin.conf",
    "/etc/kubernetes/controller-manager.conf",
    "/etc/kubernetes/scheduler.conf",
    "/etc/kubernetes/kubestage/kubeadm.yaml",
    *(
        f"/etc/kubernetes/pki/{name}.key"
        for name in ("ca", "sa", "apiserver", "apiserver-kubelet-client", "front-proxy-ca", "front-proxy-client")
    ),
    *(f"/etc/kubernetes/pki/etcd/{name}.key" for name in ("ca", "server", "peer", "healthcheck-client")),
    "/etc/kubernetes/pki/apiserver-etcd-client.key",
)
# Stack -> what it keeps on the control plane host. Whoever has the wildcard key is the platform's sites to people.
STACKS_SECRETS = {
    "ingress": tuple(f"{XDS}/{name}.key" for name in XDS_USES),
    "metrics": tuple(f"{SERVING}/{name}.key" for name in SERVING_USES),
    "registry": (USERS, HTPASSWD, PULL_CONFIG),
}
TOKENS = ("/etc/kubernetes/kubestage/join.yaml", "/etc/kubernetes/bootstrap-kubelet.conf")  # of a join that has ended


def test_packages(machine: Machine, node: str, own: HostSettings, target: Target) -> None:
    kubernetes = own.kubernetes_package_version
    wanted = {
        **dict.fromkeys(("kubelet", "kubeadm", "kubectl"), kubernetes),
        **dict.fromkeys(("docker-ce", "docker-ce-cli"), own.docker_version),
        "containerd.io": own.containerd_version,
    }
    listed = machine.run(
        "dpkg-query -W -f '${Package}|${Version}|${db:Status-Want}|${db:Status-Status}\\n' " + " ".join(wanted)
    ).stdout
    found = {name: rest for name, *rest in (line.split("|") for line in listed.splitlines())}
    problems = []
    for name, version in wanted.items():
        has, want, status = found.get(name, ("none", "unknown", "not-installed"))
        if status != "installed" or version not in (has, _upstream(has)):
            problems.append(Problem(node, f"{version} is pinned", target.deploy, f"package {name}", f"{has} {status}"))
        elif want != "hold":
            problems.append(
                Problem(
                    node, "it is not held, so an upgrade of the system would move it", target.deploy, f"package {name}"
                )
            )
    expect_none(problems)


def _upstream(version: str) -> str:
    """A Debian version without epoch and revision: 5:29.9.3-1~debian.12~bookworm is 29.9.3."""
    return version.rpartition(":")[2].partition("-")[0]


def test_no_swap(machine: Machine, node: str, target: Target) -> None:
    used = [line.split()[0] for line in machine.file("/proc/swaps").content_string.splitlines()[1:]]
    in_fstab = [
        line
        for line in machine.run("cat /etc/fstab").stdout.splitlines()
        if not line.startswith("#") and line.split()[2:3] == ["swap"]
    ]
    listed = machine.run(f"systemctl list-units --all --plain --no-legend '*.swap' {' '.join(SWAP_SERVICES)}").stdout
    units = [line.split()[0] for line in listed.splitlines() if line.split()[1] not in ("masked", "not-found")]
    why = "the kubelet does not start with swap on"
    expect_none(
        Problem(node, f"{how}, and {why}", target.deploy, what, value)
        for what, how, values in (
            ("swap in use", "it is on now", used),
            ("/etc/fstab", "it comes on at boot", in_fstab),
            ("systemd unit", "it comes on at boot", units),
        )
        for value in values
    )


def _lines(machine: Machine, folder: str) -> Iterable[str]:
    """The lines of a folder of configuration as systemd reads it at boot: of /etc, /run and /usr/lib, in its order."""
    told = machine.run("systemd-analyze cat-config --no-pager %s", folder).stdout.splitlines()
    return (line.strip() for line in told if line.strip() and not line.startswith(("#", ";")))


def test_kernel_settings(machine: Machine, node: str, own: HostSettings, target: Target) -> None:
    wanted = SYSCTLS | {name: " ".join(v.split()) for name, v in own.sysctls.items()}
    told = machine.run("sysctl " + " ".join(wanted)).stdout.splitlines()
    now = {name: " ".join(value.split()) for name, _, value in (line.partition(" = ") for line in told)}
    pairs = (line.lstrip("-").partition("=") for line in _lines(machine, "sysctl.d"))
    at_boot = {dotted(name.strip()): " ".join(value.split()) for name, _, value in pairs}
    expect_none(
        Problem(node, f"{value} is wanted", target.deploy, f"{name} {when}", values.get(name, "not set"))
        for when, values in (("now", now), ("at boot", at_boot))
        for name, value in wanted.items()
        if values.get(name) != value
    )


def test_kernel_modules(machine: Machine, node: str, target: Target) -> None:
    at_boot = set(_lines(machine, "modules-load.d"))
    problems = []
    for module, effect in MODULES.items():
        if machine.run(f"test -d /sys/module/{module} || {effect}").failed:
            problems.append(Problem(node, "the kernel has it not", f"modprobe {module}; {target.deploy}", module))
        if module not in at_boot:
            where = "/etc/modules-load.d"
            problems.append(Problem(node, "nothing loads it at boot", target.deploy, f"{module} in {where}"))
    expect_none(problems)


def test_kubelet_settings(machine: Machine, node: str, own: HostSettings, target: Target, api: Api) -> None:
    """They are on disk, and the kubelet that runs has read them, and knows them: it says nothing of a misspelt one."""
    resolved = machine.run("systemctl is-active systemd-resolved").succeeded
    files = kubelet.files(own, node, "/run/systemd/resolve/resolv.conf" if resolved else "/etc/resolv.conf")
    problems = []
    for file in files:
        found = machine.file(file.path)
        if not found.exists or found.content_string != file.content:
            problems.append(Problem(node, "it is not as kubelet_config has it", target.deploy, file.path))
    pid = "$(systemctl show --property MainPID --value kubelet)"  # a kind on this host has a kubelet as well
    running = machine.run(f"tr '\\0' '\\n' < /proc/{pid}/cmdline").stdout.splitlines()
    folder = f"--config-dir={PurePosixPath(kubelet.CONFIG).parent}"
    if folder not in running:
        remedy = f"{target.deploy}; if it stays: systemctl cat kubelet on {node}"
        problems.append(Problem(node, f"the kubelet should run with {folder}", remedy, "flags", " ".join(running)))
    units = UnitStates()
    told = machine.run(units.command({"kubelet.service": kubelet.CONFIGURATION})).stdout
    state = units.process(told.splitlines()).get("kubelet.service")
    if state and state.stale:
        problems.append(
            Problem(node, "the kubelet that runs was started with other settings", target.deploy, kubelet.CONFIG)
        )
    try:
        used = api.get(f"/api/v1/nodes/{node}/proxy/configz")["kubeletconfig"]
    except ApiException as error:
        look = f"on {node}: journalctl -u kubelet -n 50"
        expect_none([*problems, Problem(node, f"the kubelet does not tell its settings: {reason(error)}", look)])
    problems += [
        Problem(
            node, f"the kubelet has {used.get(name, 'no such setting')}", target.deploy, f"kubelet_config {name}", value
        )
        for name, value in own.kubelet_config.items()
        # Times and sizes are told in another form; what is off or empty may be left out.
        if (name not in used and value) or (isinstance(value, int) and used.get(name, value) != value)
    ]
    expect_none(problems)


def test_api_endpoint(machine: Machine, node: str, target: Target, addresses: dict[str, str]) -> None:
    """The API by the node's own endpoint, with its trust, and a kubelet of a worker that asks there.

    Of several API servers the endpoint has to have all, and the node to reach each.
    """
    problems = list(_balanced(machine, node, target, addresses))
    look = f"on {node}: journalctl -u {ENDPOINT_UNIT} -n 50"
    # A control plane's own kubelet asks its own API server.
    asked = _readyz(machine, ENDPOINT)
    if asked.stdout != "ok":
        said = f"the API should answer there: {asked.stderr.strip().splitlines()[-1:]}"
        problems.append(Problem(node, said, f"{target.deploy}; {look}", "endpoint", ENDPOINT))
    units = UnitStates()
    told = machine.run(units.command(endpoint.UNITS)).stdout
    state = units.process(told.splitlines()).get(ENDPOINT_UNIT)
    if state and state.stale:
        problems.append(Problem(node, "it runs with another configuration or CA", target.deploy, ENDPOINT_UNIT))
    server = machine.run(f"sed -n 's/^ *server: //p' {KUBELET_CONF}").stdout.strip()
    if node not in target.cluster.control_plane and server != f"https://{ENDPOINT}":
        why = f"the kubelet should ask the API at https://{ENDPOINT}"
        problems.append(
            Problem(node, why, f"on {node}: {RESET} ; then {target.deploy}", "server in kubelet.conf", server)
        )
    expect_none(problems)


def _readyz(machine: Machine, server: str) -> Any:
    """What the API server at ADDRESS:PORT says of itself, asked as the node's kubelet."""
    return machine.run(
        f"kubectl --kubeconfig {KUBELET_CONF} --server https://{server} --certificate-authority {ENDPOINT_CA} "
        "--request-timeout 10s get --raw /readyz"
    )


def _balanced(machine: Machine, node: str, target: Target, addresses: dict[str, str]) -> Iterator[Problem]:
    servers = {
        f"{addresses[name]}:{target.cluster.common.api_port}"
        for name in target.cluster.control_plane
        if name in addresses
    }
    if len(servers) == 1:
        return
    known = set(machine.run(f'awk \'$1 == "server" && $4 == "check" {{ print $3 }}\' {ENDPOINT_CONFIG}').stdout.split())
    if known != servers:
        yield Problem(
            node, f"it should have {', '.join(sorted(servers))}", target.deploy, ENDPOINT_CONFIG, sorted(known)
        )
    for server in sorted(servers):
        asked = _readyz(machine, server)
        if asked.stdout != "ok":
            why = f"it does not reach this API server: {asked.stderr.strip().splitlines()[-1:]}"
            yield Problem(node, why, "see: make status; else what is between them", "API server", server)


@pytest.mark.parametrize("unit", UNITS)
def test_service(machine: Machine, node: str, unit: str) -> None:
    state = machine.service(unit).systemd_properties
    wanted = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}
    expect_none(
        Problem(
            node,
            f"it should be {value}",
            f"on {node}: systemctl enable --now {unit}; systemctl status {unit}; journalctl -u {unit} -n 50",
            f"{unit}.service {name}",
            state.get(name, ""),
        )
        for name, value in wanted.items()
        if state.get(name) != value
    )


def test_time_synchronisation(machine: Machine, node: str, target: Target) -> None:
    """Where a host has a unit for it; a container's clock is its machine's."""
    units = [unit for unit in TIME_SYNC if machine.service(unit).systemd_properties.get("LoadState") == "loaded"]
    running = [unit for unit in units if machine.service(unit).is_running and machine.service(unit).is_enabled]
    if units and not running:
        why = "the clock is kept by none of them: certificates and leases go by it"
        expect_none([Problem(node, why, target.deploy, "time synchronisation", ", ".join(units))])


def test_hostname(machine: Machine, node: str, target: Target) -> None:
    now = machine.run("cat /proc/sys/kernel/hostname").stdout.strip()
    at_boot = machine.run("cat /etc/hostname").stdout.strip()
    expect_none(
        Problem(node, "it should be the node's name", target.deploy, what, value)
        for what, value in (("hostname now", now), ("/etc/hostname", at_boot))
        if value != node
    )


def test_names_of_the_others(machine: Machine, node: str, target: Target, addresses: dict[str, str]) -> None:
    """Every host finds every node by its name, whatever DNS says."""
    told = machine.run("getent ahostsv4 " + " ".join(addresses) + " | awk '$2 == \"STREAM\"'").stdout
    found: dict[str, str] = {}
    for line in told.splitlines():
        address, _, *names = line.split()
        found.update({name: address for name in names if name not in found})
    expect_none(
        Problem(node, f"its private address is {address}", target.deploy, f"address of {name}", found.get(name, ""))
        for name, address in addresses.items()
        if found.get(name) != address
    )


def test_secrets(machine: Machine, node: str, target: Target, leader: str) -> None:
    """What holds a key is there, root's, and nobody else's to read."""
    wanted = [*SECRETS]
    if node in target.cluster.control_plane:
        wanted += CONTROL_PLANE_SECRETS
    if node == leader:
        wanted.append(WILDCARD_KEY)
        wanted += [
            path for stack, paths in STACKS_SECRETS.items() if stack in target.cluster.common.stacks for path in paths
        ]
    told = machine.run(
        "stat -L -c '%a %U %n' " + " ".join(wanted) + "; "
        "find /etc/kubernetes /var/lib/kubelet/pki -type f"
        f" '(' -name '*.conf' -o -name '*.key' -o -name '*.pem' -o -path '{LOGINS}/*' ')' -printf '%m %u %p\\n'"
    ).stdout
    found = {path: (mode, owner) for mode, owner, path in (line.split(" ", 2) for line in told.splitlines())}
    problems = [
        Problem(
            node,
            "it is missing",
            f"{target.deploy}; if it stays so, `kubeadm init phase` writes what is kubeadm's",
            path,
        )
        for path in wanted
        if path not in found
    ]
    problems += [
        Problem(node, "others than root can read it", f"on {node}: chown root: {path}; chmod 600 {path}", path, value)
        for path, (mode, owner) in sorted(found.items())
        if owner != "root" or int(mode, 8) & 0o077
        for value in [f"mode {mode}, owner {owner}"]
    ]
    expect_none(problems)


def test_no_token_left(machine: Machine, node: str) -> None:
    expect_none(
        Problem(node, "a join has ended and left its token", f"on {node}: rm {path}", path)
        for path in TOKENS
        if machine.file(path).exists
    )


def test_kubeconfig_is_private(target: Target) -> None:
    mode = stat.S_IMODE(target.kubeconfig.stat().st_mode)
    if mode & 0o077:
        why = "others on this machine can read the cluster's administrator's key"
        remedy = f"chmod 600 {target.kubeconfig}"
        expect_none([Problem("this machine", why, remedy, str(target.kubeconfig), f"mode {mode:o}")])

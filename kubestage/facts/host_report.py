"""All that preflight asks of a host, in one round trip. Reads only: nothing on the host is changed."""

from __future__ import annotations

import base64
import binascii
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from itertools import pairwise
from typing import cast
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from kubestage import images
from kubestage.kubernetes import (
    ADMIN_CONF,
    APISERVER_MANIFEST,
    CONTROLLER_MANAGER_MANIFEST,
    INITIALIZED,
    KUBECTL,
    KUBELET_CONF,
    OURS,
)
from kubestage.settings import Settings

KUBERNETES_PACKAGES = ("kubelet", "kubeadm", "kubectl")
DOCKER_PACKAGES = ("docker-ce", "docker-ce-cli", "containerd.io")
TOOLS = ("apt-get", "ip", "systemctl")  # what a run uses from its first operation on


@dataclass(frozen=True)
class Wanted:
    """What a host is to have: package -> version, or its beginning; and the repositories, with "{os}" in them.

    `storage_path`: the folder in which it keeps volumes. `registries`: of its images -> where it asks for them.
    """

    packages: Mapping[str, str]
    kubernetes_apt: str
    kubernetes_key: str
    docker_apt: str
    docker_key: str
    storage_path: str
    registries: Mapping[str, Sequence[str]]

    def __str__(self) -> str:
        return ", ".join(f"{name} {version}" for name, version in self.packages.items())


def wanted(settings: Settings) -> Wanted:
    """The pinned versions and the mirror of one host. Docker's versions end with the system's release."""
    profile = settings.profile
    docker = f"5:{settings.docker_version}-1~"
    versions = dict.fromkeys(KUBERNETES_PACKAGES, settings.kubernetes_package_version)
    versions |= {"docker-ce": docker, "docker-ce-cli": docker, "containerd.io": f"{settings.containerd_version}-1~"}
    return Wanted(
        versions,
        profile.kubernetes_apt,
        profile.kubernetes_key,
        profile.docker_apt,
        profile.docker_key,
        settings.storage_path,
        {registry: images.asked(settings, registry) for registry in images.registries(settings)},
    )


@dataclass(frozen=True)
class Repository:
    """An apt repository as the host sees it: what failed when it was asked, or ""; package -> its versions there."""

    error: str = ""
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Node:
    """A Node object: its InternalIP, and whether it is Ready."""

    address: str
    ready: bool


@dataclass(frozen=True)
class Volume:
    """A PersistentVolume that was claimed: its StorageClass, and its size ("20Gi").

    `leaving`: its claim is gone, and so will it be. `node`, `path`: on which node it is which folder, or "".
    """

    storage_class: str
    size: str
    leaving: bool = False
    node: str = ""
    path: str = ""


@dataclass(frozen=True)
class ClusterReport:
    """What the API server says: NodePort -> the "namespace/name" of its Services; the nodes by name.

    `health_ports` are Services' health check NodePorts: on these kube-proxy itself listens.
    `volumes`: the "namespace/name" of a PersistentVolumeClaim, gone or not -> its volume.
    """

    node_ports: Mapping[int, tuple[str, ...]]
    health_ports: Mapping[int, tuple[str, ...]]
    nodes: Mapping[str, Node]
    volumes: Mapping[str, Volume]


@dataclass(frozen=True)
class HostReport:
    """One host as it is now.

    `default_address`: the IPv4 address of the interface with the default route, or "". `addresses`: all, with prefixes;
    `devices`: the network devices that have them.
    `tcp_ports`, `udp_ports`: what anything listens on, at any address; `ephemeral_ports`: first and last of the range
    that Linux gives to outgoing connections. `kubelet_ca`, `admin_ca`: SHA-256 of the cluster CA in kubelet.conf and
    admin.conf. `disk_mib`, `storage_mib`: free on the file system of /var/lib, and on the one where volumes will lie.
    `made`: on a control plane, flags and settings that it was made with. `running`: the unit in which a kubeadm of ours
    is at work. `node_name`: as whom the kubelet is known.
    `repositories` is None where every package is there already. `registries`: an images' registry -> each address where
    containerd would ask for them -> what is in the way, or ""; empty where the host has joined or has images already,
    and where containerd has a proxy. `cluster` is None where there is no control plane, and `cluster_error` says why if
    its API does not answer. `clock`: how far the host's clock is ahead of ours, at least and at most, in seconds.
    """

    uid: int
    os_id: str
    os_version: str
    os_codename: str
    architecture: str
    cpus: int
    memory_mib: int
    disk_mib: int
    storage_mib: int
    tools: frozenset[str]
    default_address: str
    addresses: tuple[IPv4Interface, ...]
    devices: frozenset[str]
    tcp_ports: frozenset[int]
    udp_ports: frozenset[int]
    ephemeral_ports: tuple[int, int]
    admin_conf: bool
    kubelet_conf: bool
    initialized: bool
    debris: bool
    ours: bool
    running: str
    made: Mapping[str, str]
    kubelet_server: str
    kubelet_ca: str
    admin_ca: str
    node_name: str
    packages: Mapping[str, str]
    repositories: Mapping[str, Repository] | None
    registries: Mapping[str, Mapping[str, str]]
    cluster: ClusterReport | None
    cluster_error: str
    clock: tuple[float, float]


_OBJECT = (
    "{range .items[*]}object {.kind}|{.metadata.namespace}/{.metadata.name}|{.spec.healthCheckNodePort}"
    '|{.spec.ports[*].nodePort}|{.status.addresses[?(@.type=="InternalIP")].address}'
    '|{.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
    '{range .items[?(@.kind=="PersistentVolume")]}volume {.spec.claimRef.namespace}/{.spec.claimRef.name}'
    "|{.spec.storageClassName}|{.spec.capacity.storage}"
    "|{.spec.persistentVolumeReclaimPolicy} {.status.phase}"
    "|{.spec.nodeAffinity.required.nodeSelectorTerms[*].matchExpressions[*].values[*]}"
    '|{.spec.hostPath.path}{.spec.local.path}{"\\n"}{end}'
)

_SCRIPT = r"""
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
echo "begin $(date +%s.%N)"
echo "uid $(id -u)"
ID=unknown VERSION_ID= VERSION_CODENAME=
if [ -r /etc/os-release ]; then . /etc/os-release; fi
os=$ID codename=$VERSION_CODENAME
echo "os $os|$VERSION_ID|$codename"
arch=$(dpkg --print-architecture 2>/dev/null || uname -m)
echo "architecture $arch"
echo "cpus $(nproc)"
awk '$1 == "MemTotal:" { print "memory_mib " int($2 / 1024) }' /proc/meminfo
storage=@STORAGE_PATH@
while [ ! -d "$storage/" ]; do storage=${storage%/*}; done  # it is made later
df -Pk /var/lib "$storage/" | awk 'NR > 1 { print (NR == 2 ? "disk_mib " : "storage_mib ") int($4 / 1024) }'
for tool in @TOOLS@; do if command -v $tool >/dev/null; then echo "tool $tool"; fi; done
ip -4 route show default 2>/dev/null | sed 's/^/route /'
ip -4 -o address show 2>/dev/null | sed 's/^/address /'
for table in tcp:0A tcp6:0A udp:07 udp6:07; do
    awk -v protocol="${table%%[6:]*}" -v state="${table#*:}" '
        FNR > 1 && $4 == state { n = split($2, part, ":"); print protocol, part[n] }
    ' /proc/net/${table%:*} 2>/dev/null
done | sort -u
echo "ephemeral $(cat /proc/sys/net/ipv4/ip_local_port_range)"
if [ -e @ADMIN_CONF@ ]; then echo "file admin_conf"; fi
if [ -e @KUBELET_CONF@ ]; then echo "file kubelet_conf"; fi
if [ -e @INITIALIZED@ ]; then echo "file initialized"; fi
if [ -e @OURS@ ]; then echo "file ours"; fi
for f in pki/ca.crt bootstrap-kubelet.conf manifests/kube-apiserver.yaml; do
    if [ -e /etc/kubernetes/$f ]; then echo "file debris"; fi
done
for unit in kubestage-init kubestage-join; do
    if systemctl --quiet is-active $unit 2>/dev/null; then echo "running $unit"; fi
done
sed -n 's/^ *server: */kubelet_server /p; s/^ *certificate-authority-data: */kubelet_ca /p' @KUBELET_CONF@ 2>/dev/null
if [ -e @KUBELET_CONF@ ] && ! grep -q certificate-authority-data @KUBELET_CONF@; then
    echo "kubelet_ca $(base64 -w 0 /etc/kubernetes/pki/ca.crt 2>/dev/null)"
fi
sed -n 's/^ *certificate-authority-data: */admin_ca /p' @ADMIN_CONF@ 2>/dev/null
# The first certificate alone: the file holds the kubelet's key as well.
sed -n '/END CERTIFICATE/q; /BEGIN CERTIFICATE/,$ { /-----/!p; }' \
    /var/lib/kubelet/pki/kubelet-client-current.pem 2>/dev/null | tr -d '\n' | sed 's/^/kubelet_certificate /; s/$/\n/'

# What the cluster was made with, as its own files have it.
sed -n 's/^ *- --\(cluster-cidr\|cluster-name\|secure-port\|service-cluster-ip-range\)=/made \1 /p
    s/^ *image: .*apiserver:v/made version /p' @APISERVER@ @CONTROLLER_MANAGER@ 2>/dev/null
if [ -e @APISERVER@ ]; then
    sed -n 's/^\(cgroupDriver\|clusterDomain\): */made \1 /p' /var/lib/kubelet/config.yaml 2>/dev/null
fi

installed=$(dpkg-query -W -f='package ${Package} ${Version} ${db:Status-Status}\n' @PACKAGES@ 2>/dev/null |
    sed -n 's/ installed$//p')
echo "$installed"
complete=yes
for pin in @PINS@; do
    case "
$installed" in
        *"
package $pin"*) ;;
        *) complete= ;;
    esac
done

fetch() {
    if command -v curl >/dev/null; then
        curl --fail --silent --show-error --location --connect-timeout 5 --max-time 30 "$1"
    elif command -v wget >/dev/null; then
        wget --no-verbose --timeout 10 --tries 1 --output-document - "$1"
    else  # what every Debian has; it can't write to a pipe
        folder=$(mktemp -d) || return
        /usr/lib/apt/apt-helper -qq download-file "$1" "$folder/file" >&2 && cat "$folder/file"
        result=$?
        rm -rf "$folder"
        return $result
    fi
}
index() {  # NAME URL-OF-FOLDER: the versions in its Packages file
    for file in Packages.gz Packages; do
        versions=$(fetch "$2/$file" 2>/dev/null | if [ $file = Packages ]; then cat; else gzip -dc 2>/dev/null; fi |
            awk -v repository="$1" -v wanted=" @NAMES@ " -v own="$arch" '
                function flush() {
                    if (index(wanted, " " name " ") && (arch == own || arch == "all"))
                        print "available", repository, name, version
                    name = version = arch = ""
                }
                $1 == "Package:" { name = $2; seen = 1 }
                $1 == "Version:" { version = $2 }
                $1 == "Architecture:" { arch = $2 }
                /^$/ { flush() }
                END { flush(); if (!seen) exit 1 }
            ') && { echo "$versions"; return; }
    done
    echo "unreachable $1 no package index at $2/Packages.gz"
}
repository() {  # NAME URL-OF-KEY URL-OF-INDEX
    echo "asked $1"
    if error=$(fetch "$2" 2>&1 >/dev/null); then index "$1" "$3"; else
        echo "unreachable $1 $2: $(echo "$error" | tail -n 1)"
    fi
}
if [ -z "$complete" ] && command -v apt-config >/dev/null; then
    eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
    export http_proxy="${http_proxy-}" https_proxy="${https_proxy-${http_proxy-}}"
    repository kubernetes @KUBERNETES_KEY@ @KUBERNETES_INDEX@
    repository docker @DOCKER_KEY@ @DOCKER_INDEX@
fi

try() {  # REGISTRY URL HOST PORT: whether it can be connected to
    error=$(timeout 5 bash -c ": </dev/tcp/$3/$4" 2>&1)
    case $? in
        0) error= ;;
        124) error="no answer within 5 s" ;;
        *) error=$(echo "$error" | sed -n '1s/^bash: //p') ;;
    esac
    echo "registry $1 $2 $error"
}
if ! [ -e @KUBELET_CONF@ ] && [ -z "$(ctr --namespace k8s.io images list --quiet 2>/dev/null)" ] &&
    ! grep -rqi proxy /etc/systemd/system/containerd.service.d /etc/systemd/system.conf.d 2>/dev/null; then
    @REGISTRIES@
    wait
fi

if [ -e @ADMIN_CONF@ ]; then
    # No cache folder: kubectl would write one.
    if objects=$(timeout 15 @KUBECTL@ --cache-dir /dev/null/none --request-timeout 5s \
        get services,nodes,persistentvolumes --all-namespaces -o jsonpath=@OBJECT@ 2>&1)
    then echo "cluster known"; echo "$objects"; else echo "cluster unknown $(echo "$objects" | tail -n 1)"; fi
fi
echo "end $(date +%s.%N)"
"""


def _script(wanted: Wanted) -> str:
    def quoted(url: str) -> str:
        """For the shell, which fills in "{os}" and what depends on it."""
        text = shlex.quote(url)
        for name in ("os", "codename", "arch"):
            text = text.replace("{" + name + "}", f"'\"${name}\"'")
        return text

    def quoted_host(address: str) -> str:
        url = urlsplit(address)
        return f"{shlex.quote(url.hostname or '')} {url.port or {'http': 80}.get(url.scheme, 443)}"

    pins = (f"{name} {version}" for name, version in wanted.packages.items())
    asked = [
        f"try {shlex.quote(registry)} {shlex.quote(address)} {quoted_host(address)} &"
        for registry, addresses in wanted.registries.items()
        for address in addresses
    ]
    filled = {
        "REGISTRIES": "\n    ".join(asked),
        "TOOLS": " ".join(TOOLS),
        "ADMIN_CONF": ADMIN_CONF,
        "KUBELET_CONF": KUBELET_CONF,
        "INITIALIZED": INITIALIZED,
        "OURS": OURS,
        "APISERVER": APISERVER_MANIFEST,
        "CONTROLLER_MANAGER": CONTROLLER_MANAGER_MANIFEST,
        "KUBECTL": KUBECTL,
        "OBJECT": shlex.quote(_OBJECT),
        "PACKAGES": " ".join(wanted.packages),
        "NAMES": " ".join(wanted.packages),
        "PINS": " ".join(shlex.quote(pin) for pin in pins),
        "KUBERNETES_KEY": quoted(wanted.kubernetes_key),
        "KUBERNETES_INDEX": quoted(wanted.kubernetes_apt),
        "STORAGE_PATH": shlex.quote(wanted.storage_path),
        "DOCKER_KEY": quoted(wanted.docker_key),
        "DOCKER_INDEX": quoted(wanted.docker_apt + "/dists/{codename}/stable/binary-{arch}"),
    }
    script = _SCRIPT
    for name, text in filled.items():
        script = script.replace(f"@{name}@", text)
    return script


class HostReportFact(FactBase[HostReport]):
    """The HostReport; None where the host's answer could not be had or understood (pyinfra has shown why)."""

    _asked = 0.0

    def command(self, wanted: Wanted) -> str:
        self._asked = time.time()
        return _script(wanted)

    def process(self, output: Sequence[str]) -> HostReport:
        answered = time.time()
        try:
            return parse(list(output), self._asked, answered)
        except (ValueError, KeyError, IndexError) as error:
            raise FactProcessError(f"the host's report could not be understood: {error!r}") from error


def parse(lines: Sequence[str], asked: float, answered: float) -> HostReport:
    """A report from the script's output; `asked` and `answered` are our own times (epoch, seconds) around it.

    Raises ValueError or KeyError if the output is cut off or malformed.
    """
    said: dict[str, list[str]] = {}
    for line in lines:
        key, _, rest = line.partition(" ")
        said.setdefault(key, []).append(rest.strip())

    def one(key: str) -> str:
        return said[key][0]

    def first(key: str) -> str:
        return said.get(key, [""])[0]

    os_id, os_version, os_codename = one("os").split("|")
    files = said.get("file", ())
    addresses = [(words[1], words[3]) for words in (line.split() for line in said.get("address", ()))]
    low, high = one("ephemeral").split()
    known = first("cluster")
    return HostReport(
        uid=int(one("uid")),
        os_id=os_id,
        os_version=os_version,
        os_codename=os_codename,
        architecture=one("architecture"),
        cpus=int(one("cpus")),
        memory_mib=int(one("memory_mib")),
        disk_mib=int(one("disk_mib")),
        storage_mib=int(one("storage_mib")),
        tools=frozenset(said.get("tool", ())),
        default_address=_default_address(said.get("route", []), addresses),
        addresses=tuple(IPv4Interface(address) for _, address in addresses),
        devices=frozenset(device for device, _ in addresses),
        tcp_ports=frozenset(int(port, 16) for port in said.get("tcp", ())),
        udp_ports=frozenset(int(port, 16) for port in said.get("udp", ())),
        ephemeral_ports=(int(low), int(high)),
        admin_conf="admin_conf" in files,
        kubelet_conf="kubelet_conf" in files,
        initialized="initialized" in files,
        debris="debris" in files,
        ours="ours" in files,
        running=first("running"),
        made=dict(cast(tuple[str, str], line.split(" ", 1)) for line in said.get("made", ())),
        kubelet_server=first("kubelet_server"),
        kubelet_ca=_fingerprint(first("kubelet_ca")),
        admin_ca=_fingerprint(first("admin_ca")),
        node_name=_node_name(first("kubelet_certificate")),
        packages=dict(cast(tuple[str, str], line.split()) for line in said.get("package", ())),
        repositories=_repositories(said) if "asked" in said else None,
        registries=_registries(said.get("registry", ())),
        cluster=_cluster(said.get("object", ()), said.get("volume", ())) if known == "known" else None,
        cluster_error=known.partition(" ")[2],
        # The host read its clock first after `asked` and last before `answered`.
        clock=(float(one("end")) - answered, float(one("begin")) - asked),
    )


def _default_address(routes: Sequence[str], addresses: Sequence[tuple[str, str]]) -> str:
    """The source address of the default route with the lowest metric, else the first address of its interface."""
    best: tuple[int, str, str] | None = None
    for route in routes:
        words = route.split()
        options = dict(pairwise(words))
        found = (int(options.get("metric", 0)), options.get("dev", ""), options.get("src", ""))
        if best is None or found[0] < best[0]:
            best = found
    if best is None:
        return ""
    _, device, source = best
    return source or next((str(IPv4Interface(a).ip) for name, a in addresses if name == device), "")


def _fingerprint(data: str) -> str:
    """SHA-256 of the first certificate in a kubeconfig's certificate-authority-data."""
    if not data:
        return ""
    return x509.load_pem_x509_certificate(base64.b64decode(data)).fingerprint(SHA256()).hex()


def _node_name(certificate: str) -> str:
    """The name of the node in the kubelet's client certificate, whose subject is "system:node:NAME"."""
    if not certificate:
        return ""
    try:
        subject = x509.load_der_x509_certificate(base64.b64decode(certificate)).subject
    except binascii.Error as error:
        raise ValueError(f"kubelet certificate: {error}") from error
    names = [str(attribute.value) for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return names[0].removeprefix("system:node:") if names else ""


def _repositories(said: Mapping[str, list[str]]) -> dict[str, Repository]:
    errors = dict(cast(tuple[str, str], line.split(" ", 1)) for line in said.get("unreachable", ()))
    versions: dict[str, dict[str, list[str]]] = {name: {} for name in said["asked"]}
    for line in said.get("available", ()):
        repository, package, version = line.split()
        versions[repository].setdefault(package, []).append(version)
    return {
        name: Repository(errors.get(name, ""), {package: tuple(found) for package, found in packages.items()})
        for name, packages in versions.items()
    }


def _registries(lines: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        registry, address, *error = line.split(" ", 2)
        found.setdefault(registry, {})[address] = " ".join(error)
    return found


def _cluster(objects: Sequence[str], claimed: Sequence[str]) -> ClusterReport:
    ports: dict[int, tuple[str, ...]] = {}
    health_ports: dict[int, tuple[str, ...]] = {}
    nodes: dict[str, Node] = {}
    for line in objects:
        kind, name, health, node_ports, address, ready = line.split("|")
        if kind == "Node":
            internal = next((one for one in address.split() if ":" not in one), "")
            nodes[name.removeprefix("/")] = Node(internal, ready == "True")
            continue
        for found, text in ((ports, node_ports), (health_ports, health)):
            for port in {int(word) for word in text.split()}:
                found[port] = (*found.get(port, ()), name)
    volumes: dict[str, Volume] = {}
    for line in claimed:
        claim, storage_class, size, fate, node, path = line.split("|", 5)
        volume = Volume(storage_class, size, leaving=fate == "Delete Released", node=node, path=path)
        if claim not in volumes or not volume.leaving:  # a new claim may have the name of one whose volume is leaving
            volumes[claim] = volume
    return ClusterReport(ports, health_ports, nodes, volumes)

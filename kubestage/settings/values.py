"""The syntax of single values: each check returns the value, or refuses it with a reason and a remedy."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Network
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from kubestage.kubernetes import ENDPOINT_PORT

N = TypeVar("N", int, float)

# Ports that Kubernetes itself listens on, https://kubernetes.io/docs/reference/networking/ports-and-protocols/
# plus what kubeadm's defaults open on loopback. The API server's own port is a setting.
ETCD_PORTS = (2379, 2380)  # its clients', its other members'
CONTROL_PLANE_PORTS = (*ETCD_PORTS, 2381, 10257, 10259)  # etcd, its metrics; controller manager; scheduler
KUBELET_PORT = 10250
# kubelet: health, API; kube-proxy: metrics, health; our endpoint of the API
NODE_PORTS_OF_KUBERNETES = (10248, 10249, KUBELET_PORT, 10256, ENDPOINT_PORT)
FLANNEL_VXLAN_PORT = 8472  # UDP, the Linux kernel's default
# The ports that one Service may hold. The API server has 34 s for a request that changes something, in which it writes
# to etcd for each port, one after the other (registry/core/service/allocator/storage, Kubernetes 1.36): that leaves the
# 10 ms a write that etcd itself asks for. An object of 10,000 ports would reach etcd's own bound of 1.5 MiB.
MOST_RESERVED_PORTS = 3_200
# https://kubernetes.io/docs/setup/production-environment/container-runtimes/, and what flannel and kubelet expect.
SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
}

_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_QUALIFIED_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_IMAGE = re.compile(
    r"(?P<registry>[A-Za-z0-9.-]+(?::[0-9]+)?)/(?P<path>[a-z0-9]+(?:(?:[._/]|__|-+)[a-z0-9]+)*)"
    r"(?P<tag>:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?P<digest>@sha256:[0-9a-f]{64})?"
)
_PLAIN_URL = re.compile(r"https?://[A-Za-z0-9._~%:@+,=/-]*", re.IGNORECASE)  # in commands and lists it needs no quotes
_NODE_OWN_LABELS = ("kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch")
_TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def refuse(reason: str, remedy: str) -> PydanticCustomError:
    """The exception by which a check refuses a value."""
    return PydanticCustomError("setting", "{reason}", {"reason": reason, "remedy": remedy})


def near(name: str, known: Iterable[str]) -> str:
    """'; did you mean "x"?' or nothing."""
    match = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f'; did you mean "{match[0]}"?' if match else ""


def one_of(value: str, known: Iterable[str], what: str) -> str:
    names = list(known)
    if value not in names:
        raise refuse(f"no such {what}{near(value, names)}", f"use one of: {', '.join(sorted(names))}")
    return value


def written_as(pattern: str, reason: str, remedy: str) -> AfterValidator:
    """Text that the whole of `pattern` matches."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise refuse(reason, remedy)
        return value

    return AfterValidator(check)


def within(first: int, last: int, reason: str, remedy: str) -> AfterValidator:
    """A number from first to last, both included."""

    def check(value: N) -> N:
        if not first <= value <= last:  # neither holds for nan
            raise refuse(reason, remedy)
        return value

    return AfterValidator(check)


def or_empty(check: Callable[[str], str]) -> AfterValidator:
    """What `check` takes, or no text at all."""
    return AfterValidator(lambda value: check(value) if value else value)


# --- Numbers and ports -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class PortRange:
    """Ports first to last, both included."""

    first: int
    last: int

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and self.first <= port <= self.last

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def parse_port_range(value: str, example: str = "80-32767") -> PortRange:
    match = re.fullmatch(r"([0-9]{1,6})-([0-9]{1,6})", value)
    if not match:
        raise refuse("not a range of ports", f'write its first and its last port, e.g. "{example}"')
    first, last = int(match[1]), int(match[2])
    if first > last:
        raise refuse(f"the range ends ({last}) before it begins ({first})", f'write it as "{last}-{first}"')
    if first < 1 or last > 65535:
        raise refuse("ports go from 1 to 65535", "choose both ends within 1-65535")
    return PortRange(first, last)


def parse_reserved(value: Any) -> PortRange:
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= 65535:
            raise refuse("ports go from 1 to 65535", "choose a port within 1-65535")
        return PortRange(value, value)
    if not isinstance(value, str):
        raise refuse("neither a port nor a range of ports", 'write a number, or a range, e.g. "9000-9099"')
    return parse_port_range(value, example="9000-9099")


def reserved(value: Any) -> int | str:
    parse_reserved(value)
    assert isinstance(value, int | str)
    return value


# --- Versions and images ---------------------------------------------------------------------------------------------
def parse_version(value: str) -> tuple[int, int, int]:
    major, minor, patch = (int(part) for part in value.split("."))
    return major, minor, patch


def image(value: str) -> str:
    match = _IMAGE.fullmatch(value)
    if not match or not re.search(r"[.:]|^localhost$", match["registry"]) or not _is_registry(match["registry"]):
        raise refuse("not a full image name", 'write registry, path and tag, e.g. "docker.io/library/busybox:1.35.0"')
    if not match["tag"] and not match["digest"]:
        raise refuse("the image has neither tag nor digest, so it is not pinned", f'add one, e.g. "{value}:1.2.3"')
    if match["tag"] == ":latest" and not match["digest"]:
        raise refuse('the tag "latest" pins nothing', "name a version, or a digest")
    return value


def recipient(value: str) -> str:
    import pyrage  # most clusters have none, and every command reads settings

    kind = pyrage.ssh.Recipient if value.startswith("ssh-") else pyrage.x25519.Recipient
    try:
        kind.from_str(value)
    except pyrage.RecipientError:
        secret = value.startswith("AGE-SECRET-KEY-")
        raise refuse(
            "a secret key, which has no place in settings" if secret else "not a public key of age, or of SSH",
            "write what age-keygen prints as the public one, or the line of an ssh-ed25519 .pub file, e.g. "
            '"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"',
        ) from None
    return value


# --- Addresses and names ---------------------------------------------------------------------------------------------
def ipv4(value: str) -> str:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise refuse("not an IP address", 'write it as e.g. "10.0.0.11"') from None
    if address.version != 4:
        raise refuse("an IPv6 address; only IPv4 is supported for now", "give the host's IPv4 address")
    if address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local:
        raise refuse("no other host can reach this address", "give the address of the host's network card")
    return value


def is_dns_name(value: str) -> bool:
    """A lower-case RFC 1123 subdomain: labels of at most 63 characters, 253 in all."""
    return len(value) <= 253 and all(_DNS_LABEL.fullmatch(label) for label in value.split("."))


def is_host_name(value: str) -> bool:
    """A DNS name that nobody takes for an IPv4 address: programs do where the last label is a number.

    https://url.spec.whatwg.org/#ends-in-a-number-checker, and inet_aton(3): "1.2" is 1.0.0.2.
    """
    return is_dns_name(value) and not _NUMBER.fullmatch(value.rpartition(".")[2])


def _is_host(value: str) -> bool:
    """What a URL names: a host's name or its IPv4 address."""
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        return is_host_name(value)
    return True


def dns_name(value: str, example: str = "kubestage") -> str:
    if not is_dns_name(value):
        raise refuse(
            "not a DNS name: labels of lower-case letters, digits and inner hyphens, joined by dots",
            _write_as_dns_name(value, example),
        )
    return value


def _write_as_dns_name(value: str, example: str) -> str:
    small = value.lower()
    return f'write it as "{small}"' if is_host_name(small) else f'write e.g. "{example}"'


def domain(value: str, example: str) -> str:
    if not is_host_name(dns_name(value, example)):
        raise refuse("its last part is a number, so programs take it for an address", f'write e.g. "{example}"')
    return value


def address_or_name(value: str) -> str:
    if re.fullmatch(r"[0-9.]+|.*:.*", value):
        return ipv4(value)
    if not is_host_name(value.removeprefix("*.")):
        raise refuse("neither an IP address nor a host name", 'write e.g. "47.1.2.3" or "api.example.com"')
    return value


def one_address_or_name(value: str) -> str:
    if value.startswith("*."):
        raise refuse("a wildcard is not an address", "name one host, or its IP address")
    return address_or_name(value)


# Addresses that no host takes for another's: this host's own, link-local ones, multicast and what is reserved.
_NO_HOSTS = [IPv4Network(net) for net in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")]


def _network(value: Any, example: str) -> IPv4Network:
    """The network of hosts that a text is about, even where it has the address of one of them: "10.244.1.1/16"."""
    if not isinstance(value, str):
        raise refuse("not a text", "write text in quotes")
    try:
        network = ipaddress.ip_network(value, strict=False)
        if "/" not in value:
            raise ValueError("no prefix")
    except ValueError:
        raise refuse("not a network", f'write it as address/prefix, e.g. "{example}"') from None
    if not isinstance(network, IPv4Network):
        raise refuse("an IPv6 network; only IPv4 is supported for now", f'give an IPv4 network, e.g. "{example}"')
    for special in _NO_HOSTS:
        if network.overlaps(special):
            raise refuse(
                f"no packet is routed to addresses of {special}", f'choose a private network, e.g. "{example}"'
            )
    return network


def _own_address(value: str, network: IPv4Network) -> IPv4Network:
    """The last of the checks of a network: its remedy passes all others."""
    if str(network) != value:
        raise refuse("not the network's own address with its prefix", f'write "{network}" if that is what you mean')
    return network


def pod_cidr(value: Any) -> IPv4Network:
    example = "10.244.0.0/16"
    network = _network(value, example)
    if network.prefixlen < 8:  # kubeadm: at most 16 bits between it and a node's /24
        raise refuse("Kubernetes takes a /8 at most", f'choose a smaller network, e.g. "{example}"')
    if network.prefixlen > 24:
        raise refuse("too small: every node takes a /24 of it", f'choose a /24 or larger, e.g. "{example}"')
    return _own_address(value, network)


def service_cidr(value: Any) -> IPv4Network:
    example = "10.96.0.0/16"
    network = _network(value, example)
    if not 12 <= network.prefixlen <= 28:  # kubeadm: at most 20 bits of addresses, at least 10 addresses
        raise refuse("Kubernetes takes a /12 to a /28 here", f'choose a prefix in between, e.g. "{example}"')
    return _own_address(value, network)


def url(value: str) -> str:
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  raises on a bad one
    except ValueError:
        raise refuse("not a URL", 'write it as e.g. "https://mirror.example.com/path"') from None
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", value):
        raise refuse("not an http or https URL", 'write it as e.g. "https://mirror.example.com/path"')
    if parts.username or parts.password or parts.query or parts.fragment:
        raise refuse("a URL with a user, query or fragment", "give scheme, host, port and path only")
    if not _is_host(parts.hostname):
        raise refuse(f'"{parts.hostname}" is no host name', "correct the URL's host")
    if not _PLAIN_URL.fullmatch(value):
        raise refuse("a URL with characters that commands and lists take for theirs", "write them as %XX")
    return value


def sha256(value: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", value):
        raise refuse("not a SHA-256 in hexadecimal", "write what `sha256sum FILE` prints: 64 digits and letters a to f")
    return value


def repository_url(value: str) -> str:
    """A URL with "{minor}" or "{os}" where a repository has a folder for each Kubernetes minor version or system."""
    filled = value.replace("{minor}", "v1.0").replace("{os}", "debian")
    if re.search(r"[{}]", filled):
        raise refuse("an unknown placeholder", "use {minor} and {os} alone")
    url(filled)
    return value


def _is_registry(value: str) -> bool:
    host, colon, number = value.partition(":")
    good_port = not colon or (re.fullmatch("[0-9]{1,5}", number) and 1 <= int(number) <= 65535)
    return bool(good_port and _is_host(host.lower()))


def registry_name(value: str) -> str:
    if not _is_registry(value):
        raise refuse("not a registry's name", 'write its host alone, e.g. "docker.io"')
    return value


# --- Kubernetes' own syntax ------------------------------------------------------------------------------------------
def _check_qualified_name(key: str, examples: str) -> None:
    prefix, slash, name = key.rpartition("/")
    if (slash and not is_dns_name(prefix)) or not _QUALIFIED_NAME.fullmatch(name):
        raise refuse(f'"{key}" is not a name that Kubernetes takes', f"call it e.g. {examples}")


def _check_label_value(value: str) -> None:
    if value and not _QUALIFIED_NAME.fullmatch(value):
        raise refuse(
            f'"{value}" is not a value that Kubernetes takes',
            "at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
        )


def labels(value: dict[str, str]) -> dict[str, str]:
    for key, label in value.items():
        _check_qualified_name(key, '"disk" or "example.com/disk"')
        _check_label_value(label)
        if key in _NODE_OWN_LABELS:
            raise refuse(f'the kubelet itself keeps "{key}"', 'call one of your own e.g. "example.com/disk"')
    return value


def taint(value: str) -> str:
    match = re.fullmatch(r"(?P<key>[^=:]+)(?:=(?P<value>[^:]*))?:(?P<effect>[A-Za-z]+)", value)
    if not match:
        raise refuse("not a taint", 'write e.g. "gpu=yes:NoSchedule" or "gpu:NoSchedule"')
    if match["effect"] not in _TAINT_EFFECTS:
        raise refuse(
            f'no such effect as "{match["effect"]}"{near(match["effect"], _TAINT_EFFECTS)}',
            f'write e.g. "gpu:NoSchedule"; the effects are {", ".join(_TAINT_EFFECTS)}',
        )
    _check_qualified_name(match["key"], '"gpu:NoSchedule" or "example.com/gpu:NoSchedule"')
    _check_label_value(match["value"] or "")
    return value


def kubeadm_check(value: str) -> str:
    if value.lower() == "all":
        raise refuse("skipping all of kubeadm's checks hides real faults", "name the single checks, e.g. Swap")
    return value


# --- Platform --------------------------------------------------------------------------------------------------------
def site_domain(value: str) -> str:
    """A domain that a wildcard certificate can be for: two labels at least."""
    if "." not in domain(value, example="lab.test"):
        raise refuse("a domain of one label, for which browsers take no wildcard certificate", 'write e.g. "lab.test"')
    if len(value) > 240:  # a site's name is longer, and 253 is all that DNS takes
        raise refuse("too long for the names of its sites", "choose one of at most 240 characters")
    return value


# --- Types ------------------------------------------------------------------------------------------------------------
Name = Annotated[str, AfterValidator(dns_name)]
Version = Annotated[
    str,
    written_as(
        r"(0|[1-9][0-9]{0,5})(\.(0|[1-9][0-9]{0,5})){2}",
        "not a version",
        'write it in full and without a leading v, e.g. "1.36.3"',
    ),
]
Image = Annotated[str, AfterValidator(image)]
Url = Annotated[str, AfterValidator(url)]
RepositoryUrl = Annotated[str, AfterValidator(repository_url)]
Port = Annotated[int, within(1, 65535, "ports go from 1 to 65535", "choose a port within 1-65535")]
Count = Annotated[int, Field(ge=1)]
Recipient = Annotated[str, AfterValidator(recipient)]
Reserved = Annotated[Any, AfterValidator(reserved)]
Taint = Annotated[str, AfterValidator(taint)]
AddressOrName = Annotated[str, AfterValidator(address_or_name)]
Registry = Annotated[str, AfterValidator(registry_name)]
Namespace = Annotated[
    str,
    written_as(
        r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        "not a namespace: at most 63 lower-case letters, digits and inner hyphens",
        'write e.g. "default"',
    ),
]
KubeadmCheck = Annotated[
    str,
    AfterValidator(kubeadm_check),
    written_as("[A-Za-z0-9-]+", "not the name of a kubeadm check", 'write it as kubeadm shows it, e.g. "NumCPU"'),
]
PackageRevision = Annotated[
    str,
    written_as(
        "[0-9][A-Za-z0-9.+~]*",
        "not a Debian revision",
        'write what follows the version in `apt-cache policy kubelet`, e.g. "1.1"',
    ),
]
LogSize = Annotated[
    str,
    written_as("[1-9][0-9]{0,8}[kmg]", "not a size that Docker knows", 'write a number and k, m or g, e.g. "20m"'),
]
RenewDays = Annotated[
    int,
    within(
        1,
        120,
        "not within 1-120: what Kubernetes issues lives a year, and would be renewed again and again",
        "write e.g. 60",
    ),
]
Sha256 = Annotated[str, AfterValidator(sha256)]
TimeoutFactor = Annotated[
    float, within(1, 100, "not within 1-100", "write 1, or e.g. 3 where registries or hosts are slow")
]
PortOrNone = Annotated[int, within(0, 65535, "ports go from 1 to 65535", "choose a port within 1-65535")]

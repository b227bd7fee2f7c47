"""Every setting of group_data/all.py, typed. Defaults are written there and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from . import component_flags, kernel, reserved_keys, values
from .manifests import Manifests
from .values import (
    AddressOrName,
    Count,
    Image,
    KubeadmCheck,
    LogSize,
    Name,
    PackageRevision,
    Port,
    PortOrNone,
    PortRange,
    Recipient,
    Registry,
    RenewDays,
    RepositoryUrl,
    Reserved,
    Taint,
    TimeoutFactor,
    Url,
    Version,
    or_empty,
    parse_port_range,
    parse_reserved,
    parse_version,
)

Files = Annotated[dict[str, str], AfterValidator(component_flags.files)]
LISTED = Field(strict=False)  # a list as well as a tuple
_hidden = Field(repr=False)  # what may hold passwords


class Invalid(Exception):
    """A setting that was asked for has no valid value, which is told of already."""


class _Settings(BaseModel):
    """Where it holds the valid settings of a cluster alone, the others raise Invalid."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in type(self).model_fields:
                raise Invalid(name)
            return super().__getattr__(name)


class StackSettings(_Settings):
    """The settings of one stack: in group_data, a mapping of the stack's name with what differs from the defaults."""


S = TypeVar("S", bound=StackSettings)


def setting(default: Any, what: str) -> Any:
    """A field of StackSettings with its default, and what it is for."""
    return Field(default, description=what, validate_default=True)


class Mirror(BaseModel):
    """A mirror profile: where packages and images come from."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kubernetes_apt: RepositoryUrl
    kubernetes_key: RepositoryUrl
    docker_apt: RepositoryUrl
    docker_key: RepositoryUrl
    files: Annotated[str, or_empty(values.url)]
    registries: dict[Registry, Annotated[tuple[Url, ...], LISTED]]
    registry_fallback: bool

    def filled(self, **placeholders: str) -> Mirror:
        """A copy with "{os}" and the like replaced in its repository URLs: filled(os="debian")."""
        urls = {name: getattr(self, name) for name in ("kubernetes_apt", "kubernetes_key", "docker_apt", "docker_key")}
        for placeholder, value in placeholders.items():
            urls = {name: url.replace("{" + placeholder + "}", value) for name, url in urls.items()}
        return self.model_copy(update=urls)

    def file(self, address: str) -> str:
        """Where a single file with that address is asked for."""
        return f"{self.files.rstrip('/')}/{address.partition('://')[2]}" if self.files else address


class ClusterSettings(_Settings):
    """The settings of the cluster: one for all of its hosts. group_data/all.py says what each is for, and its unit."""

    pause_image: Image
    flannel_image: Image
    flannel_cni_plugin_image: Image
    busybox_image: Image

    cluster_name: Name
    cluster_domain: Annotated[str, AfterValidator(lambda value: values.domain(value, "cluster.local"))]
    pod_cidr: Annotated[IPv4Network, BeforeValidator(values.pod_cidr)]
    service_cidr: Annotated[IPv4Network, BeforeValidator(values.service_cidr)]
    api_port: Port
    api_extra_sans: Annotated[tuple[AddressOrName, ...], LISTED]
    certificate_renew_days: RenewDays
    encrypt_secrets: bool
    schedule_on_control_plane: bool | None

    node_port_range: Annotated[str, AfterValidator(lambda value: str(parse_port_range(value)))]
    node_port_reserved: Annotated[tuple[Reserved, ...], LISTED]

    cgroup_driver: Literal["systemd", "cgroupfs"]
    kube_proxy_config: Annotated[dict[str, Any], AfterValidator(reserved_keys.kube_proxy), _hidden]
    apiserver_extra_args: Annotated[dict[str, Any], AfterValidator(component_flags.apiserver), _hidden]
    apiserver_files: Files
    controller_manager_extra_args: Annotated[
        dict[str, Any], AfterValidator(component_flags.controller_manager), _hidden
    ]
    controller_manager_files: Files
    scheduler_extra_args: Annotated[dict[str, Any], AfterValidator(component_flags.scheduler), _hidden]
    scheduler_files: Files
    etcd_extra_args: Annotated[dict[str, Any], AfterValidator(component_flags.etcd), _hidden]

    stacks: Annotated[tuple[str, ...], LISTED]
    domain: Annotated[str, AfterValidator(values.site_domain)]
    ca_certificate: str
    ca_key: str
    wildcard_certificate: str
    wildcard_key: str
    http_port: PortOrNone
    https_port: Port
    http_redirect: bool
    storage_class: Annotated[str, or_empty(values.dns_name)]
    manifests: Manifests

    max_clock_skew_s: Count

    commands_per_connection: Count
    rebuild_at_once: Count
    upgrade_at_once: Count
    backup_recipients: Annotated[tuple[Recipient, ...], LISTED, _hidden]  # somebody may take the wrong key
    backup_registry: bool
    backup_keep: Count
    backup_schedule: Annotated[
        str, values.written_as("[A-Za-z0-9*,./:~ -]*", "no time of systemd's timers", 'write e.g. "03:30"')
    ]
    timeout_factor: TimeoutFactor

    _stacks: Mapping[str, StackSettings] = PrivateAttr(default_factory=dict)

    def of(self, kind: type[S]) -> S:
        """The settings of the stack whose they are, whether it is on or not."""
        (found,) = (each for each in self._stacks.values() if isinstance(each, kind))
        return found

    def with_stacks(self, stacks: Mapping[str, StackSettings]) -> ClusterSettings:
        """A copy in which those are the stacks' settings, by their names."""
        copy = self.model_copy()
        copy._stacks = {**self._stacks, **stacks}
        return copy

    @property
    def by_stack(self) -> Mapping[str, StackSettings]:
        """Every stack's settings, by its name."""
        return self._stacks

    @property
    def images(self) -> dict[str, str]:
        """Every setting that names an image -> the image, those of stacks as "registry.image"."""
        named = [("", self), *((f"{name}.", own) for name, own in self._stacks.items())]
        return {
            f"{prefix}{name}": getattr(own, name)
            for prefix, own in named
            for name in type(own).model_fields
            if name == "image" or name.endswith("_image")
        }

    @property
    def networks(self) -> Iterator[tuple[str, IPv4Network]]:
        """The cluster's own, by their settings."""
        yield "pod_cidr", self.pod_cidr
        yield "service_cidr", self.service_cidr

    def own_ports(self, ssh_ports: Iterable[int]) -> dict[int, str]:
        """Ports in the hands of Kubernetes and SSH -> whose each one is."""
        return {
            **dict.fromkeys(values.NODE_PORTS_OF_KUBERNETES + values.CONTROL_PLANE_PORTS, "Kubernetes"),
            values.FLANNEL_VXLAN_PORT: "flannel",
            self.api_port: "the API server",
            **dict.fromkeys(ssh_ports, "SSH"),
        }

    @property
    def node_ports(self) -> PortRange:
        return parse_port_range(self.node_port_range)

    @property
    def reserved_ports(self) -> tuple[int, ...]:
        """The ports of node_port_reserved, sorted; what hosts listen on is added by preflight."""
        ranges = [parse_reserved(entry) for entry in self.node_port_reserved]
        return tuple(sorted({port for r in ranges for port in range(r.first, r.last + 1)}))

    def timeout_s(self, seconds: float) -> int:
        """How long to wait, in whole seconds, for what takes at most `seconds` where nothing is slow."""
        return ceil(seconds * self.timeout_factor)

    def site(self, name: str) -> str:
        """The host, with its port where that is not HTTPS' own, of one of the platform's sites: "registry.lab.test"."""
        port = "" if self.https_port == 443 else f":{self.https_port}"
        return f"{name}.{self.domain}{port}"

    @property
    def has_ca(self) -> bool:
        """Whether the sites' certificate is of a CA that the platform knows: its own, or the user's."""
        return bool(self.ca_certificate or not self.wildcard_certificate)


class HostSettings(_Settings):
    """The settings of one host: what may be another on each. group_data/all.py says what each is for, and its unit."""

    kubernetes_version: Version
    kubernetes_package_revision: PackageRevision
    docker_version: Version
    containerd_version: Version

    mirrors: dict[str, Mirror]  # before `mirror`, which is a name in it
    mirror: str
    registry_mirrors: dict[Registry, Annotated[tuple[Url, ...], LISTED]]

    containerd_config: Annotated[dict[str, Any], AfterValidator(reserved_keys.containerd), _hidden]
    docker_config: Annotated[dict[str, Any], AfterValidator(reserved_keys.docker), _hidden]
    docker_log_max_size: LogSize
    docker_log_max_files: Count
    kubelet_config: Annotated[dict[str, Any], AfterValidator(reserved_keys.kubelet), _hidden]
    kubeadm_ignore_preflight: Annotated[tuple[KubeadmCheck, ...], LISTED]

    private_address: Annotated[str, or_empty(values.ipv4)]
    public_address: Annotated[str, or_empty(values.one_address_or_name)]
    node_labels: Annotated[dict[str, str], AfterValidator(values.labels)]
    node_taints: Annotated[tuple[Taint, ...], LISTED]
    sysctls: Annotated[dict[str, Any], AfterValidator(kernel.sysctls)]
    take_over_runtime: bool
    provider: str
    rebuild_image: str
    require_cpus: Count
    require_memory_mib: Count
    require_disk_mib: Count

    @property
    def kubernetes_minor(self) -> str:
        """As apt repositories name it: "v1.36"."""
        major, minor, _ = parse_version(self.kubernetes_version)
        return f"v{major}.{minor}"

    @property
    def kubernetes_package_version(self) -> str:
        """Of kubelet, kubeadm and kubectl: "1.36.3-1.1"."""
        return f"{self.kubernetes_version}-{self.kubernetes_package_revision}"

    @property
    def profile(self) -> Mirror:
        """The chosen mirror, "{minor}" filled in; "{os}" is a host's: profile.filled(os=report.os_id)."""
        return self.mirrors[self.mirror].filled(minor=self.kubernetes_minor)

    @property
    def mirrors_by_registry(self) -> dict[str, tuple[str, ...]]:
        """A registry -> where its images are asked for before the registry itself: of the user's own first."""
        own, theirs = self.registry_mirrors, self.profile.registries
        return {name: tuple(dict.fromkeys((*own.get(name, ()), *theirs.get(name, ())))) for name in {**theirs, **own}}


SETTINGS = {**ClusterSettings.model_fields, **HostSettings.model_fields}  # all of them, by name

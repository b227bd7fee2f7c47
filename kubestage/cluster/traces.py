"""What runs put on a host, and programs of theirs: where it lies, what it is called."""

from __future__ import annotations

from kubestage.checks.wanted import folders as of_uses
from kubestage.checks.wanted import packages as pinned
from kubestage.facts.apt import SOURCES
from kubestage.facts.certificates import TRUSTED
from kubestage.facts.host_report.wanted import DOCKER, VOLUMES
from kubestage.facts.system import FSTAB, SWAP_SERVICES
from kubestage.facts.untouched import Untouched
from kubestage.kubernetes import (
    BACKUP_UNIT,
    BACKUPS,
    CERTS_D,
    ENDPOINT_UNIT,
    INIT_UNIT,
    JOIN_UNIT,
    RENEWING_UNIT,
    RESTORING,
    STATIC_PODS_UNIT,
    UPGRADE_UNIT,
)
from kubestage.operations import backup
from kubestage.operations.untouched import parents
from kubestage.render import apt_sources, endpoint, kubelet, runtime
from kubestage.render.backup import TIMER
from kubestage.settings import ClusterSettings, HostSettings
from kubestage.settings.values import SYSCTLS
from kubestage.started import RECORDS

MODULES = ("overlay", "br_netfilter")
TIME_SYNC_UNITS = ("chrony.service", "systemd-timesyncd.service", "ntpsec.service")

MODULES_FILE = "/etc/modules-load.d/kubestage.conf"
SYSCTLS_FILE = "/etc/sysctl.d/99-zz-kubestage.conf"  # behind 99-sysctl.conf, as which Debian reads /etc/sysctl.conf
CLOUD_FILE = "/etc/cloud/cloud.cfg.d/99-kubestage.cfg"
FILES = (
    MODULES_FILE,
    SYSCTLS_FILE,
    CLOUD_FILE,
    SOURCES,
    apt_sources.KUBERNETES_KEY,
    apt_sources.DOCKER_KEY,
    TRUSTED,
    *map(runtime.unit_file, runtime.UNITS),
    kubelet.UNIT,
)
# Whoever has them by then gets them back.
REPLACED_FILES = ("/etc/hostname", runtime.CONTAINERD_CONFIG, runtime.DOCKER_CONFIG)
MARKED_FILES = {f"{CERTS_D}/*/hosts.toml": runtime.MIRROR_MARK}
COMMENTED_FILES = (FSTAB, "/etc/apt/sources.list", "/etc/apt/sources.list.d/*")

CERTIFICATE_PACKAGES = ("ca-certificates", "openssl")
# What packages make, and leave.
USERS, GROUPS = ("haproxy",), ("docker", "haproxy")

# In which kubeadm, or something of ours, may still be at work.
WORKING_UNITS = (INIT_UNIT, JOIN_UNIT, UPGRADE_UNIT, RENEWING_UNIT, STATIC_PODS_UNIT, BACKUP_UNIT)
CLUSTER_UNITS = ("kubelet.service", ENDPOINT_UNIT, TIMER)
OWN_UNITS = (*TIME_SYNC_UNITS, *endpoint.THEIR_UNITS, "*.swap", *SWAP_SERVICES)  # which a run enables, or masks
LOGS = "/var/log/kubestage-*.log"

KUBERNETES_FOLDERS = (
    "/etc/kubernetes",
    "/var/lib/kubelet",
    "/var/lib/etcd",
    "/etc/cni",
    "/opt/cni",
    "/var/lib/cni",
    "/run/flannel",
    "/var/log/pods",
    "/var/log/containers",
    BACKUPS,
    RESTORING,
    RECORDS,
    "/root/.kube/cache",
)
CONTAINERD_FOLDERS = ("/etc/containerd", "/var/lib/containerd", "/run/containerd", "/run/nri", "/opt/containerd")

# Of these the kernel has others once its programs are at work: the kubelet's own, kube-proxy's and Docker's.
PROGRAMS_SYSCTLS = (
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
    "net.ipv4.conf.all.route_localnet",
    "net.ipv6.conf.all.forwarding",
    "net.ipv6.conf.default.forwarding",
)


def docker_folders(settings: ClusterSettings, own: HostSettings) -> list[str]:
    """Docker's, its data where settings have it."""
    return ["/etc/docker", of_uses(settings, own)[DOCKER], "/run/docker", "/run/docker.sock"]


def data(settings: ClusterSettings, own: HostSettings, was: Untouched) -> list[str]:
    """The folders that go with a cluster; those of containerd and Docker only where they were not there before."""
    return [
        *KUBERNETES_FOLDERS,
        of_uses(settings, own)[VOLUMES],
        *(() if was.had_containerd else CONTAINERD_FOLDERS),
        *(() if was.had_docker else docker_folders(settings, own)),
    ]


def folders(settings: ClusterSettings, own: HostSettings) -> list[str]:
    """All that a run, or a program of its, may make, or put something into."""
    trees = data(settings, own, Untouched())
    return [*trees, *parents((*trees, *FILES, *REPLACED_FILES))]


def packages(own: HostSettings) -> list[str]:
    """The names of the packages that a run installs."""
    return [*CERTIFICATE_PACKAGES, *pinned(own), *endpoint.PACKAGES, *backup.PACKAGES]


def sysctls(own: HostSettings) -> list[str]:
    """The names of the kernel settings that a cluster changes."""
    return [*SYSCTLS, *own.sysctls, *PROGRAMS_SYSCTLS]

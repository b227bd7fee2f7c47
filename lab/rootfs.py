"""The root tree that every host's disk starts from: a bare Debian 12 server with SSH, as a cloud would hand it out."""

from __future__ import annotations

import os
from pathlib import Path

from lab.cache import digest, entry
from lab.definition import cache_dir
from lab.images import BASE_CODENAME, debian_mirror
from lab.progress import run

# All that Kubernetes' and Docker's packages depend on is in: a host can install them with the lab's mirror alone.
PACKAGES = (
    "age",
    "ca-certificates",
    "conntrack",
    "curl",
    "dbus",
    "ebtables",
    "ethtool",
    "gnupg",
    "haproxy",
    "init-system-helpers",
    "iproute2",
    "iptables",
    "iputils-ping",
    "kmod",
    "libseccomp2",
    "mount",
    "nftables",
    "openssh-server",
    "pigz",
    "procps",
    "socat",
    "sudo",
    "systemd",
    "systemd-sysv",
    "util-linux",
    "xz-utils",
)

# nspawn mounts cgroup v1 controllers read-only; a host needs to make groups in them after each boot.
_WRITABLE_CGROUPS = """\
#!/bin/sh
set -e
while read -r _ point type options _; do
    case "$type $options" in
        "cgroup ro"*) mount -o remount,rw,bind "$point" ;;
    esac
done </proc/mounts
"""
_WRITABLE_CGROUPS_UNIT = """\
[Unit]
Description=Writable cgroup v1 controllers
DefaultDependencies=no
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/writable-cgroups

[Install]
WantedBy=sysinit.target
"""

FILES = {
    "etc/hostname": "debian\n",  # not the node's name: giving it that is the deploy's work
    "etc/hosts": "127.0.0.1\tlocalhost\n127.0.1.1\tdebian\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    "etc/fstab": "# <file system> <mount point> <type> <options> <dump> <pass>\n/swapfile none swap sw 0 0\n",
    "etc/machine-id": "",
    "etc/apt/apt.conf.d/90lab": 'APT::Install-Recommends "false";\n',
    "etc/ssh/sshd_config.d/lab.conf": (
        "HostKey /etc/ssh/ssh_host_ed25519_key\n"
        "PermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\n"
        "UseDNS no\n"
    ),
    "etc/sudoers.d/admin": "admin ALL=(ALL:ALL) NOPASSWD: ALL\n",
    "usr/local/sbin/writable-cgroups": _WRITABLE_CGROUPS,
    "etc/systemd/system/writable-cgroups.service": _WRITABLE_CGROUPS_UNIT,
}
MODES = {"etc/sudoers.d/admin": 0o440, "usr/local/sbin/writable-cgroups": 0o755}
COMMANDS = (
    "useradd --create-home --shell /bin/bash admin",
    "systemctl enable --quiet ssh.service writable-cgroups.service",
    "systemctl mask --quiet haproxy.service",
    # They would hold apt's lock or make noise at a moment that no test chose.
    "systemctl mask --quiet apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer console-getty.service",
    "rm -f /etc/ssh/ssh_host_*",
    "rm -rf /var/cache/apt/archives /var/lib/apt/lists",
    "mkdir -p /var/lib/apt/lists/partial /var/cache/apt/archives/partial",
)


def key() -> str:
    """Covers everything that decides the tree, but not the state of the Debian mirror."""
    return digest(BASE_CODENAME, repr((PACKAGES, sorted(FILES.items()), sorted(MODES.items()), COMMANDS)))


def tree() -> Path:
    """The finished tree; about a minute the first time."""
    return entry("rootfs", key(), _build) / "tree"


def _build(folder: Path) -> None:
    log = cache_dir() / "logs" / "rootfs.log"
    target = folder / "tree"
    # In a mount namespace of its own: what debootstrap mounts can't stay on the machine.
    debootstrap = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    run([*debootstrap, BASE_CODENAME, target, debian_mirror()], log=log, title="root tree of the hosts")
    for name, text in FILES.items():
        write(target, name, text, MODES.get(name, 0o644))
    script = "set -e\n" + "\n".join(COMMANDS)
    run(["chroot", target, "/bin/sh", "-c", script], log=log, title="root tree of the hosts: settings")


def write(root: Path, name: str, text: str, mode: int = 0o644) -> None:
    """Write the file `name` below `root`, in place of a link as well: nothing outside the tree is ever written."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as stream:
        stream.write(text)
    path.chmod(mode)

"""Debian packages that the lab needs on the machine; standard library only, setup reads it."""

from __future__ import annotations

ARTIFACTS = (  # to build programs, packages and images
    "apt-utils",  # apt-ftparchive
    "buildah",
    "busybox-static",
    "ca-certificates",
    "debootstrap",
    "dpkg-dev",
    "gcc",  # runc and pause
    "gnupg",
    "libc6-dev",
    "libseccomp-dev",  # runc
    "pkg-config",  # runc
)
HOSTS = (  # to run hosts
    "iproute2",
    "iptables",
    "mount",
    "openssh-client",
    "procps",
    "systemd-container",  # systemd-nspawn
    "util-linux",  # nsenter, unshare
)
TESTS = (  # of the dashboard, in a browser
    "chromium",
    "libnss3-tools",  # certutil: what CAs the browser trusts
)
VENV = ("python3-venv",)  # where the Python that runs setup can't make a virtual environment without it

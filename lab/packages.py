"""The Debian packages of the lab's mirror, named, laid out and with units as upstream's, in two signed repositories."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab import build
from lab.build import PROGRAMS, KubernetesRelease, product
from lab.cache import digest, entry
from lab.progress import run, step

ARCHITECTURE = "amd64"
SIGNER = "kubestage lab"
UNIT_FOLDER = "lib/systemd/system"


@dataclass(frozen=True)
class File:
    """A file of a package: where it comes from, where it goes (without the leading slash)."""

    source: Path
    target: str
    mode: int = 0o644


@dataclass(frozen=True)
class Package:
    """A binary package. fields: more control fields; start: whether its services run as soon as it is installed."""

    name: str
    version: str  # with its epoch, as apt shows it
    description: str
    files: tuple[File, ...]
    fields: dict[str, str] = field(default_factory=dict)
    conffiles: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    start: bool = True
    before_services: str = ""  # shell lines of postinst

    @property
    def file_name(self) -> str:
        """As upstream's archives name it: without the epoch."""
        return f"{self.name}_{self.version.split(':')[-1]}_{ARCHITECTURE}.deb"


def _commands(folder: Path, names: Sequence[str], target: str = "usr/bin") -> tuple[File, ...]:
    return tuple(File(folder / name, f"{target}/{name}", 0o755) for name in names)


def kubernetes_packages(release: KubernetesRelease) -> list[Package]:
    """What pkgs.k8s.io holds for one minor version. No cri-tools: kubeadm has needed none since 1.32."""
    programs, units = release.kubernetes.build(), PROGRAMS / "kubernetes"
    plugins = build.CNI_PLUGINS.build()
    revision = product()["kubernetes_package_revision"]
    version = f"{release.version}-{revision}"
    return [
        Package(
            "kubelet",
            version,
            "Node agent for Kubernetes clusters",
            files=(
                *_commands(programs, ["kubelet"]),
                File(units / "kubelet.service", "usr/lib/systemd/system/kubelet.service"),
                File(units / "kubelet.default", "etc/default/kubelet"),
            ),
            fields={
                "Depends": "kubernetes-cni (>= 1.2.0), mount, util-linux",
                "Recommends": "iptables (>= 1.8.4)",
                "Section": "net",
            },
            conffiles=("/etc/default/kubelet",),
            folders=("etc/kubernetes/manifests", "var/lib/kubelet"),
            services=("kubelet.service",),
            start=False,  # it has nothing to run on before kubeadm has
        ),
        Package(
            "kubeadm",
            version,
            "Command-line utility for administering a Kubernetes cluster",
            files=(
                *_commands(programs, ["kubeadm"]),
                File(units / "10-kubeadm.conf", "usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf"),
            ),
        ),
        Package(
            "kubectl",
            version,
            "Command-line utility for interacting with a Kubernetes cluster",
            files=_commands(programs, ["kubectl"]),
        ),
        Package(
            "kubernetes-cni",
            f"{build.CNI_PLUGINS.version}-{revision}",
            "Binaries required to provision kubernetes container networking",
            files=_commands(plugins, sorted(plugin.name for plugin in plugins.iterdir()), "opt/cni/bin"),
            fields={"Section": "net"},
            folders=("etc/cni/net.d",),
        ),
    ]


def docker_packages() -> list[Package]:
    """What download.docker.com holds for Debian 12."""
    suffix = "1~debian.12~bookworm"
    containerd_units, docker_units = PROGRAMS / "containerd", PROGRAMS / "moby"
    others = {"Conflicts": "docker (<< 1.5~), docker-engine, docker.io"}
    return [
        Package(
            "containerd.io",
            f"{product()['containerd_version']}-{suffix}",
            "An open and reliable container runtime",
            files=(
                *_commands(build.CONTAINERD.build(), ["containerd", "containerd-shim-runc-v2", "ctr"]),
                *_commands(build.RUNC.build(), ["runc"]),
                File(containerd_units / "containerd.service", f"{UNIT_FOLDER}/containerd.service"),
                File(containerd_units / "config.toml", "etc/containerd/config.toml"),
            ),
            fields={
                "Pre-Depends": "init-system-helpers (>= 1.54~)",
                "Depends": "libc6 (>= 2.34), libseccomp2 (>= 2.5.0)",
                **{name: "containerd, runc" for name in ("Provides", "Conflicts", "Replaces")},
                "Section": "devel",
            },
            conffiles=("/etc/containerd/config.toml",),
            services=("containerd.service",),
        ),
        Package(
            "docker-ce",
            f"5:{product()['docker_version']}-{suffix}",
            "Docker: the open-source application container engine",
            files=(
                *_commands(build.MOBY.build(), ["dockerd", "docker-proxy"]),
                File(docker_units / "docker.service", f"{UNIT_FOLDER}/docker.service"),
                File(docker_units / "docker.socket", f"{UNIT_FOLDER}/docker.socket"),
            ),
            fields={
                "Pre-Depends": "init-system-helpers (>= 1.54~)",
                "Depends": "containerd.io (>= 1.7.27), docker-ce-cli, iptables, nftables",
                "Recommends": "apparmor, ca-certificates, git, pigz, procps, xz-utils",
                **others,
                "Replaces": "docker-engine",
            },
            folders=("etc/docker",),
            services=("docker.socket", "docker.service"),
            before_services="getent group docker >/dev/null || groupadd --system docker\n",
        ),
        Package(
            "docker-ce-cli",
            f"5:{product()['docker_version']}-{suffix}",
            "Docker CLI: the open-source application container engine",
            files=_commands(build.DOCKER_CLI.build(), ["docker"]),
            fields=others,
        ),
    ]


def maintainer_scripts(package: Package) -> dict[str, str]:
    """postinst, prerm and postrm: services are enabled, started and removed as debhelper's packages do it."""
    if not package.services:
        return {}
    units = " ".join(package.services)
    postinst = f"""if [ "$1" = configure ]; then
{package.before_services}for unit in {units}; do
  deb-systemd-helper unmask "$unit" >/dev/null || true
  if deb-systemd-helper --quiet was-enabled "$unit"; then
    deb-systemd-helper enable "$unit" >/dev/null || true
  else
    deb-systemd-helper update-state "$unit" >/dev/null || true
  fi
done
if [ -d /run/systemd/system ]; then
  systemctl --system daemon-reload >/dev/null || true
{_start_lines(units) if package.start else ""}fi
fi
"""
    prerm = f"""if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  deb-systemd-invoke stop {units} >/dev/null || true
fi
"""
    postrm = f"""if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  systemctl --system daemon-reload >/dev/null || true
fi
if [ "$1" = purge ] && command -v deb-systemd-helper >/dev/null; then
  deb-systemd-helper purge {units} >/dev/null || true
fi
"""
    scripts = {"postinst": postinst, "prerm": prerm, "postrm": postrm}
    return {name: f"#!/bin/sh\nset -e\n{lines}" for name, lines in scripts.items()}


def _start_lines(units: str) -> str:
    """Start on a first installation, restart on an upgrade: dpkg names the old version then."""
    return f"""  if [ -n "$2" ]; then action=restart; else action=start; fi
  deb-systemd-invoke $action {units} >/dev/null || true
"""


def build_package(package: Package, folder: Path) -> Path:
    """Make the .deb in `folder`; gzip's fastest level, for it is read by hosts of the same machine."""
    target = folder / package.file_name
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tree-") as name:
        tree = Path(name)
        tree.chmod(0o755)
        for item in package.folders:
            (tree / item).mkdir(parents=True)
        for file in package.files:
            place = tree / file.target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.source, place)
            place.chmod(file.mode)
        size = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file()) // 1024
        fields = {
            "Package": package.name,
            "Version": package.version,
            "Architecture": ARCHITECTURE,
            "Maintainer": "kubestage lab <root@localhost>",
            "Installed-Size": str(size),
            "Section": "admin",
            "Priority": "optional",
            **package.fields,
            "Description": package.description,
        }
        control = tree / "DEBIAN"
        control.mkdir()
        (control / "control").write_text("".join(f"{name}: {value}\n" for name, value in fields.items()))
        if package.conffiles:
            (control / "conffiles").write_text("".join(f"{path}\n" for path in package.conffiles))
        for script, text in maintainer_scripts(package).items():
            (control / script).write_text(text)
            (control / script).chmod(0o755)
        run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, target],
            log=build.log_file("packages"),
            title=f"package {package.name} {package.version}",
        )
    return target


def apt_tree() -> Path:
    """The folder served at MIRROR_URL: kubernetes/core/stable/<minor>/deb/ and docker-ce/linux/debian/, both signed."""
    inputs = [str(program.build()) for program in build.CATALOGUE if _is_packaged(program)]
    units = [
        path
        for path in sorted(PROGRAMS.glob("*/*"))
        if path.suffix in {".service", ".socket", ".toml", ".conf", ".default"}
    ]
    versions = repr({name: value for name, value in product().items() if name.endswith(("_version", "_revision"))})
    return entry("apt", digest(Path(__file__), *units, *inputs, versions, signing_key() / "public.asc"), _fill)


def _is_packaged(program: build.Program) -> bool:
    kubernetes = [release.kubernetes for release in build.RELEASES]
    return program in [*kubernetes, build.CNI_PLUGINS, build.CONTAINERD, build.RUNC, build.MOBY, build.DOCKER_CLI]


def _fill(tree: Path) -> None:
    for release in build.RELEASES:
        repository = tree / "kubernetes" / "core" / "stable" / release.minor / "deb"
        packages = repository / ARCHITECTURE
        packages.mkdir(parents=True, exist_ok=True)
        for package in kubernetes_packages(release):
            build_package(package, packages)
        _index(repository, repository, ".")
        _sign(repository, {"Label": f"Kubernetes {release.minor}"})
        shutil.copy(signing_key() / "public.asc", repository / "Release.key")

    repository = tree / "docker-ce" / "linux" / "debian"
    suite = repository / "dists" / "bookworm"
    packages = suite / "pool" / "stable" / ARCHITECTURE
    index = suite / "stable" / f"binary-{ARCHITECTURE}"
    for folder in (packages, index):
        folder.mkdir(parents=True)
    for package in docker_packages():
        build_package(package, packages)
    _index(repository, index, "dists/bookworm/pool/stable")
    labels = {"Label": "Docker CE", "Suite": "bookworm", "Codename": "bookworm", "Components": "stable"}
    _sign(suite, labels)
    shutil.copy(signing_key() / "public.asc", repository / "gpg")


def _index(repository: Path, target: Path, packages: str) -> None:
    """Write Packages and Packages.gz of a repository's packages into `target`."""
    with (target / "Packages").open("wb") as stream:
        subprocess.run(["apt-ftparchive", "packages", packages], cwd=repository, stdout=stream, check=True)
    if packages == ".":  # apt takes "./x" as well, but upstream's indexes have no such prefix
        text = (target / "Packages").read_text().replace("\nFilename: ./", "\nFilename: ")
        (target / "Packages").write_text(text)
    subprocess.run(["gzip", "--keep", "--no-name", target / "Packages"], check=True)


def _sign(folder: Path, labels: dict[str, str]) -> None:
    """Write Release, InRelease and Release.gpg for the indexes below `folder`."""
    fields = {"Origin": SIGNER, "Architectures": ARCHITECTURE, **labels}
    options = [word for name, value in fields.items() for word in ("-o", f"APT::FTPArchive::Release::{name}={value}")]
    text = subprocess.run(["apt-ftparchive", *options, "release", "."], cwd=folder, stdout=subprocess.PIPE, check=True)
    release = folder / "Release"
    release.write_bytes(text.stdout)
    with _gpg() as gpg:
        subprocess.run([*gpg, "--import", signing_key() / "secret.asc"], check=True)
        subprocess.run([*gpg, "--clearsign", "--output", folder / "InRelease", release], check=True)
        subprocess.run([*gpg, "--armor", "--detach-sign", "--output", folder / "Release.gpg", release], check=True)


def signing_key() -> Path:
    """The folder with the repositories' own key, made at the first use: public.asc and secret.asc (0600)."""

    def make(folder: Path) -> None:
        with step("make the package mirror's signing key"), _gpg() as gpg:
            subprocess.run([*gpg, "--quick-generate-key", SIGNER, "ed25519", "sign", "never"], check=True)
            for option, name in (("--export", "public.asc"), ("--export-secret-keys", "secret.asc")):
                (folder / name).touch(0o600)
                exported = subprocess.run([*gpg, "--armor", option], check=True, stdout=subprocess.PIPE).stdout
                (folder / name).write_bytes(exported)
        (folder / "public.asc").chmod(0o644)

    return entry("signing-key", "1", make)


@contextmanager
def _gpg() -> Iterator[list[str]]:
    """The gpg command on an empty keyring of its own, whose agent is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="kubestage-gpg-") as home:
        try:
            yield [
                "gpg",
                "--homedir",
                home,
                "--quiet",
                "--batch",
                "--no-tty",
                "--pinentry-mode",
                "loopback",
                "--passphrase",
                "",
            ]
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=True)

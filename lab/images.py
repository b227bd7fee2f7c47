"""The images of the lab's registry: each is built from a program's Containerfile and kept under its upstream name."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kubestage.stacks.dashboard import DashboardSettings
from kubestage.stacks.descheduler import DeschedulerSettings
from kubestage.stacks.ingress import IngressSettings
from kubestage.stacks.metrics import MetricsSettings
from kubestage.stacks.registry import RegistrySettings
from kubestage.stacks.storage import StorageSettings
from lab import build
from lab.build import PROGRAMS, Program, product
from lab.cache import digest, entry
from lab.progress import StepFailed, failure, run, step
from lab.registry import serve, wait_until_up

BASE_LEFT_OUT = (
    "usr/share/doc/*",
    "usr/share/man/*",
    "usr/share/locale/*",
    "usr/share/info/*",
    "var/cache/*",
    "var/lib/apt/*",
)
BASE_CODENAME = "bookworm"
BASE_NAME = "localhost/kubestage-base"
NETWORK_PACKAGES = ("iptables", "nftables", "iproute2", "conntrack", "kmod", "ca-certificates")
PYTHON_PACKAGES = ("python3", "ca-certificates")


@dataclass(frozen=True)
class Image:
    """An image: its upstream name with a tag, and the programs whose commands its Containerfile finds beside it.

    The Containerfile is the first program's. base: the packages of the small Debian it stands on; none: on nothing.
    applets: every command of busybox is there by its name.
    """

    name: str
    programs: tuple[Program, ...]
    arguments: dict[str, str] = field(default_factory=dict)
    base: tuple[str, ...] = ()
    applets: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """Its names in the lab's registry. Docker's mirrors hold docker.io's images by their short path as well."""
        return (self.name, self.name.removeprefix("docker.io/")) if self.name.startswith("docker.io/") else (self.name,)

    @property
    def containerfile(self) -> Path:
        return PROGRAMS / self.programs[0].name / "Containerfile"


def catalogue() -> list[Image]:
    """Every image: what each Kubernetes release asks for, and what the product's own manifests name."""
    images = []
    for release in build.RELEASES:
        images += [
            *(
                Image(
                    f"registry.k8s.io/{name}:{release.kubernetes.module_version}",
                    (release.kubernetes,),
                    {"PROGRAM": name},
                    base=NETWORK_PACKAGES if name == "kube-proxy" else (),
                )
                for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
            ),
            Image(f"registry.k8s.io/etcd:{release.etcd_tag}", (release.etcd,)),
            Image(f"registry.k8s.io/coredns/coredns:{release.coredns_tag}", (release.coredns,)),
        ]
    return [
        *images,
        Image(product()["pause_image"], (build.PAUSE,)),
        Image(product()["flannel_image"], (build.FLANNEL,), base=NETWORK_PACKAGES),
        Image(product()["flannel_cni_plugin_image"], (build.FLANNEL_CNI_PLUGIN, build.BUSYBOX)),
        Image(product()["busybox_image"], (build.BUSYBOX,), applets=True),
        Image(IngressSettings().contour_image, (build.CONTOUR,)),
        Image(IngressSettings().envoy_image, (build.ENVOY,), base=NETWORK_PACKAGES),  # for its libc
        Image(RegistrySettings().image, (build.REGISTRY,)),
        Image(MetricsSettings().image, (build.METRICS_SERVER,)),
        Image(StorageSettings().image, (build.LOCAL_PATH_PROVISIONER,)),
        Image(DeschedulerSettings().image, (build.DESCHEDULER,)),
        Image(
            DashboardSettings().kube_web_view_image,
            (build.KUBE_WEB_VIEW,),
            {"PYTHON": build.IMAGE_PYTHON},
            base=PYTHON_PACKAGES,
        ),
    ]


def build_image(image: Image) -> Path:
    """The image as an OCI layout (a folder)."""
    folders = [program.build() for program in image.programs]
    base = base_root(image.base) if image.base else None
    inputs = [*(str(folder) for folder in folders), str(base), repr((image.arguments, image.applets))]

    def assemble(out: Path) -> None:
        with tempfile.TemporaryDirectory(dir=out, prefix=".context-") as name:
            context = Path(name)
            context.chmod(0o755)
            for folder in folders:
                for file in folder.iterdir():
                    if image.arguments.get("PROGRAM", file.name) == file.name:
                        _link(file, context / file.name)
            if image.applets:
                _spread_busybox(context)
            _buildah(image, context, out, base)

    recipes = [image.containerfile, *([PROGRAMS / "base" / "Containerfile"] if base else [])]
    return entry("images", digest(*recipes, *inputs), assemble)


def _link(source: Path, target: Path) -> None:
    """A file or a whole folder under a second name, without a copy of its content."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=os.link)
    else:
        os.link(source, target)


def _spread_busybox(context: Path) -> None:
    """Lay out busybox as a root folder with a link for each of its commands, and what programs expect of one."""
    for name in ("bin", "etc", "root", "tmp", "var"):
        (context / name).mkdir()
    (context / "tmp").chmod(0o1777)
    (context / "busybox").rename(context / "bin" / "busybox")
    applets = subprocess.run([context / "bin" / "busybox", "--list"], stdout=subprocess.PIPE, text=True, check=True)
    for applet in applets.stdout.split():
        if applet != "busybox":
            (context / "bin" / applet).symlink_to("busybox")
    (context / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    (context / "etc" / "group").write_text("root:x:0:\nnogroup:x:65534:\n")


def _buildah(image: Image, context: Path, out: Path, base: Path | None) -> None:
    """Build `image` into the OCI layout `out`, with a storage of its own that is gone afterwards.

    In a mount namespace of its own: nothing that buildah mounts can stay on the machine.
    """
    title = f"image {image.name}"
    values = {**image.arguments, **({"BASE": BASE_NAME} if base else {})}
    options = [word for key, value in values.items() for word in ("--build-arg", f"{key}={value}")]
    with tempfile.TemporaryDirectory(dir=out, prefix=".storage-") as name:
        storage = ["--root", f"{name}/root", "--runroot", f"{name}/run", "--storage-driver", "overlay"]
        # No timestamp: the same programs give the same image, and the same small Debian the same layer everywhere.
        build_it = ["build", "--isolation", "chroot", "--layers=false", "--timestamp", "0"]
        buildah: list[str | Path] = ["unshare", "--mount", "buildah", *storage, *build_it]
        log = build.log_file("images")
        if base:
            small_debian: list[str | Path] = ["--file", PROGRAMS / "base" / "Containerfile", "--tag", BASE_NAME, base]
            run([*buildah, *small_debian], log=log, title=f"{title}: small Debian")
        run(
            [*buildah, "--file", image.containerfile, *options, "--tag", f"oci:{out}:latest", context],
            log=log,
            title=title,
        )


def debian_mirror() -> str:
    """The Debian mirror that this machine's own apt takes `main` from."""
    argv = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main"]
    listed = subprocess.run([*argv, f"Codename: {BASE_CODENAME}"], stdout=subprocess.PIPE, text=True, check=True)
    mirrors = listed.stdout.split()
    if not mirrors:
        raise failure("find a Debian mirror", f"apt has no source for {BASE_CODENAME} main", build.log_file("images"))
    return mirrors[0]


def base_root(packages: tuple[str, ...]) -> Path:
    """A small Debian with `packages` and what they need: a folder that holds it as root.tar."""

    def assemble(out: Path) -> None:
        log = build.log_file("images")
        with tempfile.TemporaryDirectory(dir=out, prefix=".tree-") as tree:
            include = f"--include={','.join(packages)}"
            debootstrap = ["unshare", "--mount", "debootstrap", "--variant=minbase", include, BASE_CODENAME]
            run([*debootstrap, tree, debian_mirror()], log=log, title="small Debian for images")
            left_out = [f"--exclude=./{pattern}" for pattern in BASE_LEFT_OUT]
            archive: list[str | Path] = ["tar", "--create", "--numeric-owner", "--file", out / "root.tar"]
            run([*archive, "--directory", tree, *left_out, "."], log=log, title="small Debian for images: archive")

    return entry("base", digest(BASE_CODENAME, *packages, *BASE_LEFT_OUT), assemble)


def check_release(release: build.KubernetesRelease, names: set[str]) -> None:
    """StepFailed if `names` lacks an image that the release's own kubeadm would pull."""
    version = release.kubernetes.module_version
    argv: list[str | Path] = [
        release.kubernetes.build() / "kubeadm",
        "config",
        "images",
        "list",
        "--kubernetes-version",
        version,
    ]
    listed = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    missing = sorted(set(listed) - names)
    if missing:
        raise StepFailed(f"kubeadm {version} pulls images that lab/images.py does not build: {', '.join(missing)}")


def storage() -> Path:
    """The registry's storage with every image in it, under its upstream name as a path; filled once."""
    crane, registry = build.CRANE.build() / "crane", build.REGISTRY.build() / "registry"
    built = [(image, build_image(image)) for image in catalogue()]
    content = [f"{path} {layout}" for image, layout in built for path in image.paths]

    def fill(folder: Path) -> None:
        for release in build.RELEASES:
            check_release(release, {image.name for image, _ in built})
        log = build.log_file("registry-fill")
        with step("fill the image registry"), _temporary_registry(registry, folder, log) as address:
            for image, layout in built:
                for path in image.paths:
                    run([crane, "push", layout, f"{address}/{path}"], log=log, title=f"push {path}")

    return entry("registry", digest(str(registry), *sorted(content)), fill)


@contextmanager
def _temporary_registry(registry: Path, folder: Path, log: Path) -> Iterator[str]:
    """A registry that stores into `folder`, on a free port of the loopback address; gives its host:port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with tempfile.TemporaryDirectory(prefix="kubestage-registry-") as name:
        configuration = Path(name) / "config.yml"
        process = serve(registry, folder, address, readonly=False, configuration=configuration, log=log)
        try:
            wait_until_up(f"http://{address}/v2/", process, "start the registry to fill it", log)
            yield address
        finally:
            process.terminate()
            process.wait()

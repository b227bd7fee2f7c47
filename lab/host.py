"""One lab host: a systemd-nspawn machine with its own disk, address, control groups and SSH keys."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import cgroups, host_processes, network, rootfs
from lab.cache import remove_tree
from lab.definition import BRIDGE, state_dir
from lab.progress import StepFailed, failure, resume_command

SSH_WITHIN_S = 60.0
POWEROFF_WITHIN_S = 90.0
SUPERVISE = Path(__file__).with_name("host_supervise.sh")
# Without the first, runc fails ('unable to join session keyring'); without the second, a host has no sysctls to set.
NSPAWN_ENVIRONMENT = {
    "SYSTEMD_SECCOMP": "0",
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1",
    "SYSTEMD_NSPAWN_TMPFS_TMP": "0",
}
# From systemd(1): what makes a host's PID 1 power it off or restart it in good order.
POWEROFF = int(signal.SIGRTMIN) + 4
REBOOT = int(signal.SIGRTMIN) + 5


@dataclass(frozen=True)
class Host:
    """A host by name and address. All it keeps on the machine lies in `folder`, and is named after `machine`."""

    name: str
    address: str

    @property
    def machine(self) -> str:
        return f"{BRIDGE}-{self.name}"

    @property
    def folder(self) -> Path:
        return hosts_dir() / self.name

    @property
    def disk(self) -> Path:
        """What the host wrote: the overlay's upper folder, and /var/lib, which can't be an overlay.

        containerd, Docker and the kubelet mount overlays there themselves, and one upon another is refused.
        """
        return self.folder / "disk"

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def namespace(self) -> Path:
        return self.folder / "netns"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @property
    def _complete(self) -> Path:
        return self.folder / "complete"  # holds the tree's path; written when the disk is whole

    @property
    def _address(self) -> Path:
        return self.folder / "address"  # of the running host

    def public_key(self) -> str:
        """The host's SSH key, such as "ssh-ed25519 AAAA…"; empty before the host has a disk."""
        key = self.folder / "host_key.pub"
        return " ".join(key.read_text().split()[:2]) if key.exists() else ""

    def leader(self) -> int | None:
        """The host's PID 1, by its pid on the machine."""
        return host_processes.leader(cgroups.processes(self.machine))

    def state(self) -> str:
        """running, off (it has a disk and no process), broken (what a crash leaves) or absent."""
        pids = cgroups.processes(self.machine)
        whole = self._complete.exists() and self._tree().is_dir()
        if pids:
            alive = host_processes.leader(pids) and host_processes.starter(pids)
            linked = network.link_name(self.address) in network.links() and self._has_address(self.address)
            return "running" if alive and linked and whole else "broken"
        if cgroups.groups(self.machine) or os.path.ismount(self.root):
            return "broken"
        if whole:
            return "off"
        return "broken" if self.folder.exists() else "absent"

    def answers(self, timeout_s: float = 1.0) -> bool:
        """Whether sshd greets on the host's address (RFC 4253, 4.2)."""
        try:
            with socket.create_connection((self.address, 22), timeout=timeout_s) as connection:
                connection.settimeout(timeout_s)
                return connection.recv(8).startswith(b"SSH-2.0-")
        except OSError:
            return False

    def start(self) -> None:
        """Start the host, with a blank disk if it has none; it boots on its own then: see `wait_for_ssh`."""
        if not (self._complete.exists() and self._tree().is_dir()):
            image = self._image()
            self.erase()
            tree = rootfs.tree()
            self._make_folders(tree, image)
            self._wanted_image.unlink(missing_ok=True)  # one disk is made of it
            with self._failing_whole():
                self._mount(tree)
                self._make_blank()
                self._complete.write_text(f"{tree}\n")
        else:
            self._mount(self._tree())
        with self._failing_whole():
            self._address.write_text(f"{self.address}\n")
            network.connect(self.address, self.namespace)
            copy_resolver(self.root)
            self._spawn()

    def _has_address(self, address: str) -> bool:
        return self._address.exists() and self._address.read_text().strip() == address

    def _tree(self) -> Path:
        return Path(self._complete.read_text().strip())

    @contextmanager
    def _failing_whole(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.stop()
            raise

    def _make_folders(self, tree: Path, image: Path | None) -> None:
        for folder in (self.root, self.disk / "work"):
            folder.mkdir(parents=True)
        if image:
            network.command("cp", "--archive", image / "upper", image / "lib", self.disk)
            return
        (self.disk / "upper").mkdir()
        shutil.copystat(tree, self.disk / "upper")
        network.command("cp", "--archive", tree / "var" / "lib", self.disk / "lib")

    def keep_image(self, name: str) -> None:
        """Make an image of the disk of the host, which is off."""
        image = images_dir() / name
        remove_tree(image)
        image.mkdir(parents=True)
        network.command("cp", "--archive", self.disk / "upper", self.disk / "lib", image)

    def want_image(self, name: str) -> None:
        """Have the next disk made of that image; "" for a blank one."""
        self._wanted_image.unlink(missing_ok=True)
        if name:
            if not (images_dir() / name).is_dir():
                raise StepFailed(
                    f"{self.name}: there is no image {name!r}. Make it: python -m lab machine image HOST {name}"
                )
            self._wanted_image.parent.mkdir(parents=True, exist_ok=True)
            self._wanted_image.write_text(name)

    @property
    def _wanted_image(self) -> Path:
        return state_dir() / "next-image" / self.name

    def _image(self) -> Path | None:
        return images_dir() / self._wanted_image.read_text() if self._wanted_image.exists() else None

    def _mount(self, tree: Path) -> None:
        options = f"lowerdir={tree},upperdir={self.disk / 'upper'},workdir={self.disk / 'work'}"
        network.command("mount", "-t", "overlay", self.machine, "-o", options, self.root)

    def _make_blank(self) -> None:
        """Give the mounted disk what makes it this host's: identity, keys, and where packages come from."""
        rootfs.write(self.root, "etc/machine-id", f"{uuid.uuid4().hex}\n", 0o444)
        key = self.folder / "host_key"
        network.command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "root@debian", "-f", key)
        rootfs.write(self.root, "etc/ssh/ssh_host_ed25519_key", key.read_text(), 0o600)
        rootfs.write(self.root, "etc/ssh/ssh_host_ed25519_key.pub", key.with_suffix(".pub").read_text())
        key.unlink()  # the host alone has it
        rootfs.write(self.root, "etc/apt/sources.list", debian_sources())
        authorized = client_key().with_suffix(".pub").read_text()
        for user, home in (("root", "root"), ("admin", "home/admin")):
            ssh = self.root / home / ".ssh"
            ssh.mkdir(exist_ok=True)
            ssh.chmod(0o700)
            rootfs.write(self.root, f"{home}/.ssh/authorized_keys", authorized, 0o600)
            owner = (self.root / home).stat()
            for path in (ssh, ssh / "authorized_keys"):
                os.chown(path, owner.st_uid, owner.st_gid)
            assert user == "root" or owner.st_uid != 0

    def _spawn(self) -> None:
        devices = [f"--bind={path}" for path in ("/dev/kmsg", "/dev/fuse") if Path(path).exists()]
        nspawn = [
            *("systemd-nspawn", "--quiet", "--boot", f"--directory={self.root}", f"--machine={self.machine}"),
            *("--hostname=debian", "--settings=no", "--register=no", "--keep-unit", "--capability=all"),
            *("--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=read-only"),
            *(f"--bind={self.disk / 'lib'}:/var/lib", *devices),
        ]
        # In a network namespace that has its link already: the host finds its network as it boots.
        enter = ["nsenter", f"--net={self.namespace}", "--", "unshare", "--mount", "--propagation=slave", "--"]
        supervise = ["/bin/sh", "-c", SUPERVISE.read_text(), "supervise"]
        launcher = cgroups.launcher(self.machine)
        groups = " ".join(map(str, cgroups.groups(self.machine))) if cgroups.separate() else ""
        argv = [*launcher, *enter, *supervise, *nspawn]
        with self.console.open("ab") as console:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={**os.environ, **NSPAWN_ENVIRONMENT, "HOST_GROUPS": groups},
                cwd="/",
                start_new_session=True,
            )
        booting = host_processes.wait_until(lambda: self.leader() is not None or process.poll() is not None, 10.0)
        if not booting or process.poll() is not None:
            raise failure(f"boot {self.name}", "systemd-nspawn has ended", self.console)

    def wait_for_ssh(self) -> None:
        """Wait until sshd answers; StepFailed with the end of the console if the host ends first or takes too long."""
        deadline = time.monotonic() + SSH_WITHIN_S
        while not self.answers():
            if time.monotonic() > deadline:
                raise failure(f"boot {self.name}", f"no answer of sshd within {SSH_WITHIN_S:.0f} s", self.console)
            if not cgroups.processes(self.machine):
                raise failure(f"boot {self.name}", "the host ended", self.console)
            time.sleep(0.03)

    def power_off(self) -> None:
        """Shut the host down as a power button does, and keep its disk; a hard stop if that takes too long."""
        leader = self.leader()
        if leader is not None:
            host_processes.end(leader, POWEROFF, POWEROFF_WITHIN_S)
        self.stop()

    def reboot(self) -> None:
        """Restart the host in good order (nspawn goes on with a new PID 1), or start it if it is off."""
        leader = self.leader()
        if leader is None or not host_processes.end(leader, REBOOT, POWEROFF_WITHIN_S):
            self.stop()
            self.start()
        self.wait_for_ssh()

    def stop(self) -> None:
        """End the host as pulling its plug does: every process, its link, mount, groups; the disk stays."""
        leader = self.leader()  # all of the host's processes die with its PID 1
        if leader is not None and not host_processes.end(leader):
            raise self._stuck(f"its PID 1 ({leader}) does not end")
        deadline = time.monotonic() + host_processes.GONE_WITHIN_S
        while pids := cgroups.processes(self.machine):
            for pid in pids:
                host_processes.end(pid, within_s=1.0)
            if time.monotonic() > deadline:
                raise self._stuck(f"its processes {sorted(pids)} do not end")
        network.remove_link(network.link_name(self.address))
        for point in (self.namespace, self.root):
            if point.exists() and is_mount_point(point):
                network.command("umount", point)
        self.namespace.unlink(missing_ok=True)
        self._address.unlink(missing_ok=True)
        cgroups.remove(self.machine)

    def erase(self) -> None:
        """Stop the host and remove its disk."""
        self.stop()
        remove_tree(self.folder)

    def _stuck(self, reason: str) -> StepFailed:
        return StepFailed(f"stop {self.name}: {reason}\nTo go on once they are gone: {resume_command()}")


def hosts_dir() -> Path:
    return state_dir() / "hosts"


def images_dir() -> Path:
    """Of disks that hosts had, by the images' names."""
    return state_dir() / "images"


def client_key() -> Path:
    """The lab's SSH key, which every host lets in as root and as admin; made if there is none."""
    key = state_dir() / "ssh" / "id_ed25519"
    if not key.with_suffix(".pub").exists():
        key.parent.mkdir(parents=True, exist_ok=True)
        key.parent.chmod(0o700)
        key.unlink(missing_ok=True)
        network.command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "kubestage lab", "-f", key)
    return key


def known_hosts() -> Path:
    return state_dir() / "ssh" / "known_hosts"


def debian_sources() -> str:
    """The machine's own apt sources, without those that are not Debian's."""
    columns = "deb $(SITE) $(RELEASE) $(COMPONENT)"
    listed = network.command(
        "apt-get", "indextargets", "--format", columns, "Created-By: Packages", "Origin: Debian"
    ).splitlines()
    return "".join(f"{line}\n" for line in dict.fromkeys(listed))


def copy_resolver(root: Path) -> None:
    """Give a host the machine's name servers; systemd-resolved's list where resolv.conf names its loopback stub."""
    resolved = Path("/run/systemd/resolve/resolv.conf")
    source = resolved if resolved.exists() else Path("/etc/resolv.conf")
    rootfs.write(root, "etc/resolv.conf", source.read_text() if source.exists() else "")


def is_mount_point(path: Path) -> bool:
    """Also for a file that is mounted upon: a held namespace."""
    return any(point == path for point, _source in mounts())


def mounts() -> list[tuple[Path, str]]:
    """Mount points of the machine with their sources, in the order they were mounted (proc_pid_mountinfo(5))."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        found.append((Path(before.split()[4].encode().decode("unicode_escape")), after.split()[1]))
    return found

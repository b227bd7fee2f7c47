"""How long a run takes on blank hosts, against the floor: only what nobody can leave out, by hand; `make bench`.

Prints the figures and their ratios. Both sides install from the same mirror, onto hosts rebuilt before each of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyinfra_cli  # noqa: F401  before all that opens sockets: it puts gevent underneath

from kubestage.cluster.inventory import read
from kubestage.kubernetes import ENDPOINT_UNIT, KUBECTL
from kubestage.operations.stacks import manifest_commands
from kubestage.render import endpoint
from kubestage.render.kubeadm import worker_images
from kubestage.settings import ClusterSettings
from kubestage.stacks.catalogue import chosen
from kubestage.stacks.network import RESERVED_SERVICE, flannel
from kubestage.stacks.stack import Stack
from lab import hosts
from lab.definition import CHECKOUT
from lab.host import client_key, known_hosts
from lab.progress import StepFailed

BENCH = Path(__file__).parent
INVENTORY = "inventory/lab.py"
DELAY_MS = 40
# What a run writes to a host before anything is installed.
FILES = (
    "etc/apt/keyrings",
    "etc/apt/sources.list.d/kubestage.list",
    "etc/containerd",
    "etc/docker",
    "etc/fstab",
    "etc/hostname",
    "etc/hosts",
    "etc/kubernetes/kubelet.conf.d",
    "etc/kubernetes/kubestage",
    "etc/modules-load.d/kubestage.conf",
    "etc/sysctl.d/99-zz-kubestage.conf",
    "etc/systemd/system/containerd.service.d",
    "etc/systemd/system/docker.service.d",
    f"etc/systemd/system/{ENDPOINT_UNIT}",
    *(f"etc/systemd/system/{unit}" for unit in endpoint.THEIR_UNITS),  # masked
    "etc/systemd/system/kubelet.service.d",
    "usr/local/share/ca-certificates/kubestage.crt",
)
PACKAGES = ("containerd.io", "docker-ce", "docker-ce-cli", *endpoint.PACKAGES, "kubelet", "kubeadm", "kubectl")


@dataclass(frozen=True)
class Variant:
    """What of the platform is deployed: the flags that pyinfra gets for it."""

    title: str
    flags: tuple[str, ...]

    def settings(self) -> ClusterSettings:
        """What they come to."""
        settings = read(INVENTORY).cluster.common
        return settings if not self.flags else settings.model_copy(update={"stacks": ()})


VARIANTS = (Variant("cluster alone", ("--data", "stacks=[]")), Variant("whole platform", ()))


def names() -> list[str]:
    return [host.name for host in hosts.wanted()]


def blank() -> None:
    """Give every host a blank disk."""
    for name in names():
        _run([sys.executable, "-m", "lab", "rebuild", name])


def _run(argv: Sequence[str | Path]) -> bytes:
    result = subprocess.run([str(word) for word in argv], cwd=CHECKOUT, capture_output=True, check=False)
    if result.returncode:
        output = (result.stdout + result.stderr).decode(errors="replace")
        raise StepFailed(f"{' '.join(map(str, argv))}: exit code {result.returncode}\n{output[-4000:]}")
    return result.stdout


def timed(argv: Sequence[str | Path]) -> tuple[float, str]:
    """How long a command takes, in seconds, and what it printed."""
    begin = time.monotonic()
    output = _run(argv).decode()
    return time.monotonic() - begin, output


def deploy(variant: Variant) -> tuple[float, dict[str, int]]:
    """A run's seconds, and how many round trips (commands, file transfers) each host was sent."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.json"
        counter: list[str | Path] = [sys.executable, BENCH / "count_round_trips.py", counts]
        seconds, _ = timed([*counter, INVENTORY, "deploy.py", "-y", *variant.flags])
        return seconds, json.loads(counts.read_text())


def on(config: Path, host: str, command: str) -> bytes:
    return _run(["ssh", "-F", config, host, command])


def ssh_config(folder: Path) -> Path:
    """Lets plain ssh reach the hosts by name."""
    path = folder / "ssh_config"
    lines = [f"Host {host.name}\n  HostName {host.address}" for host in hosts.wanted()]
    common = ["Host *", "  User root", f"  IdentityFile {client_key()}", f"  UserKnownHostsFile {known_hosts()}"]
    path.write_text("\n".join([*lines, *common, "  LogLevel ERROR"]) + "\n")
    return path


def collect(folder: Path, config: Path, settings: ClusterSettings) -> None:
    """Take from a deployed cluster what the floor writes, installs, applies and waits for."""
    leader = names()[0]
    for name in names():
        there = f"cd / && tar -cf - $(ls -d {' '.join(FILES)} 2>/dev/null)"
        (folder / f"{name}.tar").write_bytes(on(config, name, there))
        listed = on(config, name, "dpkg-query -W -f '${Package}=${Version} ' " + " ".join(PACKAGES))
        (folder / f"{name}.packages").write_bytes(listed)
    stacks = [Stack(RESERVED_SERVICE), flannel(settings), *chosen(settings).values()]
    parts = manifest_commands(stacks)
    (folder / "manifests.yaml").write_bytes(on(config, leader, " && echo --- && ".join(parts)))
    workloads = on(
        config,
        leader,
        f"{KUBECTL} get deployments,daemonsets -A --no-headers "
        "-o custom-columns=NAMESPACE:.metadata.namespace,KIND:.kind,NAME:.metadata.name | awk '{print $1, $2\"/\"$3}'",
    )
    (folder / "workloads").write_bytes(workloads)
    (folder / "images").write_text("\n".join(worker_images(settings)) + "\n")


def floor(folder: Path, config: Path) -> tuple[float, str]:
    return timed(["bash", BENCH / "floor.sh", folder, config, *names()])


def measure(variant: Variant) -> None:
    """Print the figures of one variant."""
    leader = names()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = ssh_config(folder)
        blank()
        first, _ = deploy(variant)
        second, round_trips = deploy(variant)
        collect(folder, config, variant.settings())
        blank()
        by_hand, phases = floor(folder, config)
    print(f"\n{variant.title}: {leader} and {len(names()) - 1} workers")
    print(f"  floor, by hand           {by_hand:7.1f} s")
    for line in phases.splitlines():
        print(f"      {line}")
    print(f"  deploy on blank hosts    {first:7.1f} s   {first / by_hand:5.2f} x floor")
    print(f"  deploy again             {second:7.1f} s   {second / by_hand:5.2f} x floor")
    print(f"  round trips of that run  {', '.join(f'{host} {count}' for host, count in sorted(round_trips.items()))}")


def measure_far(variant: Variant) -> None:
    """Print how much longer runs take when the hosts are far away."""
    blank()
    _run([sys.executable, "-m", "lab", "delay", str(DELAY_MS)])
    try:
        first, _ = deploy(variant)
        second, _ = deploy(variant)
    finally:
        _run([sys.executable, "-m", "lab", "delay", "0"])
    print(f"\n{variant.title}, {DELAY_MS} ms a round trip away")
    print(f"  deploy on blank hosts    {first:7.1f} s")
    print(f"  deploy again             {second:7.1f} s")


def main() -> int:
    os.environ["PYINFRA_PROGRESS"] = "off"
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        _run([sys.executable, "-m", "lab", "up"])
        for variant in VARIANTS:
            measure(variant)
        measure_far(VARIANTS[-1])
    except StepFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Hosts rebuilt: out of the cluster, a blank disk, a new host key, and back by a run; `make rebuild`.

Each step is written down when it is done, so a rebuild that was ended anywhere goes on there when it is given again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pyinfra.api.exceptions import PyinfraError

from kubestage.checks import removal
from kubestage.cluster.folder import REBUILDS
from kubestage.cluster.inventory import CHECKOUT, Target, TargetError, read
from kubestage.commands import known_hosts
from kubestage.commands.api import Api, connected
from kubestage.commands.inside import volume_rows
from kubestage.commands.remote import PYINFRA, deploy, on, shell
from kubestage.facts.etcd import EtcdAnswering, EtcdMembers, etcdctl
from kubestage.facts.framed import Fact
from kubestage.facts.unknown import Unknown
from kubestage.kubernetes import KUBECTL
from kubestage.local_file import save
from kubestage.operations import etcd
from kubestage.operations.kubeadm import retire_api_server
from kubestage.operations.nodes import deleting, draining
from kubestage.providers import ProviderError
from kubestage.providers.machines import Machine, machine
from kubestage.stacks.catalogue import chosen
from kubestage.stacks.registry import CLAIM, NAMESPACE

T = TypeVar("T")

STEP_S = 900  # what a provider's step may take
DRAIN_S = 300
BOOT_S = 600  # until SSH answers
_AGAIN_S = 1.0
_REGISTRY = f"{NAMESPACE}/{CLAIM}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own words."""
    parser.add_argument("hosts", nargs="+", metavar="HOST", help="by its name in the inventory")
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.add_argument(
        "--image",
        default="",
        help="of which the new disk is made; else that of rebuild_image, or of the old one",
    )
    parser.add_argument("--with-registry", action="store_true", help="also one that has the registry's images")
    parser.add_argument("--destroy-cluster", action="store_true", help="all hosts at once, for a new cluster")


def main(given: argparse.Namespace) -> int:
    """Rebuild the hosts; the exit code of the run that has them join again."""
    target = read(given.inventory)
    try:
        return _rebuild(target, given)
    except (ProviderError, PyinfraError) as error:
        raise TargetError(str(error)) from None


@dataclass
class Rebuild:
    """One host's: what is done of it, in a file. `old`: the host keys that it had, "TYPE DATA"."""

    host: str
    path: Path
    done: list[str]
    old: list[str]

    @classmethod
    def begun(cls, folder: Path, host: str, old: Sequence[str]) -> Rebuild:
        """The one that was begun and not ended, else a new one."""
        path = folder / REBUILDS / f"{host}.json"
        try:
            kept = json.loads(path.read_text())
            return cls(host, path, list(kept["done"]), list(kept["old"]))
        except (FileNotFoundError, ValueError, KeyError):
            return cls(host, path, [], list(old))

    def step(self, name: str, work: Callable[[], None]) -> None:
        """Do it, unless it is done; how long it took is shown."""
        if name in self.done:
            print(f"{self.host}: {name}: done before", flush=True)
            return
        begin = time.monotonic()
        print(f"{self.host}: {name} ...", flush=True)
        work()
        self.done.append(name)
        save(self.path, json.dumps({"done": self.done, "old": self.old}) + "\n")
        print(f"{self.host}: {name}: {time.monotonic() - begin:.1f} s", flush=True)

    def end(self) -> None:
        self.path.unlink(missing_ok=True)


def _rebuild(target: Target, given: argparse.Namespace) -> int:
    common = target.cluster.common
    names = _chosen(target, given.hosts, given.destroy_cluster)
    known = {name: known_hosts.of(target, name) for name in names}
    begun = {name: Rebuild.begun(target.folder, name, known[name].now()) for name in names}
    machines: dict[str, Machine] = {
        name: machine(name, target.cluster.hosts[name].provider, common.timeout_s(STEP_S)) for name in names
    }
    images = {name: given.image or target.cluster.hosts[name].rebuild_image for name in names}
    held = {} if given.destroy_cluster else _volumes(target, [name for name in names if not begun[name].done])
    _ask(target, names, machines, held, given)
    # Of a new cluster nothing is to be kept.
    for group in [names] if given.destroy_cluster else _groups(target, names):
        if not given.destroy_cluster:
            _leave(target, [begun[name] for name in group])
        _each(group, lambda name: _replace(begun[name], machines[name], known[name], images[name]))
        _each(group, lambda name: begun[name].step("wait for SSH", partial(_await_ssh, target, name)))
        if code := deploy(target, ", ".join(group)):
            return code
        for name in group:
            begun[name].end()
    return 0


def _chosen(target: Target, hosts: Sequence[str], whole: bool) -> list[str]:
    names = list(dict.fromkeys(hosts))
    for name in names:
        if name not in target.cluster.hosts:
            known = ", ".join(target.cluster.nodes)
            raise TargetError(f"{target.inventory}: there is no host {name!r}\n    -> name some of: {known}")
    leaders = [name for name in names if name in target.cluster.control_plane]
    if whole and set(names) != set(target.cluster.nodes):
        raise TargetError(
            "--destroy-cluster: a new cluster is made of blank hosts alone, and not all were named\n"
            f"    -> name them all: {' '.join(target.cluster.nodes)}"
        )
    if set(leaders) == set(target.cluster.control_plane) and not whole:
        only = "it is the only" if len(leaders) == 1 else "they are all of the"
        raise TargetError(
            f"{', '.join(leaders)}: {only} control plane: the cluster, with all that is in it, would be gone with it\n"
            f"    -> to make a new one: --destroy-cluster {' '.join(target.cluster.nodes)}"
        )
    return names


def _volumes(target: Target, names: Sequence[str]) -> dict[str, list[str]]:
    """Host -> its volumes, "namespace/claim (20Gi)"."""
    held: dict[str, list[str]] = {}
    if names:
        with connected(target) as api:
            for row in volume_rows(api.items("/api/v1/persistentvolumes")):
                if row.node in names:
                    held.setdefault(row.node, []).append(f"{row.claim} ({row.size})")
    return held


def _ask(
    target: Target,
    names: Sequence[str],
    machines: Mapping[str, Machine],
    held: Mapping[str, Sequence[str]],
    given: argparse.Namespace,
) -> None:
    """Say what will be gone, and ask; TargetError where it may not be."""
    print("What will be destroyed:")
    for name in names:
        description = machines[name].describe()
        if description.locked:
            raise TargetError(f"{name}: {description.what}: {description.locked}\n    -> unlock it first")
        print(f"  {name}: {description.what}")
        for volume in held.get(name, ()):
            print(f"      the volume {volume}, with what is in it")
            if volume.startswith(f"{_REGISTRY} ") and not given.with_registry:
                raise TargetError(
                    f"{name}: the registry's images are on it, and would be gone\n"
                    "    -> push them again afterwards: --with-registry"
                )
    if given.destroy_cluster:
        print(f"  the cluster {target.cluster.common.cluster_name}, with all that is in it")
    confirm(given.yes, "all of that may go")


def confirm(yes: bool, what: str) -> None:
    """Ask, unless `yes` was given; TargetError where the answer is another, or nobody is there."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise TargetError(f"there is no terminal to ask you\n    -> give --yes if {what}")
    if input('Type "yes" to go on: ').strip() != "yes":
        raise TargetError("nothing was changed")


def _at_once(target: Target, names: Sequence[str]) -> int:
    """How many of the hosts are rebuilt at a time: as many as the setting says, and a node stays that takes pods."""
    wanted = min(target.cluster.common.rebuild_at_once, len(names))
    room = target.cluster.room
    if wanted >= room > 1:
        print(f"rebuild_at_once = {wanted}: {room - 1} at a time, as {room} nodes take pods, and one has to stay")
    return max(1, min(wanted, room - 1))


def _groups(target: Target, names: Sequence[str]) -> list[list[str]]:
    """Those that are rebuilt at a time: a host of the control plane by itself, of the workers some."""
    alone = [[name] for name in names if name in target.cluster.control_plane]
    workers = [name for name in names if name not in target.cluster.control_plane]
    size = _at_once(target, workers) if workers else 1
    return [*alone, *(workers[first : first + size] for first in range(0, len(workers), size))]


def _each(names: Sequence[str], work: Callable[[str], None]) -> None:
    """Do it for all of them side by side; what went wrong with the first of them is raised once all have ended."""
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        for done in [pool.submit(work, name) for name in names]:
            done.result()


def _leave(target: Target, rebuilds: Sequence[Rebuild]) -> None:
    """Take the nodes out of the cluster, one after the other; no pod moves to one of them that is still to go."""
    going = [rebuild.host for rebuild in rebuilds if "drain" not in rebuild.done]
    speaker = next(name for name in target.cluster.control_plane if name not in {each.host for each in rebuilds})
    if len(going) > 1:
        _kubectl(target, speaker, f"cordon {' '.join(going)} 2>&1", "kubectl get nodes")
    for rebuild in rebuilds:
        _leave_one(target, speaker, rebuild)
        if rebuild is not rebuilds[-1]:
            rebuild.step("wait for the stacks", partial(_await_stacks, target, speaker))


def _await_stacks(target: Target, speaker: str) -> None:
    """Until no Deployment of a stack lacks a replica: the next node may have its last one.

    Not the registry's, whose volume may lie on a node that is to go: that was told.
    """
    workloads = [each for stack in chosen(target.cluster.common).values() for each in stack.workloads]
    wanted = [each for each in workloads if each.kind == "Deployment" and each.namespace != NAMESPACE]
    seconds = target.cluster.common.timeout_s(DRAIN_S)
    for each in wanted:
        command = f"-n {each.namespace} rollout status deployment/{each.name} --timeout {seconds}s"
        _kubectl(target, speaker, f"{command} 2>&1", f"kubectl -n {each.namespace} describe pods; then run again")


def _leave_one(target: Target, speaker: str, rebuild: Rebuild) -> None:
    """Take the node out of the cluster, which `speaker` is asked to do."""
    name = rebuild.host

    def drain() -> None:
        if not _is_ready(target, name):  # its pods can't be told to end; they are made elsewhere once it is gone
            print(f"{name}: it is not Ready, and is not drained")
            return
        seconds = target.cluster.common.timeout_s(DRAIN_S)
        command = draining(name, seconds)
        _kubectl(
            target, speaker, f"{command} 2>&1", f"kubectl {command}, by hand, shows what is in the way; then run again"
        )

    rebuild.step("drain", drain)
    if name in target.cluster.control_plane:  # before its Node goes, by which it is known to live
        rebuild.step("leave etcd", partial(_leave_etcd, target, speaker, name))
    rebuild.step(
        "remove the node",
        lambda: _kubectl(target, speaker, deleting(name), f"kubectl describe node {name}"),
    )


def _leave_etcd(target: Target, speaker: str, name: str) -> None:
    """While it lives, and serves no API any more: else it would count among those of which most have to answer."""
    members, answering = _asked(target, speaker, EtcdMembers()), _asked(target, speaker, EtcdAnswering())
    if isinstance(members, Unknown) or isinstance(answering, Unknown):
        raise TargetError(f"{speaker}: etcd does not say which members it has\n    -> see that it runs: make status")
    going = {member.address for member in members if member.name == name}
    names = {member.address: member.name for member in members}
    for problem in removal.quorum(names, [*names], answering, going):
        raise TargetError(str(problem))
    if _is_ready(target, name):
        own = next((member.address for member in members if member.name == name), "")
        retire = retire_api_server(f"{own}:{target.cluster.common.api_port}")
        on(target, name, "its API server ends", retire, f"journalctl -u kubelet, on {name}")
    for member in members:
        if member.name == name:
            on(
                target,
                speaker,
                "etcdctl member remove",
                etcd.removal(member.number),
                etcdctl("endpoint health --cluster"),
            )


def _asked(target: Target, speaker: str, fact: Fact[T]) -> T:
    _, output = shell(target, speaker, fact.ask())
    return fact.parse(output.splitlines())


def _replace(rebuild: Rebuild, machine: Machine, known: known_hosts.Known, image: str) -> None:
    rebuild.step("stop", machine.stop)
    rebuild.step("replace the disk", lambda: machine.replace(image))
    rebuild.step("start", machine.start)
    rebuild.step("take over the host key", lambda: _take_over(rebuild, machine, known))


def _take_over(rebuild: Rebuild, machine: Machine, known: known_hosts.Known) -> None:
    """Never blindly: by what the provider says of the machine, else by the user's own hand."""
    begin = time.monotonic()
    while True:
        keys = [key for key in machine.host_keys() if key not in rebuild.old]
        if keys:
            known.replace(keys)
            return
        if [key for key in known.now() if key not in rebuild.old]:
            return  # somebody has put another one there
        if time.monotonic() - begin > known.wait_s:
            raise TargetError(
                f"{rebuild.host}: its provider does not say which host key it has now\n"
                f"    -> read it at its console, and put it into {known.path} in place of the old one "
                f"(ssh-keygen -R {known.name} -f {known.path}); then give the same command again"
            )
        time.sleep(_AGAIN_S)


def _await_ssh(target: Target, name: str) -> None:
    """Until a login works. By pyinfra in a process of its own: in this one it keeps the host keys that it has read."""
    argv: list[str | Path] = [PYINFRA, target.inventory, "--limit", name, "-y", "exec", "--", "true"]
    begin = time.monotonic()
    while (tried := _quietly(argv)).returncode:
        if time.monotonic() - begin > target.cluster.common.timeout_s(BOOT_S):
            last = (tried.stderr.strip() or "no answer").splitlines()[-1]
            raise TargetError(
                f"{name}: no login by SSH: {last}\n    -> look at its console; then give the same command again"
            )
        time.sleep(_AGAIN_S)


def _quietly(argv: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def _is_ready(target: Target, name: str) -> bool:
    with connected(target) as api:
        node = _node(api, name)
    conditions = node.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _node(api: Api, name: str) -> Mapping[str, Any]:
    return next((node for node in api.items("/api/v1/nodes") if node["metadata"]["name"] == name), {})


def _kubectl(target: Target, speaker: str, words: str, remedy: str) -> None:
    on(target, speaker, f"kubectl {words.split()[0]}", f"{KUBECTL} {words}", remedy)

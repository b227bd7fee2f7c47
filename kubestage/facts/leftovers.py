"""What is left on a host of what a cluster has put there, and what is not the cluster's."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from kubestage.facts.framed import Fact, Lines


@dataclass
class Guests:
    """What is in the runtimes that Kubernetes has not put there: names of containers, of Docker's volumes."""

    containers: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)


class GuestsFact(Fact[Guests]):
    """The host's Guests. Docker's data is looked into where Docker does not answer.

    Kubernetes' namespace in containerd is k8s.io, Docker's is moby.
    """

    @staticmethod
    def default() -> Guests:
        return Guests()

    def ask(self, docker: str) -> str:
        data = shlex.quote(docker)
        return (
            f"if names=$(docker ps --all --format '{{{{.Names}}}}' 2>/dev/null); then echo \"$names\"; "
            f"else ls {data}/containers 2>/dev/null; fi | sed '/./!d; s/^/container /'; "
            f"ls -F {data}/volumes 2>/dev/null | sed -n 's|/$||; t line; d; :line s/^/volume /p'; "
            "for namespace in $(ctr namespaces list --quiet 2>/dev/null | grep -vx -e k8s.io -e moby); do "
            'ctr --namespace "$namespace" containers list --quiet | sed "s|^|container $namespace/|"; done; true'
        )

    def parse(self, output: Sequence[str]) -> Guests:
        said = [line.partition(" ") for line in output]
        return Guests(
            containers=[name for kind, _, name in said if kind == "container"],
            volumes=[name for kind, _, name in said if kind == "volume"],
        )


@dataclass
class Tree:
    """A folder: whether it is a disk's, or a bind's, own; whether there is anything in it; what is mounted below it."""

    mounted: bool = False
    full: bool = False
    below: list[str] = field(default_factory=list)


class Trees(Fact[dict[str, Tree]]):
    """path -> Tree, of those of `paths` that are there."""

    @staticmethod
    def default() -> dict[str, Tree]:
        return {}

    def ask(self, paths: Sequence[str]) -> str:
        names = " ".join(map(shlex.quote, paths))
        return (
            f'for f in {names}; do if test -e "$f"; then echo "there $f"; '
            'if mountpoint --quiet "$f"; then echo "mounted $f"; fi; '
            'if test -d "$f" && ls -A "$f" | grep -q .; then echo "full $f"; fi; '
            'awk -v f="$f/" \'index($5, f) == 1 { print "below", $5 }\' /proc/self/mountinfo; fi; done'
        )

    def parse(self, output: Sequence[str]) -> dict[str, Tree]:
        trees: dict[str, Tree] = {}
        tree = Tree()
        for line in output:
            kind, _, path = line.partition(" ")
            if kind == "there":
                tree = trees[path] = Tree()
            elif kind == "below":
                tree.below.append(path)
            else:
                setattr(tree, kind, True)
        return trees


@dataclass
class Work:
    """What is still at work of a cluster's: units, a line for each container's shim, mounts of containers."""

    units: list[str] = field(default_factory=list)
    shims: list[str] = field(default_factory=list)
    mounts: list[str] = field(default_factory=list)


class WorkFact(Fact[Work]):
    """The host's Work, of `units`, of containerd's `namespaces`, and below `folders`, the latest mount first.

    Containers, and what is mounted for them, outlive a containerd that is stopped.
    """

    @staticmethod
    def default() -> Work:
        return Work()

    def ask(self, units: Sequence[str], namespaces: Sequence[str], folders: Sequence[str]) -> str:
        shims = "|".join(namespaces)
        below = "|".join(f"{folder}/" for folder in folders)
        return (
            f"for unit in {' '.join(units)}; do if systemctl --quiet is-active $unit; then echo unit $unit; fi; done; "
            "ps -eo pid=,args= | "
            f"sed -En 's/^ *([0-9]+ [^ ]*containerd-shim[^ ]* -namespace ({shims}) .*)/shim \\1/p'; "
            f"findmnt --raw --noheadings --output TARGET,FSTYPE | tac | grep -E '^({below})' | "
            "sed -En 's/ (overlay|tmpfs|proc|nsfs|fuse[^ ]*)$//; t kept; d; :kept s/^/mount /p'; true"
        )

    def parse(self, output: Sequence[str]) -> Work:
        said = [line.partition(" ") for line in output]
        of = {kind: [rest for word, _, rest in said if word == kind] for kind in ("unit", "shim", "mount")}
        return Work(of["unit"], of["shim"], of["mount"])


class Namespaces(Lines):
    """containerd's namespaces; none where it does not answer."""

    def ask(self) -> str:
        return "ctr namespaces list --quiet 2>/dev/null || true"

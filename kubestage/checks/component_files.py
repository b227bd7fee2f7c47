"""Rules about the files that flags of the control plane's programs name: each has to be in the program's container."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from pydantic_core import PydanticCustomError

from kubestage.checks.own_files import Unusable, text
from kubestage.settings import Problem, component_flags
from kubestage.settings.cluster import ALL_HOSTS, Cluster
from kubestage.settings.component_flags import (
    APISERVER,
    CONTROLLER_MANAGER,
    ETCD,
    SCHEDULER,
    Program,
    is_below,
    named_files,
)

_PROGRAMS = {
    "apiserver": APISERVER,
    "controller_manager": CONTROLLER_MANAGER,
    "scheduler": SCHEDULER,
    "etcd": ETCD,
}


def files(cluster: Cluster) -> Iterator[Problem]:
    """The files on the machine that runs pyinfra."""
    for name in _PROGRAMS:
        setting = f"{name}_files"
        if name == "etcd":  # kubeadm mounts no files of others into it
            continue
        for path, file in getattr(cluster.common, setting).items():
            try:
                text(file)
            except Unusable as error:
                yield Problem(ALL_HOSTS, error.reason, error.remedy, f"{setting}.{path}", file)


def named(cluster: Cluster) -> Iterator[Problem]:
    """The files that flags name."""
    for name, program in _PROGRAMS.items():
        own = f"{name}_files"
        args = f"{name}_extra_args"
        mounted: dict[str, str] = getattr(cluster.common, own) if name != "etcd" else {}
        for flag, values in getattr(cluster.common, args).items():
            for path in (path for value in values for path in named_files(flag, value)):
                if wrong := _missing(path, program, mounted):
                    yield Problem(ALL_HOSTS, f'"{flag}" names {path}, {wrong}', _remedy(path, flag, name), args)


def _missing(path: str, program: Program, mounted: dict[str, str]) -> str:
    """What is wrong with a path that a flag of the program names; "" where a file is there."""
    if path in mounted or is_below(path, program.mounted) or any(is_below(file, (path,)) for file in mounted):
        return ""
    if not path.startswith("/"):
        return "which is no absolute path, and is looked for in the program's container"
    return "which the program's container does not have"


def _remedy(path: str, flag: str, name: str) -> str:
    if name == "etcd":
        return f'remove "{flag}": kubeadm mounts no files of yours into etcd\'s container'
    try:
        component_flags.files({path: "FILE"})
    except PydanticCustomError:
        own = f"/etc/kubernetes/own/{PurePosixPath(path).name or 'file'}"
        return f'set {name}_extra_args = {{"{flag}": "{own}"}} and {name}_files = {{"{own}": "FILE"}}'
    return f'name the file on your machine that is to be there: {name}_files = {{"{path}": "FILE"}}'


RULES: tuple[Callable[[Cluster], Iterator[Problem]], ...] = (files, named)

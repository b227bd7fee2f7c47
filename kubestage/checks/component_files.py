"""Rules about the files that flags of the control plane's programs name: each has to be in the program's container."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from pydantic_core import PydanticCustomError

from kubestage.settings import Problem, component_flags
from kubestage.settings.component_flags import (
    APISERVER,
    CONTROLLER_MANAGER,
    ETCD,
    SCHEDULER,
    Program,
    is_below,
    named_files,
)
from kubestage.settings.draft import ALL_HOSTS, Draft

_LARGEST = 1 << 20  # bytes; all of them go to the host in one command
_PROGRAMS = {
    "apiserver": APISERVER,
    "controller_manager": CONTROLLER_MANAGER,
    "scheduler": SCHEDULER,
    "etcd": ETCD,
}


def files(draft: Draft) -> Iterator[Problem]:
    """The files on the machine that runs pyinfra."""
    for name in _PROGRAMS:
        setting = f"{name}_files"
        if name == "etcd":  # kubeadm mounts no files of others into it
            continue
        for path, file in getattr(draft.common, setting).items():
            if wrong := _unusable(file):
                yield Problem(ALL_HOSTS, *wrong, f"{setting}.{path}", file)


def _unusable(file: str) -> tuple[str, str] | None:
    """Why a file can't be taken, and what to do; None where it can."""
    try:
        found = Path(file).expanduser()
        if not found.is_file():
            reason = "it is no file" if found.exists() else "there is no such file"
            return reason, "correct the path; it is on the machine that runs pyinfra"
        if found.stat().st_size > _LARGEST:
            return f"it is larger than {_LARGEST} bytes", "name a smaller file"
        found.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return "it is not text in UTF-8", "convert it, e.g. certificates to PEM"
    except (ValueError, RuntimeError):  # the second: "~nobody" is nobody's home
        return "not a path", "correct it; it is on the machine that runs pyinfra"
    except OSError as error:
        return f"it can't be read: {error.strerror}", "let the user who runs pyinfra read it"
    return None


def named(draft: Draft) -> Iterator[Problem]:
    """The files that flags name."""
    for name, program in _PROGRAMS.items():
        own = f"{name}_files"
        args = f"{name}_extra_args"
        mounted: dict[str, str] = getattr(draft.common, own) if name != "etcd" else {}
        for flag, values in getattr(draft.common, args).items():
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


RULES: tuple[Callable[[Draft], Iterator[Problem]], ...] = (files, named)

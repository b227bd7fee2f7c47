"""The platform's truth, kept in the cluster: any control plane host may be rebuilt, and has it again from there."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

from pyinfra import host
from pyinfra.api import StringCommand

from kubestage.cluster.answers import ask, expect
from kubestage.cluster.control_plane import ControlPlane
from kubestage.cluster.operation import operation
from kubestage.facts.files import FileStates
from kubestage.facts.platform_secrets import PlatformSecrets
from kubestage.facts.unknown import Unknown
from kubestage.kubernetes import APPLY, KUBECTL, PLATFORM_NAMESPACE
from kubestage.operations.files import aside
from kubestage.stacks.platform_secrets import Kept

_KUBECTL = f"{KUBECTL} --namespace {PLATFORM_NAMESPACE}"


@operation()
def files(control_plane: ControlPlane, secret: Kept) -> Generator[StringCommand, None, None]:
    """Make the files of `secret` on this host be what the cluster keeps; what the cluster lacks stays as it is."""
    state = _state(control_plane, secret)
    wrong = {
        key: state.stored[key]
        for key in secret.files
        if key in state.stored and state.files.get(key) != state.stored[key]
    }
    if not wrong:
        host.noop("as the cluster keeps them")
        return
    yield StringCommand("\n".join(["set -e", *(_restoring(secret, key, sha256) for key, sha256 in wrong.items())]))


@operation()
def secret(control_plane: ControlPlane, secret: Kept) -> Generator[StringCommand, None, None]:
    """Make the cluster keep the files of `secret` as they are on this host; of none, no Secret."""
    state = _state(control_plane, secret)
    if state.stored == state.files:
        host.noop("the cluster keeps them")
    elif state.files:
        values = " ".join(f"--from-file={key}={secret.files[key]}" for key in state.files)
        yield StringCommand(
            f"{KUBECTL} create namespace {PLATFORM_NAMESPACE} --dry-run=client --output yaml | {APPLY} -f - &&",
            f"{_KUBECTL} create secret generic {secret.name} {values} --dry-run=client --output yaml | {APPLY} -f -",
        )
    else:
        yield StringCommand(f"{_KUBECTL} delete secret {secret.name} --ignore-not-found")


@dataclass(frozen=True)
class _State:
    """A key -> the SHA-256 of what the Secret has `stored` for it, and of the file on this host."""

    stored: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def _state(control_plane: ControlPlane, secret: Kept) -> _State:
    """Of a run that looks ahead at an API that does not answer: nothing is there, nothing is to be done."""
    paths = list(secret.files.values())
    expect(FileStates, paths=paths)
    stored = control_plane.ask(PlatformSecrets)
    if isinstance(stored, Unknown):
        return _State()
    files = ask(FileStates, paths=paths)
    present = {key: files[path].sha256 for key, path in secret.files.items() if path in files}
    return _State(stored.get(secret.name, {}), present)


def _restoring(secret: Kept, key: str, sha256: str) -> str:
    """The commands that write a file by what the cluster keeps: aside, and only whole into its place."""
    path = secret.files[key]
    new, folder = aside(path), path.rpartition("/")[0]
    value = f"{_KUBECTL} get secret {secret.name} --output go-template='{{{{index .data \"{key}\"}}}}'"
    return (
        f"mkdir -p {folder}\n(umask 077; {value} | base64 -d > {new})\n"
        f'test "$(sha256sum < {new} | cut -c1-64)" = {sha256}\n'
        f"chmod {'644' if path.endswith('.crt') else '600'} {new}; sync {new}; mv --force {new} {path}; sync {folder}"
    )

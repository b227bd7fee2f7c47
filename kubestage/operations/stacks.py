"""Stacks put into the cluster, kept there and taken out again, from the control plane host."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, StringCommand
from pyinfra.api.operation import operation

from kubestage.facts.files import FileStates
from kubestage.facts.kubernetes import ManifestsApplied, Workload, WorkloadsReady
from kubestage.kubernetes import APPLY, KUBECTL
from kubestage.operations.files import write
from kubestage.shell import command_on
from kubestage.stacks.stack import STACK_LABEL, Secret, Stack


def _namespace(name: str) -> str:
    """The command that prints the Namespace's manifest: nothing but its name, so that its owner's labels stay."""
    return f"printf 'apiVersion: v1\\nkind: Namespace\\nmetadata:\\n  name: \"{name}\"\\n'"


def _manifest(stack: Stack, lines: str = "") -> str:
    """The command that prints the stack's manifest, filled in: all of it, or what sed's `lines` leaves."""
    if not stack.filled and not lines:
        return f"cat {stack.manifest.path}"
    values = "".join(f"v{number}=$({command}) && " for number, command in enumerate(stack.filled.values()))
    words = [f'"s|{word}|$v{number}|"' for number, word in enumerate(stack.filled)] + [f"'{lines}'"] * bool(lines)
    return f"{values}sed {' '.join(f'-e {word}' for word in words)} {stack.manifest.path}"


def _secret(stack: Stack, secret: Secret) -> str:
    """The command that prints the Secret's manifest. Its values are on no command line: printf is the shell's own."""
    lines = [
        "apiVersion: v1",
        "kind: Secret",
        "metadata:",
        f"  name: {secret.name}",
        f'  namespace: "{secret.namespace}"',  # "123" and "null" are names
        "  labels:",
        f"    {STACK_LABEL}: {stack.name}",
        f"type: {secret.type}",
        "data:",
        *(f"  {key}: %s" for key in secret.keys),
    ]
    values = [f"v{number}=$(base64 -w 0 < {shlex.quote(path)})" for number, path in enumerate(secret.keys.values())]
    words = " ".join(f'"$v{number}"' for number in range(len(values)))
    text = "\\n".join(lines)
    return f"{' && '.join(values)} && printf '{text}\\n' {words}"


def manifest_commands(stacks: Sequence[Stack]) -> list[str]:
    """Commands that print the stacks' manifests, in the order in which they are applied."""
    parts = []
    for stack in stacks:
        parts += [_namespace(name) for name in stack.namespaces]
        if stack.secrets:
            # Before what mounts them: a kubelet would hold on to an older one for a minute.
            first, rest = _manifest(stack, "/^---$/Q"), _manifest(stack, "1,/^---$/d")
            parts += [first, *(_secret(stack, secret) for secret in stack.secrets), rest]
        else:
            parts.append(_manifest(stack))
    return parts


@operation()
def kept(stacks: Sequence[Stack]) -> Generator[StringCommand, None, None]:
    """Keep stacks in the cluster as their manifests and files say: applied server-side, only when something differs.

    A ConfigMap that was edited by hand is put back, and the pods that may have started by it are made anew.
    """
    yield from write._inner([stack.manifest for stack in stacks])
    definitions = [stack.definitions for stack in stacks if stack.definitions]
    parts = manifest_commands(stacks)
    applied = host.get_fact(ManifestsApplied, parts=[*(f"cat {path}" for path in definitions), *parts])
    if applied.same:
        host.noop("in the cluster as it should be")
        return
    for path in definitions:
        # Objects of a kind can't be applied before the API server serves it.
        yield StringCommand(f"{APPLY} -f {path} && {KUBECTL} wait --for condition=Established --timeout 60s -f {path}")
    readers = (each for stack in stacks for each in stack.readers(applied.config_maps))
    # By a variable, not a pipe from the commands: nothing is applied when one of them fails. The restarts go with it:
    # the next run could not tell any more that they are due.
    yield StringCommand(
        f"manifests=$({' && echo --- && '.join(parts)}) && printf '%s\\n' \"$manifests\" | {APPLY} -f -",
        *(
            f"&& {KUBECTL} rollout restart --namespace {each.namespace} {each.kind.lower()}/{each.name}"
            for each in readers
            if each not in applied.restarted
        ),
    )


@operation()
def removed(stack: Stack) -> Generator[StringCommand, None, None]:
    """Take everything of the stack out of the cluster, its data too. What tells that it is there is its manifest."""
    path = stack.manifest.path
    present = host.get_fact(FileStates, paths=[path, *([stack.definitions] if stack.definitions else [])])
    if not present:
        host.noop(f"{stack.name} is not in the cluster")
        return
    delete = f"{KUBECTL} delete --ignore-not-found --wait --timeout=180s"
    if stack.secrets:
        # By the label: a Secret may lie in a namespace that is no longer in the settings.
        yield StringCommand(f"{delete} secrets --all-namespaces --selector {STACK_LABEL}={stack.name}")
    for file in present:  # the manifest is first: objects of a kind can't be deleted after their definition
        yield StringCommand(f"{delete} -f {file} && rm {file}")


@operation()
def switched(stack: Stack, on: bool) -> Generator[StringCommand, None, None]:
    """Keep the stack in the cluster, or out of it."""
    yield from kept._inner([stack]) if on else removed._inner(stack)


@operation()
def serving(
    control_plane: Host, workloads: Sequence[Workload], apis: Sequence[str] = (), timeout_s: int = 300
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Wait until all `workloads` run their current version with every replica ready, and the APIServices `apis` answer.

    One host has the operation for all; it asks the control plane host, which --limit may have left out.
    """
    ready = control_plane.get_fact(WorkloadsReady)
    waiting = [workload for workload in workloads if workload not in ready.workloads]
    silent = [api for api in apis if api not in ready.apis]
    if not (waiting or silent):
        host.noop("all that was asked for is ready")
    for workload in waiting:
        yield command_on(
            control_plane,
            f"{KUBECTL} rollout status --timeout={timeout_s}s --namespace {workload.namespace} "
            f"{workload.kind.lower()}/{workload.name} "
            f"|| {{ {KUBECTL} describe pods --namespace {workload.namespace} | tail -n 40 >&2; exit 1; }}",
        )
    for api in silent:
        yield command_on(
            control_plane,
            f"{KUBECTL} wait --for=condition=Available --timeout={timeout_s}s apiservice/{api} "
            f"|| {{ {KUBECTL} describe apiservice {api} | tail -n 20 >&2; exit 1; }}",
        )

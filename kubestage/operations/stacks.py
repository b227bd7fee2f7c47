"""Stacks put into the cluster, kept there and taken out again, from the control plane host."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence

from pyinfra import host, logger
from pyinfra.api import FunctionCommand, OperationError, StringCommand
from pyinfra.api.operation import operation

from kubestage.cluster.answers import ask
from kubestage.cluster.control_plane import ControlPlane
from kubestage.facts.files import FileStates
from kubestage.facts.kubernetes import ManifestsApplied, Ready, Workload, WorkloadsReady
from kubestage.facts.stack_objects import ObjectName, StackObject, StackObjects, StacksInCluster
from kubestage.facts.unknown import Unknown
from kubestage.kubernetes import APPLY, KUBECTL, STACK_LABEL
from kubestage.operations.explained import or_explained
from kubestage.operations.files import write
from kubestage.stacks.stack import Secret, Stack


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


def _definitions(stack: Stack) -> str:
    """The command that prints the stack's definitions with its label. kubectl puts nothing between two objects."""
    label = f"{KUBECTL} label --local -f {stack.definitions} {STACK_LABEL}={stack.name} -o json"
    return f"d=$({label}) && printf '%s\\n' \"$d\" | sed '1!s/^{{$/---\\n{{/'"


def _apply(parts: Sequence[str]) -> str:
    """The command that applies what `parts` print. By a variable, not a pipe from them: all of it or nothing."""
    return f"manifests=$({' && echo --- && '.join(parts)}) && printf '%s\\n' \"$manifests\" | {APPLY} -f -"


@operation()
def kept(stacks: Sequence[Stack], seen: StackObjects, timeout_s: int = 180) -> Generator[StringCommand, None, None]:
    """Keep stacks in the cluster as their manifests and files say: applied server-side, only when something differs.

    A ConfigMap that was edited by hand is put back, and the pods that may have started by it are made anew. What a
    stack has put there and its manifest no longer has is deleted. `seen`: what preflight found of the stacks.
    """
    yield from write._inner([stack.manifest for stack in stacks])
    definitions = {stack.definitions: _definitions(stack) for stack in stacks if stack.definitions}
    parts = manifest_commands(stacks)
    applied = ask(ManifestsApplied, parts=[*definitions.values(), *parts])
    if not applied.same:
        for path, command in definitions.items():
            # Objects of a kind can't be applied before the API server serves it.
            wait = f"{KUBECTL} wait --for condition=Established --timeout {timeout_s}s -f {path}"
            yield StringCommand(f"{_apply([command])} && {wait}")
        readers = (each for stack in stacks for each in stack.readers(applied.config_maps))
        # The restarts go with what is applied: the next run could not tell any more that they are due.
        yield StringCommand(
            _apply(parts),
            *(
                f"&& {KUBECTL} rollout restart --namespace {each.namespace} {each.kind.lower()}/{each.name}"
                for each in readers
                if each not in applied.restarted
            ),
        )
    wanted = {stack.name: stack.objects for stack in stacks}
    surplus = in_cluster_of(lambda one: _is_surplus(one, wanted), seen)
    if surplus:
        yield from pruned(surplus, timeout_s)
    elif applied.same:
        host.noop("in the cluster as it should be")


_HOLDERS = ("Namespace", "PersistentVolumeClaim")


def pruned(surplus: Sequence[StackObject], timeout_s: int) -> Iterator[StringCommand]:
    """Delete what is in no manifest any more; what may hold something of others is told of, and stays."""
    staying = [one for one in surplus if one.name.kind in _HOLDERS]
    if staying and host.state.is_executing:
        names = ", ".join(f"{one.name} of {one.stack}" for one in staying)
        logger.warning(f"No longer in a manifest, and left as there may be something of others in it: {names}")
    if len(surplus) > len(staying):
        yield deletion([one for one in surplus if one not in staying], timeout_s)


def _is_surplus(one: StackObject, wanted: Mapping[str, Collection[ObjectName]]) -> bool:
    """Whether its stack is among those `wanted`, and no longer has it. Which definitions it has, a stack can't tell."""
    known = one.stack in wanted and one.name.kind != "CustomResourceDefinition"
    return known and one.name not in wanted[one.stack]


# Nothing is handed on to what is about to go, and kinds go after what is of them.
_FIRST = ("APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_LAST = ("Namespace", "CustomResourceDefinition")


@operation()
def removed(stack: Stack, seen: StackObjects, timeout_s: int = 180) -> Generator[StringCommand, None, None]:
    """Take everything of the stack out of the cluster, its data too, and its manifest from the host.

    The cluster tells what there is of it. `seen`: what preflight found of the stacks.
    """
    if not (seen.known or host.state.is_executing):
        yield StringCommand(f"{KUBECTL} delete")  # nobody can tell before the API server answers
        return
    found = in_cluster(stack, seen)
    files = ask(FileStates, paths=[stack.manifest.path, *filter(None, [stack.definitions])])
    if found:
        yield deletion(found, timeout_s)
    if files:
        yield StringCommand("rm", *files)
    if not (found or files):
        host.noop(f"{stack.name} is not in the cluster")


def in_cluster(stack: Stack, seen: StackObjects) -> list[StackObject]:
    """What the stack has put into the cluster. Where preflight saw anything, it is asked again: it may have gone."""
    return in_cluster_of(lambda one: one.stack == stack.name, seen)


def in_cluster_of(which: Callable[[StackObject], bool], seen: StackObjects) -> list[StackObject]:
    """As in_cluster(), for the objects `which` says."""
    if seen.known and not any(map(which, seen.objects)):
        return []
    found = ask(StacksInCluster)
    if not found.known:
        raise OperationError(
            f"{host.name}: the API server does not say what stacks have put into the cluster: {found.error}\n"
            f"See `{KUBECTL} get nodes` there, and run the deploy again."
        )
    return list(filter(which, found.objects))


def deletion(objects: Iterable[StackObject], timeout_s: int) -> StringCommand:
    """The command that deletes the objects, and waits until they are gone."""

    def order(one: StackObject) -> tuple[bool, int]:
        kind = one.name.kind
        return kind not in _FIRST, _LAST.index(kind) + 1 if kind in _LAST else 0

    items = [
        {
            "apiVersion": one.api_version,
            "kind": one.name.kind,
            "metadata": {"namespace": one.name.namespace, "name": one.name.name},
        }
        for one in sorted(objects, key=order)
    ]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    return StringCommand(f"{KUBECTL} delete --ignore-not-found --wait --timeout={timeout_s}s -f -", _stdin=listed)


@operation()
def switched(stack: Stack, on: bool, seen: StackObjects, timeout_s: int = 180) -> Generator[StringCommand, None, None]:
    """Keep the stack in the cluster, or out of it. `seen`: what preflight found of the stacks."""
    yield from kept._inner([stack], seen, timeout_s) if on else removed._inner(stack, seen, timeout_s)


@operation()
def serving(
    control_plane: ControlPlane, workloads: Sequence[Workload], apis: Sequence[str] = (), timeout_s: int = 300
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Wait until all `workloads` run their current version with every replica ready, and the APIServices `apis` answer.

    One host has the operation for all; it asks the control plane host, which --limit may have left out.
    """
    answer = control_plane.ask(WorkloadsReady)
    ready = Ready() if isinstance(answer, Unknown) else answer
    waiting = [workload for workload in workloads if workload not in ready.workloads]
    silent = [api for api in apis if api not in ready.apis]
    if not (waiting or silent):
        host.noop("all that was asked for is ready")
    for workload in waiting:
        yield control_plane.command(
            f"{KUBECTL} rollout status --timeout={timeout_s}s --namespace {workload.namespace} "
            f"{workload.kind.lower()}/{workload.name} "
            + or_explained(f"{KUBECTL} describe pods --namespace {workload.namespace} | tail -n 40"),
        )
    for api in silent:
        yield control_plane.command(
            f"{KUBECTL} wait --for=condition=Available --timeout={timeout_s}s apiservice/{api} "
            + or_explained(f"{KUBECTL} describe apiservice {api} | tail -n 20"),
        )

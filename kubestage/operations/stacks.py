"""Stacks put into the cluster, kept there and taken out again, from the control plane host."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from pyinfra import host, logger
from pyinfra.api import FunctionCommand, OperationError, StringCommand

from kubestage.cluster import connections
from kubestage.cluster.answers import ask, expect
from kubestage.cluster.control_plane import ControlPlane
from kubestage.cluster.operation import operation
from kubestage.cluster.shell import run_on
from kubestage.facts.files import FileState, FileStates, Missing
from kubestage.facts.kubernetes import ManifestsApplied, Ready, Workload, WorkloadsReady
from kubestage.facts.own_manifests import OBJECTS, ManifestObjects
from kubestage.facts.printed import Printed
from kubestage.facts.stack_objects import ObjectName, StackObject, StackObjects, StacksInCluster
from kubestage.facts.unknown import Unknown
from kubestage.kubernetes import APPLIED, APPLY, KUBECTL, STACK_LABEL
from kubestage.operations.explained import or_explained
from kubestage.operations.files import differing, files
from kubestage.stacks.stack import Stack

_KUSTOMIZE = "kubectl kustomize --load-restrictor LoadRestrictionsNone"  # its files are wherever they are kept


def manifest_commands(stacks: Sequence[Stack]) -> list[str]:
    """Commands that print the stacks' manifests, in the order in which they are applied.

    Secrets before what mounts them: a kubelet would hold on to an older one for a minute.
    """
    parts = []
    for stack in stacks:
        parts.append(f"cat {stack.namespaces.path}")
        if stack.secrets:
            parts.append(f"{_KUSTOMIZE} {stack.secrets_folder}")
        parts += [f"cat {stack.manifest.path}", f"cat {stack.record.path}"]
    return parts


def _upstream_commands(stack: Stack) -> list[str]:
    """Commands that print what others have written of the stack, in the order in which it is applied."""
    return [f"{_KUSTOMIZE} {stack.upstream_folder(number)}" for number in range(len(stack.upstream))]


def apply(parts: Sequence[str]) -> str:
    """The command that applies what `parts` print. By a variable, not a pipe from them: all of it or nothing."""
    return f"manifests=$({' && echo --- && '.join(parts)}) && printf '%s\\n' \"$manifests\" | {APPLY} -f -"


def served(label: str, timeout_s: int) -> str:
    """The command that waits until the API server serves the kinds whose definitions have that label, if there are any.

    Objects of a kind can't be applied before.
    """
    definitions = f"customresourcedefinitions --selector {STACK_LABEL}={label}"
    return (
        f'if [ -n "$({KUBECTL} get {definitions} --output name)" ]; then '
        f"{KUBECTL} wait --for condition=Established --timeout {timeout_s}s {definitions}; fi"
    )


def _rolled_out(workload: Workload, timeout_s: int) -> str:
    return (
        f"{KUBECTL} rollout status --timeout={timeout_s}s --namespace {workload.namespace} "
        f"{workload.kind.lower()}/{workload.name}"
    )


def _answers(stack: Stack) -> dict[str, str]:
    """What the stack asks, answered; nothing of it while a run looks ahead at what is not there yet."""
    printed: dict[str, str] | Unknown = ask(Printed, commands=stack.asked) if stack.asked else {}
    if not isinstance(printed, Unknown):
        return printed
    if host.state.is_executing:
        raise OperationError(f"{host.name}: {stack.name}: a command for its manifest failed: {printed.reason}")
    return {}


@operation()
def stacks(stacks: Sequence[Stack], seen: StackObjects, timeout_s: int = 180) -> Generator[StringCommand, None, None]:
    """Keep stacks in the cluster as their manifests and files say: applied server-side, only when something differs.

    A ConfigMap that was edited by hand is put back, and the pods that may have started by it are made anew. What a
    stack has put there and its manifest no longer has is deleted. `seen`: what preflight found of the stacks.
    """
    upstream = [part for stack in stacks for part in _upstream_commands(stack)]
    parts = manifest_commands(stacks)
    answers = [_answers(stack) for stack in stacks]
    made = {stack.name: stack.files(answer) for stack, answer in zip(stacks, answers, strict=True)}
    paths = {stack.name: [*(file.path for file in made[stack.name]), *stack.sources] for stack in stacks}
    every = list(chain.from_iterable(paths.values()))
    if _nothing_changed() and all(_is_untouched(stack, seen) for stack in stacks):
        states = ask(FileStates, paths=every)
        wrong = differing(chain.from_iterable(made.values()), states)
        if not wrong and all(seen.applied[name] == _note(name, seen, states, paths[name]) for name in paths):
            host.noop("untouched since it was last found as it should be")
            return
    expect(FileStates, paths=every)
    expect(ManifestsApplied, parts=[*upstream, *parts])  # mostly the files are as they should be
    yield from files._inner(list(chain.from_iterable(made.values())))
    applied = ask(ManifestsApplied, parts=[*upstream, *parts])
    if not applied.same:
        for stack in stacks:
            for part, theirs in zip(_upstream_commands(stack), stack.upstream, strict=True):
                waits = [served(stack.name, timeout_s), *(_rolled_out(each, timeout_s) for each in theirs.workloads)]
                yield StringCommand(" && ".join([apply([f"cat {stack.namespaces.path}", part]), *waits]))
        readers = (each for stack in stacks for each in stack.readers(applied.config_maps))
        # The restarts go with what is applied: the next run could not tell any more that they are due.
        yield StringCommand(
            apply(parts),
            *(
                f"&& {KUBECTL} rollout restart --namespace {each.namespace} {each.kind.lower()}/{each.name}"
                for each in readers
                if each not in applied.restarted
            ),
        )
    found = [_surplus(stack, seen) for stack in stacks]
    surplus = [one for each in found for one in each or ()]
    if surplus:
        yield from pruned(surplus, timeout_s)
    elif applied.same:
        host.noop("in the cluster as it should be")
        known = None not in found and all(_is_seen(stack, seen) for stack in stacks)
        if known and host.state.is_executing and _nothing_changed():
            states = ask(FileStates, paths=every)
            notes = {stack.folder: _note(stack.name, seen, states, paths[stack.name]) for stack in stacks}
            with connections.question(host):  # it changes nothing that anybody asks for
                run_on(host, "; ".join(f"echo {note} > {folder}/{APPLIED}" for folder, note in notes.items()))


def _nothing_changed() -> bool:
    """Whether the run has changed nothing anywhere since preflight looked."""
    metas = (data.operation_meta for operations in host.state.ops.values() for data in operations.values())
    return not any(meta.is_complete() and meta.did_change() for meta in metas)


def _is_seen(stack: Stack, seen: StackObjects) -> bool:
    """Whether preflight saw all that there is of the stack."""
    return not seen.error and any(one.stack == stack.name for one in seen.objects)


def _is_untouched(stack: Stack, seen: StackObjects) -> bool:
    """Whether nobody has changed the stack's objects since they were found as they should be."""
    return _is_seen(stack, seen) and seen.applied.get(stack.name, "").startswith(_states(stack.name, seen))


def _states(name: str, seen: StackObjects) -> str:
    """Another one whenever somebody has changed what is wanted of an object of the stack's, or one comes or goes."""
    return _digest(f"{one.name} {one.state}" for one in seen.objects if one.stack == name)


def _note(name: str, seen: StackObjects, states: Mapping[str, FileState], paths: Iterable[str]) -> str:
    """What there is of the stack in the cluster, and in the files at `paths`, of which it is made: two digests."""
    return f"{_states(name, seen)}.{_digest(f'{path} {states[path].sha256}' for path in paths if path in states)}"


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _surplus(stack: Stack, seen: StackObjects) -> list[StackObject] | None:
    """What the stack has put into the cluster, and has no longer; definitions of kinds stay while it is there.

    None where nobody can tell what others have written.
    """
    own = stack.objects
    found = in_cluster_of(
        lambda one: one.stack == stack.name and one.name.kind != "CustomResourceDefinition" and one.name not in own,
        seen,
    )
    if not (found and stack.upstream):
        return found
    label = f"{KUBECTL} label --local --overwrite --filename - {STACK_LABEL}={stack.name} --output {OBJECTS}"
    theirs = ask(ManifestObjects, command=f"{{ {' && echo --- && '.join(_upstream_commands(stack))}; }} | {label}")
    return None if theirs is None else [one for one in found if not is_among(one.name, theirs)]


def is_among(name: ObjectName, objects: Collection[ObjectName]) -> bool:
    """Whether it is one of `objects`, of which one without a namespace may be in none or in "default"."""
    alike = ObjectName(name.group, name.kind, "", name.name)
    return name in objects or (name.namespace in ("", "default") and alike in objects)


_HOLDERS = ("Namespace", "PersistentVolumeClaim")


def pruned(surplus: Sequence[StackObject], timeout_s: int) -> Iterator[StringCommand]:
    """Delete what is in no manifest any more; what may hold something of others is told of, and stays."""
    staying = [one for one in surplus if one.name.kind in _HOLDERS]
    if staying and host.state.is_executing:
        names = ", ".join(f"{one.name} of {one.stack}" for one in staying)
        logger.warning(f"No longer in a manifest, and left as there may be something of others in it: {names}")
    if len(surplus) > len(staying):
        yield deletion([one for one in surplus if one not in staying], timeout_s)


# Nothing is handed on to what is about to go, and kinds go after what is of them.
_FIRST = ("APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_LAST = ("Namespace", "CustomResourceDefinition")


@operation()
def no_stack(stack: Stack, seen: StackObjects, timeout_s: int = 180) -> Generator[StringCommand, None, None]:
    """Take everything of the stack out of the cluster, its data too, and its manifests from the host.

    The cluster tells what there is of it. `seen`: what preflight found of the stacks. One that makes volumes goes once
    those of claims that are gone have been deleted by it.
    """
    if not (seen.known or host.state.is_executing):
        yield StringCommand(f"{KUBECTL} delete")  # nobody can tell before the API server answers
        return
    found = in_cluster(stack, seen)
    on_disk = stack.folder not in ask(Missing, paths=[stack.folder])
    if found and stack.storage_class:
        yield _volumes_gone(stack, timeout_s)
    if found:
        yield deletion(found, timeout_s)
    if on_disk:
        yield StringCommand("rm -r", stack.folder)
    if not (found or on_disk):
        host.noop(f"{stack.name} is not in the cluster")


def _volumes_gone(stack: Stack, timeout_s: int) -> StringCommand:
    names = f'{{.items[?(@.spec.storageClassName=="{stack.storage_class}")].metadata.name}}'
    return StringCommand(
        f"volumes=$({KUBECTL} get persistentvolumes -o jsonpath='{names}') &&",
        'if test -n "$volumes"; then',
        f"{KUBECTL} wait --for=delete --timeout={timeout_s}s persistentvolumes $volumes >/dev/null ||",
        f"{{ {KUBECTL} get persistentvolumes >&2;",
        f"echo 'the stack {stack.name} stays while it has volumes: delete their claims' >&2; exit 1; }}; fi",
    )


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
def readiness(
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
            f"{_rolled_out(workload, timeout_s)} "
            + or_explained(f"{KUBECTL} describe pods --namespace {workload.namespace} | tail -n 40"),
        )
    for api in silent:
        yield control_plane.command(
            f"{KUBECTL} wait --for=condition=Available --timeout={timeout_s}s apiservice/{api} "
            + or_explained(f"{KUBECTL} describe apiservice {api} | tail -n 20"),
        )

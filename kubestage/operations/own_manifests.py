"""The user's own manifests: applied server-side from the control plane host, kept so, and taken out again."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import StringCommand

from kubestage.cluster.answers import ask
from kubestage.cluster.operation import operation
from kubestage.facts.kubernetes import ManifestsApplied
from kubestage.facts.own_manifests import OBJECTS, Folders, ManifestObjects
from kubestage.facts.stack_objects import StackObjects
from kubestage.kubernetes import APPLY
from kubestage.operations.files import download, files
from kubestage.operations.stacks import deletion, in_cluster_of, is_among, pruned, served
from kubestage.stacks.own_manifests import FOLDER, OwnManifests, is_own


@operation()
def entry(
    own: OwnManifests, address: str, seen: StackObjects, timeout_s: int = 60
) -> Generator[StringCommand, None, None]:
    """Keep what `own` says in the cluster; what it said before, and no longer does, is deleted.

    `address`: from where its URL is fetched. `seen`: what preflight found in the cluster.
    """
    if own.source.url:
        yield from download._inner(address, own.downloaded, own.source.sha256)
    else:
        yield from files._inner(own.files(), whole=own.folder)
    same = ask(ManifestsApplied, parts=[own.labelled()]).same
    if not same:
        yield StringCommand(_apply(own, timeout_s))
    before = in_cluster_of(lambda one: one.stack == own.label, seen)
    wanted = ask(ManifestObjects, command=own.labelled(OBJECTS)) if before else None
    surplus = [one for one in before if wanted is not None and not is_among(one.name, wanted)]
    if surplus:
        yield from pruned(surplus, timeout_s)
    elif same:
        host.noop("in the cluster as it should be")


def _apply(own: OwnManifests, timeout_s: int) -> str:
    # A namespace, or the definition of a kind, may come after what is of it: what can be applied is, and then the rest.
    return (
        f"manifests=$({own.labelled()}) || exit\n"
        f"apply() {{ printf '%s\\n' \"$manifests\" | {APPLY} -f -; }}\n"
        f"said=$(apply 2>&1) || {{\n"
        f"    {served(own.label, timeout_s)} || exit\n    apply\n}}"
    )


@operation()
def no_others(
    kept: Sequence[OwnManifests], seen: StackObjects, timeout_s: int = 180
) -> Generator[StringCommand, None, None]:
    """Take out of the cluster, with their files, what is of none of `kept`: it was in the settings once."""
    labels, names = {own.label for own in kept}, {own.name for own in kept}
    surplus = in_cluster_of(lambda one: is_own(one.stack) and one.stack not in labels, seen)
    folders = [f"{FOLDER}/{name}" for name in ask(Folders, path=FOLDER) if name not in names]
    if surplus:
        yield deletion(surplus, timeout_s)
    if folders:
        yield StringCommand("rm -rf", *map(shlex.quote, folders))
    if not (surplus or folders):
        host.noop("nothing but what the settings have")

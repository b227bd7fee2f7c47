"""Volumes on a host's disk: a rebuilt host gets the folders that it lost, and none is left when the stack goes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Generator, Mapping

from pyinfra import host, logger
from pyinfra.api import FunctionCommand, OperationError, StringCommand

from kubestage.cluster.answers import ask
from kubestage.cluster.control_plane import ControlPlane
from kubestage.cluster.operation import operation
from kubestage.facts.files import EmptyFolder, Missing
from kubestage.facts.kubernetes import NodeVolumes
from kubestage.facts.unknown import Unknown
from kubestage.kubernetes import KUBECTL


@operation()
def folders(volumes: Mapping[str, str] | Unknown) -> Generator[StringCommand, None, None]:
    """Make each of `volumes` (claim -> folder) have its folder, as the provisioner made it; what was in it is lost."""
    if isinstance(volumes, Unknown):
        if host.state.is_executing:
            raise OperationError(
                f"{host.name}: which volumes lay here before it was rebuilt, the API server did not say when the run "
                f"began: {volumes.reason}\n    -> run again: with its first pod, the host would make their folders for "
                "root alone"
            )
        host.noop("the API server does not say which volumes lay here")
        return
    lost = ask(Missing, paths=sorted(volumes.values()))
    if not lost:
        host.noop("the volumes' folders are there")
        return
    if host.state.is_executing:
        claims = ", ".join(sorted(claim for claim, folder in volumes.items() if folder in lost))
        logger.warning(f"{host.name} has lost the data of these volumes, and gets them empty: {claims}")
    names = " ".join(map(shlex.quote, lost))
    # Nothing for the host's own users in the folder of them all, and no other folder of an odd mode.
    yield StringCommand(f'for f in {names}; do mkdir -p -m 0700 "${{f%/*}}" && mkdir -m 0777 "$f" || exit; done')


@operation()
def no_volumes(control_plane: ControlPlane, node: str) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Delete the volumes that lay on a node that is gone, with their claims: no pod could have them anywhere else.

    The provisioner could not: it would do it on that node.
    """
    volumes = control_plane.ask(NodeVolumes, node=node)
    if isinstance(volumes, Unknown) or not volumes:
        host.noop(f"no volume is bound to {node}")
        return
    for volume, claim in volumes.items():
        namespace, _, name = claim.partition("/")
        finalizers = json.dumps({"metadata": {"finalizers": None}})
        yield control_plane.command(
            f"{KUBECTL} delete persistentvolume {volume} --ignore-not-found --wait=false && "
            f"{KUBECTL} --namespace {namespace} delete persistentvolumeclaim {name} --ignore-not-found --wait=false && "
            f"{{ said=$({KUBECTL} patch persistentvolume {volume} --type merge --patch '{finalizers}' 2>&1) || "
            # With its claim it may be gone before nothing holds it any more.
            "case $said in *NotFound*) ;; *) printf '%s\\n' \"$said\" >&2; false ;; esac; }"
        )


@operation()
def no_empty_folder(path: str) -> Generator[StringCommand, None, None]:
    """Make the folder of a node's volumes be gone; one that holds anything, or is a disk's, stays."""
    if ask(EmptyFolder, path=path):
        yield StringCommand(f"rmdir {path}")
    else:
        host.noop(f"{path} is not there, or in use")

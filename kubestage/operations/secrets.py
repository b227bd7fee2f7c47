"""The cluster's Secrets in etcd."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api import StringCommand

from kubestage.cluster.operation import operation
from kubestage.kubernetes import KUBECTL

_TRIES = 5  # of a cluster in which others write Secrets too


@operation()
def rewritten() -> Generator[StringCommand, None, None]:
    """Write every Secret anew as it is: with the key with which API servers write now.

    One that somebody else has written or deleted meanwhile is refused, and then all are written once more.
    """
    yield StringCommand(
        f"n=0; until said=$({KUBECTL} get secrets --all-namespaces --output json | {KUBECTL} replace -f - 2>&1); do "
        f'n=$((n + 1)); if [ $n = {_TRIES} ] || echo "$said" | grep -v replaced$ | '
        "grep -qvE '\\(Conflict\\)|\\(NotFound\\)'; then "
        'echo "$said" | grep -v replaced$ | tail -n 5 >&2; exit 1; fi; done'
    )

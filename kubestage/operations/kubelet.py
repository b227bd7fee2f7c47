"""The kubelet as a service of its host."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra.api import StringCommand

from kubestage.cluster.operation import operation
from kubestage.operations import systemd

_LISTENS = "' 0100007F:2808 [0-9A-F:]* 0A '"  # on 127.0.0.1:10248, as /proc/net/tcp has it: there it tells its health


@operation()
def service(configuration: Sequence[str], timeout_s: int) -> Generator[StringCommand, None, None]:
    """Make the kubelet be enabled and run with what is in the files `configuration`.

    A kubelet that can't read its configuration ends at once, and systemd starts it again and again: after a start it is
    waited for, before the next host's is restarted.
    """
    healthy = (
        f'{{ timeout {timeout_s} sh -c "until grep -q {_LISTENS} /proc/net/tcp; do sleep 0.1; done" || '
        "{ journalctl --unit kubelet --lines 15 --no-pager >&2; "
        f"echo 'the kubelet was started, and does not run {timeout_s} s later' >&2; exit 1; }}; }}"
    )
    yield from systemd.services._inner({"kubelet.service": configuration}, proof=healthy)

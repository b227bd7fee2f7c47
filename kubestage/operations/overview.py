"""The last words of a run."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from pyinfra import host, logger
from pyinfra.api import StringCommand

from kubestage.cluster.operation import operation
from kubestage.output.overview import overview, text
from kubestage.settings import ClusterSettings
from kubestage.stacks.stack_type import Place


@operation()
def summary(settings: ClusterSettings, place: Place, ca: Path) -> Generator[StringCommand, None, None]:
    """Print what is where, from the host whose operation this is; `ca`: this machine's copy of the CA, if there is one.

    Never a change.
    """
    if host.state.is_executing:
        for line in text(overview(settings, place, has_ca=ca.exists())).splitlines():
            if line:  # a run that changes nothing says so in few lines
                logger.info(f"    {line}")
    host.noop("printed")
    return
    yield

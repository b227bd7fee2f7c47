"""The user's own kubeconfig, on the machine that the run is started from."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import yaml
from pyinfra import host
from pyinfra.api import FunctionCommand, OperationError

from kubestage.cluster.answers import ask
from kubestage.cluster.operation import operation
from kubestage.cluster.shell import call, run_on
from kubestage.facts.files import FileStates
from kubestage.kubernetes import ADMIN_CONF
from kubestage.local_file import save


@operation()
def own_copy(path: Path, server: str, cluster_name: str) -> Generator[FunctionCommand, None, None]:
    """Keep `path` a copy of the control plane's admin.conf that talks to `server` (https://HOST:PORT), mode 0600."""
    states = ask(FileStates, paths=[ADMIN_CONF])
    source = states[ADMIN_CONF].sha256 if ADMIN_CONF in states else "not there yet"
    head = f"# {cluster_name} at {server}, from {host.name}'s {ADMIN_CONF} with SHA-256 {source}\n"
    if path.exists() and path.stat().st_mode & 0o777 == 0o600 and path.read_text().startswith(head):
        host.noop(f"{path} is up to date")
        return
    yield call(_fetch, path, server, cluster_name, head)


def _fetch(path: Path, server: str, cluster_name: str, head: str) -> None:
    # Not by host.get_file: with sudo it makes a copy that everybody on the host can read.
    found, content = run_on(host, f"cat {ADMIN_CONF}")
    if not found:
        raise OperationError(f"{host.name}: could not read {ADMIN_CONF}")
    document = yaml.safe_load(content)
    document["clusters"][0]["cluster"]["server"] = server
    save(path, head + yaml.safe_dump(document, sort_keys=False), mode=0o600)

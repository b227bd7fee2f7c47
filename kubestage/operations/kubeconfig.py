"""The user's own kubeconfig, on the machine that the run is started from."""

from __future__ import annotations

from collections.abc import Generator, Mapping
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
def own_copy(path: Path, servers: Mapping[str, str], cluster_name: str) -> Generator[FunctionCommand, None, None]:
    """Keep `path` a copy of this host's admin.conf, mode 0600, that talks to this host's API server.

    `servers`: name -> https://HOST:PORT of each control plane host, this one among them. A context of its name is there
    for each, for `kubectl --context`, as a kubeconfig has one server for a cluster.
    """
    states = ask(FileStates, paths=[ADMIN_CONF])
    source = states[ADMIN_CONF].sha256 if ADMIN_CONF in states else "not there yet"
    named = ", ".join(f"{name} {server}" for name, server in servers.items())
    head = f"# {cluster_name} at {named}, from {host.name}'s {ADMIN_CONF} with SHA-256 {source}\n"
    if path.exists() and path.stat().st_mode & 0o777 == 0o600 and path.read_text().startswith(head):
        host.noop(f"{path} is up to date")
        return
    yield call(_fetch, path, servers, head)


def _fetch(path: Path, servers: Mapping[str, str], head: str) -> None:
    # Not by host.get_file: with sudo it makes a copy that everybody on the host can read.
    found, content = run_on(host, f"cat {ADMIN_CONF}")
    if not found:
        raise OperationError(f"{host.name}: could not read {ADMIN_CONF}")
    document = yaml.safe_load(content)
    (cluster,), (user,) = document["clusters"], document["users"]
    cluster["cluster"]["server"] = servers[host.name]
    if len(servers) > 1:
        for name, server in servers.items():
            document["clusters"].append({"name": name, "cluster": {**cluster["cluster"], "server": server}})
            document["contexts"].append({"name": name, "context": {"cluster": name, "user": user["name"]}})
    save(path, head + yaml.safe_dump(document, sort_keys=False), mode=0o600)

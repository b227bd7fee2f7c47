"""Which API server a command asks."""

from __future__ import annotations

import socket
from pathlib import Path

import yaml

from kubestage.commands.api import reachable


def kubeconfig(path: Path, **ports: int) -> str:
    """One with a context for each name; the first is the current one."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": f"https://127.0.0.1:{port}"}} for name, port in ports.items()
        ],
        "users": [{"name": "me", "user": {"token": "secret"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "me"}} for name in ports],
        "current-context": next(iter(ports)),
    }
    path.write_text(yaml.safe_dump(document))
    return str(path)


def test_another_one_where_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as listening, socket.socket() as other:
        for each in (listening, other):
            each.bind(("127.0.0.1", 0))
        listening.listen()
        port, dead = listening.getsockname()[1], other.getsockname()[1]
        path = tmp_path / "kubeconfig"
        assert reachable(kubeconfig(path, cp1=dead, cp2=port)).host == f"https://127.0.0.1:{port}"
        assert reachable(kubeconfig(path, cp1=port, cp2=dead)).host == f"https://127.0.0.1:{port}"
        assert reachable(kubeconfig(path, cp1=dead)).host == f"https://127.0.0.1:{dead}"

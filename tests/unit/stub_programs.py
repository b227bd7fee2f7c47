"""Run a command that is meant for a host in a folder of its own, with programs that stand in for the host's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def run_with(
    folder: Path, command: str, programs: dict[str, str], moved: tuple[str, ...] = (), given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `command` by sh. `programs`: name -> what it does, in sh; each call of one goes to the file "calls" first.

    The paths in the command that begin with one of `moved` are moved into `folder`. `given` is its standard input.
    """
    stubs = folder / "stubs"
    stubs.mkdir(exist_ok=True)
    for name, script in programs.items():
        program = stubs / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/calls\n{script}\n')
        program.chmod(0o755)
    for prefix in moved:
        (folder / prefix.lstrip("/")).mkdir(parents=True, exist_ok=True)
        command = command.replace(prefix, f"{folder}{prefix}")
    (folder / "calls").write_text("")
    environment = {**os.environ, "PATH": f"{stubs}:{os.environ['PATH']}"}
    argv = ["sh", "-c", command]
    return subprocess.run(argv, env=environment, input=given, capture_output=True, text=True, check=False)


def calls(folder: Path) -> list[str]:
    """The calls of the programs in the last command, in their order."""
    return (folder / "calls").read_text().splitlines()


def api_server(pid: str) -> str:
    """What a containerd's ctr says by kubestage.kubernetes.static_pod_pid, for run_with; `pid` may be empty for none.

    In the same namespace is what other pods run, a container of the API server that has ended, and one of a vcluster.
    """
    return f"""\
case "$*" in
    "--namespace k8s.io containers list --quiet labels."*'namespace"==kube-system,'*'name"==kube-apiserver')
        printf '%s\\n' ended ours ;;
    "--namespace k8s.io tasks list")
        pid={pid}
        echo "TASK     PID     STATUS"
        printf '%s     %s     %s\\n' other 1 RUNNING ended 1 STOPPED
        test -z "$pid" || printf '%s     %s     %s\\n' ours $pid RUNNING
        printf '%s     %s     %s\\n' vcluster 1 RUNNING ;;
    *) exit 64 ;;
esac"""

"""What preflight tells of the logins that a run has."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from kubestage.checks.cluster_hosts import ClusterHosts

# What a command by ssh goes through: of the user's shell, of sshd's own, and of all users' logins by sudo.
FILES = (
    "~/.bashrc and /etc/bash.bashrc (or ~/.zshenv), ~/.ssh/rc and /etc/ssh/sshrc, a ForceCommand in "
    "/etc/ssh/sshd_config, /etc/profile.d"
)


def printing(hosts: ClusterHosts) -> Iterator[str]:
    """No reason not to run: what a run reads is framed. Programs such as scp and rsync break by it."""
    for name, _, report in hosts:
        if report.printed:
            said = textwrap.shorten(report.printed, 80, placeholder=" ...")
            yield (
                f"{name}: its login prints {said!r} at every command. A run leaves that out; scp and rsync can't. "
                f"Print it for people alone: see {FILES}"
            )

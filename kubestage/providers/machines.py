"""The machines that hosts are, and what their owner can do with them: the same few things, whoever that is."""

from __future__ import annotations

from typing import Protocol

from kubestage.providers import Description, ProviderError
from kubestage.providers.command import Command
from kubestage.providers.ecs.machine import SCHEME, EcsMachine


class Machine(Protocol):
    """One host's. Each step ends when it is done, and is done already where it is called again; ProviderError else."""

    def describe(self) -> Description: ...

    def stop(self) -> None:
        """Shut it down."""

    def replace(self, image: str) -> None:
        """Give it a blank system disk made of `image`, "" for what its own was made of. It is stopped, and stays so."""

    def start(self) -> None:
        """Boot it."""

    def image(self, name: str) -> str:
        """Make an image called `name` of its disk, and say how `replace` calls it. It is stopped, and stays so."""

    def host_keys(self) -> list[str]:
        """The SSH host keys that it has made since, "ssh-ed25519 AAAA…"; none where nobody can tell."""


def machine(host: str, provider: str, timeout_s: int) -> Machine:
    """The machine of a host whose setting `provider` is this. `timeout_s`: how long a step may take."""
    if not provider:
        raise ProviderError(
            f"{host}: provider is not set, so nobody knows who can replace its disk\n"
            "    -> set it for the host: the command that README describes; inventory/aliyun.py sets its own"
        )
    if provider.startswith(SCHEME):
        return EcsMachine(host, provider, timeout_s)
    return Command(host, provider, timeout_s)

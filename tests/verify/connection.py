"""testinfra's way to the hosts: the connections that pyinfra makes, so that whatever a run can reach can be verified.

Keys, known hosts, jump hosts and ports are those of the inventory, and host keys are checked as in a run.
"""

from __future__ import annotations

from functools import cached_property

import pytest
from paramiko import SSHClient
from pyinfra.api import Host
from pyinfra.api.exceptions import PyinfraError
from pyinfra.connectors.ssh import SSHConnector
from testinfra.backend.paramiko import ParamikoBackend
from testinfra.host import Host as Machine

from kubestage.cluster.inventory import Target
from kubestage.settings import Problem


class PyinfraBackend(ParamikoBackend):  # type: ignore[misc]
    """Runs testinfra's commands over pyinfra's SSH client for `host`."""

    NAME = "pyinfra"

    def __init__(self, host: Host) -> None:
        super().__init__(host.name)
        self._target = host

    @cached_property
    def client(self) -> SSHClient:
        connector = self._target.connector
        assert isinstance(connector, SSHConnector), f"{self._target.name} is not reached by SSH"
        connector.connect()
        assert connector.client is not None
        return connector.client


class Machines:
    """The hosts by name, as testinfra sees them with root's rights; each is connected to when it is first asked for."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._known: dict[str, Machine | Problem] = {}

    def __getitem__(self, name: str) -> Machine:
        """The host `name`. The test fails if it can't be reached, or gives no root's rights."""
        found = self.get(name)
        if isinstance(found, Problem):
            pytest.fail(str(found), pytrace=False)
        return found

    def get(self, name: str) -> Machine | Problem:
        """The host `name`, or why it can't be had."""
        if name not in self._known:
            self._known[name] = self._connected(name)
        return self._known[name]

    def _connected(self, name: str) -> Machine | Problem:
        backend = PyinfraBackend(self._target.host(name))
        machine = Machine(backend)
        try:
            if machine.run("id -u").stdout.strip() == "0":
                return machine
        except PyinfraError as error:
            return Problem(
                name,
                f"no connection by SSH: {error}",
                "see that the host is up; ssh_hostname, ssh_port, ssh_user and ssh_key are the inventory's",
                "ssh_hostname",
                self._target.data(name, "ssh_hostname") or name,
            )
        backend.sudo = True
        asked = machine.run("id -u")
        if asked.stdout.strip() == "0":
            return machine
        return Problem(
            name,
            f"sudo gives no root's rights: {asked.stderr.strip()}",
            "let this user use sudo without a password, or log in as root",
            "ssh_user",
            self._target.data(name, "ssh_user"),
        )

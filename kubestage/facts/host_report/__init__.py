"""All that preflight asks of a host, in one round trip. Reads only: nothing on the host is changed.

One module a subject: its part of the script, the fields of the report, and how they are read from the answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyinfra.api.exceptions import FactProcessError

from kubestage.facts.answers import Answers
from kubestage.facts.framed import Fact, beside
from kubestage.facts.host_report import (
    certificates,
    cluster,
    disks,
    encryption,
    machine,
    membership,
    network,
    packages,
    registries,
    runtimes,
)
from kubestage.facts.host_report.certificates import Certificates
from kubestage.facts.host_report.cluster import ClusterReport, Living, Node, Volume
from kubestage.facts.host_report.disks import Disks, FileSystem
from kubestage.facts.host_report.encryption import Encryption
from kubestage.facts.host_report.machine import TOOLS, Machine
from kubestage.facts.host_report.membership import Membership
from kubestage.facts.host_report.network import Network
from kubestage.facts.host_report.packages import Packages, Repository
from kubestage.facts.host_report.registries import Registries
from kubestage.facts.host_report.runtimes import Runtimes
from kubestage.facts.host_report.wanted import KUBERNETES_PACKAGES, Wanted

__all__ = [
    "KUBERNETES_PACKAGES",
    "TOOLS",
    "ClusterReport",
    "FileSystem",
    "HostReport",
    "HostReportFact",
    "Node",
    "Repository",
    "Volume",
    "Wanted",
    "parse",
]


@dataclass(frozen=True, kw_only=True)
class HostReport(Machine, Disks, Network, Membership, Encryption, Certificates, Packages, Registries, Runtimes, Living):
    """One host as it is now. `clock`: how far its clock is ahead of ours, at least and at most, in seconds.

    `printed`: what the login printed beside the answer.
    """

    clock: tuple[float, float]
    printed: str = ""


def _script(wanted: Wanted) -> str:
    return "".join(
        [
            "export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
            'echo "begin $(date +%s.%N)"\n',
            machine.script(),
            disks.script(wanted),
            network.script(),
            membership.script(),
            encryption.script(),
            certificates.script(),
            packages.script(wanted),
            registries.script(wanted),
            runtimes.script(),
            cluster.script(),
            'echo "end $(date +%s.%N)"\n',
        ]
    )


class HostReportFact(Fact[HostReport]):
    """The HostReport; None where the host's answer could not be had or understood (pyinfra has shown why)."""

    _asked = 0.0

    def ask(self, wanted: Wanted) -> str:
        self._asked = time.time()
        return _script(wanted)

    def process(self, output: Iterable[str]) -> HostReport:
        lines = list(output)
        return replace(super().process(lines), printed="\n".join(beside(lines)))

    def parse(self, output: Sequence[str]) -> HostReport:
        answered = time.time()
        try:
            return parse(list(output), self._asked, answered)
        except (ValueError, KeyError, IndexError) as error:
            raise FactProcessError(f"the host's report could not be understood: {error!r}") from error


def parse(lines: Sequence[str], asked: float, answered: float) -> HostReport:
    """A report from the script's output; `asked` and `answered` are our own times (epoch, seconds) around it.

    Raises ValueError or KeyError if the output is cut off or malformed.
    """
    said = Answers(lines)
    subjects = (
        machine,
        disks,
        network,
        membership,
        encryption,
        certificates,
        packages,
        registries,
        runtimes,
        cluster,
    )
    parts: list[Any] = [subject.read(said) for subject in subjects]
    fields = {name: value for part in parts for name, value in vars(part).items()}
    # The host read its clock first after `asked` and last before `answered`.
    return HostReport(**fields, clock=(float(said.one("end")) - answered, float(said.one("begin")) - asked))

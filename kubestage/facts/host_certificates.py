"""The certificates on a host, for who asks for nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptography import x509

from kubestage.facts.answers import Answers
from kubestage.facts.framed import Fact
from kubestage.facts.host_report import certificates


class HostCertificates(Fact[Mapping[str, x509.Certificate | None]]):
    """path -> the certificate in the file, as a HostReport has it; empty where the host gave no answer."""

    @staticmethod
    def default() -> Mapping[str, x509.Certificate | None]:
        return {}

    def ask(self) -> str:
        return certificates.script()

    def parse(self, output: Sequence[str]) -> Mapping[str, x509.Certificate | None]:
        return certificates.read(Answers(output)).certificates

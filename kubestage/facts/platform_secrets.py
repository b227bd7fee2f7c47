"""What the platform keeps of itself in the cluster, beside the files on the control plane host that are made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubestage.facts.framed import Fact
from kubestage.facts.unknown import Unknown, or_unknown, unknown
from kubestage.kubernetes import ADMIN_CONF, KUBECTL, PLATFORM_NAMESPACE


@dataclass(frozen=True)
class SecretState:
    """A key -> the SHA-256 of what the Secret has `stored` for it, and of the file on the host; none where it is not.

    No value is ever read.
    """

    stored: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


# A go-template, as a jsonpath has no keys. What it prints stays in variables of the host's own shell.
_ENTRIES = "'{{range $key, $value := .data}}{{$key}} {{$value}}{{\"\\n\"}}{{end}}'"


class PlatformSecret(Fact[SecretState | Unknown]):
    """The SecretState of the Secret `secret`, whose `files` are key -> path. On the control plane."""

    @staticmethod
    def default() -> SecretState:
        return SecretState()

    def ask(self, secret: str, files: Mapping[str, str]) -> str:
        present = "; ".join(
            f"if test -f {path}; then echo file {key} $(sha256sum < {path} | cut -c1-64); fi"
            for key, path in files.items()
        )
        entries = or_unknown(
            f"{KUBECTL} --request-timeout 10s --namespace {PLATFORM_NAMESPACE} get secret {secret} --ignore-not-found "
            f"--output go-template={_ENTRIES}"
        )
        return f"""\
{present}
if test -f {ADMIN_CONF}; then {entries}; fi | while read -r key value; do
    case $key in
        unknown) echo "unknown $value" ;;
        *) echo "stored $key $(printf %s "$value" | base64 -d | sha256sum | cut -c1-64)" ;;
    esac
done"""

    def parse(self, output: Sequence[str]) -> SecretState | Unknown:
        if silent := unknown(output):
            return silent
        said: dict[str, dict[str, str]] = {}
        for line in output:
            kind, key, sha256 = line.split(" ")
            said.setdefault(kind, {})[key] = sha256
        return SecretState(stored=said.get("stored", {}), files=said.get("file", {}))

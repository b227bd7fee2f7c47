"""What the platform keeps of itself in the cluster, beside the files on the control plane host that are made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubestage.facts.framed import Fact
from kubestage.facts.unknown import Unknown, or_unknown, unknown
from kubestage.kubernetes import ADMIN_CONF, KUBECTL, PLATFORM_NAMESPACE

# A go-template, as a jsonpath has no keys. What it prints stays in variables of the host's own shell.
_ENTRIES = (
    "'{{range .items}}{{$name := .metadata.name}}"
    '{{range $key, $value := .data}}{{$name}} {{$key}} {{$value}}{{"\\n"}}{{end}}{{end}}\''
)
# The records of stacks, which are many, are of another type.
_SECRETS = or_unknown(
    f"{KUBECTL} --request-timeout 10s --namespace {PLATFORM_NAMESPACE} get secrets --field-selector type=Opaque "
    f"--output go-template={_ENTRIES}"
)


class PlatformSecrets(Fact[Mapping[str, Mapping[str, str]] | Unknown]):
    """The name of each Secret of the platform's -> its keys -> the SHA-256 of its value. On the control plane.

    All are asked for in one go. No value is ever read.
    """

    @staticmethod
    def default() -> Mapping[str, Mapping[str, str]]:
        return {}

    def ask(self) -> str:
        return f"""\
if test -f {ADMIN_CONF}; then {_SECRETS}; fi | while read -r secret key value; do
    case $secret in
        unknown) echo "unknown $key $value" ;;
        *) sum=$(printf %s "$value" | base64 -d | sha256sum); echo "$secret $key ${{sum%% *}}" ;;
    esac
done"""

    def parse(self, output: Sequence[str]) -> Mapping[str, Mapping[str, str]] | Unknown:
        if silent := unknown(output):
            return silent
        secrets: dict[str, dict[str, str]] = {}
        for line in output:
            name, key, sha256 = line.split(" ")
            secrets.setdefault(name, {})[key] = sha256
        return secrets

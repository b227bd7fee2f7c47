"""Certificates on a host. Their keys are compared there, and never read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubestage.certificates.platform import CA_CERTIFICATE
from kubestage.facts.files import SHOW_STATE, FileState, parse_state
from kubestage.facts.framed import Fact
from kubestage.facts.unknown import Unknown
from kubestage.kubernetes import CERTS_D, DOCKER_CERTS_D, TRUST_MARK

# What `update-ca-certificates` (Debian's ca-certificates) makes of a file of a host's own: a link, and one bundle.
TRUSTED = "/usr/local/share/ca-certificates/kubestage.crt"
_LINK = "/etc/ssl/certs/kubestage.certificates.pem"
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


@dataclass
class Installed:
    """A certificate file: its PEM text, whether its key is there and fits, and which of both have a strange mode.

    `has_key` is None where nobody can tell, as there is no openssl. Strange is what is not root's, or not 644 for a
    certificate and 600 for a key.
    """

    certificate: str = ""
    has_key: bool | None = False
    strange: list[str] = field(default_factory=list)


class Certificates(Fact[dict[str, Installed]]):
    """path -> Installed of those of `pairs` (a certificate's path -> its key's) that are there; one round trip."""

    @staticmethod
    def default() -> dict[str, Installed]:
        return {}

    def ask(self, pairs: Mapping[str, str]) -> str:
        words = " ".join(f"{certificate}:{key}" for certificate, key in pairs.items())
        return (
            f"for pair in {words}; do cert=${{pair%:*}} key=${{pair#*:}}; "
            "if test -f $cert; then echo certificate $cert; sed 's/^/pem /' $cert; "
            "public=$(openssl pkey -in $key -pubout 2>/dev/null) && "
            'test "$public" = "$(openssl x509 -in $cert -noout -pubkey 2>/dev/null)" && echo key; '
            "openssl version >/dev/null 2>&1 || echo unknown; "
            "stat -c 'mode %a %u:%g %n' $cert $key 2>/dev/null "
            '| grep -vxF -e "mode 644 0:0 $cert" -e "mode 600 0:0 $key"; fi; done; true'
        )

    def parse(self, output: Sequence[str]) -> dict[str, Installed]:
        found: dict[str, Installed] = {}
        last = Installed()
        for line in output:
            kind, _, rest = line.partition(" ")
            match kind:
                case "certificate":
                    last = found[rest] = Installed()
                case "pem":
                    last.certificate += f"{rest}\n"
                case "key":
                    last.has_key = True
                case "unknown":
                    last.has_key = None
                case "mode":
                    last.strange.append(rest.split(" ", 2)[2])
        return found


class Authority(Fact[str | Unknown]):
    """On the control plane: the CA's certificate, PEM; "" while there is none."""

    @staticmethod
    def default() -> Unknown:
        return Unknown()

    def ask(self) -> str:
        return f"if test -f {CA_CERTIFICATE}; then cat {CA_CERTIFICATE}; else echo none; fi"

    def parse(self, output: Sequence[str]) -> str:
        return "" if list(output) == ["none"] else "".join(f"{line}\n" for line in output)


@dataclass
class TrustState:
    """The files that make a host trust our CA, and whether its bundle of CAs says the same as TRUSTED."""

    files: dict[str, FileState] = field(default_factory=dict)
    bundled: bool = False


class Trust(Fact[TrustState]):
    """A host's TrustState; the files are TRUSTED and, of every registry, those that begin with TRUST_MARK."""

    @staticmethod
    def default() -> TrustState:
        return TrustState()

    def ask(self) -> str:
        return (
            f'for f in {TRUSTED} $(grep -lxF -e "{TRUST_MARK}" {CERTS_D}/*/hosts.toml {DOCKER_CERTS_D}/*/ca.crt '
            f"2>/dev/null); do if test -f $f; then echo file {SHOW_STATE}; fi; done; "
            f"if test -f {TRUSTED}; then test -f {_BUNDLE} && ! grep -qvxF -f {_BUNDLE} {TRUSTED}; "
            f"else ! test -L {_LINK}; fi && echo bundled; true"
        )

    def parse(self, output: Sequence[str]) -> TrustState:
        state = TrustState()
        for line in output:
            if line == "bundled":
                state.bundled = True
            else:
                path, found = parse_state(line.removeprefix("file "))
                state.files[path] = found
        return state

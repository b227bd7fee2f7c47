"""How a control plane host writes Secrets into etcd, as preflight asks for it. No key is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubestage.facts.answers import Answers, filled
from kubestage.kubernetes import APISERVER_MANIFEST, ENCRYPTION, ENCRYPTION_WRITTEN

PLAIN = "identity"  # the provider that encrypts nothing

_SCRIPT = r"""
for f in @ENCRYPTION@/*; do
    case $f in
        @WRITTEN@*) echo "written ${f#@WRITTEN@}" ;;
        *.yaml) echo "encryption $f" $(sed -n 's/^ *- identity:.*/identity/p; s/^ *- name: *//p' "$f") ;;
    esac
done
sed -n 's/^ *- --encryption-provider-config=/encrypts /p' @APISERVER@ 2>/dev/null
"""


@dataclass(frozen=True)
class Encrypted:
    """`files`: path of a configuration -> its providers in order: names of keys, and PLAIN.

    `used`: the path of the one that the API server's manifest names, "" for none. `written`: the providers of which it
    is known that all Secrets were written with.
    """

    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    used: str = ""
    written: frozenset[str] = frozenset()

    @property
    def providers(self) -> tuple[str, ...]:
        """Those with which the API server starts; none where its configuration is not there."""
        return self.files.get(self.used, ()) if self.used else (PLAIN,)


@dataclass(frozen=True, kw_only=True)
class Encryption:
    """`encrypted`: what of it is on the host."""

    encrypted: Encrypted


def script() -> str:
    words = {"ENCRYPTION": ENCRYPTION, "WRITTEN": ENCRYPTION_WRITTEN, "APISERVER": APISERVER_MANIFEST}
    return filled(_SCRIPT, words)


def read(said: Answers) -> Encryption:
    files = {}
    for line in said.all("encryption"):
        path, *providers = line.split()
        files[path] = tuple(providers)
    used = said.first("encrypts")
    used = used if used.startswith(f"{ENCRYPTION}/") else ""  # one of the user's own
    return Encryption(encrypted=Encrypted(files, used, frozenset(said.all("written"))))

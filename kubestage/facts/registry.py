"""The registry's users, as the control plane host keeps them. No password is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubestage.facts.framed import Fact
from kubestage.kubernetes import OURS

# On the control plane host, 0600, kept by kubestage/operations/registry.py.
LOGINS = f"{OURS}/registry"
USERS = f"{LOGINS}/users.json"  # name -> password
HTPASSWD = f"{LOGINS}/htpasswd"
PULL_CONFIG = f"{LOGINS}/config.json"  # the first user's login, as Docker and pods keep one
SUMS = f"{LOGINS}/sums"  # the site that they are for, and the SHA-256 of each of them

_FILES = " ".join((USERS, HTPASSWD, PULL_CONFIG, SUMS))


@dataclass(frozen=True)
class Logins:
    """The files of LOGINS.

    `whole`: all are there as they were written together, 0600 and root's. `site`: the registry's host[:port] that they
    are for. `users_sha256`: of the users' names and passwords; `names`: those names, in their order.
    """

    whole: bool = False
    site: str = ""
    users_sha256: str = ""
    names: tuple[str, ...] = ()


class RegistryLogins(Fact[Logins]):
    """On the control plane: the Logins."""

    @staticmethod
    def default() -> Logins:
        return Logins()

    def ask(self) -> str:
        return (
            f"if test -f {USERS}; then echo users $(sha256sum < {USERS} | cut -c1-64); "
            f'sed -n \'s/^  "\\([A-Za-z0-9._-]*\\)": ".*/name \\1/p\' {USERS}; fi; '
            f"if test -f {SUMS}; then sed -n '1s/^/site /p' {SUMS}; cd {LOGINS} && "
            f"test \"$(stat -c '%a %u:%g' {_FILES} | sort -u)\" = '600 0:0' && "
            f"sed 1d {SUMS} | sha256sum --check --status - && echo whole; fi 2>/dev/null || true"
        )

    def parse(self, output: Sequence[str]) -> Logins:
        said: dict[str, list[str]] = {}
        for line in output:
            kind, _, rest = line.partition(" ")
            said.setdefault(kind, []).append(rest)
        return Logins(
            whole="whole" in said,
            site=said.get("site", [""])[0],
            users_sha256=said.get("users", [""])[0],
            names=tuple(said.get("name", ())),
        )

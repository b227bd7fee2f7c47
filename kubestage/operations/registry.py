"""The registry's users: their names, passwords and hashes on the control plane host."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Generator, Mapping
from pathlib import PurePosixPath

import bcrypt
from pydantic import SecretStr
from pyinfra import host
from pyinfra.api import StringCommand

from kubestage.cluster.answers import ask
from kubestage.cluster.operation import operation
from kubestage.cluster.shell import run_on
from kubestage.facts.registry import HTPASSWD, PULL_CONFIG, SUMS, USERS, RegistryLogins
from kubestage.host_file import HostFile
from kubestage.operations.files import put
from kubestage.stacks.registry import DEFAULT_USER, PASSWORD_BYTES

# The cost with which the registry compares what is no user's at all: an answer's time tells nobody who is one.
_BCRYPT_COST = 5


@operation()
def logins(site: str, users: Mapping[str, SecretStr]) -> Generator[StringCommand, None, None]:
    """Keep the files of the registry's `users` (name -> password) for `site`.

    Without users it is one, DEFAULT_USER, whose password is made once. Hashes differ each time that they are made: the
    files are written together, and only when the users or the site have changed, or when they are not whole.
    """
    state = ask(RegistryLogins)
    passwords = {name: password.get_secret_value() for name, password in users.items()}
    kept = state.users_sha256 == HostFile(USERS, users_file(passwords)).sha256
    known = kept if passwords else state.names == (DEFAULT_USER,)
    good = known and state.whole and state.site == site
    if good:
        host.noop("the registry's users are as they should be")
    elif not host.state.is_executing:
        yield StringCommand("write the registry's users")  # a password is made, or read, only when it is used
    else:
        yield put(login_files(site, passwords or _made_once()))


def _made_once() -> dict[str, str]:
    """The DEFAULT_USER with the password that is on the host, or a new one."""
    _, content = run_on(host, f"cat {USERS} 2>/dev/null")
    try:
        users = json.loads(content)
    except ValueError:
        users = {}
    password = users.get(DEFAULT_USER) if isinstance(users, dict) and len(users) == 1 else None
    if not isinstance(password, str) or len(password.encode()) not in PASSWORD_BYTES:
        password = secrets.token_urlsafe(24)
    return {DEFAULT_USER: password}


def users_file(users: Mapping[str, str]) -> str:
    """The content of USERS: one user a line."""
    return json.dumps(users, indent=2) + "\n"


def login_files(site: str, users: Mapping[str, str]) -> list[HostFile]:
    """All files of the users, that of their sums last: it says that the others are whole."""
    first, password = next(iter(users.items()))
    auth = base64.b64encode(f"{first}:{password}".encode()).decode()
    files = [
        HostFile(USERS, users_file(users), mode="600"),
        HostFile(HTPASSWD, "".join(f"{name}:{_hash(password)}\n" for name, password in users.items()), mode="600"),
        HostFile(PULL_CONFIG, json.dumps({"auths": {site: {"auth": auth}}}) + "\n", mode="600"),
    ]
    sums = "".join(f"{file.sha256}  {PurePosixPath(file.path).name}\n" for file in files)
    return [*files, HostFile(SUMS, f"{site}\n{sums}", mode="600")]


def _hash(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(_BCRYPT_COST)).decode()

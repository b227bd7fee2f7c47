"""How API servers write Secrets into etcd: EncryptionConfiguration (apiserver.config.k8s.io/v1), and changes of it.

https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/: the first provider is written with, all of them are
read with. So what is to be written with is read everywhere before anybody writes with it, and a key goes once nothing
is left that was written with it.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import yaml

from kubestage.facts.host_report.encryption import PLAIN, Encrypted
from kubestage.host_file import HostFile
from kubestage.kubernetes import ENCRYPTION, ENCRYPTION_WRITTEN

KEY_BYTES = 32  # secretbox: XSalsa20 and Poly1305

Providers = tuple[str, ...]


@dataclass(frozen=True)
class Stage:
    """One state of all API servers, on the way from one key to another. `providers`: see Encrypted."""

    providers: Providers
    keys: Mapping[str, str] = field(repr=False)

    @property
    def file(self) -> HostFile | None:
        """None where nothing is encrypted. Its name changes with its content, by which an API server starts anew."""
        if self.providers == (PLAIN,):
            return None
        document = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "EncryptionConfiguration",
            "resources": [{"resources": ["secrets"], "providers": [self._provider(name) for name in self.providers]}],
        }
        text = yaml.safe_dump(document, sort_keys=False)
        return HostFile(f"{ENCRYPTION}/{hashlib.sha256(text.encode()).hexdigest()[:16]}.yaml", text, mode="600")

    @property
    def files(self) -> list[HostFile]:
        """As a list for a host: of one, or none."""
        return [self.file] if self.file else []

    @property
    def path(self) -> str:
        """Of the file, "" for none."""
        return self.file.path if self.file else ""

    def _provider(self, name: str) -> dict[str, object]:
        if name == PLAIN:
            return {PLAIN: {}}
        return {"secretbox": {"keys": [{"name": name, "secret": self.keys[name]}]}}


def written(provider: str) -> HostFile:
    """The file that says that all Secrets were written with it."""
    return HostFile(f"{ENCRYPTION_WRITTEN}{provider}", "", mode="600")


def new_key(now: datetime) -> tuple[str, str]:
    """A name that sorts behind those of earlier keys, and the key in base64."""
    return f"key-{now:%Y%m%d-%H%M%S}", base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def keys_in(text: str) -> dict[str, str]:
    """Name -> key, of a configuration's text."""
    document = yaml.safe_load(text)
    return {
        key["name"]: key["secret"]
        for resource in document["resources"]
        for provider in resource["providers"]
        for key in provider.get("secretbox", {}).get("keys", ())
    }


def providers_in(text: str) -> Providers:
    """The providers of a configuration's text, as Encrypted has them."""
    (resource,) = yaml.safe_load(text)["resources"]
    return tuple(
        key["name"]
        for provider in resource["providers"]
        for key in provider.get("secretbox", {}).get("keys", [{"name": PLAIN}])
    )


def way(hosts: Sequence[Encrypted], target: str, known: Collection[str]) -> tuple[list[Providers], bool]:
    """What all API servers get, one after the other, from what `hosts` have to nothing but `target`.

    `target`: a key's name, or PLAIN. `known`: the names of all keys. The second: whether all Secrets are to be written
    anew; that is when `target` is the first of all API servers' providers, and before the last of them, if that is not
    the same.
    """
    last: Providers = (PLAIN,) if target == PLAIN else (target, PLAIN)
    known_written = {name for host in hosts for name in host.written} or {PLAIN}
    rewrites = target not in known_written
    if not rewrites and all(host.providers == last for host in hosts):
        return [last], False
    # What was written with before comes first: it is what all hosts write with until they can read the target.
    others = sorted({*known, PLAIN} - {target}, key=lambda name: (name not in known_written, name == PLAIN, name))
    stages = []
    if any(target not in host.providers for host in hosts):
        stages.append((others[0], target, *others[1:]))
    if rewrites or any(host.providers[:1] != (target,) for host in hosts):
        stages.append((target, *others))
    return [stage for stage in stages if stage != last] + [last], rewrites

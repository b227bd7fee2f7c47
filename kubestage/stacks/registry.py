"""The image registry at registry.<domain>, with its users, and the Secrets by which pods pull from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from kubestage.facts.kubernetes import Workload
from kubestage.facts.registry import HTPASSWD, LOGINS, PULL_CONFIG, USERS
from kubestage.settings import Cluster, ClusterSettings, Problem
from kubestage.settings.model import LISTED, StackSettings, setting
from kubestage.settings.values import Image, Namespace, refuse, written_as
from kubestage.stacks import platform_secrets
from kubestage.stacks.sites import WILDCARD
from kubestage.stacks.stack import Logins, Secret, Stack, template
from kubestage.stacks.stack import Namespace as OwnNamespace
from kubestage.stacks.stack_type import Place, Row, Site, StackType
from kubestage.stacks.storage import storage_class

NAMESPACE = "registry"
CLAIM = "registry"  # its PersistentVolumeClaim
CLEANUP = "registry-cleanup"  # its CronJob
VOLUME_POD = "registry-volume"  # the pod by which its volume is read or written from outside
# What its volume holds, in the order of a copy that is made while people push: a name never comes before what it names
# has been written, so what is copied after the names is complete (distribution 3, registry/storage/paths.go).
NAMES, BLOBS = "docker/registry/v2/repositories", "docker/registry/v2/blobs"
PULL_SECRET = "registry-pull"

DEFAULT_USER = "kubestage"  # where settings name none
PASSWORD_BYTES = range(8, 73)  # bcrypt looks at no more than 72


def _users(value: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, secret in value.items():
        password = secret.get_secret_value()
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name):  # htpasswd's own separator is the colon
            raise refuse(
                f"\"{name.partition(':')[0]}\" can't be a user's name",
                "use letters, digits, dots, hyphens and underscores; no colon",
            )
        if len(password.encode()) not in PASSWORD_BYTES:
            raise refuse(f'the password of "{name}" is not of 8 to 72 bytes', "choose one of that length")
        if re.search(r"[\x00-\x1f\x7f]", password):  # RFC 7617, 2
            raise refuse(f'the password of "{name}" holds a control character', "choose one of a single line")
    return value


_CRON_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))  # Kubernetes takes 0 alone for Sunday


def _cron(value: str) -> str:
    fields = value.split(" ")
    if len(fields) != len(_CRON_FIELDS) or not all(map(_is_cron_field, fields, _CRON_FIELDS)):
        raise refuse("not cron's five fields", 'write minute, hour, day, month, weekday, e.g. "30 3 * * 0"')
    return value


def _is_cron_field(field: str, limits: tuple[int, int]) -> bool:
    """Parts joined by commas: "*", "3" or "1-5", each with or without a step: "*/15"."""
    for part in field.split(","):
        match = re.fullmatch(r"(?:\*|([0-9]{1,2})(?:-([0-9]{1,2}))?)(?:/([1-9][0-9]?))?", part)
        if not match:
            return False
        first = int(match[1] or limits[0])
        if not limits[0] <= first <= int(match[2] or first) <= limits[1]:
            return False
    return True


class RegistrySettings(StackSettings):
    """`registry` in group_data."""

    image: Image = setting("docker.io/library/registry:3.1.2", "of the registry")
    users: Annotated[dict[str, SecretStr], AfterValidator(_users)] = setting(
        {}, 'name -> password; empty: one user "kubestage" with a password that is made once'
    )
    size: Annotated[
        str,
        written_as("[1-9][0-9]{0,8}(Mi|Gi|Ti)", "not a volume's size", 'write a number and Mi, Gi or Ti, e.g. "20Gi"'),
    ] = setting("20Gi", "of its volume")
    cleanup: Annotated[str, AfterValidator(_cron)] = setting(
        "30 3 * * 0", "when unused layers are deleted: cron's five fields, in UTC"
    )
    pull_namespaces: Annotated[tuple[Namespace, ...], LISTED] = setting(
        ("default",), "where the Secret registry-pull is kept, for pods' imagePullSecrets"
    )


def registry(settings: ClusterSettings) -> Stack:
    """The registry, its Ingress, its cleanup and its Secrets."""
    own = settings.of(RegistrySettings)
    users = Secret(NAMESPACE, "registry-users", {"htpasswd": HTPASSWD})
    pull = (
        Secret(name, PULL_SECRET, {".dockerconfigjson": PULL_CONFIG}, type="kubernetes.io/dockerconfigjson")
        for name in own.pull_namespaces
    )
    return Stack(
        "registry",
        template(
            "registry",
            settings,
            own=own,
            namespace=NAMESPACE,
            claim=CLAIM,
            storage_class=storage_class(settings),
            users_secret=users.name,
            wildcard=WILDCARD,
        ),
        asked={"users_digest": f"sha256sum < {HTPASSWD} | cut -c1-16"},
        namespace=OwnNamespace(NAMESPACE),
        others=own.pull_namespaces,
        secrets=(users, *pull),
        logins=Logins(settings.site("registry"), own.users, LOGINS, platform_secrets.LOGINS),
        workloads=(Workload(NAMESPACE, "Deployment", "registry"),),
    )


def _has_volume(cluster: Cluster) -> Iterator[Problem]:
    s = cluster.common
    if "storage" not in s.stacks and not s.storage_class:
        yield cluster.wrong(
            "stacks",
            "registry keeps its images on a volume, and nothing makes one",
            'add "storage", or set storage_class to a StorageClass of your own',
        )


def _row(settings: ClusterSettings, place: Place) -> Row:
    users = ", ".join(settings.of(RegistrySettings).users) or DEFAULT_USER
    return Row("registry", f"https://{settings.site('registry')}", users, f"{USERS} on {place.control_plane}")


REGISTRY = StackType(
    "registry",
    RegistrySettings,
    registry,
    _row,
    namespace=NAMESPACE,
    site=Site("registry", (200, 401)),
    rules=(_has_volume,),
)

"""The image registry at registry.<domain>, with its users, and the Secrets by which pods pull from it."""

from __future__ import annotations

from kubestage.facts.kubernetes import Workload
from kubestage.facts.registry import HTPASSWD, PULL_CONFIG
from kubestage.settings import ClusterSettings
from kubestage.stacks.sites import ingress
from kubestage.stacks.stack import Secret, Stack, manifest, render
from kubestage.stacks.storage import storage_class

NAMESPACE = "registry"
CLAIM = "registry"  # its PersistentVolumeClaim
PULL_SECRET = "registry-pull"

DEFAULT_USER = "kubestage"  # where settings name none

_USERS_DIGEST = "@users@"


def registry(settings: ClusterSettings) -> Stack:
    """The registry, its Ingress, its cleanup and its Secrets."""
    users = Secret(NAMESPACE, "registry-users", {"htpasswd": HTPASSWD})
    pull = (
        Secret(name, PULL_SECRET, {".dockerconfigjson": PULL_CONFIG}, type="kubernetes.io/dockerconfigjson")
        for name in settings.registry_pull_namespaces
    )
    values = {
        "namespace": NAMESPACE,
        "claim": CLAIM,
        "storage_class": storage_class(settings),
        "configuration": render("registry/config.yml.j2", settings),
        "users_secret": users.name,
        "users_digest": _USERS_DIGEST,
        "ingress": ingress(settings, "registry", NAMESPACE, service="registry", port=5000),
    }
    return Stack(
        "registry",
        manifest("registry", settings, **values),
        secrets=(users, *pull),
        workloads=(Workload(NAMESPACE, "Deployment", "registry"),),
        namespaces=settings.registry_pull_namespaces,
        filled={_USERS_DIGEST: f"sha256sum < {HTPASSWD} | cut -c1-16"},
    )

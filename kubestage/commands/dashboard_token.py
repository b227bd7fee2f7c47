"""A token for the dashboard: `make dashboard-token`."""

from __future__ import annotations

import argparse
import sys

from kubestage.cluster.inventory import TargetError, read
from kubestage.commands.api import Api, connected
from kubestage.settings import ClusterSettings
from kubestage.stacks.dashboard import (
    FLAVOURS,
    NAMESPACE,
    PEOPLE,
    TOKEN_LIFETIME_S,
    DashboardSettings,
    token_audiences,
)


def main(given: argparse.Namespace) -> int:
    """Print a new token, and on the error output what it is good for."""
    target = read(given.inventory)
    settings = target.cluster.common
    if "dashboard" not in settings.stacks:
        raise TargetError(f"{given.inventory}: stacks has no dashboard\n    -> add it, then: {target.deploy}")
    with connected(target) as api:
        flavour = running_flavour(api)
        if not flavour:
            raise TargetError(f"{given.inventory}: there is no dashboard in the cluster yet\n    -> {target.deploy}")
        print(new_token(api, settings, flavour))
    how = "the token" if flavour == "headlamp" else "any user's password"
    minutes = TOKEN_LIFETIME_S // 60
    site = f"https://{settings.site('dashboard')}"
    print(f"As {how} it lets you in at {site} ({flavour}) for {minutes} minutes.", file=sys.stderr)
    wanted = settings.of(DashboardSettings).flavour
    if flavour != wanted:
        print(f"Settings want {wanted}, which a run brings: {target.deploy}", file=sys.stderr)
    return 0


def running_flavour(api: Api) -> str:
    """The dashboard that is in the cluster, whatever settings say; "" for none."""
    names = (each["metadata"]["name"] for each in api.items(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"))
    return next((name for name in names if name in FLAVOURS), "")


def new_token(api: Api, settings: ClusterSettings, flavour: str) -> str:
    """A token of people's account. ApiException where the dashboard is not in the cluster."""
    spec = {"audiences": token_audiences(settings, flavour), "expirationSeconds": TOKEN_LIFETIME_S}
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{PEOPLE}/token"
    return str(
        api.post(path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})["status"][
            "token"
        ]
    )

"""A token for the dashboard: `make dashboard-token`."""

from __future__ import annotations

import sys
from typing import Any

from kubernetes.client import CoreV1Api

from kubestage.api import REQUEST_TIMEOUT_S, connected
from kubestage.inventory import TargetError, read
from kubestage.settings import Settings
from kubestage.stacks.dashboard import NAMESPACE, PEOPLE, TOKEN_LIFETIME_S, token_audiences


def main(inventory: str) -> int:
    """Print a new token, and on the error output what it is good for."""
    target = read(inventory)
    settings = target.cluster.common
    if "dashboard" not in settings.stacks:
        raise TargetError(f"{inventory}: stacks has no dashboard\n    -> add it, then: {target.deploy}")
    with connected(target) as client:
        print(new_token(CoreV1Api(client), settings))
    how = "the token" if settings.dashboard_flavour == "headlamp" else "any user's password"
    minutes = TOKEN_LIFETIME_S // 60
    print(f"As {how} it lets you in at https://{settings.site('dashboard')} for {minutes} minutes.", file=sys.stderr)
    return 0


def new_token(core: Any, settings: Settings) -> str:
    """A token of people's account; `core` is a CoreV1Api. ApiException where the dashboard is not in the cluster."""
    spec = {"audiences": token_audiences(settings), "expirationSeconds": TOKEN_LIFETIME_S}
    answer = core.create_namespaced_service_account_token(
        PEOPLE, NAMESPACE, {"spec": spec}, _request_timeout=REQUEST_TIMEOUT_S
    )
    return str(answer.status.token)

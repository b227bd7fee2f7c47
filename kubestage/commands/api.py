"""The cluster's API, as the user's own kubeconfig reaches it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kubernetes.client import ApiClient, ApiException, Configuration
from kubernetes.config import load_kube_config
from urllib3.exceptions import HTTPError

from kubestage.cluster.inventory import Target, TargetError

REQUEST_TIMEOUT_S = 10


@contextmanager
def connected(target: Target) -> Iterator[Any]:
    """A client of the kubernetes package; what the API refuses, or that it does not answer, is a TargetError."""
    configuration = Configuration()
    load_kube_config(str(target.kubeconfig), client_configuration=configuration)
    configuration.retries = False  # one that is down is told of at once
    server = configuration.host
    try:
        yield ApiClient(configuration)
    except ApiException as error:
        raise TargetError(f"{server}: {reason(error)}\n    -> {target.deploy}") from None
    except HTTPError as error:
        raise TargetError(
            f"{server}: the API server does not answer: {error}\n    -> see that {target.control_plane} is up; "
            f"there: systemctl status kubelet"
        ) from None


def reason(error: ApiException) -> str:
    """The API's own words in an error."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}"

"""The cluster's API, as the user's own kubeconfig reaches it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

from kubernetes.client import ApiClient, ApiException, Configuration
from kubernetes.config import list_kube_config_contexts, load_kube_config
from urllib3.exceptions import HTTPError

from kubestage.cluster.inventory import Target, TargetError

REQUEST_TIMEOUT_S = 10
LISTENS_WITHIN_S = 2.0


class Api:
    """Objects and lists as JSON has them: the client's own classes for them take longer to import than the API to ask.

    `server`: its address, "https://HOST:PORT".
    """

    def __init__(self, client: Any) -> None:
        """`client`: an ApiClient of the kubernetes package."""
        self._client = client
        self.server: str = client.configuration.host

    def get(self, path: str, **query: str) -> Any:
        """The object or the list at `path`, "/api/v1/nodes"; ApiException or HTTPError where there is none."""
        return self._asked("GET", f"{path}?{urlencode(query)}" if query else path)

    def items(self, path: str, **query: str) -> list[Any]:
        """The objects of the list at `path`."""
        return list(self.get(path, **query)["items"])

    def post(self, path: str, body: Any) -> Any:
        """What the API makes of `body`."""
        return self._asked("POST", path, body)

    def _asked(self, method: str, path: str, body: Any = None) -> Any:
        request = self._client.param_serialize(
            method, path, header_params={"Content-Type": "application/json"}, body=body, auth_settings=["BearerToken"]
        )
        answer = self._client.call_api(*request, _request_timeout=REQUEST_TIMEOUT_S)
        text = answer.read().decode()
        if not 200 <= answer.status < 300:
            raise ApiException(http_resp=answer, body=text)
        return json.loads(text)


@contextmanager
def connected(target: Target) -> Iterator[Api]:
    """The cluster's Api; what it refuses, or that it does not answer, is a TargetError."""
    configuration = reachable(str(target.kubeconfig))
    configuration.retries = False  # one that is down is told of at once
    api = Api(ApiClient(configuration))
    try:
        yield api
    except ApiException as error:
        raise TargetError(f"{api.server}: {reason(error)}\n    -> {target.deploy}") from None
    except HTTPError as error:
        raise TargetError(
            f"{api.server}: the API server does not answer: {error}\n    -> see that {target.first} is up; "
            f"there: systemctl status kubelet"
        ) from None


def reachable(kubeconfig: str) -> Any:
    """The client's configuration by the current context or, where nobody listens at its server, by another one."""
    contexts, current = list_kube_config_contexts(kubeconfig)
    names = [current["name"], *(each["name"] for each in contexts if each["name"] != current["name"])]
    found = []
    for name in names:
        configuration = Configuration()
        load_kube_config(kubeconfig, context=name, client_configuration=configuration)
        found.append(configuration)
        if len(names) == 1 or _listens(configuration.host):
            return configuration
    return found[0]


def _listens(server: str) -> bool:
    address = urlsplit(server)
    try:
        with socket.create_connection((address.hostname or "", address.port or 443), LISTENS_WITHIN_S):
            return True
    except OSError:
        return False


def reason(error: ApiException) -> str:
    """The API's own words in an error."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}"

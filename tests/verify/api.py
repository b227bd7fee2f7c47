"""The cluster's API, as the user's own kubeconfig reaches it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from kubernetes.client import ApiClient, ApiException, AppsV1Api, CoreV1Api, NetworkingV1Api, VersionApi
from kubernetes.stream import stream

from kubestage.commands import api as product
from kubestage.commands.api import reason as reason  # the one of the product, for all checks

REQUEST_TIMEOUT_S = 20
POLL_S = 0.2


class Api:
    """Groups of the API (`core`, `apps`, ...), and what the client has no short word for."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        client = self._client()
        self.core = CoreV1Api(client)
        self.apps = AppsV1Api(client)
        self.networking = NetworkingV1Api(client)
        self.version = VersionApi(client)
        self.objects = product.Api(client)
        self.server = self.objects.server

    def _client(self) -> Any:
        return ApiClient(product.reachable(str(self._kubeconfig)))

    def readyz(self) -> str:
        """What the API server says of its parts, a line each: "[+]etcd ok"."""
        return self._answer("/readyz?verbose")[1]

    def get(self, path: str) -> Any:
        """The object or the list at a path of the API, as JSON has it; ApiException if there is none."""
        return self.objects.get(path)

    def _answer(self, path: str) -> tuple[Any, str]:
        """What the API answers, whatever its status, and its text."""
        client = self.core.api_client
        request = client.param_serialize("GET", path, auth_settings=["BearerToken"])
        answer = client.call_api(*request, _request_timeout=REQUEST_TIMEOUT_S)
        return answer, answer.read().decode()

    def nodes(self) -> dict[str, Any]:
        """name -> Node."""
        return {node.metadata.name: node for node in self.core.list_node(_request_timeout=REQUEST_TIMEOUT_S).items}

    def pods(self, namespace: str) -> list[Any]:
        return list(self.core.list_namespaced_pod(namespace, _request_timeout=REQUEST_TIMEOUT_S).items)

    def warnings(self, pod: Any) -> list[str]:
        """The warnings that Kubernetes has noted about a pod, the newest last."""
        events = self.core.list_namespaced_event(
            pod.metadata.namespace,
            field_selector=f"involvedObject.uid={pod.metadata.uid},type=Warning",
            _request_timeout=REQUEST_TIMEOUT_S,
        ).items
        events.sort(key=lambda event: event.last_timestamp or event.event_time or event.metadata.creation_timestamp)
        return [f"{event.reason}: {event.message}" for event in events]

    def services(self) -> list[Any]:
        return list(self.core.list_service_for_all_namespaces(_request_timeout=REQUEST_TIMEOUT_S).items)

    def now(self) -> datetime:
        """The API server's own clock."""
        _, _, headers = self.core.list_namespace_with_http_info(limit=1, _request_timeout=REQUEST_TIMEOUT_S)
        return parsedate_to_datetime(headers["Date"])

    def refusal(self, namespace: str, service: dict[str, Any]) -> str:
        """Why the API would not take this Service; "" if it would. Nothing is made."""
        try:
            self.core.create_namespaced_service(namespace, service, dry_run="All", _request_timeout=REQUEST_TIMEOUT_S)
        except ApiException as error:
            return reason(error)
        return ""

    def run(self, namespace: str, pod: str, script: str) -> str:
        """What a shell script prints in a pod, errors included; ApiException if it can't be started there."""
        # A client of its own: stream() replaces its client's methods while it runs.
        core = CoreV1Api(self._client())
        shell = stream(
            core.connect_get_namespaced_pod_exec,
            pod,
            namespace,
            command=["sh", "-c", script],
            stdout=True,
            stderr=True,
            stdin=False,
            tty=False,
            _preload_content=False,
        )
        shell.run_forever(timeout=60)
        output: str = shell.read_all()
        shell.close()
        return output


def is_ready(thing: Any) -> bool:
    """Whether a Node's or a Pod's condition Ready is true."""
    return any(one.type == "Ready" and one.status == "True" for one in thing.status.conditions or ())


def until(condition: Callable[[], bool], within_s: float) -> bool:
    """Ask for `condition` until it holds; False if it did not within that time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True

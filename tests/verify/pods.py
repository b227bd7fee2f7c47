"""Pods that do one thing and end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from tests.verify.api import REQUEST_TIMEOUT_S, Api, until
from tests.verify.probe import NAME, PODS_GONE_WITHIN_S, STALE_AFTER, delete
from tests.verify.system_pods import HOPELESS, statuses, waits_for

LABELS = {"app.kubernetes.io/name": f"{NAME}-once"}  # not the probe's: its DaemonSet would take them for its own
ENDS_WITHIN_S = 90.0  # with the pull of its image, or the making of its volume


@contextmanager
def ended(api: Api, namespace: str, specs: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """A pod of each spec, by its name: as it is once it has ended, or gets no further. All are gone afterwards.

    One that somebody else has deleted is not among them.
    """
    _remove_stale(api, namespace)
    try:
        for name, spec in specs.items():
            pod = {"metadata": {"name": name, "labels": LABELS}, "spec": {**_ONCE, **spec}}
            api.core.create_namespaced_pod(namespace, pod, _request_timeout=REQUEST_TIMEOUT_S)
        found: dict[str, Any] = {}

        def all_done() -> bool:
            found.clear()
            found.update(_named(api, namespace, specs))
            return all(name in found and _is_done(found[name]) for name in specs)

        until(all_done, ENDS_WITHIN_S)
        yield found
    finally:
        _delete(api, namespace, specs)
        if not until(lambda: not _named(api, namespace, specs), PODS_GONE_WITHIN_S):
            # The kubelet of a node that is down can't say that its pod has ended.
            _delete(api, namespace, specs, grace_period_seconds=0)


# What the strictest of Kubernetes' pod security standards asks for, beside the containers' own part of it.
_ONCE = {
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,
    "restartPolicy": "Never",
    "terminationGracePeriodSeconds": 1,
    "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
}
CONFINED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _named(api: Api, namespace: str, names: Mapping[str, Any]) -> dict[str, Any]:
    return {pod.metadata.name: pod for pod in api.pods(namespace) if pod.metadata.name in names}


def _delete(api: Api, namespace: str, names: Iterable[str], **options: int) -> None:
    for name in names:
        request = partial(api.core.delete_namespaced_pod, name, namespace, _request_timeout=REQUEST_TIMEOUT_S)
        delete(partial(request, **options))


def _is_done(pod: Any) -> bool:
    return pod.status.phase in ("Succeeded", "Failed") or any(waits_for(one) in HOPELESS for one in statuses(pod))


def _remove_stale(api: Api, namespace: str) -> None:
    """Remove the pods of a verification that was killed. One that runs beside this one is younger."""
    now = api.now()
    ours = [pod for pod in api.pods(namespace) if (pod.metadata.labels or {}).items() >= LABELS.items()]
    stale = [pod.metadata.name for pod in ours if now - pod.metadata.creation_timestamp > STALE_AFTER]
    _delete(api, namespace, stale)

"""The pods that make the cluster and its platform: what lies in the namespaces of the system and of the stacks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from kubestage.settings import ClusterSettings
from kubestage.stacks.catalogue import chosen
from tests.verify.api import Api, is_ready, until

_NAMESPACES = ("kube-system", "kube-flannel")
SETTLES_WITHIN_S = 90.0  # images may still be on their way right after a deploy
HOPELESS = ("CrashLoopBackOff", "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError")

# A container that died this often, last time after so short a life, and is as young again, is in a loop. Not longer:
# controllers die of every absence of the API server, and two of those may follow each other.
LOOP_DEATHS = 3
LOOP_LIFE = timedelta(minutes=2)


def namespaces(settings: ClusterSettings) -> list[str]:
    """Those of the cluster itself, then those where the stacks that are on have their workloads."""
    of_stacks = (workload.namespace for stack in chosen(settings).values() for workload in stack.workloads)
    return list(dict.fromkeys([*_NAMESPACES, *of_stacks]))


def settled(api: Api, namespaces: Sequence[str]) -> dict[str, list[Any]]:
    """namespace -> pods, once each pod is Ready, has ended well, or is in a state that waiting does not mend."""
    pods: dict[str, list[Any]] = {}

    def nothing_is_underway() -> bool:
        pods.update({namespace: api.pods(namespace) for namespace in namespaces})
        now = api.now()
        return all(is_well(pod) or _is_hopeless(pod, now) for found in pods.values() for pod in found)

    until(nothing_is_underway, SETTLES_WITHIN_S)
    return pods


def _is_hopeless(pod: Any, now: datetime) -> bool:
    """Whether a pod that is not Ready will not be so by itself: it says so, or has had its time."""
    if any(waits_for(status) in HOPELESS for status in statuses(pod)):
        return True
    ready = next((one for one in pod.status.conditions or () if one.type == "Ready"), None)
    since = ready.last_transition_time if ready else pod.metadata.creation_timestamp
    return bool(now - since > timedelta(seconds=SETTLES_WITHIN_S))


def is_well(pod: Any) -> bool:
    return is_ready(pod) or pod.status.phase == "Succeeded"


def statuses(pod: Any) -> list[Any]:
    """The states of a pod's containers, those that only prepare it first."""
    return [*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())]


def waits_for(status: Any) -> str:
    """Why a container is not running; "" if it runs, or has ended."""
    return str(status.state.waiting.reason or "") if status.state and status.state.waiting else ""


def trouble(api: Api, pod: Any) -> str:
    """What holds a pod up, in Kubernetes' own words."""
    said = []
    for status in statuses(pod):
        waiting, ended = (status.state.waiting, status.state.terminated) if status.state else (None, None)
        if waiting:
            said.append(f"container {status.name}: {waiting.reason} {waiting.message or ''}".strip())
        elif ended and ended.exit_code:
            said.append(f"container {status.name}: exit code {ended.exit_code} {ended.message or ''}".strip())
    said += [one.message for one in pod.status.conditions or () if one.status != "True" and one.message]
    return "; ".join([*said[:1], *api.warnings(pod)[-1:]]) or f"phase {pod.status.phase}"


def is_in_a_loop(status: Any, now: datetime) -> bool:
    """Whether a container keeps dying."""
    if waits_for(status) == "CrashLoopBackOff":
        return True
    running, ended = (status.state.running, status.state.terminated) if status.state else (None, None)
    if ended and not ended.exit_code:
        return False  # it has done what it is for
    this, last = running or ended, status.last_state.terminated if status.last_state else None
    if status.restart_count < LOOP_DEATHS or not (last and last.started_at and this and this.started_at):
        return False
    if last.reason == "Unknown":  # containerd's word for what ended with its host, as in a reboot
        return False
    return bool(last.finished_at - last.started_at < LOOP_LIFE and now - this.started_at < LOOP_LIFE)

"""The control plane's programs as settings want them: their flags and their files, for kubeadm's configuration."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kubestage.host_file import HostFile
from kubestage.kubernetes import ENCRYPTION, STATIC_PODS_FILES
from kubestage.settings import ClusterSettings
from kubestage.settings.component_flags import AUDIT_LOG, ENCRYPTION_FLAG, Flags

# A static pod -> what its settings are called: NAME_extra_args, NAME_files.
_SETTINGS = {
    "etcd": "etcd",
    "kube-apiserver": "apiserver",
    "kube-controller-manager": "controller_manager",
    "kube-scheduler": "scheduler",
}


def own_flags(settings: ClusterSettings, pod: str) -> Flags:
    """The flags that the user gives to a static pod."""
    given: Flags = getattr(settings, f"{_SETTINGS[pod]}_extra_args")
    return given


def flags(settings: ClusterSettings, pod: str) -> Flags:
    """The flags of a static pod that settings decide; kubeadm decides all others."""
    if pod != "kube-apiserver":
        return own_flags(settings, pod)
    return {
        "service-node-port-range": (settings.node_port_range,),
        # Told to end, an API server first says so at /readyz, and serves on until all balancers have noticed, by two
        # checks. Then it stops listening, and would wait for all watches until it is killed 30 s later; so it ends them
        # itself (flag of Kubernetes 1.27 and later).
        "shutdown-delay-duration": ("5s",),
        "shutdown-watch-termination-grace-period": ("3s",),
        **own_flags(settings, pod),
    }


def words(given: Flags) -> list[str]:
    """Flags as words of a command line."""
    return [f"--{flag}={value}" for flag, values in given.items() for value in values]


@dataclass(frozen=True)
class MountedFile:
    """A file of the user's that is at `path` in the container of a static pod.

    On the host it is named after its content: a new content makes a new manifest, by which the pod starts anew, and the
    manifest before it still has the file that it was made for.
    """

    path: str
    file: HostFile


def mounted_files(settings: ClusterSettings, pod: str) -> list[MountedFile]:
    """The user's files for a static pod, read on this machine; sorted by their paths. Rules have judged them."""
    if pod == "etcd":  # kubeadm mounts none into it
        return []
    found = []
    for path, source in sorted(getattr(settings, f"{_SETTINGS[pod]}_files").items()):
        content = Path(source).expanduser().read_text(encoding="utf-8")
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        file = HostFile(f"{STATIC_PODS_FILES}/{digest}-{PurePosixPath(path).name}", content, mode="600")
        found.append(MountedFile(path, file))
    return found


def host_files(settings: ClusterSettings) -> list[HostFile]:
    """All that mounted_files has, as it is on the control plane host; each once."""
    return list({one.file.path: one.file for pod in _SETTINGS for one in mounted_files(settings, pod)}.values())


def _volumes(settings: ClusterSettings, pod: str) -> list[dict[str, Any]]:
    """kubeadm's HostPathMounts of a static pod: the user's files, and the folder to which an audit log is written."""
    volumes: list[dict[str, Any]] = [
        {
            "name": f"kubestage-{number}",
            "hostPath": mounted.file.path,
            "mountPath": mounted.path,
            "readOnly": True,
            "pathType": "File",
        }
        for number, mounted in enumerate(mounted_files(settings, pod))
    ]
    (*_, log) = flags(settings, pod).get(AUDIT_LOG, ("-",))
    if log != "-":
        folder = str(PurePosixPath(log).parent)
        volumes.append(
            {"name": "kubestage-audit", "hostPath": folder, "mountPath": folder, "pathType": "DirectoryOrCreate"}
        )
    return volumes


def _encryption_volume() -> dict[str, Any]:
    """The folder, not a file of it: a path of a new one is in the flag, and the one before is there until it goes."""
    return {
        "name": "kubestage-encryption",
        "hostPath": ENCRYPTION,
        "mountPath": ENCRYPTION,
        "readOnly": True,
        "pathType": "Directory",
    }


def components(settings: ClusterSettings, encryption: str = "") -> dict[str, dict[str, Any]]:
    """The fields of kubeadm's ClusterConfiguration that are about static pods.

    `encryption`: the path of the API server's EncryptionConfiguration; "" for none.
    """

    def arguments(pod: str) -> list[dict[str, str]]:
        given = flags(settings, pod)
        if encryption and pod == "kube-apiserver":
            given = {**given, ENCRYPTION_FLAG: (encryption,)}
        return [{"name": flag, "value": value} for flag, values in given.items() for value in values]

    fields = {
        "apiServer": "kube-apiserver",
        "controllerManager": "kube-controller-manager",
        "scheduler": "kube-scheduler",
    }
    return {
        **{
            field: {
                "extraArgs": arguments(pod),
                "extraVolumes": [
                    *_volumes(settings, pod),
                    *([_encryption_volume()] if encryption and pod == "kube-apiserver" else []),
                ],
            }
            for field, pod in fields.items()
        },
        "etcd": {"local": {"extraArgs": arguments("etcd")}},
    }

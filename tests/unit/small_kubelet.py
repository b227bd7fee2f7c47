"""A kubelet as far as scripts about static pods see one: processes by the manifests, their logs, their health.

It lives in a folder: /etc/kubernetes/manifests, /proc, /var/log/pods below it are what it reads and writes. PROGRAMS
are what the scripts call. A pod whose manifest has one of `fatal` in it ends as soon as it was started.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

PODS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
MOVED = ("/etc/kubernetes/", "/var/log/pods/", "/proc/")


def manifest(pod: str, *flags: str, files: tuple[str, ...] = ()) -> str:
    """As kubeadm writes it, as far as scripts look; `files`: the host's files that are mounted."""
    volumes = [{"hostPath": {"path": path, "type": "File"}, "name": f"v{n}"} for n, path in enumerate(files)]
    container = {"command": [pod, *flags], "image": f"registry.k8s.io/{pod}:v1", "imagePullPolicy": "IfNotPresent"}
    return yaml.safe_dump({"kind": "Pod", "spec": {"containers": [container], "volumes": volumes}}, allow_unicode=True)


def programs(folder: Path) -> dict[str, str]:
    """What stands in for the host's programs: name -> sh. kubeadm renders what lies in the folder "rendered"."""
    return {
        "kubeadm": f"""
case "$*" in
    "init phase control-plane all --dry-run --config "*) cp {folder}/rendered/kube-*.yaml $KUBEADM_INIT_DRYRUN_DIR ;;
    "init phase etcd local --dry-run --config "*) cp {folder}/rendered/etcd.yaml $KUBEADM_INIT_DRYRUN_DIR ;;
    *) exit 64 ;;
esac""",
        "ctr": f"""
case "$*" in
    *" containers list "*) echo "$*" | sed 's/.*name"==//' ;;
    *" tasks list") cd {folder}/pids && for pod in *; do test -e $pod && echo "$pod $(cat $pod) RUNNING"; done ;;
    *" run --rm "*--unknown*) printf '%s\\n' 'Error: unknown flag: --unknown' 'Usage:' >&2; exit 1 ;;
    *" run --rm "*--unasked*) echo 'ctr: no such image' >&2; exit 1 ;;
    *" run --rm registry.k8s.io/"*" --help") echo Usage: ;;
    *) exit 1 ;;
esac""",
        "kubectl": f"""
case "$*" in
    *" --server https://10.0.0.11:6443 "*/readyz) pod=kube-apiserver ;;
    *" --server https://127.0.0.1:10257 --insecure-skip-tls-verify "*/healthz) pod=kube-controller-manager ;;
    *" --server https://127.0.0.1:10259 --insecure-skip-tls-verify "*/healthz) pod=kube-scheduler ;;
esac
test -e {folder}/pids/$pod""",
        "sleep": "exec /bin/sleep 0.01",
        "journalctl": "echo 'E kubelet: no volume for kube-apiserver'",
    }


class SmallKubelet:
    """Runs until it is left: `with SmallKubelet(folder, fatal=["--bad"]):`."""

    def __init__(self, folder: Path, fatal: tuple[str, ...], looks_every_s: float) -> None:
        self._folder, self._fatal, self._looks_every_s = folder, fatal, looks_every_s
        self._running: dict[str, str] = {}
        self._next_pid = 100
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        for name in ("pids", "rendered", "etc/kubernetes/manifests", "var/log/pods", "proc"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> SmallKubelet:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._looks_every_s):
            for pod in PODS:
                self._see_to(pod)

    def _see_to(self, pod: str) -> None:
        file = self._folder / f"etc/kubernetes/manifests/{pod}.yaml"
        try:
            text = file.read_text()
            spec = yaml.safe_load(text)["spec"]
            command = spec["containers"][0]["command"]
        except (OSError, yaml.YAMLError, TypeError, LookupError):
            text, spec, command = "", {}, []
        if self._running.get(pod) == text and (text or not (self._folder / "pids" / pod).exists()):
            return
        (self._folder / "pids" / pod).unlink(missing_ok=True)
        self._running[pod] = text
        if text:
            self._start(pod, text, spec, command)

    def _start(self, pod: str, text: str, spec: dict[str, Any], command: list[str]) -> None:
        self._next_pid += 1
        log = self._folder / f"var/log/pods/kube-system_{pod}-h1_{hashlib.md5(text.encode()).hexdigest()}/{pod}"
        log.mkdir(parents=True, exist_ok=True)
        number = len(list(log.iterdir()))
        fatal = any(word in text for word in self._fatal)
        line = "F: can't open what it was given" if fatal else "I: serving"
        (log / f"{number}.log").write_text(f"2026-01-01T00:00:00Z stderr F {line}\n")
        if fatal:
            self._running[pod] = ""  # and again
            return
        process = self._folder / f"proc/{self._next_pid}"
        process.mkdir()
        (process / "cmdline").write_text("\0".join([*command, ""]))
        mounted = (volume["hostPath"]["path"] for volume in spec.get("volumes", ()))
        (process / "mountinfo").write_text("".join(f"1 2 8:1 {path} /own/path ro - ext4\n" for path in mounted))
        (self._folder / "pids" / pod).write_text(str(self._next_pid))


@contextmanager
def cluster(folder: Path, *, fatal: tuple[str, ...] = (), looks_every_s: float = 0.005) -> Iterator[Path]:
    """A small kubelet that runs all pods with --v=1, as kubeadm renders them too; the folder of what it does."""
    kubelet = SmallKubelet(folder, fatal, looks_every_s)
    for pod in PODS:
        for where in ("rendered", "etc/kubernetes/manifests"):
            (folder / where / f"{pod}.yaml").write_text(manifest(pod, "--v=1"))
    with kubelet:
        yield folder / "rendered"

"""The control plane broken by hand and by settings: a run mends it, or puts back what worked.

The tests share one cluster; each leaves it as the deploy wants it.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from kubestage.kubernetes import KUBECTL, STATIC_PODS_FILES, STATIC_PODS_WORKED
from lab.definition import CHECKOUT
from tests.lab.commands import deploy, deploy_command, environment, kubectl, lab, on, settle, verify

pytestmark = pytest.mark.life

CHANGE = "Control plane | API server, controller manager, scheduler, etcd"
MANIFESTS = "/etc/kubernetes/manifests"
FLAGS = "tr '\\0' '\\n' </proc/$(pidof kube-apiserver)/cmdline | grep -e audit -e profiling || true"
POLICY = (
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata, resources: [{group: '', resources: [%s]}]}]\n"
)


def deploy_fails(*flags: str) -> str:
    """What a deploy prints that is to fail."""
    result = subprocess.run(
        deploy_command(*flags), cwd=CHECKOUT, env=environment(), capture_output=True, text=True, check=False
    )
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def data(**settings: object) -> list[str]:
    """Flags of a deploy with other settings."""
    return [word for name, value in settings.items() for word in ("--data", f"{name}={json.dumps(value)}")]


def test_all_that_can_be_broken_is_mended_after_a_reboot(cluster: None) -> None:
    """The kubelet is stopped and stays so; manifests, the certificate and kubeadm's configuration can't be read."""
    broken = f"{KUBECTL} -n kube-system patch configmap kubeadm-config --type merge -p"
    on("cp1", broken + ' \'{"data": {"ClusterConfiguration": "{not: [yaml"}}\'')
    on(
        "cp1",
        f"cd {MANIFESTS} && systemctl disable --now --quiet kubelet && echo '- a list' > kube-apiserver.yaml && "
        "echo '{not: [yaml' > kube-scheduler.yaml && rm kube-controller-manager.yaml && "
        "sed -i s/image:/imag:/ etcd.yaml && : > /etc/kubernetes/pki/apiserver.crt",
    )
    lab("reboot", "cp1")
    changed = deploy().changed
    assert {"Control plane | kubelet", "Control plane | Names in the API's certificate", CHANGE} <= set(changed)
    assert deploy().changed == {}
    settle()
    # Not whether anything dies in a loop: the control plane has just died with its host, as in tests before this one.
    pods = ("test_system_pods.py::test_control_plane_pod", "test_system_pods.py::test_ready_pods")
    assert verify("test_apiserver.py", "test_hosts.py", *pods) == set()


def test_flags_that_are_not_known_change_nothing(cluster: None) -> None:
    before = on("cp1", f"sha256sum {MANIFESTS}/*; pidof kube-apiserver")
    unknown = {"no-such-flag": "1"}
    wrong = data(apiserver_extra_args=unknown, scheduler_extra_args={"v": "many"}, etcd_extra_args=unknown)
    told = deploy_fails(*wrong)
    assert "kube-apiserver:v1" in told
    assert "unknown flag: --no-such-flag" in told
    assert 'invalid argument "many"' in told
    assert "not defined: -no-such-flag" in told
    assert on("cp1", f"sha256sum {MANIFESTS}/*; pidof kube-apiserver") == before
    assert list(deploy().changed) == ["Control plane | kubeadm's configuration"]


def test_an_audit_policy(cluster: None, tmp_path: Path) -> None:
    """One that works, another content of it, and one with which no API server starts: the one before comes back."""
    policy = tmp_path / "policy.yaml"
    inside, log = "/etc/kubernetes/own/audit.yaml", "/var/log/kubernetes/audit.log"
    audited = data(
        apiserver_extra_args={"audit-policy-file": inside, "audit-log-path": log, "profiling": False},
        apiserver_files={inside: str(policy)},
    )
    policy.write_text(POLICY % "configmaps")
    assert CHANGE in deploy(*audited).changed
    assert "--profiling=false" in on("cp1", FLAGS).split()
    kubectl("get", "configmaps")
    assert on("cp1", f"grep -c configmaps {log}") != "0"

    before = on("cp1", "pidof kube-apiserver")
    policy.write_text(POLICY % "pods")
    assert CHANGE in deploy(*audited).changed
    assert on("cp1", "pidof kube-apiserver") != before
    files = on("cp1", f"ls {STATIC_PODS_FILES}")
    assert len(files.splitlines()) == 1

    policy.write_text("kind: Nonsense\n")
    told = deploy_fails(*audited)
    assert "The last lines of kube-apiserver:" in told
    assert "Nonsense" in told
    assert "The manifests that worked are in place again, and the API server serves." in told
    kubectl("get", "nodes")
    assert "--profiling=false" in on("cp1", FLAGS).split()
    assert on("cp1", f"test -e {STATIC_PODS_WORKED} || echo none") == "none"

    assert CHANGE in deploy().changed
    assert on("cp1", FLAGS) == ""
    assert on("cp1", f"ls {STATIC_PODS_FILES}") == ""
    assert deploy().changed == {}
    settle()

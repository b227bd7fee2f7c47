"""The API's endpoint on every node: stopped, with another CA, with a new configuration; a cluster without one.

The tests share one cluster; each leaves it as the deploy wants it.
"""

from __future__ import annotations

from kubestage.kubernetes import ADMIN_CONF, ENDPOINT, ENDPOINT_CA, ENDPOINT_CONFIG, ENDPOINT_UNIT
from tests.lab.commands import deploy, deploy_refused, on, settle, verify

STARTED = "API endpoint | Endpoint of the API"
WATCH = "kubestage-test-watch"


def test_one_that_is_stopped(cluster: None) -> None:
    on("w1", f"systemctl stop {ENDPOINT_UNIT}")
    try:
        # Not all checks of hosts: for a while the kubelet still knows who may ask it for its settings.
        assert verify("test_hosts.py::test_service", "test_hosts.py::test_api_endpoint") == {
            "test_hosts.py::test_service[w1-kubestage-endpoint]",
            "test_hosts.py::test_api_endpoint[w1]",
        }
    finally:
        changed = deploy().changed
    assert changed == {STARTED: ["w1"]}
    settle()
    assert verify("test_hosts.py", "test_nodes.py") == set()


def test_a_new_configuration_cuts_nobody_off(cluster: None) -> None:
    on(
        "w1",
        f"systemd-run --quiet --unit {WATCH} kubectl --kubeconfig /etc/kubernetes/kubelet.conf get node w1 --watch && "
        f"until ss -tnp | grep -q '{ENDPOINT}.*kubectl'; do sleep 0.1; done && "
        f"echo '# more' >>{ENDPOINT_CONFIG} && echo of-nobody >{ENDPOINT_CA}",
    )
    before = on("w1", f"systemctl show {ENDPOINT_UNIT} --property MainPID --value")
    try:
        assert deploy().changed == {"API endpoint | Configuration of the endpoint": ["w1"], STARTED: ["w1"]}
        assert on("w1", f"systemctl is-active {WATCH}") == "active"
    finally:
        on("w1", f"systemctl stop {WATCH}")
    assert on("w1", f"systemctl show {ENDPOINT_UNIT} --property MainPID --value") == before
    assert on("w1", f"cmp {ENDPOINT_CA} /etc/kubernetes/pki/ca.crt && echo same") == "same"
    assert verify("test_hosts.py") == set()
    assert deploy().changed == {}


def test_a_cluster_that_was_made_without_one(cluster: None) -> None:
    """No run can change that: kubelets and the cluster's own configuration have the address of one host."""
    on("cp1", f"sed -i.bak 's|https://{ENDPOINT}|https://10.77.0.11:6443|' {ADMIN_CONF}")
    try:
        assert f"it was made before each had an endpoint, {ENDPOINT}" in deploy_refused()
    finally:
        on("cp1", f"mv {ADMIN_CONF}.bak {ADMIN_CONF}")
    assert deploy().changed == {}

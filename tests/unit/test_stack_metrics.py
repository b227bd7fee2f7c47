"""metrics-server's manifest: every connection verified, in both directions."""

from __future__ import annotations

from typing import Any

import yaml
from sample_stacks import (
    check_labels,
    check_namespaced,
    check_unprivileged,
    images,
    one,
    pods,
    secrets_mounted,
    settings,
)

from kubestage.facts.kubernetes import Workload
from kubestage.stacks import metrics
from kubestage.stacks.stack import Secret, Stack

FOLDER = "/etc/kubernetes/kubestage/pki/metrics"
NAME = "metrics-server.kube-system.svc"


def stack(**changed: Any) -> Stack:
    return metrics.metrics(settings(**changed))


def arguments() -> list[str]:
    (pod,) = pods(stack())
    (container,) = pod["spec"]["containers"]
    found: list[str] = container["args"]
    return found


def test_what_it_is_made_of() -> None:
    found = stack(metrics={"image": "example.com/metrics:9"})
    assert found.workloads == (Workload("kube-system", "Deployment", "metrics-server"),)
    assert images(found) == {"example.com/metrics:9"}
    check_labels(found)
    check_namespaced(found, cluster_wide={"ClusterRole", "ClusterRoleBinding", "APIService"})
    (pod,) = pods(found)
    check_unprivileged(pod)


def test_kubelets_are_verified() -> None:
    assert "--kubelet-certificate-authority=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt" in arguments()
    assert "--kubelet-preferred-address-types=InternalIP" in arguments()
    assert not [argument for argument in arguments() if "insecure" in argument]


def test_the_api_server_verifies_it() -> None:
    found = stack()
    api = one(found, "APIService")["spec"]
    assert api["insecureSkipTLSVerify"] is False  # left out, a true of somebody's hand would stay
    assert found.asked["ca"] == f"base64 -w 0 < {FOLDER}/ca.crt"
    (filled,) = [
        each for each in yaml.safe_load_all(found.filled({"ca": "Y2E="}).content) if each["kind"] == "APIService"
    ]
    assert filled["spec"]["caBundle"] == "Y2E="
    assert found.apis == (one(found, "APIService")["metadata"]["name"],)
    # The name by which the API server asks for it is that of its certificate.
    service = one(found, "Service")["metadata"]
    assert f"{service['name']}.{service['namespace']}.svc" == NAME
    assert (api["service"]["name"], api["service"]["namespace"]) == (service["name"], service["namespace"])
    assert list(metrics.SERVING_USES) == [NAME]


def test_its_certificate() -> None:
    found = stack()
    (secret,) = found.secrets
    assert secret == Secret(
        "kube-system",
        "metrics-server-serving",
        {"tls.crt": f"{FOLDER}/{NAME}.crt", "tls.key": f"{FOLDER}/{NAME}.key"},
        type="kubernetes.io/tls",
    )
    (pod,) = pods(found)
    assert pod["metadata"]["annotations"]["kubestage/certificate"] == ""
    assert 'kubestage/certificate: "0a1b"' in found.filled({"certificate": "0a1b"}).content
    assert found.asked["certificate"] == f"sha256sum < {FOLDER}/{NAME}.crt | cut -c1-16"
    assert secrets_mounted(pod) == {secret.name}
    (mount,) = pod["spec"]["containers"][0]["volumeMounts"]
    assert f"--tls-cert-file={mount['mountPath']}/tls.crt" in arguments()
    assert f"--tls-private-key-file={mount['mountPath']}/tls.key" in arguments()

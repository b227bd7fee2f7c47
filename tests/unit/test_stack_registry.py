"""The registry's manifest and Secrets: one pod on one volume, behind the Ingress alone, with logins by files."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from sample_stacks import (
    check_labels,
    check_namespaced,
    check_unprivileged,
    documents,
    images,
    one,
    pods,
    secrets_mounted,
    settings,
)

from kubestage.facts.kubernetes import Workload
from kubestage.stacks import registry
from kubestage.stacks.stack import Secret, Stack

LOGINS = "/etc/kubernetes/kubestage/registry"


def stack(**changed: Any) -> Stack:
    return registry.registry(settings(**changed))


def configuration(**changed: Any) -> dict[str, Any]:
    """The registry's own configuration."""
    content: dict[str, Any] = yaml.safe_load(one(stack(**changed), "ConfigMap")["data"]["config.yml"])
    return content


def pod_annotations(**changed: Any) -> dict[str, str]:
    found: dict[str, str] = one(stack(**changed), "Deployment")["spec"]["template"]["metadata"]["annotations"]
    return found


def test_what_it_is_made_of() -> None:
    found = stack()
    assert found.workloads == (Workload("registry", "Deployment", "registry"),)
    assert documents(found)[0]["kind"] == "Namespace"
    check_namespaced(found, cluster_wide={"Namespace"})
    check_labels(found)


def test_images_are_the_settings() -> None:
    assert images(stack(registry={"image": "example.com/registry:9"})) == {"example.com/registry:9"}


def test_pods_fit_their_namespace() -> None:
    found = stack()
    assert one(found, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in pods(found):
        check_unprivileged(pod)
        assert pod["spec"]["automountServiceAccountToken"] is False
        # Kubernetes would set REGISTRY_PORT=tcp://..., which the registry reads as configuration.
        assert pod["spec"]["enableServiceLinks"] is False


@pytest.mark.parametrize(("own", "used"), [("", "local-path"), ("cloud-ssd", "cloud-ssd"), ("null", "null")])
def test_volume(own: str, used: str) -> None:
    claim = one(stack(storage_class=own, registry={"size": "7Gi"}), "PersistentVolumeClaim")
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": used,
        "resources": {"requests": {"storage": "7Gi"}},
    }


def test_one_pod_at_a_time_has_the_volume() -> None:
    found = stack()
    deployment = one(found, "Deployment")["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    root = configuration()["storage"]["filesystem"]["rootdirectory"]
    for pod in pods(found):
        (volume,) = [each for each in pod["spec"]["volumes"] if "persistentVolumeClaim" in each]
        assert volume["persistentVolumeClaim"]["claimName"] == one(found, "PersistentVolumeClaim")["metadata"]["name"]
        (container,) = pod["spec"]["containers"]
        paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert paths[volume["name"]] == root


def test_it_stays_off_workers_that_are_thrown_away() -> None:
    """Where it can: it has to follow a volume that lies on one."""
    spec = one(stack(), "Deployment")["spec"]["template"]["spec"]
    (preferred,) = spec["affinity"]["nodeAffinity"].pop("preferredDuringSchedulingIgnoredDuringExecution")
    (label,) = preferred["preference"]["matchExpressions"]
    assert label == {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}
    assert spec["affinity"] == {"nodeAffinity": {}}
    for pod in pods(stack()):
        (toleration,) = pod["spec"]["tolerations"]
        assert toleration == {"key": label["key"], "operator": "Exists", "effect": "NoSchedule"}


def test_cleanup() -> None:
    job = one(stack(registry={"cleanup": "5 4 * * *"}), "CronJob")["spec"]
    assert (job["schedule"], job["timeZone"], job["concurrencyPolicy"]) == ("5 4 * * *", "Etc/UTC", "Forbid")
    pod = job["jobTemplate"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["command"] == [
        "registry",
        "garbage-collect",
        "--delete-untagged",
        "/etc/distribution/config.yml",
    ]
    (together,) = pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    labels = one(stack(), "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert together == {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}}
    assert pod["metadata"]["labels"] != labels  # the Service would send people to it


def test_configuration() -> None:
    content = configuration()
    assert content["storage"]["delete"] == {"enabled": True}
    assert "cache" not in content["storage"]  # it would believe in blobs that the cleanup has deleted
    assert content["http"]["relativeurls"] is True
    assert "debug" not in content["http"]
    assert content["health"]["storagedriver"]["enabled"] is True


def test_nobody_without_a_login() -> None:
    assert list(configuration()["auth"]) == ["htpasswd"]
    path = configuration()["auth"]["htpasswd"]["path"]
    pod = one(stack(), "Deployment")["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    (users,) = [volume["name"] for volume in pod["spec"]["volumes"] if "secret" in volume]
    paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert f"{paths[users]}/htpasswd" == path


def test_secrets() -> None:
    found = stack(registry={"pull_namespaces": ["default", "shop"]})
    users, *pull = found.secrets
    assert users == Secret("registry", "registry-users", {"htpasswd": f"{LOGINS}/htpasswd"})
    assert pull == [
        Secret(
            namespace,
            "registry-pull",
            {".dockerconfigjson": f"{LOGINS}/config.json"},
            type="kubernetes.io/dockerconfigjson",
        )
        for namespace in ("default", "shop")
    ]
    assert secrets_mounted(pods(found)[0]) == {users.name}
    assert found.others == ("default", "shop")
    assert "shop" not in found.manifest.content  # what is in the manifest goes with the stack


def test_nowhere_to_pull_from() -> None:
    found = stack(registry={"pull_namespaces": []})
    assert len(found.secrets) == 1
    assert found.others == ()


def test_ingress() -> None:
    found = stack()
    (rule,) = one(found, "Ingress")["spec"]["rules"]
    service = one(found, "Service")
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert rule["host"] == "registry.lab.test"
    assert backend == {"name": service["metadata"]["name"], "port": {"number": service["spec"]["ports"][0]["port"]}}


def test_a_new_pod_for_new_users_and_configuration() -> None:
    assert stack().asked == {"users_digest": f"sha256sum < {LOGINS}/htpasswd | cut -c1-16"}
    (deployment,) = [
        one
        for one in yaml.safe_load_all(stack().filled({"users_digest": "0a1b"}).content)
        if one["kind"] == "Deployment"
    ]
    assert deployment["spec"]["template"]["metadata"]["annotations"]["kubestage/users"] == "0a1b"
    assert pod_annotations() == pod_annotations(registry={"pull_namespaces": ["shop"]})
    assert pod_annotations() != pod_annotations(domain="other.test")

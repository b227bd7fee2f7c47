"""kubeadm's configuration (kubeadm.k8s.io/v1beta4, Kubernetes v1.31 and later), rendered from settings."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from kubestage.kubernetes import CRI_SOCKET, DISCOVERY, ENDPOINT
from kubestage.render import static_pods
from kubestage.render.merge import merged
from kubestage.settings import ClusterSettings, HostSettings

_API = "kubeadm.k8s.io/v1beta4"
# kubeadm's own bounds on what init and join wait for (v1beta4, Timeouts), in seconds.
_TIMEOUTS = {
    "controlPlaneComponentHealthCheck": 240,
    "kubeletHealthCheck": 240,
    "kubernetesAPICall": 60,
    "etcdAPICall": 120,
    "tlsBootstrap": 300,
    "discovery": 300,
}


def apiserver_names(
    settings: ClusterSettings, hosts: Mapping[str, HostSettings], addresses: Mapping[str, str]
) -> list[str]:
    """What settings put into every API server's certificate, beside kubeadm's own names; sorted.

    `addresses`: the private ones of the control plane's hosts by name; of `hosts`, their own settings. All of them, so
    that the cluster's configuration is one for all, and a kubeconfig may name any of them.
    """
    public = {hosts[name].public_address for name in addresses}
    return sorted({*addresses, *addresses.values(), *public, *settings.api_extra_sans} - {""})


def worker_images(settings: ClusterSettings) -> list[str]:
    """The images that every worker runs, beside those that kubeadm alone can name."""
    return [settings.pause_image, settings.flannel_cni_plugin_image, settings.flannel_image]


def timeouts(settings: ClusterSettings) -> dict[str, str]:
    """kubeadm's waits, scaled as all others of a run."""
    return {name: f"{settings.timeout_s(seconds)}s" for name, seconds in _TIMEOUTS.items()}


def init_configuration(
    settings: ClusterSettings, own: HostSettings, name: str, address: str, names: Sequence[str], encryption: str = ""
) -> str:
    """YAML for `kubeadm init --config` on the control plane host `name`, whose private address is `address`.

    `names`: apiserver_names(). `encryption`: the path of the API server's EncryptionConfiguration; "" for none.
    """
    node = _control_plane_registration(settings, own, name, address)
    components = static_pods.components(settings, encryption)
    components["apiServer"]["certSANs"] = list(names)
    documents: list[dict[str, Any]] = [
        {
            "apiVersion": _API,
            "kind": "InitConfiguration",
            # A token is in use for seconds only: one is minted for each run that joins a host.
            "bootstrapTokens": [{"ttl": "1m0s"}],
            "localAPIEndpoint": _local_endpoint(settings, address),
            "nodeRegistration": node,
            "timeouts": timeouts(settings),
        },
        {
            "apiVersion": _API,
            "kind": "ClusterConfiguration",
            "clusterName": settings.cluster_name,
            "controlPlaneEndpoint": ENDPOINT,
            "kubernetesVersion": f"v{own.kubernetes_version}",
            "networking": {
                "dnsDomain": settings.cluster_domain,
                "podSubnet": str(settings.pod_cidr),
                "serviceSubnet": str(settings.service_cidr),
            },
            **components,
        },
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "cgroupDriver": settings.cgroup_driver,
            "serverTLSBootstrap": True,  # else the kubelet serves with a certificate that nobody can verify
        },
        merged(
            # The mode by its name: kubeadm 1.37 would write it into one that names none.
            {"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "iptables"},
            settings.kube_proxy_config,
        ),
    ]
    return yaml.safe_dump_all(documents, sort_keys=False)


def keeps(stored: str, configuration: str) -> bool:
    """Whether `stored`, the ClusterConfiguration that the cluster keeps (YAML), says what `configuration` says.

    `configuration`: the text of init_configuration. kubeadm adds its defaults; what can't be read says something else.
    """
    try:
        found = yaml.safe_load(stored)
    except (yaml.YAMLError, ValueError):  # the second: a date that there is not
        return False
    documents = yaml.safe_load_all(configuration)
    return all(_says(found, document) for document in documents if document["kind"] == "ClusterConfiguration")


def _says(found: Any, wanted: Any) -> bool:
    if not isinstance(wanted, dict):
        return bool(found == wanted or not (found or wanted))  # kubeadm leaves out what is empty
    return all(_says(found.get(key) if isinstance(found, dict) else None, value) for key, value in wanted.items())


def join_configuration(
    token: str,
    name: str,
    address: str,
    ignore_preflight: Sequence[str],
    waits: Mapping[str, str],
) -> str:
    """YAML for `kubeadm join --config` of the worker `name`, by a bootstrap `token`; `waits`: its timeouts().

    By a file for discovery, whose server is what the kubelet talks to from then on; that of the cluster's own
    cluster-info would be (kubeadm 1.36, discovery/file).
    """
    return _joining(token, waits, nodeRegistration=_node_registration(name, address, ignore_preflight))


def control_plane_join_configuration(
    settings: ClusterSettings, own: HostSettings, name: str, address: str, token: str, certificate_key: str
) -> str:
    """As join_configuration(), of a host of the control plane; `certificate_key`: see certificates_upload()."""
    return _joining(
        token,
        timeouts(settings),
        controlPlane={
            "certificateKey": certificate_key,
            "localAPIEndpoint": _local_endpoint(settings, address),  # else it would be the default route's address
        },
        nodeRegistration=_control_plane_registration(settings, own, name, address),
    )


def upgrade_configuration(settings: ClusterSettings, own: HostSettings) -> str:
    """YAML for `kubeadm upgrade apply` and `kubeadm upgrade node --config` of a host, to its version."""
    common = {"ignorePreflightErrors": list(own.kubeadm_ignore_preflight), "imagePullPolicy": "IfNotPresent"}
    document = {
        "apiVersion": _API,
        "kind": "UpgradeConfiguration",
        "apply": {"kubernetesVersion": f"v{own.kubernetes_version}", **common},
        "node": common,
        "timeouts": {"upgradeManifests": f"{settings.timeout_s(300)}s"},
    }
    return yaml.safe_dump(document, sort_keys=False)


def certificates_upload(certificate_key: str, kubernetes_version: str) -> str:
    """YAML for `kubeadm init phase upload-certs --config`: the CAs' keys into the cluster, encrypted by the key.

    `certificate_key`: 32 bytes in hex.
    """
    documents = [
        {"apiVersion": _API, "kind": "InitConfiguration", "certificateKey": certificate_key},
        # Without it, kubeadm would ask the internet for the newest.
        {"apiVersion": _API, "kind": "ClusterConfiguration", "kubernetesVersion": f"v{kubernetes_version}"},
    ]
    return yaml.safe_dump_all(documents, sort_keys=False)


def _joining(token: str, waits: Mapping[str, str], **more: Any) -> str:
    document = {
        "apiVersion": _API,
        "kind": "JoinConfiguration",
        "discovery": {
            "file": {"kubeConfigPath": DISCOVERY},
            "tlsBootstrapToken": token,
        },
        "timeouts": dict(waits),
        **more,
    }
    return yaml.safe_dump(document, sort_keys=False)


def discovery(ca: str) -> str:
    """The kubeconfig at DISCOVERY: the API's endpoint and the cluster's CA (PEM), and no credentials."""
    cluster = {
        "server": f"https://{ENDPOINT}",
        "certificate-authority-data": base64.b64encode(ca.encode()).decode(),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "kubernetes", "cluster": cluster}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "discovery", "context": {"cluster": "kubernetes", "user": "nobody"}}],
        "current-context": "discovery",
    }
    return yaml.safe_dump(document, sort_keys=False)


def _local_endpoint(settings: ClusterSettings, address: str) -> dict[str, Any]:
    return {"advertiseAddress": address, "bindPort": settings.api_port}


def _control_plane_registration(
    settings: ClusterSettings, own: HostSettings, name: str, address: str
) -> dict[str, Any]:
    registration = _node_registration(name, address, own.kubeadm_ignore_preflight)
    if settings.schedule_on_control_plane:
        registration["taints"] = []  # left out, kubeadm puts its own
    return registration


def _node_registration(name: str, address: str, ignore_preflight: Sequence[str]) -> dict[str, Any]:
    return {
        "name": name,
        "criSocket": CRI_SOCKET,
        "ignorePreflightErrors": list(ignore_preflight),
        # Without it the kubelet takes the first address it finds, which on a host with several may be the wrong one.
        "kubeletExtraArgs": [{"name": "node-ip", "value": address}],
    }

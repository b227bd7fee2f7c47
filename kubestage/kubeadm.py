"""kubeadm's configuration (kubeadm.k8s.io/v1beta4, Kubernetes v1.31 and later), rendered from settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from kubestage.kubernetes import CRI_SOCKET
from kubestage.merge import merged
from kubestage.settings import Settings

_API = "kubeadm.k8s.io/v1beta4"


def apiserver_flags(settings: Settings) -> dict[str, str]:
    """The API server's flags (name without dashes -> value) that settings decide; kubeadm decides all others."""
    extra = {flag: str(value) for flag, value in settings.apiserver_extra_args.items()}
    # Told to end, an API server stops listening, and then waits for all watches until it is killed 30 s later; so it
    # ends them itself (flag of Kubernetes 1.27 and later).
    short = {"shutdown-watch-termination-grace-period": "3s"}
    return {"service-node-port-range": settings.node_port_range, **short, **extra}


def apiserver_names(settings: Settings, name: str, address: str) -> list[str]:
    """What settings put into the API server's certificate, beside kubeadm's own names; sorted."""
    return sorted({each for each in (address, name, settings.public_address, *settings.api_extra_sans) if each})


def worker_images(settings: Settings) -> list[str]:
    """The images that every worker runs, beside those that kubeadm alone can name."""
    return [settings.pause_image, settings.flannel_cni_plugin_image, settings.flannel_image]


def init_configuration(settings: Settings, name: str, address: str) -> str:
    """YAML for `kubeadm init --config` on the control plane host `name`, whose private address is `address`."""
    node = _node_registration(name, address, settings.kubeadm_ignore_preflight)
    if settings.schedule_on_control_plane:
        node["taints"] = []  # left out, kubeadm puts its own
    documents: list[dict[str, Any]] = [
        {
            "apiVersion": _API,
            "kind": "InitConfiguration",
            # A token is in use for seconds only: one is minted for each run that joins a host.
            "bootstrapTokens": [{"ttl": "1m0s"}],
            "localAPIEndpoint": {"advertiseAddress": address, "bindPort": settings.api_port},
            "nodeRegistration": node,
        },
        {
            "apiVersion": _API,
            "kind": "ClusterConfiguration",
            "clusterName": settings.cluster_name,
            "kubernetesVersion": f"v{settings.kubernetes_version}",
            "networking": {
                "dnsDomain": settings.cluster_domain,
                "podSubnet": settings.pod_cidr,
                "serviceSubnet": settings.service_cidr,
            },
            "apiServer": {
                "certSANs": apiserver_names(settings, name, address),
                "extraArgs": [{"name": flag, "value": value} for flag, value in apiserver_flags(settings).items()],
            },
        },
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "cgroupDriver": settings.cgroup_driver,
            "serverTLSBootstrap": True,  # else the kubelet serves with a certificate that nobody can verify
        },
        merged(
            {"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration"},
            settings.kube_proxy_config,
        ),
    ]
    return yaml.safe_dump_all(documents, sort_keys=False)


def join_configuration(join_command: Sequence[str], name: str, address: str, ignore_preflight: Sequence[str]) -> str:
    """YAML for `kubeadm join --config` of the worker `name`.

    `join_command` are the words that `kubeadm token create --print-join-command` prints.
    """
    options = dict(zip(join_command[3::2], join_command[4::2], strict=True))
    document = {
        "apiVersion": _API,
        "kind": "JoinConfiguration",
        "discovery": {
            "bootstrapToken": {
                "apiServerEndpoint": join_command[2],
                "token": options["--token"],
                "caCertHashes": [options["--discovery-token-ca-cert-hash"]],
            }
        },
        "nodeRegistration": _node_registration(name, address, ignore_preflight),
    }
    return yaml.safe_dump(document, sort_keys=False)


def _node_registration(name: str, address: str, ignore_preflight: Sequence[str]) -> dict[str, Any]:
    return {
        "name": name,
        "criSocket": CRI_SOCKET,
        "ignorePreflightErrors": list(ignore_preflight),
        # Without it the kubelet takes the first address it finds, which on a host with several may be the wrong one.
        "kubeletExtraArgs": [{"name": "node-ip", "value": address}],
    }

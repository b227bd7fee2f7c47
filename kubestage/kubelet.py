"""The kubelet's own settings on a host, put over the configuration that kubeadm keeps for all nodes alike."""

from __future__ import annotations

import yaml

from kubestage.host_file import HostFile
from kubestage.settings import Settings

_FOLDER = "/etc/kubernetes/kubelet.conf.d"
CONFIG = f"{_FOLDER}/kubestage.conf"
UNIT = "/etc/systemd/system/kubelet.service.d/20-kubestage.conf"

# kubeadm's own 10-kubeadm.conf has the same variable with --config alone (Kubernetes 1.36); the kubelet merges what is
# in the folder into that (https://kubernetes.io/docs/tasks/administer-cluster/kubelet-config-file/#kubelet-conf-d).
_UNIT = f"""\
[Unit]
After=containerd.service

[Service]
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml --config-dir={_FOLDER}"
"""


def files(settings: Settings) -> list[HostFile]:
    """The kubelet's settings, and what makes its unit read them."""
    document = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
    return [
        HostFile(CONFIG, yaml.safe_dump({**document, **settings.kubelet_config}, sort_keys=False), mode="600"),
        HostFile(UNIT, _UNIT),
    ]

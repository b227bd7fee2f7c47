"""The kubelet's own settings on a host, put over the configuration that kubeadm keeps for all nodes alike."""

from __future__ import annotations

from typing import Any

import yaml

from kubestage.host_file import HostFile
from kubestage.settings import HostSettings
from kubestage.started import recorded

FOLDER = "/etc/kubernetes/kubelet.conf.d"
CONFIG = f"{FOLDER}/kubestage.conf"
UNIT = "/etc/systemd/system/kubelet.service.d/20-kubestage.conf"
CONFIGURATION = (CONFIG, UNIT)  # what a kubelet is restarted for

# kubeadm's own 10-kubeadm.conf has the same variable with --config alone (Kubernetes 1.36); the kubelet merges what is
# in the folder into that (https://kubernetes.io/docs/tasks/administer-cluster/kubelet-config-file/#kubelet-conf-d).
# The name: a cloud's agent or DHCP may rename the host at boot, and kubeadm passes none that is the host's own already.
_UNIT = """\
[Unit]
After=containerd.service

[Service]
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml --config-dir={folder} --hostname-override={name}"
{recorded}
"""


def files(settings: HostSettings, name: str, resolv_conf: str) -> list[HostFile]:
    """The settings of the kubelet of the node `name`, and what makes its unit read them.

    `resolv_conf`: the host's file of nameservers, which pods go by. kubeadm writes the control plane's into the
    configuration of all nodes; a node of another system may have no such file, and could start no pod.
    """
    document: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "resolvConf": resolv_conf,
    }
    if settings.node_taints:
        # From the moment that there is a Node: a taint that came later would find pods there.
        document["registerWithTaints"] = [_taint(text) for text in settings.node_taints]
    return [
        HostFile(CONFIG, yaml.safe_dump({**document, **settings.kubelet_config}, sort_keys=False), mode="600"),
        HostFile(UNIT, _UNIT.format(folder=FOLDER, name=name, recorded=recorded("kubelet.service", CONFIGURATION))),
    ]


def _taint(text: str) -> dict[str, str]:
    """The taint "key=value:Effect" as the API has it."""
    key_and_value, _, effect = text.partition(":")
    key, _, value = key_and_value.partition("=")
    return {"key": key, "value": value, "effect": effect} if value else {"key": key, "effect": effect}

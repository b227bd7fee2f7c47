"""What a host made by lab/ needs differently: a container's kernel limits, and the mirror on the lab's bridge."""

from lab.build import product as _product
from lab.definition import MIRROR_URL as _MIRROR
from lab.definition import OWN_MIRROR as _OWN
from lab.definition import REGISTRY_URL as _REGISTRY
from lab.definition import builds as _builds
from lab.definition import mirror as _mirror
from lab.disk import EVICTED_BELOW_MIB as _EVICTED_BELOW_MIB
from lab.disk import HOSTS_MIB as _HOSTS_MIB

mirror = _mirror()
mirrors = {
    **_product()["mirrors"],
    _OWN: {
        "kubernetes_apt": f"{_MIRROR}/kubernetes/core/stable/{{minor}}/deb",
        "kubernetes_key": f"{_MIRROR}/kubernetes/core/stable/{{minor}}/deb/Release.key",
        "docker_apt": f"{_MIRROR}/docker-ce/linux/{{os}}",
        "docker_key": f"{_MIRROR}/docker-ce/linux/{{os}}/gpg",
        "files": f"{_MIRROR}/files",
        "registries": {
            "docker.io": [_REGISTRY],  # Docker takes no path in a mirror's address
            **{name: [f"{_REGISTRY}/v2/{name}"] for name in ("registry.k8s.io", "ghcr.io", "quay.io")},
        },
        "registry_fallback": False,
    },
}

domain = "lab.test"
dashboard = {"flavour": "kube-web-view" if _builds() else "headlamp"}  # Headlamp's image can't be built here

cgroup_driver = "cgroupfs"  # a container's systemd does not own its cgroup tree
kubelet_config = {
    "failCgroupV1": False,  # the machine may still be on cgroup v1
    "oomScoreAdj": 0,  # CAP_SYS_RESOURCE is missing: a negative one can't be set
    # The hosts share this machine's disk: a share of it says nothing of them, and deleting their images frees little.
    "evictionHard": {
        "memory.available": "100Mi",
        **dict.fromkeys(("nodefs.available", "imagefs.available"), f"{_EVICTED_BELOW_MIB}Mi"),
    },
    "imageGCHighThresholdPercent": 100,
}
require_disk_mib = _HOSTS_MIB
kube_proxy_config = {
    "oomScoreAdj": 0,
    "conntrack": {"maxPerCore": 0},  # nf_conntrack_max can't be set in a network namespace
}
containerd_config = {
    "plugins": {"io.containerd.cri.v1.runtime": {"restrict_oom_score_adj": True}},
}
kubeadm_ignore_preflight = ["SystemVerification"]  # it wants a kernel configuration file and cgroup v2

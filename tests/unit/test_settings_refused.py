"""Settings that are refused: each with where, the value, the reason and the remedy."""

from __future__ import annotations

from typing import Any

import pytest
from refusals import refused, told
from sample_cluster import GROUPS, group_data, hosts_data

from kubestage.checks.load import load

_MIRRORS = group_data()["mirrors"]
OLD_CRI = "io.containerd.grpc.v1.cri"


def _upstream(**changed: Any) -> dict[str, Any]:
    return {"mirrors": {"upstream": {**_MIRRORS["upstream"], **changed}}}


# setting of all hosts, as shown, reason, remedy
EVERYWHERE: list[tuple[dict[str, Any], str, str, str]] = [
    ({"pod_cidr": "10.244.0.0"}, "pod_cidr = '10.244.0.0'", "not a network", "address/prefix"),
    ({"pod_cidr": "10.244.0.0/33"}, "pod_cidr = '10.244.0.0/33'", "not a network", "address/prefix"),
    ({"pod_cidr": "10.244.1.1/16"}, "pod_cidr = '10.244.1.1/16'", "not the network's own address", '"10.244.0.0/16"'),
    ({"pod_cidr": "fd00::/48"}, "pod_cidr = 'fd00::/48'", "only IPv4", "give an IPv4 network"),
    ({"pod_cidr": "10.244.0.0/25"}, "pod_cidr = '10.244.0.0/25'", "every node takes a /24", "choose a /24 or larger"),
    ({"pod_cidr": "10.244.0.0/23"}, "pod_cidr = '10.244.0.0/23'", "room for 2, and there are 3", "10.244.0.0/22"),
    ({"pod_cidr": "10.96.0.0/16"}, "pod_cidr = '10.96.0.0/16'", "overlaps service_cidr", "share no address"),
    ({"pod_cidr": "10.0.0.0/16"}, "ssh_hostname = '10.0.0.11'", "inside pod_cidr", "choose a pod_cidr"),
    ({"pod_cidr": "172.16.0.0/12"}, "pod_cidr = '172.16.0.0/12'", "Docker's own bridge", '"bip"'),
    ({"pod_cidr": "64.0.0.0/7"}, "pod_cidr = '64.0.0.0/7'", "a /8 at most", "a smaller network"),
    ({"pod_cidr": "127.0.0.0/16"}, "pod_cidr = '127.0.0.0/16'", "no packet is routed", "a private network"),
    ({"service_cidr": "224.0.0.0/16"}, "service_cidr = '224.0.0.0/16'", "no packet is routed", "a private network"),
    ({"service_cidr": "10.96.0.0/11"}, "service_cidr = '10.96.0.0/11'", "a /12 to a /28", "a prefix in between"),
    ({"service_cidr": "10.96.0.0/29"}, "service_cidr = '10.96.0.0/29'", "a /12 to a /28", "a prefix in between"),
    ({"service_cidr": "10.0.0.0/24"}, "ssh_hostname = '10.0.0.11'", "inside service_cidr", "choose a service_cidr"),
    ({"node_port_range": "80:32767"}, "node_port_range = '80:32767'", "not a range", "its first and its last port"),
    ({"node_port_range": "32767-80"}, "node_port_range = '32767-80'", "ends (80) before it begins", '"80-32767"'),
    ({"node_port_range": "0-100"}, "node_port_range = '0-100'", "1 to 65535", "within 1-65535"),
    ({"node_port_range": "80-65536"}, "node_port_range = '80-65536'", "1 to 65535", "within 1-65535"),
    ({"node_port_range": 80}, "node_port_range = 80", "not a text", "text in quotes"),
    (
        {"node_port_range": "2379-2381", "stacks": []},
        "node_port_range = '2379-2381'",
        "no port of it is left",
        "a wider range",
    ),
    ({"node_port_range": "22-22", "stacks": []}, "node_port_range = '22-22'", "no port of it is left", "a wider range"),
    (
        {"node_port_range": "90-91", "node_port_reserved": ["85-95"], "stacks": []},
        "node_port_range = '90-91'",
        "no port of it is left",
        "reserve less",
    ),
    (
        {"node_port_reserved": ["2000-32000"]},
        "node_port_reserved = ['2000-32000']",
        "30001 ports would be held, and the API server can write no more than 3200 of them in one go",
        "no more than 3188 ports of node_port_range",
    ),
    (
        {"node_port_reserved": ["20000-23199"]},
        "node_port_reserved = ['20000-23199']",
        "with Kubernetes' own and SSH's, 3212 ports would be held",
        "no more than 3188 ports of node_port_range; or narrow that",
    ),
    ({"node_port_range": "\u06680-32767"}, "node_port_range = ", "not a range", "its first and its last port"),
    ({"kubelet_config": {"evictionHard": 5}}, "kubelet_config = ", '"evictionHard" is not a mapping', '"nodefs.avail'),
    (
        {"kubelet_config": {"evictionSoft": {"nodefs.free": "5%"}}},
        "kubelet_config = ",
        '"nodefs.free" is no signal for "evictionSoft"; did you mean "nodefs.inodesFree"?',
        "imagefs.available, imagefs.inodesFree, memory.available",
    ),
    *(
        (
            {"kubelet_config": {"evictionHard": {"imagefs.available": amount}}},
            "kubelet_config = ",
            f'"evictionHard.imagefs.available" is {amount!r}, which is no amount',
            '"10%" or "2Gi"',
        )
        for amount in ("x", "101%", 5, "-1Gi", None)
    ),
    ({"node_port_reserved": ["x"]}, "node_port_reserved.0 = 'x'", "not a range of ports", '"9000-9099"'),
    ({"node_port_reserved": [80, 70000]}, "node_port_reserved.1 = 70000", "1 to 65535", "within 1-65535"),
    ({"node_port_reserved": [1.5]}, "node_port_reserved.0 = 1.5", "neither a port nor a range", "write a number"),
    ({"node_port_reserved": [True]}, "node_port_reserved.0 = True", "neither a port nor a range", "write a number"),
    ({"node_port_reserved": "80-90"}, "node_port_reserved = '80-90'", "not a list", "['80-90']"),
    ({"api_port": 0}, "api_port = 0", "1 to 65535", "within 1-65535"),
    ({"api_port": "6443"}, "api_port = '6443'", "not a whole number", "without quotes"),
    ({"api_port": 10250}, "api_port = 10250", "another part of Kubernetes", "e.g. 6443"),
    ({"kubernetes_version": "v1.36.3"}, "kubernetes_version = 'v1.36.3'", "not a version", "without a leading v"),
    ({"kubernetes_version": "1.36"}, "kubernetes_version = '1.36'", "not a version", "in full"),
    ({"kubernetes_version": "1.36." + "9" * 5000}, "kubernetes_version = '1.36.99", "not a version", "in full"),
    ({"kubernetes_version": 1.36}, "kubernetes_version = 1.36", "not a text", "text in quotes"),
    ({"kubernetes_version": "1.30.4"}, "kubernetes_version = '1.30.4'", "v1beta4", "1.31.0 or newer"),
    (
        {"kubernetes_package_revision": "-1"},
        "kubernetes_package_revision = '-1'",
        "Debian revision",
        "apt-cache policy",
    ),
    ({"docker_version": "5:29.9.3"}, "docker_version = '5:29.9.3'", "not a version", "in full"),
    ({"containerd_version": "1.7.28"}, "containerd_version = '1.7.28'", "needs containerd 2", "2.0.0 or newer"),
    ({"cluster_domain": "Cluster.Local"}, "cluster_domain = 'Cluster.Local'", "not a DNS name", "cluster.local"),
    ({"cluster_domain": "cluster..local"}, "cluster_domain = 'cluster..local'", "not a DNS name", "cluster.local"),
    ({"cluster_domain": ""}, "cluster_domain = ''", "not a DNS name", "cluster.local"),
    ({"cluster_domain": "a" * 64}, "cluster_domain = 'aaaa", "not a DNS name", "cluster.local"),
    ({"cluster_name": "my_cluster"}, "cluster_name = 'my_cluster'", "not a DNS name", "write e.g."),
    ({"mirror": "aliyum"}, "mirror = 'aliyum'", 'did you mean "aliyun"?', "use one of: aliyun, aliyun-vpc, upstream"),
    (_upstream(docker_apt="ftp://x/y"), "mirrors.upstream.docker_apt = 'ftp://x/y'", "not an http", "https://"),
    (_upstream(docker_apt="http://h:x/y"), "mirrors.upstream.docker_apt = 'http://h:x/y'", "not a URL", "https://"),
    (_upstream(docker_apt="http://a:b@h/"), "mirrors.upstream.docker_apt", "with a user", "host, port and path only"),
    (_upstream(docker_apt="http://my_mirror/"), "docker_apt = 'http://my_mirror/'", "is no host name", "URL's host"),
    (_upstream(docker_key="https://h/a;reboot"), "mirrors.upstream.docker_key", "lists take for theirs", "%XX"),
    (_upstream(docker_apt="https://h/a'b"), "mirrors.upstream.docker_apt", "lists take for theirs", "%XX"),
    (_upstream(kubernetes_apt="https://h/$(id)"), "mirrors.upstream.kubernetes_apt", "lists take for theirs", "%XX"),
    (_upstream(files="https://h/a#"), "mirrors.upstream.files = 'https://h/a#'", "lists take for theirs", "%XX"),
    (_upstream(docker_key="http://h/{arch}"), "mirrors.upstream.docker_key", "unknown placeholder", "{minor}"),
    (
        {"mirrors": {"upstream": {k: v for k, v in _MIRRORS["upstream"].items() if k != "docker_key"}}},
        "mirrors.upstream.docker_key: ",
        "it is missing",
        "a mirror profile holds all of its keys",
    ),
    (_upstream(regestries={}), "mirrors.upstream.regestries = {}", 'did you mean "registries"?', "correct the name"),
    (_upstream(registries={"docker.io": "https://m"}), "mirrors.upstream.registries.docker.io", "not a list", "["),
    (_upstream(registries={"docker.io": ["m.io"]}), "registries.docker.io.0 = 'm.io'", "not an http", "https://"),
    (_upstream(registries={"https://docker.io": []}), "https://docker.io", "not a registry's name", "its host alone"),
    (_upstream(registries={"..": ["https://m"]}), "mirrors.upstream.registries", "not a registry's name", "its host"),
    (_upstream(registries={"a.io:0": []}), "mirrors.upstream.registries", "not a registry's name", "its host alone"),
    (
        _upstream(registries={"docker.io": []}, registry_fallback=False),
        "mirrors.upstream.registries.docker.io = []",
        "leaves none to ask",
        "name a mirror",
    ),
    ({"registry_mirrors": {"docker.io": "https://m"}}, "registry_mirrors.docker.io", "not a list", "["),
    ({"registry_mirrors": {"docker.io": ["m.io"]}}, "registry_mirrors.docker.io.0 = 'm.io'", "not an http", "https://"),
    ({"registry_mirrors": {"https://a.io": []}}, "registry_mirrors", "not a registry's name", "its host alone"),
    (
        {"registry_mirrors": {"docker.io": ["https://u:p@m"]}},
        "registry_mirrors.docker.io.0",
        "with a user",
        "host, port",
    ),
    (_upstream(registry_fallback="yes"), "mirrors.upstream.registry_fallback = 'yes'", "neither True nor", "True or"),
    ({"cgroup_driver": "system"}, "cgroup_driver = 'system'", 'did you mean "systemd"?', "cgroupfs, systemd"),
    (
        {"pause_image": "registry.k8s.io/pause"},
        "pause_image = 'registry.k8s.io/pause'",
        "neither tag nor",
        "pause:1.2.3",
    ),
    (
        {"busybox_image": "busybox:1.35.0"},
        "busybox_image = 'busybox:1.35.0'",
        "not a full image name",
        "docker.io/library",
    ),
    ({"flannel_image": "ghcr.io/a/b:latest"}, "flannel_image = 'ghcr.io/a/b:latest'", "pins nothing", "name a version"),
    ({"flannel_image": "../b:1"}, "flannel_image = '../b:1'", "not a full image name", "docker.io/library"),
    ({"flannel_image": "-.io/b:1"}, "flannel_image = '-.io/b:1'", "not a full image name", "docker.io/library"),
    ({"flannel_image": "a.io/b//c:1"}, "flannel_image = 'a.io/b//c:1'", "not a full image name", "docker.io/library"),
    ({"node_port_rang": "80-90"}, "node_port_rang = '80-90'", 'did you mean "node_port_range"?', "correct the name"),
    ({"ssh_prot": 22}, "ssh_prot = 22", 'did you mean "ssh_port"?', "correct the name"),
    ({"wibble": 1}, "wibble = 1", "no such setting", "begins with an underscore"),
    ({"docker_log_max_size": "20MB"}, "docker_log_max_size = '20MB'", "not a size", '"20m"'),
    ({"docker_log_max_size": "1\u0662m"}, "docker_log_max_size = ", "not a size", '"20m"'),
    ({"docker_log_max_files": 0}, "docker_log_max_files = 0", "at least 1", "above 0"),
    ({"docker_log_max_files": True}, "docker_log_max_files = True", "not a whole number", "digits"),
    ({"require_cpus": -1}, "require_cpus = -1", "at least 1", "above 0"),
    ({"require_disk_mib": "10G"}, "require_disk_mib = '10G'", "not a whole number", "digits"),
    ({"max_clock_skew_s": 0}, "max_clock_skew_s = 0", "at least 1", "above 0"),
    ({"certificate_renew_days": 0}, "certificate_renew_days = 0", "not within 1-120", "write e.g. 60"),
    ({"certificate_renew_days": 365}, "certificate_renew_days = 365", "renewed again and again", "write e.g. 60"),
    ({"timeout_factor": 0.5}, "timeout_factor = 0.5", "not within 1-100", "write 1"),
    ({"timeout_factor": float("inf")}, "timeout_factor = inf", "not within 1-100", "write 1"),
    ({"timeout_factor": float("nan")}, "timeout_factor = nan", "not within 1-100", "write 1"),
    ({"timeout_factor": "2"}, "timeout_factor = '2'", "not a number", "without quotes"),
    ({"timeout_factor": True}, "timeout_factor = True", "not a number", "without quotes"),
    ({"schedule_on_control_plane": "no"}, "schedule_on_control_plane = 'no'", "neither True nor False", "True or"),
    ({"kubeadm_ignore_preflight": ["ALL"]}, "kubeadm_ignore_preflight.0 = 'ALL'", "hides real faults", "single checks"),
    ({"kubeadm_ignore_preflight": ["a b"]}, "kubeadm_ignore_preflight.0 = 'a b'", "not the name of", "NumCPU"),
    ({"node_taints": ["gpu=yes"]}, "node_taints.0 = 'gpu=yes'", "not a taint", "gpu=yes:NoSchedule"),
    ({"node_taints": ["gpu:NoShedule"]}, "'gpu:NoShedule'", 'did you mean "NoSchedule"?', "effects are NoSchedule"),
    ({"node_taints": ["-gpu:NoExecute"]}, "'-gpu:NoExecute'", '"-gpu" is not a name', "example.com/gpu:NoSchedule"),
    (
        {"node_taints": ["a=b:NoSchedule", "a:NoSchedule"], "stacks": []},
        "node_taints = [",
        "has one value",
        "leave one",
    ),
    ({"node_labels": {"kubernetes.io/hostname": "x"}}, "node_labels = {", "the kubelet itself keeps", "of your own"),
    ({"node_labels": {"a b": "c"}}, "node_labels = {'a b': 'c'}", '"a b" is not a name', "example.com/disk"),
    ({"node_labels": {"Example.com/a": "c"}}, "Example.com/a", "is not a name", "example.com/disk"),
    ({"node_labels": {"a": "x/y"}}, "node_labels = {'a': 'x/y'}", '"x/y" is not a value', "at most 63"),
    ({"node_labels": {"a": 1}}, "node_labels.a = 1", "not a text", "quotes"),
    ({"node_labels": ["a"]}, "node_labels = ['a']", "not a mapping", "{"),
    ({"sysctls": {"ip_forward": 1}}, "sysctls = {'ip_forward': 1}", "no kernel setting", "vm.max_map_count"),
    ({"sysctls": {"-vm.swappiness": 1}}, "sysctls = {", "no kernel setting", "vm.max_map_count"),
    ({"sysctls": {"vm.swappiness": None}}, "'vm.swappiness': None", "neither a number nor text", "as sysctl shows it"),
    ({"sysctls": {"vm.swappiness": "1\nvm.panic = 1"}}, "sysctls = {", "not one line of plain", "as sysctl shows it"),
    ({"sysctls": {"net.ipv4.ip_forward": 0}}, "sysctls = {", "every cluster needs", 'remove "net.ipv4.ip_forward"'),
    ({"sysctls": {"net/ipv4/ip_forward": 0}}, "sysctls = {", "every cluster needs", 'remove "net/ipv4/ip_forward"'),
    ({"public_address": "47.1.2"}, "public_address = '47.1.2'", "not an IP address", "10.0.0.11"),
    ({"public_address": "my_host"}, "public_address = 'my_host'", "neither an IP address nor", "api.example.com"),
    ({"public_address": "*.a.com"}, "public_address = '*.a.com'", "a wildcard", "name one host"),
    ({"backup_recipients": ["age1x"]}, "backup_recipients", "not a public key of age", '"age1ql'),
    ({"backup_recipients": ["ssh-rsa x"]}, "backup_recipients", "not a public key of age, or of SSH", ".pub file"),
    ({"backup_recipients": ["AGE-SECRET-KEY-1"]}, "backup_recipients", "a secret key, which has no place", '"age1'),
    ({"backup_schedule": "now;"}, "backup_schedule = 'now;'", "no time of systemd's timers", '"03:30"'),
    ({"backup_schedule": "03:30"}, "backup_recipients", "nobody is named who could read", "leave backup_sch"),
    ({"backup_keep": 0}, "backup_keep = 0", "has to be at least 1", "a number above 0"),
    ({"api_extra_sans": ["a b"]}, "api_extra_sans.0 = 'a b'", "neither an IP address nor", "api.example.com"),
    (
        {"apiserver_extra_args": {"service-node-port-range": "80-90"}},
        "apiserver_extra_args = {'service-node-port-range': ...}",
        "a setting of its own",
        "set node_port_range",
    ),
    ({"apiserver_extra_args": {"advertise-address": "x"}}, "advertise-address", "of its own", "set private_address"),
    ({"apiserver_extra_args": {"secure-port": 1}}, "secure-port", "of its own", "set api_port"),
    ({"apiserver_extra_args": {"--v": 1}}, "{'--v': ...}", "not a flag's name", "without leading dashes"),
    ({"apiserver_extra_args": {"v": None}}, "{'v': ...}", "neither text nor a number", "command line"),
    ({"apiserver_extra_args": {"v": "1\n2"}}, "apiserver_extra_args = {", "not of one line", "as on the command line"),
    ({"apiserver_extra_args": {"v": ["1", None]}}, "{'v': ...}", "neither text nor a number", "command line"),
    ({"apiserver_extra_args": {"v": []}}, "{'v': ...}", "an empty list of values", "remove it"),
    (
        {"apiserver_extra_args": {"anonymous-auth": False}},
        "anonymous-auth",
        "nobody can join",
        "AuthenticationConfiguration",
    ),
    ({"apiserver_extra_args": {"bind-address": "127.0.0.1"}}, "bind-address", "at different addresses", "remove"),
    ({"apiserver_extra_args": {"insecure-port": 0}}, "insecure-port", "since 1.24", 'remove "insecure-port"'),
    ({"apiserver_extra_args": {"etcd-servers": "x"}}, "etcd-servers", "kubeadm keeps it", 'remove "etcd-servers"'),
    ({"apiserver_extra_args": {"client-ca-file": "x"}}, "client-ca-file", "kubeadm keeps it", "remove"),
    ({"apiserver_extra_args": {"version": True}}, "version", "print something, and end", "remove"),
    ({"apiserver_extra_args": {"authorization-mode": "RBAC"}}, "-mode", "kubelets need Node", "Node,RBAC"),
    (
        {"apiserver_extra_args": {"audit-log-path": "/var/log/a.log"}},
        "log-path",
        "a folder of its own",
        "/var/log/kuber",
    ),
    (
        {"apiserver_extra_args": {"audit-policy-file": "/etc/audit.yaml"}},
        "all hosts: apiserver_extra_args:",
        '"audit-policy-file" names /etc/audit.yaml, which the program\'s container does not have',
        'apiserver_files = {"/etc/audit.yaml": "FILE"}',
    ),
    (
        {"apiserver_extra_args": {"audit-policy-file": "audit.yaml"}},
        "apiserver_extra_args:",
        "audit.yaml, which is no absolute path",
        'apiserver_files = {"/etc/kubernetes/own/audit.yaml": "FILE"}',
    ),
    (
        {"apiserver_extra_args": {"tls-sni-cert-key": ["/etc/kubernetes/pki/a.crt,/etc/own/a.key:a.example"]}},
        "apiserver_extra_args:",
        '"tls-sni-cert-key" names /etc/own/a.key,',
        'apiserver_files = {"/etc/own/a.key": "FILE"}',
    ),
    (
        {"controller_manager_extra_args": {"cloud-config": "/proc/x"}},
        "controller_manager_extra_args:",
        '"cloud-config" names /proc/x,',
        '{"cloud-config": "/etc/kubernetes/own/x"} and controller_manager_files = {"/etc/kubernetes/own/x": "FILE"}',
    ),
    (
        {"scheduler_extra_args": {"config": "/etc/s.yaml"}},
        "scheduler_extra_args:",
        "names /etc/s.yaml",
        "scheduler_files",
    ),
    ({"etcd_extra_args": {"x-file": "/a/b"}}, "etcd_extra_args:", "names /a/b", 'remove "x-file"'),
    ({"etcd_extra_args": {"data-dir": "/data"}}, "data-dir", "kubeadm keeps it", "remove"),
    ({"etcd_extra_args": {"force-new-cluster": True}}, "force-new-cluster", "drop its other members", "remove"),
    ({"controller_manager_extra_args": {"cluster-cidr": "x"}}, "cluster-cidr", "of its own", "set pod_cidr"),
    ({"controller_manager_extra_args": {"controllers": "*"}}, "controllers", "nobody can join", "bootstrapsigner"),
    (
        {"controller_manager_extra_args": {"bind-address": "10.0.0.1"}},
        "bind-address",
        "leaves out 127.0.0.1",
        "0.0.0.0",
    ),
    ({"scheduler_extra_args": {"secure-port": 1}}, "secure-port", "kubeadm keeps it", "remove"),
    ({"apiserver_files": {"a.yaml": "x"}}, "apiserver_files = {", "no absolute path", "/etc/kubernetes/a.yaml"),
    (
        {"apiserver_files": {"/etc/kubernetes/pki/a": "x"}},
        "/pki/a",
        "the container has already",
        "/etc/kubernetes/own/",
    ),
    ({"scheduler_files": {"/etc/a/b": "x", "/etc/a/b/c": "x"}}, "scheduler_files", 'is below "/etc/a/b"', "another"),
    (
        {"apiserver_files": {"/etc/own/a": "/nowhere"}},
        "apiserver_files./etc/own/a = '/nowhere'",
        "no such file",
        "path",
    ),
    ({"apiserver_files": {"/etc/own/a": "/etc"}}, "apiserver_files./etc/own/a = '/etc'", "it is no file", "correct"),
    ({"apiserver_files": {"/etc/own/a": 1}}, "apiserver_files./etc/own/a = 1", "not a text", "quotes"),
    ({"kubelet_config": {"serverTLSBootstrap": False}}, "kubelet_config", '"serverTLSBootstrap" is fixed', "remove"),
    ({"kubelet_config": {"a": {"b": object}}}, "kubelet_config", 'the value of "a.b" is', "use text, numbers"),
    ({"kubelet_config": {"a": [{1: 2}]}}, "kubelet_config", 'the key 1 in "a" is not a text', "put it in quotes"),
    ({"kube_proxy_config": {"a": float("nan")}}, "kube_proxy_config", 'value of "a" is no number', "finite"),
    ({"kubelet_config": {"cgroupDriver": "systemd"}}, "cgroupDriver", "of its own", "set cgroup_driver"),
    ({"kubelet_config": {"clusterDNS": []}}, "clusterDNS", "of its own", "set service_cidr"),
    ({"kubelet_config": {"kind": "x"}}, "kubelet_config", '"kind" is fixed', 'remove "kind"'),
    ({"kubelet_config": {"healthzPort": 1}}, "kubelet_config", '"healthzPort" is fixed', 'remove "healthzPort"'),
    ({"kube_proxy_config": {"clusterCIDR": "x"}}, "clusterCIDR", "of its own", "set pod_cidr"),
    ({"docker_config": {"exec-opts": ["native.cgroupdriver=x"]}}, "docker_config", "of its own", "set cgroup_driver"),
    ({"docker_config": {"exec-opts": None}}, "docker_config", '"exec-opts" is not a list', "write it as ["),
    ({"docker_config": {"insecure-registries": "a.b"}}, "docker_config", "is not a list", "write it as ["),
    ({"docker_config": {"log-opts": None}}, "docker_config", '"log-opts" is not a mapping', "{"),
    ({"docker_config": {"a": "b\ud800"}}, "docker_config", 'the value of "a" has a character', "correct the text"),
    ({"containerd_config": {"a": 2**63}}, "containerd_config", 'the value of "a" is too large', "64 bits"),
    ({"docker_config": {"a": {1, 2}}}, "docker_config", 'the value of "a" is a set', "use text, numbers"),
    ({"docker_config": {"log-opts": {"max-size": "1m"}}}, "max-size", "of its own", "set docker_log_max_size"),
    ({"docker_config": {"registry-mirrors": []}}, "registry-mirrors", "of its own", "set mirrors"),
    (
        {"containerd_config": {"plugins": {"p": {"options": {"SystemdCgroup": True}}}}},
        "SystemdCgroup",
        "of its own",
        "set cgroup_driver",
    ),
    ({"containerd_config": {"plugins": {"p": {"sandbox": "x"}}}}, "sandbox", "of its own", "set pause_image"),
    ({"containerd_config": {"a": None}}, "containerd_config", 'the value of "a" is None', "use text, numbers"),
    ({"containerd_config": {"plugins": []}}, "containerd_config", '"plugins" is not a mapping', "{"),
    (
        {"containerd_config": {"plugins": {"io.containerd.cri.v1.runtime": 5}}},
        "containerd_config",
        '"plugins.io.containerd.cri.v1.runtime" is not a mapping',
        "{",
    ),
    (
        {"sysctls": {"net.ipv4.conf.all.forwarding": 0}},
        "sysctls",
        "takes pods from the network",
        'remove "net.ipv4.conf',
    ),
    (
        {"sysctls": {"net/ipv4/conf/eth0.10/forwarding": 0}},
        "sysctls",
        "takes pods from the network",
        'remove "net/ipv4',
    ),
    ({"sysctls": {"net/bridge/bridge-nf-call-iptables": 0}}, "sysctls", "every cluster needs", 'remove "net/bridge'),
    ({"sysctls": {"vm/overcommit_memory": "2"}}, "sysctls", 'the kubelet sets "vm/overcommit_memory" to 1', "remove"),
    ({"sysctls": {"vm.swappiness": 1, "vm/swappiness": 1}}, "sysctls", "there twice", 'remove "vm/swappiness"'),
    (
        {"containerd_config": {"plugins": {OLD_CRI: {"sandbox_image": "x"}}}},
        "containerd_config",
        "of its own",
        "set pause_",
    ),
    (
        {"containerd_config": {"plugins": {OLD_CRI: {"max_concurrent_downloads": 3}}}},
        "containerd_config",
        "the name that containerd 1 had",
        'write it under "io.containerd.cri.v1.images"',
    ),
    (
        {"containerd_config": {"plugins": {OLD_CRI: {"max_container_log_line_size": 3}}}},
        "containerd_config",
        f'"max_container_log_line_size" is under "{OLD_CRI}"',
        'write it under "io.containerd.cri.v1.runtime"',
    ),
    ({"containerd_config": {"disabled_plugins": ["cri"]}}, "containerd_config", "the kubelet needs", 'remove "cri"'),
    (
        {"containerd_config": {"disabled_plugins": [OLD_CRI]}},
        "containerd_config",
        "the kubelet needs",
        f'remove "{OLD_CRI}"',
    ),
    (
        {
            "containerd_config": {
                "disabled_plugins": ["io.containerd.snapshotter.v1.btrfs", "io.containerd.cri.v1.images"]
            }
        },
        "containerd_config",
        "the kubelet needs",
        'remove "io.containerd.cri.v1.images"',
    ),
    (
        {"containerd_config": {"disabled_plugins": ["zfs"]}},
        "containerd_config",
        'a short name like "zfs"',
        "snapshotter.v1.zfs",
    ),
    (
        {"containerd_config": {"disabled_plugins": "cri"}},
        "containerd_config",
        "is not a list of names",
        "write it as [",
    ),
    (
        {"containerd_config": {"root": "/data"}},
        "containerd_config",
        "a second time",
        "mount that at /var/lib/containerd",
    ),
    ({"containerd_config": {"state": "/data"}}, "containerd_config", "a second time", 'remove "state"'),
    (
        {"containerd_config": {"grpc": {"address": "/run/x"}}},
        "containerd_config",
        "and nowhere else",
        'remove "address"',
    ),
    (
        {"containerd_config": {"plugins": {"io.containerd.server.v1.grpc": {"address": "/run/x"}}}},
        "containerd_config",
        "and nowhere else",
        'remove "address"',
    ),
    (
        {"containerd_config": {"plugins": {"io.containerd.cri.v1.runtime": {"cni": {"conf_dir": "/etc/cni"}}}}},
        "containerd_config",
        "where the pod network puts its files",
        'remove "conf_dir"',
    ),
    (
        {"containerd_config": {"plugins": {"io.containerd.cri.v1.images": {"registry": {"mirrors": {}}}}}},
        "containerd_config",
        "keeps containerd from its mirrors",
        'remove "mirrors" here and set mirrors',
    ),
    (
        {
            "containerd_config": {
                "plugins": {"io.containerd.cri.v1.runtime": {"containerd": {"default_runtime_name": "nvidia"}}}
            }
        },
        "containerd_config",
        'which "runtimes" does not have',
        "add that runtime",
    ),
    (
        {"docker_config": {"hosts": ["unix:///run/docker.sock"]}},
        "docker_config",
        "command line already",
        'remove "hosts"',
    ),
    ({"docker_config": {"containerd": "/run/x"}}, "docker_config", "command line already", 'remove "containerd"'),
    (
        {"docker_config": {"containerd-namespace": "k8s.io"}},
        "docker_config",
        "that of the kubelet",
        'remove "containerd-na',
    ),
    (
        {"docker_config": {"bridge": "br0", "bip": "10.9.0.1/24"}},
        "docker_config",
        "names another one",
        'or remove "bridge"',
    ),
    (
        {"docker_config": {"default-address-pools": ["10.9.0.0/16"]}},
        "docker_config",
        "not such as Docker takes",
        '"size": 24',
    ),
    (
        {"docker_config": {"default-address-pools": [{"base": "10.9.0.1/16", "size": 24}]}},
        "docker_config",
        "not such as Docker takes",
        '"size": 24',
    ),
    (
        {"docker_config": {"default-address-pools": [{"base": "10.9.0.0/16", "size": 8}]}},
        "docker_config",
        "not such as Docker takes",
        '"size": 24',
    ),
    (
        {"docker_config": {"default-address-pools": [{"base": "10.244.128.0/17", "size": 24}]}},
        "docker_config",
        "10.244.128.0/17, which overlaps pod_cidr = '10.244.0.0/16'",
        'docker_config = {"default-address-pools"',
    ),
    (
        {"service_cidr": "192.168.96.0/20", "pod_cidr": "172.16.0.0/12"},
        "pod_cidr = '172.16.0.0/12'",
        "Docker's own bridge",
        '{"bip": "10.199.99.1/24"}',
    ),
    ({"cluster_domain": "cluster.1"}, "cluster_domain = 'cluster.1'", "its last part is a number", '"cluster.local"'),
    (
        {"api_extra_sans": ["api.1"]},
        "api_extra_sans.0 = 'api.1'",
        "neither an IP address nor a host",
        "api.example.com",
    ),
    (_upstream(files="http://10.0.0.256/x"), "mirrors.upstream.files", '"10.0.0.256" is no host name', "URL's host"),
    ({"pod_cidr": "10.244.1.1/30"}, "pod_cidr = '10.244.1.1/30'", "every node takes a /24", '"10.244.0.0/16"'),
    ({"containerd_config": {"version": 2}}, "containerd_config", '"version" is fixed', 'remove "version"'),
]


@pytest.mark.parametrize(("settings", "shown", "reason", "remedy"), EVERYWHERE, ids=lambda value: str(value)[:60])
def test_setting_of_all_hosts(settings: dict[str, Any], shown: str, reason: str, remedy: str) -> None:
    problems = refused(hosts_data(settings)).problems
    about = [str(problem) for problem in problems if shown in str(problem)]
    assert about, [str(problem) for problem in problems]
    assert reason in about[0]
    assert remedy in about[0].split("\n    -> ")[1]
    assert "pydantic" not in about[0] and "Input should" not in about[0] and "validator" not in about[0]


@pytest.mark.parametrize(("settings", "shown", "reason", "remedy"), EVERYWHERE, ids=lambda value: str(value)[:60])
def test_one_mistake_is_told_once(settings: dict[str, Any], shown: str, reason: str, remedy: str) -> None:
    problems = told(hosts_data(settings)).problems
    if "ssh_hostname" in shown:  # each host has an address of its own
        assert [problem.where for problem in problems] == ["cp1", "w1", "w2"]
    else:
        assert [problem.where for problem in problems] == ["all hosts"]


# setting of w1, reason, remedy
SINGLE: list[tuple[dict[str, Any], str, str, str]] = [
    (
        {"kubernetes_version": "1.36.9"},
        "kubernetes_version = '1.36.9'",
        "not be newer",
        "upgrade the control plane first",
    ),
    (
        {"kubernetes_version": "1.37.0"},
        "kubernetes_version = '1.37.0'",
        "not be newer",
        "upgrade the control plane first",
    ),
    ({"kubernetes_version": "1.32.9"}, "kubernetes_version = '1.32.9'", "at most 3 minor", "1.33.0 or newer"),
    (
        {"pod_cidr": "10.100.0.0/14", "service_cidr": "10.96.0.0/12"},
        "pod_cidr = '10.100.0.0/14'",
        "cp1 has '10.244",
        "group_data",
    ),
    ({"node_port_range": "80-90"}, "node_port_range = '80-90'", "cp1 has '80-32767'", "group_data"),
    ({"cluster_domain": "x.local"}, "cluster_domain = 'x.local'", "one setting for the whole cluster", "group_data"),
    ({"kube_proxy_config": {"mode": "x"}}, "kube_proxy_config = {'mode': ...}", "one setting for the", "group_data"),
    ({"private_address": "10.244.3.4"}, "private_address = '10.244.3.4'", "inside pod_cidr", "choose a pod_cidr"),
    ({"private_address": "10.97.3.4"}, "private_address = '10.97.3.4'", "inside service_cidr", "choose a service_cidr"),
    ({"public_address": "10.97.3.4"}, "public_address = '10.97.3.4'", "inside service_cidr", "choose a service_cidr"),
    ({"private_address": "10.1.2"}, "private_address = '10.1.2'", "not an IP address", "10.0.0.11"),
    ({"private_address": "fd00::1"}, "private_address = 'fd00::1'", "only IPv4", "IPv4 address"),
    ({"ssh_port": "2222"}, "ssh_port = '2222'", "not a port", "without quotes"),
    ({"ssh_port": [22]}, "ssh_port = [22]", "not a port", "within 1-65535"),
    ({"ssh_port": True}, "ssh_port = True", "not a port", "within 1-65535"),
    ({"ssh_port": 70000}, "ssh_port = 70000", "not a port", "within 1-65535"),
    ({"ssh_hostname": ["10.0.0.12"]}, "ssh_hostname = ['10.0.0.12']", "not a text", "in quotes"),
    ({5: 1}, "5 = 1", "no such setting", "remove it"),  # type: ignore[dict-item]
    ({"private_address": "127.0.0.1"}, "private_address = '127.0.0.1'", "no other host can reach", "network card"),
]


@pytest.mark.parametrize(("settings", "shown", "reason", "remedy"), SINGLE, ids=lambda value: str(value)[:60])
def test_setting_of_a_single_host(settings: dict[str, Any], shown: str, reason: str, remedy: str) -> None:
    problems = [p for p in refused(hosts_data(w1=settings)).problems if shown in str(p)]
    assert problems
    assert problems[0].where == "w1"
    assert reason in str(problems[0])
    assert remedy in problems[0].remedy


# data by host, groups, message
INVENTORIES: list[tuple[dict[str, dict[str, Any]], dict[str, list[str]], str, str]] = [
    (hosts_data(), {"masters": ["cp1"], "workers": ["w1", "w2"]}, "no host in the group", "control_plane ="),
    (
        hosts_data(),
        {"control_plane": ["cp1"], "workers": ["cp1", "w1", "w2"]},
        "cp1: it is in control_plane and",
        "take",
    ),
    (hosts_data(), {"control_plane": ["cp1"], "workers": ["w1"]}, "w2: it is neither in control_plane nor", "put it"),
    (
        hosts_data(w2={"ssh_hostname": "10.0.0.12"}),
        GROUPS,
        "w1, w2: ssh_hostname, ssh_port = '10.0.0.12:22'",
        "drop the",
    ),
    (
        hosts_data(w1={"private_address": "10.1.0.1"}, w2={"private_address": "10.1.0.1"}),
        GROUPS,
        "w1, w2: private_address = '10.1.0.1': several hosts have the same",
        "give each host its own",
    ),
]


@pytest.mark.parametrize(("data", "groups", "message", "remedy"), INVENTORIES, ids=[i[2] for i in INVENTORIES])
def test_inventory(data: dict[str, Any], groups: dict[str, list[str]], message: str, remedy: str) -> None:
    about = [problem for problem in refused(data, groups).problems if message in str(problem)]
    assert about and remedy in about[0].remedy


@pytest.mark.parametrize(
    "name", ["Worker", "w_1", "-w", "w.", "a" * 64, "@ssh/w1", "10.0.0.12", "123", "1.2", "w.0x1f"]
)
def test_host_name(name: str) -> None:
    data = hosts_data()
    data[name] = data.pop("w1")
    problems = refused(data, {"control_plane": ["cp1"], "workers": [name, "w2"]}).problems
    assert [problem.where for problem in problems] == [name]
    assert "node" in problems[0].reason and "ssh_hostname" in problems[0].remedy


@pytest.mark.parametrize("name", ["localhost", "w.localhost", "a" * 40 + "." + "b" * 40])
def test_a_dns_name_that_is_no_host_name(name: str) -> None:
    data = hosts_data()
    data[name] = data.pop("w1")
    (problem,) = refused(data, {"control_plane": ["cp1"], "workers": [name, "w2"]}).problems
    assert problem.where == name
    assert "can't be a node's" in problem.reason and "in the inventory" in problem.remedy


def test_an_address_of_no_network_is_dockers_own_business() -> None:
    load(hosts_data({"docker_config": {"bip": ()}}), GROUPS)


def test_two_ports_of_one_address_are_two_hosts() -> None:
    load(hosts_data(w1={"ssh_hostname": "47.1.1.1"}, w2={"ssh_hostname": "47.1.1.1", "ssh_port": 2201}), GROUPS)


def test_a_missing_setting_is_told() -> None:
    data = hosts_data()
    for host in data.values():
        del host["cluster_domain"]
    assert [str(problem) for problem in refused(data).problems] == [
        "all hosts: cluster_domain: it is missing\n    -> add it; group_data/all.py has every setting"
    ]


def test_everything_at_once() -> None:
    data = hosts_data(
        {"pod_cidr": "10.96.0.0/16", "cluster_domain": "-"},
        w1={"node_taints": ["x"], "kubernetes_version": "1.37.1"},
        w2={"sysctls": {"x": 1}, "private_address": "10.97.0.1"},
    )
    error = refused(data, {"control_plane": ["cp1"], "workers": ["w1"]})
    told = {(problem.where, problem.setting) for problem in error.problems}
    assert told == {
        ("all hosts", "pod_cidr"),
        ("all hosts", "cluster_domain"),
        ("w1", "node_taints.0"),
        ("w1", "kubernetes_version"),
        ("w2", "sysctls"),
        ("w2", "private_address"),
        ("w2", ""),
    }
    assert str(error).startswith("Settings: 7 problems. Nothing was changed.\n1. ")
    assert "\n7. " in str(error)


def test_a_bad_value_of_one_host_is_not_told_as_a_difference_too() -> None:
    problems = refused(hosts_data(cp1={"node_port_range": "100-90"}), GROUPS).problems
    assert [(problem.where, problem.setting) for problem in problems] == [("cp1", "node_port_range")]


def test_what_most_hosts_have_is_the_clusters() -> None:
    """Also where it is the control plane that has another: told of that host, with what the cluster has."""
    (problem,) = refused(hosts_data(cp1={"cluster_domain": "x.local"})).problems
    assert (problem.where, problem.setting, problem.value) == ("cp1", "cluster_domain", "x.local")
    assert "w1 has 'cluster.local', but it is one setting for the whole cluster" in problem.reason


def test_a_setting_that_only_some_hosts_have_is_the_clusters() -> None:
    data = hosts_data()
    del data["cp1"]["domain"], data["w2"]["domain"]
    load(data, GROUPS)


def test_what_is_valid_is_judged_as_ever_where_something_else_is_not() -> None:
    """In the form that it has when all is valid: flags are lists of texts, a list is one, whatever was written."""
    mistakes = {"api_port": 0, "scheduler_extra_args": {"config": "/etc/no/file"}, "stacks": ["metrics", "metrics"]}
    told = {(problem.setting, problem.where) for problem in refused(hosts_data(mistakes)).problems}
    assert told == {("api_port", "all hosts"), ("scheduler_extra_args", "all hosts"), ("stacks", "all hosts")}


def test_an_invalid_setting_of_one_host_keeps_no_other_from_being_judged() -> None:
    docker = {"docker_config": {"bip": "10.244.0.1/24"}}
    problems = refused(hosts_data(w1={"docker_config": {"hosts": []}}, w2=docker)).problems
    assert [(problem.where, problem.setting) for problem in problems] == [("w1", "docker_config"), ("w2", "pod_cidr")]

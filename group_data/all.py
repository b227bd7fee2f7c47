"""Every setting, its default, its unit. A file of the inventory's own name beside this one holds only what differs."""

# --- Versions: written here and nowhere else -------------------------------------------------------------------------
kubernetes_version = "1.36.3"  # of kubeadm, kubelet, kubectl and the control plane; a worker may be 3 minors older
kubernetes_package_revision = "1.1"  # Debian revision of the kubernetes packages: 1.36.3-1.1
docker_version = "29.9.3"  # of docker-ce and docker-ce-cli
containerd_version = "2.4.2"  # of containerd.io; kubelet 1.36 needs containerd 2

# --- Images: upstream's own names, whatever mirror serves them; stacks have their own ---------------------------------
pause_image = "registry.k8s.io/pause:3.10.2"
flannel_image = "ghcr.io/flannel-io/flannel:v0.28.4"
flannel_cni_plugin_image = "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel1"
busybox_image = "docker.io/library/busybox:1.35.0"  # runs the checks of `make verify`, and makes volumes' folders

# --- Where packages, images and files come from ----------------------------------------------------------------------
mirror = "upstream"  # a name in mirrors
registry_mirrors = {}  # your own, without a login: registry -> [URL, ...], asked in order, before the profile's
_aliyun = {
    "kubernetes_apt": "https://mirrors.aliyun.com/kubernetes-new/core/stable/{minor}/deb",
    "kubernetes_key": "https://mirrors.aliyun.com/kubernetes-new/core/stable/{minor}/deb/Release.key",
    "docker_apt": "https://mirrors.aliyun.com/docker-ce/linux/{os}",
    "docker_key": "https://mirrors.aliyun.com/docker-ce/linux/{os}/gpg",
    "files": "https://files.m.daocloud.io",
    "registries": {
        "registry.k8s.io": ["https://k8s.m.daocloud.io", "https://k8s.1ms.run"],
        "docker.io": ["https://docker.m.daocloud.io", "https://docker.1ms.run"],
        "ghcr.io": ["https://ghcr.m.daocloud.io", "https://ghcr.1ms.run"],
        "quay.io": ["https://quay.m.daocloud.io", "https://quay.1ms.run"],
    },
    "registry_fallback": True,
}
mirrors = {
    # kubernetes_apt, docker_apt: apt repositories; "{minor}" in them becomes e.g. v1.36, "{os}" debian or ubuntu.
    # registries: where containerd asks for a registry's images, in order, before the registry itself.
    # registry_fallback: ask the registry itself when all of its mirrors fail.
    # files: put before the address (without its scheme) of a single file; empty: ask that address itself.
    "upstream": {
        "kubernetes_apt": "https://pkgs.k8s.io/core:/stable:/{minor}/deb",
        "kubernetes_key": "https://pkgs.k8s.io/core:/stable:/{minor}/deb/Release.key",
        "docker_apt": "https://download.docker.com/linux/{os}",
        "docker_key": "https://download.docker.com/linux/{os}/gpg",
        "files": "",
        "registries": {},
        "registry_fallback": True,
    },
    "aliyun": _aliyun,
    # On ECS in a VPC: packages by Aliyun's internal network, which costs no traffic. It has no TLS, so what packages
    # are trusted by, the keys, comes from outside.
    "aliyun-vpc": {
        **_aliyun,
        "kubernetes_apt": "http://mirrors.cloud.aliyuncs.com/kubernetes-new/core/stable/{minor}/deb",
        "docker_apt": "http://mirrors.cloud.aliyuncs.com/docker-ce/linux/{os}",
    },
}

# --- Cluster ---------------------------------------------------------------------------------------------------------
cluster_name = "kubestage"
cluster_domain = "cluster.local"  # the DNS domain of Services, inside the cluster only
pod_cidr = "10.244.0.0/16"
service_cidr = "10.96.0.0/12"
api_port = 6443
api_extra_sans = []  # more names or addresses in the API server's certificate; public_address is always in
certificate_renew_days = 60  # a run renews what ends within so many days: kubeadm's, the kubelets', the sites'
encrypt_secrets = True  # Secrets are written into etcd with a key that is made once and is on the control plane alone
schedule_on_control_plane = None  # True: pods may run there; None: where there is no worker

# --- NodePorts -------------------------------------------------------------------------------------------------------
node_port_range = "80-32767"
node_port_reserved = []  # ports or "from-to" ranges never given to a Service, beside those found in use

# --- Runtime and Kubernetes components -------------------------------------------------------------------------------
cgroup_driver = "systemd"  # "systemd" or "cgroupfs": for containerd, Docker and the kubelet alike
containerd_config = {}  # merged into /etc/containerd/config.toml
docker_config = {}  # merged into /etc/docker/daemon.json
docker_log_max_size = "20m"  # a container's log file, before it is rotated
docker_log_max_files = 3
kubelet_config = {}  # put over kubeadm's KubeletConfiguration (kubelet.config.k8s.io/v1beta1)
kube_proxy_config = {}  # merged into KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1)
apiserver_extra_args = {}  # flag, without the leading dashes -> value, or a list of values to give it several times
apiserver_files = {}  # a path that a flag names -> the file on your machine; a change of either restarts the API server
controller_manager_extra_args = {}  # the same for the kube-controller-manager
controller_manager_files = {}
scheduler_extra_args = {}  # and for the kube-scheduler
scheduler_files = {}
etcd_extra_args = {}  # and for etcd, which takes no files
kubeadm_ignore_preflight = []  # names of kubeadm's own checks to skip; "all" is refused

# --- Platform --------------------------------------------------------------------------------------------------------
stacks = ["ingress", "dashboard", "registry", "storage", "metrics"]  # a run removes those that are not listed
# A stack's own settings are a mapping of its name, of what differs: registry = {"size": "50Gi"}. README has them all;
# they are written, with their defaults, in kubestage/stacks/NAME.py.
domain = "kubestage.test"  # the platform's sites are https://NAME.<domain>

ca_certificate = ""  # of your own CA: a PEM file on your machine; empty: a CA is made once, on the control plane
ca_key = ""  # its key: a PEM file on your machine
wildcard_certificate = ""  # for *.<domain>, with its chain: a PEM file on your machine; empty: the CA issues one
wildcard_key = ""  # its key: a PEM file on your machine

http_port = 80  # the NodePort of the sites; 0: HTTPS alone
https_port = 443
http_redirect = True  # send requests to the platform's own sites from HTTP to HTTPS; needs http_port 80, https_port 443


storage_class = ""  # of your own, for the platform's volumes; empty: that of the stack "storage"
# Your own: name -> a file or folder here, {"folder": PATH, "kustomize": FOLDER_IN_IT}, or {"url": URL, "sha256": SUM}.
manifests = {}

# --- Hosts -----------------------------------------------------------------------------------------------------------
# Set these for single hosts in the inventory.
private_address = ""  # the address other nodes use; empty: that of the interface with the default route
public_address = ""  # the address people use, in certificates and in your kubeconfig; empty: private_address
provider = ""  # whose the machine is, for `rebuild`: a command of yours (README); inventory/aliyun.py sets its own
rebuild_image = ""  # of which `rebuild` makes the new disk: an id, or on ECS a family; empty: that of the old one
node_labels = {}  # label -> value
node_taints = []  # "key=value:Effect" or "key:Effect"
sysctls = {}  # more kernel settings, name -> value
take_over_runtime = False  # replace what runs containers on the host already, although some of them are running
require_cpus = 2  # what preflight asks of a host, at least
require_memory_mib = 1700
require_disk_mib = 10240  # free, where packages and images go, beside what the kubelet keeps free (evictionHard)
max_clock_skew_s = 5  # between any two hosts, seconds

# --- Runs ------------------------------------------------------------------------------------------------------------
commands_per_connection = 8  # at a time to one host; its sshd refuses more than its MaxSessions, 10 of itself
rebuild_at_once = 1  # hosts that `rebuild` replaces at a time; one node that takes pods stays in any case
upgrade_at_once = 1  # how many workers upgrade.py drains and upgrades at a time
backup_recipients = []  # for whom backup.py encrypts: public keys of age ("age1...", by age-keygen) or of SSH
backup_registry = True  # with the registry's images
backup_keep = 7  # how many backups are kept: on your machine and, of those by a schedule, on the host
backup_schedule = ""  # when the host makes backups by itself: systemd.time(7)'s calendar, "03:30"; empty: never
timeout_factor = 1  # multiplies how long a run waits for anything; raise it where registries or hosts are slow

"""Where kubeadm and kubestage keep things on a host. The paths are kubeadm's own (v1.36) unless said otherwise."""

from __future__ import annotations

ADMIN_CONF = "/etc/kubernetes/admin.conf"
KUBELET_CONF = "/etc/kubernetes/kubelet.conf"
CLUSTER_CA, CLUSTER_CA_KEY = "/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/ca.key"
APISERVER_CERTIFICATE = "/etc/kubernetes/pki/apiserver.crt"
APISERVER_KEY = "/etc/kubernetes/pki/apiserver.key"
KUBEADM_CERTIFICATES = "/etc/kubernetes/pki"
RENEWING_UNIT = "kubestage-renew"  # the transient unit in which kubeadm's certificates are renewed
BOOTSTRAP_CONF = "/etc/kubernetes/bootstrap-kubelet.conf"  # holds a token: 0600, and gone once it was used
KUBECONFIGS = tuple(
    f"/etc/kubernetes/{name}.conf" for name in ("admin", "super-admin", "controller-manager", "scheduler")
)  # those with a client certificate in them, which kubeadm renews
KUBELET_CLIENT = "/var/lib/kubelet/pki/kubelet-client-current.pem"  # links, to what the kubelet renews by itself
KUBELET_SERVER = "/var/lib/kubelet/pki/kubelet-server-current.pem"
CONTROLLER_MANAGER_MANIFEST = "/etc/kubernetes/manifests/kube-controller-manager.yaml"
APISERVER_MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
STATIC_PODS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")  # in the order of their start
CRI_SOCKET = "unix:///run/containerd/containerd.sock"

OURS = "/etc/kubernetes/kubestage"  # kubestage's own folder
# Where every node has the API: its own balancer, which knows all control planes. In no address of a cluster is any of
# them named, so one may come and go (https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/
# create-cluster-kubeadm/, "Considerations about apiserver-advertise-address and ControlPlaneEndpoint").
ENDPOINT_PORT = 7443
ENDPOINT = f"127.0.0.1:{ENDPOINT_PORT}"
ENDPOINT_UNIT = "kubestage-endpoint.service"
ENDPOINT_CONFIG = f"{OURS}/endpoint/haproxy.cfg"
ENDPOINT_CA = f"{OURS}/endpoint/ca.crt"  # the cluster's, by which the balancer knows its API servers
INITIALIZED = f"{OURS}/initialized"  # written once `kubeadm init` has ended well: admin.conf alone says nothing
# Transient systemd units in which kubeadm is at work.
INIT_UNIT, JOIN_UNIT, LEAVE_UNIT = "kubestage-init", "kubestage-join", "kubestage-leave"
UPGRADE_UNIT = "kubestage-upgrade"
KUBEADM_CONFIG = f"{OURS}/kubeadm.yaml"
ENCRYPTION = f"{OURS}/encryption"  # how API servers write Secrets into etcd: holds keys
ENCRYPTION_WRITTEN = f"{ENCRYPTION}/written-with-"  # and a provider's name: a file that says that all Secrets were
RENEWING = f"{OURS}/renewing"  # there while kubeadm's certificates are renewed
JOIN_CONFIG = f"{OURS}/join.yaml"  # holds a token: 0600, and gone once the host has joined
DISCOVERY = f"{OURS}/discovery.conf"  # a kubeconfig without credentials: by which address and CA a host joins
UPGRADE_CONFIG = f"{OURS}/upgrade.yaml"
BEFORE_UPGRADE = f"{OURS}/before-upgrade"  # where etcd's data is kept as it was: all Secrets are in it
HOST_FOLDER = "/var/lib/kubestage"  # what is a host's, whatever cluster it is of
UNTOUCHED = f"{HOST_FOLDER}/untouched"  # what the host was before a run first touched it
BACKUP_TIME = "%Y%m%dT%H%M%SZ"  # how backups are named, in UTC
BACKUPS = f"{HOST_FOLDER}/backups"  # each in a folder of its own
BACKUP_UNIT = "kubestage-backup"
RESTORING = f"{HOST_FOLDER}/restoring"  # what a backup has, until a run has put it where it belongs
RESTORED = "kubestage/restored"  # annotation of PLATFORM_NAMESPACE: the mark of the backup that the cluster is of
BACKED_UP = "kubestage/backed-up"  # annotation of it: when the last backup was made, as its folder is named
MANIFESTS = f"{OURS}/manifests"
APPLIED = "applied"  # in a stack's folder there: by what it was last found in the cluster as it should be
STATIC_PODS_UNIT = "kubestage-static-pods"  # the transient unit in which manifests of static pods are changed
STATIC_PODS_FOLDER = f"{OURS}/static-pods"  # where that is made ready
STATIC_PODS_WORKED = f"{STATIC_PODS_FOLDER}/worked"  # their manifests before a change that has not come to its end
STATIC_PODS_FILES = f"{OURS}/static-pod-files"  # the user's own files for them

# For people: how a host gives up the cluster that it is of, or was to be.
FORGET_CLUSTER = f"rm -rf /etc/cni/net.d {OURS} && systemctl stop {ENDPOINT_UNIT}"  # what `kubeadm reset` leaves of it
RESET = f"kubeadm reset --force && {FORGET_CLUSTER}"
# For a host that is to have a new cluster. `kubeadm reset` leaves the old one's pod network: cni0 keeps its address,
# with which no pod of the new one could start. There is no quote in it.
FORGET_POD_NETWORK = (
    "{ ! test -e /sys/class/net/cni0 || ip link delete cni0; } && "
    "{ ! test -e /sys/class/net/flannel.1 || ip link delete flannel.1; } && "
    "rm -rf /run/flannel /etc/cni/net.d/10-flannel.conflist"
)

PLATFORM_NAMESPACE = "kubestage-system"  # where the platform keeps its CA and its users
FIELD_MANAGER = "kubestage"  # as which manifests are applied server-side
STACK_LABEL = "kubestage/stack"  # label of every object that a stack puts into the cluster: the stack's name
KUBECTL = f"kubectl --kubeconfig {ADMIN_CONF}"
APPLY = f"{KUBECTL} apply --server-side --force-conflicts --field-manager {FIELD_MANAGER}"


def static_pod_pid(program: str) -> str:
    """A command that prints the process id of the cluster's own `program`; nothing while none runs."""
    return _static_pod(program, "$2")


def static_pod_container(program: str) -> str:
    """As static_pod_pid(), the name of its container."""
    return _static_pod(program, "$1")


def _static_pod(program: str, column: str) -> str:
    """By containerd, as that of a kind or a vcluster on the same host bears the same name and has a containerd, or a
    namespace in Kubernetes, of its own.
    """
    return (
        "{ ctr --namespace k8s.io containers list --quiet "
        f'\'labels."io.kubernetes.pod.namespace"==kube-system,labels."io.kubernetes.container.name"=={program}\'; '
        "ctr --namespace k8s.io tasks list; } 2>/dev/null "
        f"| awk 'NF == 1 {{ ours[$1] }} $1 in ours && $3 == \"RUNNING\" {{ print {column} }}'"
    )


# Where the runtimes look for what they are to know of a registry.
CERTS_D = "/etc/containerd/certs.d"
DOCKER_CERTS_D = "/etc/docker/certs.d"
PULL = f"ctr --namespace k8s.io images pull --hosts-dir {CERTS_D}"  # by the mirrors, as the kubelet does
TRUST_MARK = "# kubestage: the platform's registry"  # first line of the files that go when the registry does

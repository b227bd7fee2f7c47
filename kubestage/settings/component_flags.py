"""Flags and files of the control plane's programs: which a setting may give them, and which can't work there.

Flags are those of Kubernetes 1.31 to 1.36 and of etcd 3.5 and 3.6; what kubeadm gives itself stands in its
phases/controlplane/manifests.go and phases/etcd/local.go. A flag that a version does not know is told by the program
itself, before its manifest is changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from .values import refuse

Flags = dict[str, tuple[str, ...]]  # a flag's name without dashes -> its values, one for each time that it is given

AUDIT_LOG = "audit-log-path"  # the one flag that names a file to write: its folder is made on the host, and mounted
ENCRYPTION_FLAG = "encryption-provider-config"  # encrypt_secrets gives it

_ANONYMOUS_PATHS = "/livez, /readyz, /healthz and /api/v1/namespaces/kube-public/configmaps/cluster-info"
_OF_KUBEADM = "kubeadm keeps it, and the files and hosts that belong to it"
_GONE = "no version of Kubernetes since 1.24 knows it"
_ENDS = "the program would print something, and end"
_PRINTS = dict.fromkeys(("help", "version"), _ENDS)
_DELEGATED = "authentication-kubeconfig authorization-kubeconfig kubeconfig"


@dataclass(frozen=True)
class Program:
    """A program of the control plane.

    `owned`: flags that have a setting of their own, and which. `fixed`: those that no setting may give, and why.
    `mounted`: folders that kubeadm mounts into its container.
    """

    owned: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    mounted: tuple[str, ...] = ()


_CERTIFICATES = (
    "/etc/kubernetes/pki",
    "/etc/ssl/certs",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
)


def _fixed(of_kubeadm: str, gone: str = "") -> dict[str, str]:
    """Flags that no setting may give, and why; both are lists of names with blanks between."""
    return {**_PRINTS, **dict.fromkeys(of_kubeadm.split(), _OF_KUBEADM), **dict.fromkeys(gone.split(), _GONE)}


APISERVER = Program(
    owned={
        "service-node-port-range": "node_port_range",
        "service-cluster-ip-range": "service_cidr",
        "advertise-address": "private_address",
        "secure-port": "api_port",
    },
    fixed=_fixed(
        """
        allow-privileged cert-dir client-ca-file enable-bootstrap-token-auth etcd-cafile etcd-certfile etcd-keyfile
        etcd-prefix etcd-servers kubelet-client-certificate kubelet-client-key proxy-client-cert-file
        proxy-client-key-file requestheader-allowed-names requestheader-client-ca-file
        requestheader-extra-headers-prefix requestheader-group-headers requestheader-username-headers
        service-account-key-file service-account-signing-key-file tls-cert-file tls-private-key-file
        """,
        gone="address insecure-bind-address insecure-port port",
    ),
    mounted=_CERTIFICATES,
)
CONTROLLER_MANAGER = Program(
    owned={
        "cluster-cidr": "pod_cidr",
        "cluster-name": "cluster_name",
        "service-cluster-ip-range": "service_cidr",
    },
    fixed=_fixed(
        f"""
        {_DELEGATED} allocate-node-cidrs cert-dir client-ca-file cluster-signing-cert-file cluster-signing-key-file
        requestheader-client-ca-file root-ca-file secure-port service-account-private-key-file
        use-service-account-credentials
        """,
        gone="address port",
    ),
    mounted=_CERTIFICATES,
)
SCHEDULER = Program(fixed=_fixed(f"{_DELEGATED} cert-dir client-ca-file secure-port", gone="address port"))
ETCD = Program(
    fixed={
        **_fixed(
            """
            advertise-client-urls auto-tls cert-file client-cert-auth config-file data-dir discovery discovery-srv
            initial-advertise-peer-urls initial-cluster initial-cluster-state initial-cluster-token key-file
            listen-client-urls listen-peer-urls name peer-auto-tls peer-cert-file peer-client-cert-auth peer-key-file
            peer-trusted-ca-file trusted-ca-file wal-dir
            """
        ),
        "force-new-cluster": "at each start, etcd would drop its other members",
    },
    mounted=("/etc/kubernetes/pki/etcd",),
)


def apiserver(args: dict[str, Any]) -> Flags:
    flags = _flags(args, APISERVER)
    if _last(flags, "anonymous-auth") == "false":
        raise refuse(
            "without it nobody can join, and the kubelet takes the API server for dead: both ask as nobody",
            'remove "anonymous-auth"; to allow no more than they need, give a file with an AuthenticationConfiguration '
            f"by authentication-config, and let its anonymous.conditions have {_ANONYMOUS_PATHS}",
        )
    if _last(flags, "bind-address") not in (None, "0.0.0.0", "::"):
        raise refuse(
            "the kubelet, the other hosts and you reach the API server at different addresses of its host",
            'remove "bind-address", and let a firewall keep others away',
        )
    modes = _last(flags, "authorization-mode")
    if modes is not None and not {"Node", "RBAC"} <= set(modes.split(",")):
        raise refuse(
            '"authorization-mode" lacks a mode: kubelets need Node, and all others RBAC',
            'write e.g. "Node,RBAC,Webhook"',
        )
    for path in flags.get(AUDIT_LOG, ()):
        if path != "-" and not _is_log(path):
            raise refuse(
                f'"{AUDIT_LOG}" is not in a folder of its own below /var/log: the API server may write to all of it',
                'write e.g. "/var/log/kubernetes/audit.log"',
            )
    return flags


def controller_manager(args: dict[str, Any]) -> Flags:
    flags = _flags(args, CONTROLLER_MANAGER)
    controllers = _last(flags, "controllers")
    if controllers is not None and not {"*", "bootstrapsigner", "tokencleaner"} <= set(controllers.split(",")):
        raise refuse(
            '"controllers" lacks what kubeadm switches on, and nobody can join',
            'write e.g. "*,bootstrapsigner,tokencleaner,-ttl"',
        )
    return _checked_bind_address(flags)


def scheduler(args: dict[str, Any]) -> Flags:
    return _checked_bind_address(_flags(args, SCHEDULER))


def etcd(args: dict[str, Any]) -> Flags:
    return _flags(args, ETCD)


def files(paths: dict[str, str]) -> dict[str, str]:
    """A path in a program's container -> a file on the machine that runs pyinfra."""
    for path in paths:
        if not re.fullmatch(r"(/[A-Za-z0-9._-]+){2,}", path) or {"..", "."} & set(path.split("/")):
            raise refuse(f'"{path}" is no absolute path of plain characters', 'call it e.g. "/etc/kubernetes/a.yaml"')
        taken = _NO_FILES.match(f"{path}/")
        if taken:
            raise refuse(
                f'"{path}" is in {taken[0].rstrip("/")}, which the container has already',
                'call it e.g. "/etc/kubernetes/own/NAME.yaml"',
            )
    for one, other in combinations(sorted(paths), 2):
        if other.startswith(f"{one}/"):
            raise refuse(f'"{other}" is below "{one}", which is a file', "choose another path for one of them")
    return paths


def named_files(flag: str, value: str) -> tuple[str, ...]:
    """The paths of the files that a flag of this value has its program read."""
    if flag in _NAMES_NO_FILE or value in ("", "-") or flag == AUDIT_LOG:
        return ()
    if flag == "tls-sni-cert-key":  # CERTIFICATE,KEY[:NAMES]
        return tuple(value.partition(":")[0].split(","))
    return (value,) if value.startswith("/") or _NAMES_A_FILE.search(flag) else ()


def is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)


_NO_FILES = re.compile(
    r"/(proc|sys|dev|bin|sbin|lib|usr|var/lib/etcd|etc/kubernetes/(pki|[a-z-]+\.conf)|etc/(ssl|pki|ca-certificates))/"
)
_NAMES_A_FILE = re.compile(r"(^|-)(file|config|path|dir|kubeconfig|cafile|certfile|keyfile|manifest)$")
_NAMES_NO_FILE = frozenset(
    # Of these, the value begins with a slash, or the name sounds like a file's.
    ("authorization-always-allow-paths", "etcd-servers-overrides", "runtime-config")
)


def _is_log(path: str) -> bool:
    plain = re.fullmatch(r"/var/log(/[A-Za-z0-9._-]+){2,}", path) and not {"..", "."} & set(path.split("/"))
    return bool(plain) and not is_below(path, ("/var/log/pods", "/var/log/containers", "/var/log/journal"))


def _last(flags: Flags, name: str) -> str | None:
    """The value that counts."""
    return flags[name][-1] if name in flags else None


def _checked_bind_address(flags: Flags) -> Flags:
    if _last(flags, "bind-address") not in (None, "127.0.0.1", "0.0.0.0", "::"):
        raise refuse(
            '"bind-address" leaves out 127.0.0.1, where a run asks for the program\'s health',
            'write "0.0.0.0", and let a firewall keep others away',
        )
    return flags


def _flags(args: dict[str, Any], program: Program) -> Flags:
    flags: Flags = {}
    for name, value in args.items():
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise refuse(f'"{name}" is not a flag\'s name', "write it without leading dashes and without its value")
        if name in program.owned:
            raise refuse(f'"{name}" has a setting of its own', f'remove "{name}" here and set {program.owned[name]}')
        if name in program.fixed:
            raise refuse(f'"{name}" can\'t be given: {program.fixed[name]}', f'remove "{name}"')
        values = value if isinstance(value, list | tuple) else [value]
        if not values:
            raise refuse(f'"{name}" has an empty list of values', "remove it, or give it one")
        flags[name] = tuple(_text(name, one) for one in values)
    return flags


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise refuse(f'the value of "{name}" is neither text nor a number', "write it as on the command line")
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", str(value)):
        raise refuse(f'the value of "{name}" is not of one line', "write it as on the command line")
    return str(value).lower() if isinstance(value, bool) else str(value)

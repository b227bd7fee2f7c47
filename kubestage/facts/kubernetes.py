"""What kubeadm left on a host, and what the API server says. No fact here fails where there is no cluster yet."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from kubestage.certificates import pem
from kubestage.facts.framed import Fact, Lines
from kubestage.facts.unknown import Unknown, or_unknown, unknown
from kubestage.kubernetes import (
    ADMIN_CONF,
    APISERVER_CERTIFICATE,
    APISERVER_KEY,
    CLUSTER_CA,
    FIELD_MANAGER,
    INIT_UNIT,
    INITIALIZED,
    JOIN_UNIT,
    KUBECTL,
    KUBELET_CONF,
    LEAVE_UNIT,
    STACK_LABEL,
)


@dataclass(frozen=True)
class KubeadmState:
    """How far kubeadm has come on a host.

    `running`: the unit of ours in which kubeadm is at work now, else "".
    `debris`: what a kubeadm that did not end well leaves: a CA, manifests or a bootstrap kubeconfig.
    """

    admin_conf: bool = False
    initialized: bool = False
    kubelet_conf: bool = False
    debris: bool = False
    running: str = ""


class Kubeadm(Fact[KubeadmState]):
    """The host's KubeadmState."""

    @staticmethod
    def default() -> KubeadmState:
        return KubeadmState()

    def ask(self) -> str:
        return (
            f"test -f {ADMIN_CONF} && echo admin_conf; test -f {INITIALIZED} && echo initialized; "
            f"test -f {KUBELET_CONF} && echo kubelet_conf; "
            "for f in pki/ca.crt bootstrap-kubelet.conf manifests/kube-apiserver.yaml; do "
            "if test -e /etc/kubernetes/$f; then echo debris; break; fi; done; "
            f"for unit in {INIT_UNIT} {JOIN_UNIT} {LEAVE_UNIT}; do "
            "if systemctl --quiet is-active $unit; then echo running $unit; fi; done; true"
        )

    def parse(self, output: Sequence[str]) -> KubeadmState:
        said = dict((line.partition(" ")[0], line.partition(" ")[2]) for line in output)
        return KubeadmState(
            admin_conf="admin_conf" in said,
            initialized="initialized" in said,
            kubelet_conf="kubelet_conf" in said,
            debris="debris" in said,
            running=said.get("running", ""),
        )


class ApiserverNames(Fact[frozenset[str]]):
    """The names and addresses in the API server's certificate; empty where it can't serve.

    That is one that is missing, can't be read, is not of the cluster's CA, or does not belong to the key beside it.
    """

    @staticmethod
    def default() -> frozenset[str]:
        return frozenset()

    def ask(self) -> str:
        return (
            f"public=$(openssl pkey -in {APISERVER_KEY} -pubout 2>/dev/null) && "
            f'test "$public" = "$(openssl x509 -in {APISERVER_CERTIFICATE} -noout -pubkey 2>/dev/null)" && '
            f"openssl verify -no_check_time -CAfile {CLUSTER_CA} {APISERVER_CERTIFICATE} >/dev/null 2>&1 && "
            f"cat {APISERVER_CERTIFICATE} || true"
        )

    def parse(self, output: Sequence[str]) -> frozenset[str]:
        try:
            certificate = pem.first("\n".join(output))
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, x509.ExtensionNotFound):
            return frozenset()
        return frozenset(str(name.value) for name in names)


class Nodes(Fact[dict[str, dict[str, Any]] | Unknown]):
    """On the control plane: name -> Node object, as the API gives it; none where there is no cluster yet."""

    @staticmethod
    def default() -> Unknown:
        return Unknown()

    def ask(self) -> str:
        nodes = or_unknown(f"{KUBECTL} get nodes --request-timeout 10s -o json")
        return f"if test -f {ADMIN_CONF}; then {nodes}; else echo none; fi"

    def parse(self, output: Sequence[str]) -> dict[str, dict[str, Any]] | Unknown:
        lines = list(output)
        if lines == ["none"]:
            return {}
        return unknown(lines) or {node["metadata"]["name"]: node for node in json.loads("\n".join(lines))["items"]}


@dataclass(frozen=True)
class Workload:
    """A Deployment or DaemonSet."""

    namespace: str
    kind: str
    name: str


@dataclass(frozen=True)
class Applied:
    """Whether the cluster is as manifests say: not `same` also where nobody can tell, as a command failed or no API.

    `config_maps`: those that are there and differ, (namespace, name). `restarted`: the workloads whose pods start anew
    once the manifests are applied, by an annotation of ours.
    """

    same: bool = False
    config_maps: frozenset[tuple[str, str]] = frozenset()
    restarted: frozenset[Workload] = frozenset()


class ManifestsApplied(Fact[Applied]):
    """How the cluster differs from the manifests that `parts`, shell commands, print. On the control plane.

    By a server-side dry run: `kubectl diff` compares a file for each object that is new or differs, which is called
    GROUP.VERSION.KIND.NAMESPACE.NAME (kubectl 1.36; v1.ConfigMap.default.a where the group has no name).
    """

    @staticmethod
    def default() -> Applied:
        return Applied()

    def ask(self, parts: Sequence[str]) -> str:
        diff = f"{KUBECTL} diff --server-side --force-conflicts --field-manager {FIELD_MANAGER} -f -"
        # kubectl diff exits 0 for no difference, 1 for some, more for an error. What differs may be secret: it stays.
        return (
            f"{{ {{ {' && echo --- && '.join(parts)}; }} || echo 'no manifest'; }} 2>/dev/null "
            f"| {{ {diff} 2>/dev/null; echo \"exit $?\"; }} | sed -nE -e 's/^diff .*[/]/object /p' "
            f"-e 's/^@@ -0,0 .*/new/p' -e '\\|^[+] +{STACK_LABEL}:|d' -e 's/^[+] +kubestage[/].*/restarted/p' "
            "-e '/^exit [0-9]+$/p'"
        )

    def parse(self, output: Sequence[str]) -> Applied:
        config_maps, restarted = set(), set()
        *lines, end = output
        kind = namespace = name = ""
        for line in lines:
            word, _, file = line.partition(" ")
            if word == "object":
                words = file.split(".")
                at = next(number for number, part in enumerate(words) if part[:1].isupper())  # no group has capitals
                kind, namespace, name = words[at], words[at + 1], ".".join(words[at + 2 :])
                if kind == "ConfigMap":
                    config_maps.add((namespace, name))
            elif word == "new":
                config_maps.discard((namespace, name))
            else:
                restarted.add(Workload(namespace, kind, name))
        return Applied(end == "exit 0", frozenset(config_maps), frozenset(restarted))


# How many are wanted, are there, are of the current version, are ready. Those that are there count too: else the old
# version's replica, still ready, would pass for the new one's.
_READY_PATHS = (
    "{.kind} {.metadata.namespace} {.metadata.name} {.metadata.generation} {.status.observedGeneration} "
    "{.spec.replicas}{.status.desiredNumberScheduled} {.status.replicas}{.status.currentNumberScheduled} "
    "{.status.updatedReplicas}{.status.updatedNumberScheduled} {.status.readyReplicas}{.status.numberReady}"
)


@dataclass(frozen=True)
class Ready:
    """Deployments and DaemonSets that run their current version with every replica ready; APIServices that answer.

    A DaemonSet's replicas on nodes that are not Ready don't count: nothing that a run does could make them ready.
    """

    workloads: frozenset[Workload] = frozenset()
    apis: frozenset[str] = frozenset()


class WorkloadsReady(Fact[Ready | Unknown]):
    """What is Ready in the cluster; nothing where there is none yet. On the control plane."""

    @staticmethod
    def default() -> Unknown:
        return Unknown()

    def ask(self) -> str:
        template = shlex.quote(
            '{range .items[?(@.kind=="Deployment")]}' + _READY_PATHS + '{"\\n"}{end}'
            '{range .items[?(@.kind=="DaemonSet")]}' + _READY_PATHS + '{"\\n"}{end}'
            '{range .items[?(@.kind=="Node")]}Node {.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
            '{range .items[?(@.kind=="APIService")]}APIService {.metadata.name} '
            '{.status.conditions[?(@.type=="Available")].status}{"\\n"}{end}'
        )
        ready = or_unknown(
            f"{KUBECTL} get deployments,daemonsets,apiservices,nodes -A --request-timeout 10s -o jsonpath={template}"
        )
        return f"if test -f {ADMIN_CONF}; then {ready}; else echo none; fi"

    def parse(self, output: Sequence[str]) -> Ready | Unknown:
        said = list(output)
        if said == ["none"]:
            return Ready()
        if silent := unknown(said):
            return silent
        workloads, apis = set(), set()
        lines = [line.split(" ") for line in said]
        down = sum(kind == "Node" and words != ["True"] for kind, *words in lines)
        for kind, *words in lines:
            if kind == "Node":
                continue
            if kind == "APIService":
                name, available = words
                if available == "True":
                    apis.add(name)
                continue
            namespace, name, generation, observed, *replicas = words
            wanted, *found = (int(number or 0) for number in replicas)
            missing = down if kind == "DaemonSet" else 0
            if generation == observed and wanted and all(wanted - missing <= number <= wanted for number in found):
                workloads.add(Workload(namespace, kind, name))
        return Ready(frozenset(workloads), frozenset(apis))


class NodeVolumes(Fact[dict[str, str] | Unknown]):
    """The PersistentVolumes that no other node than this one can have -> the "namespace/claim" that each is of."""

    @staticmethod
    def default() -> dict[str, str]:
        return {}

    def ask(self, node: str) -> str:
        path = (
            "{range .items[*]}volume {.metadata.name} {.spec.claimRef.namespace}/{.spec.claimRef.name} "
            '{.spec.nodeAffinity.required.nodeSelectorTerms[*].matchExpressions[*].values[*]}{"\\n"}{end}'
        )
        return or_unknown(f"{KUBECTL} get persistentvolumes --request-timeout 10s -o jsonpath={shlex.quote(path)}") + (
            f" | awk '/^unknown/ || $4 == \"{node}\" && NF == 4'"
        )

    def parse(self, output: Sequence[str]) -> dict[str, str] | Unknown:
        lines = list(output)
        return unknown(lines) or dict(line.split()[1:3] for line in lines)


class ImagesPresent(Lines):
    """Names of the images that containerd has for Kubernetes."""

    def ask(self) -> str:
        return "ctr --namespace k8s.io images list --quiet 2>/dev/null || true"

"""The members of the cluster's etcd, as one of them knows them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from kubestage.facts.framed import Fact
from kubestage.facts.unknown import Unknown, or_unknown, unknown
from kubestage.kubernetes import KUBEADM_CERTIFICATES, static_pod_container

_CERTIFICATES = f"{KUBEADM_CERTIFICATES}/etcd"


def in_etcd(words: str) -> str:
    """The command that has a program run in the container of the host's own etcd, be there an API server or not.

    Hosts have neither etcdctl nor etcdutl, and Debian's are too old for etcd 3.6.
    """
    return f"ctr --namespace k8s.io tasks exec --exec-id kubestage-$$ $({static_pod_container('etcd')}) {words}"


def etcdctl(words: str) -> str:
    """The command that has the host's own etcd do it."""
    return in_etcd(
        f"etcdctl --endpoints https://127.0.0.1:2379 --cacert {_CERTIFICATES}/ca.crt "
        f"--cert {_CERTIFICATES}/healthcheck-client.crt --key {_CERTIFICATES}/healthcheck-client.key {words}"
    )


@dataclass(frozen=True)
class Member:
    """`number`: in hex, as etcdctl takes it. `name`: "" of one that has never started.

    `address`: where the others reach it. `is_learner`: it has no vote yet.
    """

    number: str
    name: str
    address: str
    is_learner: bool


class EtcdMembers(Fact[tuple[Member, ...] | Unknown]):
    """On a control plane host: the members, its own among them; of a host without etcd none can be told."""

    @staticmethod
    def default() -> Unknown:
        return Unknown()

    def ask(self) -> str:
        return or_unknown(etcdctl("member list --write-out json"))

    def parse(self, output: Sequence[str]) -> tuple[Member, ...] | Unknown:
        lines = list(output)
        return unknown(lines) or tuple(
            Member(
                number=f"{member['ID']:x}",
                name=member.get("name", ""),
                address=urlsplit(member["peerURLs"][0]).hostname or "",
                is_learner=member.get("isLearner", False),
            )
            for member in json.loads("\n".join(lines))["members"]
        )


class EtcdAnswering(Fact[frozenset[str] | Unknown]):
    """On a control plane host: the addresses of the members that answer, and have a leader."""

    @staticmethod
    def default() -> Unknown:
        return Unknown()

    def ask(self) -> str:
        # It fails where one of them does not answer, and tells of all.
        return f"{etcdctl('endpoint health --cluster --write-out json')} 2>/dev/null || true"

    def parse(self, output: Sequence[str]) -> frozenset[str] | Unknown:
        try:
            told = json.loads("\n".join(output))
        except ValueError:
            return Unknown("\n".join(output))
        return frozenset(urlsplit(each["endpoint"]).hostname or "" for each in told if each["health"])

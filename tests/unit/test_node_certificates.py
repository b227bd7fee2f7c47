"""Kubelets' serving certificates: which requests are approved, by which commands, and what is waited for."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from fake_hosts import Hosts, RecordingConnector, answer, asked, fact
from pyinfra.api import OperationError
from pyinfra.connectors.util import CommandOutput, OutputLine

from kubestage.facts.node_certificates import NodeCertificates, Served
from kubestage.facts.unknown import Unknown
from kubestage.operations import node_certificates
from kubestage.operations.node_certificates import refusal

ADDRESSES = {"cp1": "10.0.0.11", "w1": "10.0.0.12", "w2": "10.0.0.13"}
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
KEY, OTHER_KEY = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
OWN = (x509.DNSName("w1"), x509.IPAddress(ip_address("10.0.0.12")))
USAGES = ("digital signature", "server auth")  # what a kubelet with an elliptic curve's key asks for


def csr(
    subject: Sequence[tuple[x509.ObjectIdentifier, str]] = (
        (NameOID.ORGANIZATION_NAME, "system:nodes"),
        (NameOID.COMMON_NAME, "system:node:w1"),
    ),
    names: Sequence[x509.GeneralName] | None = OWN,
) -> bytes:
    """A PKCS#10 request in PEM; `names`: its subject alternative names, None for no such extension."""
    builder = x509.CertificateSigningRequestBuilder(x509.Name([x509.NameAttribute(*pair) for pair in subject]))
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, SHA256()).public_bytes(Encoding.PEM)


def request(content: bytes | None = None, name: str = "csr-1", **spec: Any) -> dict[str, Any]:
    """A CertificateSigningRequest as the API gives it; a good one of w1 unless something else is said."""
    return {
        "metadata": {"name": name},
        "spec": {
            "signerName": "kubernetes.io/kubelet-serving",
            "username": "system:node:w1",
            "groups": ["system:nodes", "system:authenticated"],
            "usages": list(USAGES),
            "request": base64.b64encode(csr() if content is None else content).decode(),
            **spec,
        },
        "status": {},
    }


def with_a_signature_that_does_not_fit() -> bytes:
    """The last byte of the signature is another one."""
    der = bytearray(x509.load_pem_x509_csr(csr()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    body = base64.encodebytes(bytes(der)).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n".encode()


def node(name: str) -> bytes:
    return csr([(NameOID.ORGANIZATION_NAME, "system:nodes"), (NameOID.COMMON_NAME, f"system:node:{name}")])


@pytest.mark.parametrize(
    "good",
    [
        request(),
        request(usages=["server auth", "key encipherment", "digital signature"]),
        request(csr(names=OWN[:1])),
        request(csr(names=OWN[1:])),
        request(csr([(NameOID.COMMON_NAME, "system:node:w1"), (NameOID.ORGANIZATION_NAME, "system:nodes")])),
    ],
    ids=["elliptic", "RSA", "name alone", "address alone", "subject in another order"],
)
def test_good_requests(good: dict[str, Any]) -> None:
    assert refusal(good, ADDRESSES) == ""


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "another signer": (request(signerName="kubernetes.io/kube-apiserver-client"), "for the signer kubernetes.io/kube-"),
    "a person": (request(username="kubernetes-admin"), "'kubernetes-admin' is no node"),
    "nobody": (request(username=""), "'' is no node"),
    "a name that looks like a node's": (request(username="w1"), "'w1' is no node"),
    "a node of nowhere": (request(node("w9"), username="system:node:w9"), "'system:node:w9' is no node"),
    "not in the nodes' group": (request(groups=["system:authenticated"]), "is not in the group system:nodes"),
    "in no group": (request(groups=[]), "is not in the group system:nodes"),
    "as a client too": (request(usages=[*USAGES, "client auth"]), "server auth, client auth"),
    "as a client": (request(usages=["digital signature", "client auth"]), "digital signature, client auth"),
    "as no server": (
        request(usages=["digital signature", "key encipherment"]),
        "digital signature, key encipherment",
    ),
    "to sign others": (request(usages=[*USAGES, "cert sign"]), "server auth, cert sign"),
    "a usage twice": (request(usages=[*USAGES, "server auth"]), "server auth, server auth"),
    "another node's request": (request(username="system:node:w2"), "its subject is 'CN=system:node:w1,O=system:nodes'"),
    "another common name": (request(node("w2")), "its subject is 'CN=system:node:w2,O=system:nodes'"),
    "another organisation": (
        request(csr([(NameOID.ORGANIZATION_NAME, "system:masters"), (NameOID.COMMON_NAME, "system:node:w1")])),
        "system:masters",
    ),
    "one organisation more": (
        request(
            csr(
                [
                    (NameOID.ORGANIZATION_NAME, "system:nodes"),
                    (NameOID.ORGANIZATION_NAME, "system:masters"),
                    (NameOID.COMMON_NAME, "system:node:w1"),
                ]
            )
        ),
        "system:masters",
    ),
    "no organisation": (request(csr([(NameOID.COMMON_NAME, "system:node:w1")])), "its subject is 'CN=system:node:w1'"),
    "more in its subject": (
        request(
            csr(
                [
                    (NameOID.ORGANIZATION_NAME, "system:nodes"),
                    (NameOID.COMMON_NAME, "system:node:w1"),
                    (NameOID.ORGANIZATIONAL_UNIT_NAME, "x"),
                ]
            )
        ),
        "its subject is 'OU=x,",
    ),
    "another node's name": (request(csr(names=[*OWN, x509.DNSName("w2")])), "it is for 'w1', "),
    "another node's address": (
        request(csr(names=[OWN[0], x509.IPAddress(ip_address("10.0.0.13"))])),
        "IPv4Address('10.0.0.13'), and not for w1 alone",
    ),
    "the API server's name": (request(csr(names=[x509.DNSName("kubernetes.default")])), "'kubernetes.default'"),
    "a wildcard": (request(csr(names=[x509.DNSName("*")])), "it is for '*', and not for w1 alone"),
    "its address as a name": (
        request(csr(names=[*OWN, x509.DNSName("10.0.0.12")])),
        "'10.0.0.12', and not for w1 alone",
    ),
    "a mail address": (request(csr(names=[*OWN, x509.RFC822Name("a@b.test")])), "'a@b.test'"),
    "a URI": (request(csr(names=[*OWN, x509.UniformResourceIdentifier("spiffe://w1")])), "'spiffe://w1'"),
    "no names": (request(csr(names=None)), "it names no host and no address"),
    "an empty list of names": (request(csr(names=[])), "and not for w1 alone"),
    "not signed by its key": (request(with_a_signature_that_does_not_fit()), "its signature does not fit"),
    "nothing to read": (request(b"-----BEGIN CERTIFICATE REQUEST-----\n"), "it can't be read"),
    "no base64": (request() | {"spec": {**request()["spec"], "request": "!"}}, "it can't be read"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD)
def test_bad_requests(bad: dict[str, Any], reason: str) -> None:
    assert reason in refusal(bad, ADDRESSES)


class TestFact:
    def test_command(self) -> None:
        command = NodeCertificates().ask(addresses={"w1": "10.0.0.12", "w2": "10.0.0.13"})
        assert command == (
            f"{{ {KUBECTL} --server https://10.0.0.12:10250 --request-timeout 5s get --raw /healthz >/dev/null 2>&1 "
            "&& echo serves w1; } & "
            f"{{ {KUBECTL} --server https://10.0.0.13:10250 --request-timeout 5s get --raw /healthz >/dev/null 2>&1 "
            "&& echo serves w2; } & "
            "wait; if test -f /etc/kubernetes/admin.conf; then "
            f"{{ said=$({KUBECTL} get certificatesigningrequests --request-timeout 10s "
            "--field-selector spec.signerName=kubernetes.io/kubelet-serving -o json 2>&1 >&3) || "
            'echo "unknown $(echo "$said" | tail -n 1)"; } 3>&1; else echo none; fi'
        )

    def test_what_was_decided_on_is_left_out(self) -> None:
        decided = [
            {**request(name=kind), "status": {"conditions": [{"type": kind}]}}
            for kind in ("Approved", "Denied", "Failed")
        ]
        undecided = request()
        text = json.dumps({"items": [*decided, undecided]}, indent=4)
        assert NodeCertificates().parse(["serves w1", "serves cp1", *text.splitlines()]) == Served(
            frozenset({"cp1", "w1"}), (undecided,)
        )

    @pytest.mark.parametrize(
        ("lines", "found"),
        [(["none"], Served()), (["serves w1", "unknown EOF"], Unknown("EOF"))],
    )
    def test_no_cluster_and_no_answer(self, lines: list[str], found: Served | Unknown) -> None:
        assert NodeCertificates().parse(lines) == found


class Cluster:
    """A control plane: its kubelets, and what they have requested. A request that is approved is signed at once.

    `later`: requests that are there from the second time on that somebody asks. `failing`: so many approvals fail.
    """

    def __init__(
        self,
        serving: Sequence[str],
        requests: Mapping[str, str | dict[str, Any]],
        later: Mapping[str, str] | None = None,
        failing: int = 0,
    ) -> None:
        self.serving = set(serving)
        self.requests = {
            name: request(self._of(node), name, username=f"system:node:{node}") if isinstance(node, str) else node
            for name, node in requests.items()
        }
        self.later = {
            name: request(self._of(node), name, username=f"system:node:{node}") for name, node in (later or {}).items()
        }
        self.failing = failing
        self.approved: list[list[str]] = []
        self.hosts = Hosts({"cp1": {self._asked(("cp1", "w1")): (), self._asked(("w1",)): ()}, "w1": {}})
        connector = self.hosts["cp1"].connector
        assert isinstance(connector, RecordingConnector)
        connector._lookup_response = self._answer  # type: ignore[method-assign]

    @staticmethod
    def _of(node: str) -> bytes:
        subject = [(NameOID.ORGANIZATION_NAME, "system:nodes"), (NameOID.COMMON_NAME, f"system:node:{node}")]
        return csr(subject, [x509.DNSName(node), x509.IPAddress(ip_address(ADDRESSES[node]))])

    @staticmethod
    def _asked(nodes: Sequence[str]) -> str:
        return fact(NodeCertificates, addresses={name: ADDRESSES[name] for name in nodes})

    def _answer(self, command_str: str) -> tuple[bool, CommandOutput]:
        lines = []
        if f"{KUBECTL} certificate approve " in command_str:
            if self.failing:
                self.failing -= 1
                return False, CommandOutput([])
            names = command_str.partition(" approve ")[2].splitlines()[0].split()
            self.approved.append(names)
            for name in names:
                self.serving.add(self.requests.pop(name)["spec"]["username"].removeprefix("system:node:"))
        elif "certificatesigningrequests" in command_str:
            lines = [f"serves {name}" for name in sorted(self.serving)]
            lines += json.dumps({"items": list(self.requests.values())}, indent=1).splitlines()
            if self.hosts.state.is_executing:
                self.requests |= self.later
                self.later = {}
        printed = answer(lines) if asked(command_str) else lines
        return True, CommandOutput([OutputLine("stdout", line) for line in printed])

    def run(self, on: str = "cp1", awaited: Sequence[str] = ("cp1", "w1"), timeout_s: float = 10) -> list[list[str]]:
        """The names that were approved, call by call."""
        self.hosts.prepare(
            on,
            node_certificates.approvals,
            control_plane=self.hosts.speaker,
            addresses=ADDRESSES,
            awaited=awaited,
            timeout_s=timeout_s,
        )
        self.hosts.execute()
        return self.approved


class TestApproved:
    def test_nothing_to_do(self) -> None:
        cluster = Cluster(["cp1", "w1"], {})
        assert cluster.run() == []
        assert cluster.hosts.commands("cp1") == []
        assert len(cluster.hosts.everything("cp1")) == 2  # one look ahead, one at work

    def test_first_run(self) -> None:
        assert Cluster([], {"csr-b": "w1", "csr-a": "cp1"}).run() == [["csr-a", "csr-b"]]

    def test_a_request_that_comes_late_is_waited_for(self) -> None:
        assert Cluster(["cp1"], {}, later={"csr-w1": "w1"}).run() == [["csr-w1"]]

    def test_a_renewal(self) -> None:
        assert Cluster(["cp1", "w1"], {"csr-w1": "w1"}).run() == [["csr-w1"]]

    def test_a_node_that_this_run_is_not_for(self) -> None:
        assert Cluster(["cp1", "w1"], {"csr-w2": "w2"}).run() == [["csr-w2"]]

    def test_from_a_worker(self) -> None:
        cluster = Cluster([], {"csr-w1": "w1"})
        assert cluster.run(on="w1", awaited=["w1"]) == [["csr-w1"]]
        assert cluster.hosts.commands("cp1") == [f"{KUBECTL} certificate approve csr-w1"]
        assert cluster.hosts.commands("w1") == []

    def test_a_bad_one_is_named_and_left(self, caplog: pytest.LogCaptureFixture) -> None:
        bad = request(name="csr-bad", groups=[])
        cluster = Cluster([], {"csr-cp1": "cp1", "csr-w1": "w1", "csr-bad": bad})
        with caplog.at_level("WARNING", logger="pyinfra"):
            assert cluster.run() == [["csr-cp1", "csr-w1"]]
        assert [record.message for record in caplog.records] == [
            "CertificateSigningRequest csr-bad is left as it is: 'system:node:w1' is not in the group system:nodes. "
            "See `kubectl describe csr csr-bad`."
        ]

    def test_a_bad_one_alone_is_no_change(self) -> None:
        assert Cluster(["cp1", "w1"], {"csr-bad": request(name="csr-bad", groups=[])}).run() == []

    def test_deadline(self) -> None:
        cluster = Cluster(["cp1"], {"csr-bad": request(name="csr-bad", groups=[])})
        with pytest.raises(OperationError) as error:
            cluster.run(timeout_s=0)
        assert str(error.value) == (
            "w1: after 0 s the kubelet does not serve with a certificate of the cluster, so logs, exec and metrics "
            "can't reach it. See there: journalctl -u kubelet | grep -i cert ; and on cp1: "
            "kubectl --kubeconfig /etc/kubernetes/admin.conf get csr"
        )

    def test_an_approval_that_fails_is_tried_again(self) -> None:
        assert Cluster(["cp1"], {"csr-w1": "w1"}, failing=2).run() == [["csr-w1"]]

    def test_an_approval_that_always_fails(self) -> None:
        with pytest.raises(OperationError) as error:
            Cluster(["cp1", "w1"], {"csr-w1": "w1"}, failing=1000000).run(timeout_s=0.2)
        assert f"Try there: {KUBECTL} certificate approve csr-w1" in str(error.value)

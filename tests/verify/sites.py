"""The platform's sites as people reach them from outside: at every node, by name, with the CA verified."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gevent.pool import Pool

from kubestage.cluster.inventory import Target
from kubestage.commands.web import Answer, Site, SiteError
from kubestage.settings import Problem
from tests.verify.api import until
from tests.verify.findings import fail

# A site's pods are Ready a moment before every Envoy has been told of them.
ANSWERS_WITHIN_S = 15.0

Answers = dict[str, Answer | str]  # node -> what a site answered there, or why it did not


@dataclass(frozen=True)
class Sites:
    """The sites of a cluster; `context` says what CA is trusted. `waited`: nodes that were waited for in vain."""

    target: Target
    context: ssl.SSLContext
    waited: set[str] = field(default_factory=set)

    def at(self, node: str, name: str) -> Site:
        """https://NAME.<domain> at that node."""
        settings = self.target.cluster.common
        host = f"{name}.{settings.domain}"
        return Site(host, self.target.outside_address(node), settings.https_port, self.context)

    def plain(self, node: str, name: str) -> Site:
        """http://NAME.<domain> at that node."""
        settings = self.target.cluster.common
        return Site(f"{name}.{settings.domain}", self.target.outside_address(node), settings.http_port)

    def everywhere(self, ask: Callable[[str], Answer], good: Callable[[Answer], bool], *, new: bool = False) -> Answers:
        """What `ask` is answered at each node once it is `good`, or in the end; at all nodes at once.

        A node that was waited for in vain knows by then all that a run has made: it is waited for again only for a site
        that is `new`.
        """

        def answer(node: str) -> Answer | str:
            told: Answer | str = ""

            def is_good() -> bool:
                nonlocal told
                try:
                    told = ask(node)
                except SiteError as error:
                    told = str(error)
                    return False
                return good(told)

            if not until(is_good, 0 if node in self.waited and not new else ANSWERS_WITHIN_S):
                self.waited.add(node)
            return told

        nodes = self.target.cluster.nodes
        return dict(zip(nodes, Pool().map(answer, nodes), strict=True))


def trusting(target: Target) -> ssl.SSLContext:
    """Trust in the platform's CA; in those of this machine where the sites' certificate is the user's own."""
    return ssl.create_default_context(cafile=ca_of(target) if target.cluster.common.has_ca else None)


def ca_of(target: Target) -> Path:
    """The file of the platform's CA. The test fails if a run has not made it yet."""
    if not target.ca.is_file():
        fail(Problem("this machine", "it is not there: no site can be verified", target.deploy, str(target.ca)))
    return target.ca


def expect_status(told: Answer | str, wanted: Iterable[int], node: str, site: Site, reason: str) -> Answer:
    """The answer, if its status is one of `wanted`; else the test fails: `reason` says what that means to people."""
    if isinstance(told, str) or told.status not in wanted:
        remedy = (
            f"let TCP {site.port} pass to {node} in the cloud's security group and every firewall; "
            "kubectl -n projectcontour get pods -o wide; kubectl get ingress -A"
        )
        fail(Problem(node, reason, remedy, site.url, shown(told)))
    return told


def shown(told: Answer | str) -> str:
    """An answer in a few words."""
    if isinstance(told, str):
        return told
    return f"HTTP {told.status} {told.body.decode(errors='replace').strip()}".strip()

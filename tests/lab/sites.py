"""The platform's sites as people ask for them: by name, at one node's address, with the CA verified."""

from __future__ import annotations

import ssl

from kubestage.commands.web import Site, SiteError
from lab.definition import CHECKOUT, hosts

CA = CHECKOUT / ".state" / "lab" / "ca.crt"
DOMAIN = "lab.test"
AWAY = ("no answer", "404", "503")  # how the page of a site begins that is not there yet
ADDRESSES = {host.name: host.address for host in hosts()}


def site(name: str, node: str) -> Site:
    """https://NAME.lab.test at that node."""
    return Site(f"{name}.{DOMAIN}", ADDRESSES[node], 443, ssl.create_default_context(cafile=CA))


def page(name: str, node: str, timeout_s: float = 10) -> str:
    """The site's page as people see it, or what is wrong instead."""
    try:
        answer = site(name, node).ask(timeout_s=timeout_s)
    except SiteError as error:
        return f"no answer: {error}"
    text = answer.body.decode(errors="replace").strip()
    return text if answer.status == 200 else f"{answer.status} {text}"

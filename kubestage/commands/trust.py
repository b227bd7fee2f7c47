"""How to trust the CA of the platform's sites, and how to find the sites: `make trust`."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from kubestage.certificates import pem
from kubestage.cluster.inventory import TargetError, read
from kubestage.settings import ClusterSettings
from kubestage.stacks import catalogue


def main(given: argparse.Namespace) -> int:
    """Print both, for the cluster of an inventory file."""
    target = read(given.inventory)
    settings = target.cluster.common
    addresses = list(dict.fromkeys(target.outside_address(name) for name in target.cluster.nodes))
    if target.ca.is_file():
        print(trust(target.ca, target.ca.read_text(), target.folder.name))
    elif not settings.has_ca:
        print("The sites' certificate is your own, wildcard_certificate: there is no CA of the platform to trust.")
    else:
        raise TargetError(f"{target.ca}: a run makes it, and has not yet\n    -> {target.deploy}")
    print(names(settings, addresses))
    return 0


def trust(path: Path, ca: str, cluster: str) -> str:
    """The CA (PEM, in the file `path`) and what makes a system trust it."""
    name = f"kubestage-{cluster}.crt"
    ways = {
        "Debian, Ubuntu": f"sudo cp {path} /usr/local/share/ca-certificates/{name} && sudo update-ca-certificates",
        "Fedora, RHEL": f"sudo cp {path} /etc/pki/ca-trust/source/anchors/{name} && sudo update-ca-trust",
        "macOS": f"sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {path}",
        "Windows": "certutil -addstore -f Root ca.crt    (as administrator, with a copy of the file)",
        "Firefox": "Settings, Privacy & Security, View Certificates, Authorities, Import: it has a list of its own",
        "curl, once": f"curl --cacert {path} https://...",
    }
    return "\n".join(
        [
            f"CA           {path}",
            f"SHA-256      {pem.fingerprint(ca)}",
            f"Valid until  {pem.first(ca).not_valid_after_utc:%Y-%m-%d}",
            "",
            "To trust it:",
            *(f"  {system:<16}{way}" for system, way in ways.items()),
            "",
        ]
    )


def names(settings: ClusterSettings, addresses: Sequence[str]) -> str:
    """What makes a system find the sites; `addresses` are those of the nodes, each of which serves all sites."""
    sites = " ".join(catalogue.sites(settings))
    numeric = next((address for address in addresses if _is_numeric(address)), "ADDRESS")
    return "\n".join(
        [
            "To find the sites, one of:",
            f"  {'DNS':<16}*.{settings.domain} to any or all of {', '.join(addresses)}",
            f"  {'/etc/hosts':<16}{numeric} {sites or f'NAME.{settings.domain}'}",
            f"  {'':<16}(any node's address, every site by its name;",
            f"  {'':<16}Windows: C:\\Windows\\System32\\drivers\\etc\\hosts)",
        ]
    )


def _is_numeric(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True

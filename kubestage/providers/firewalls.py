"""What the owners of a cluster's machines do not let pass between them, where they can be asked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from kubestage.cluster.openings import openings
from kubestage.providers import ProviderError
from kubestage.providers.ecs.client import client
from kubestage.providers.ecs.instances import instances
from kubestage.providers.ecs.keys import key
from kubestage.providers.ecs.machine import SCHEME, parts
from kubestage.providers.ecs.security_groups import groups, missing
from kubestage.settings import Cluster


def closed(cluster: Cluster) -> Iterator[str]:
    """A line for each thing, or why nobody could look; none of a cluster whose hosts are not all ECS instances."""
    providers = {name: own.provider for name, own in cluster.hosts.items()}
    if not all(provider.startswith(SCHEME) for provider in providers.values()):
        return
    try:
        where = {name: parts(name, provider) for name, provider in providers.items()}
        (region, tag), *others = {(region, tag) for region, tag, _ in where.values()}
        if others:
            return
        api = client(region, key(os.environ, Path.home()))
        known = {each.id: each for each in instances(api, tag)}
        hosts = {name: known[instance] for name, (_, _, instance) in where.items() if instance in known}
        if len(hosts) < len(where):
            return  # preflight tells of hosts that are not there
        wanted = sorted({group for each in hosts.values() for group in each.groups})
        yield from missing(openings(cluster), hosts, groups(api, wanted))
    except ProviderError as error:
        yield f"The security groups were not compared with what the cluster needs: {str(error).splitlines()[0]}"

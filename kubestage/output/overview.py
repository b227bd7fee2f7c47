"""What is where, on one page: at the end of a run, and with its health by `make status`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from kubestage.output.table import table
from kubestage.settings import ClusterSettings
from kubestage.stacks.catalogue import STACKS
from kubestage.stacks.stack_type import Place, Row


@dataclass(frozen=True)
class Overview:
    """The table's rows, and the sentences under it."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def with_health(self, health: Mapping[str, str]) -> Overview:
        """A copy that says in each row of `health` (what -> a few words) how it does."""
        return replace(self, rows=tuple(replace(row, health=health.get(row.what, "")) for row in self.rows))


def overview(settings: ClusterSettings, place: Place, has_ca: bool) -> Overview:
    """The platform as settings have it; `has_ca`: whether its sites' certificate is of a CA of its own."""
    addresses = " ".join(dict.fromkeys(place.addresses.values()))
    note = f"Every node serves the sites, so let your DNS or /etc/hosts lead their names to any of: {addresses}"
    return Overview(tuple(_rows(settings, place, has_ca)), (note,) if "ingress" in settings.stacks else ())


def _rows(settings: ClusterSettings, place: Place, has_ca: bool) -> Iterator[Row]:
    yield Row("API", place.server, "kubernetes-admin", str(place.folder / "kubeconfig"))
    if place.members:
        yield Row("etcd", ", ".join(place.members))
    if settings.backup_recipients:
        yield Row("backup", str(place.folder / "backups"), how=f"pyinfra {place.inventory} backup.py")
    if "ingress" in settings.stacks:
        trust = f"make trust INVENTORY={place.inventory}" if has_ca else ""
        yield Row("certificate", f"{settings.domain}, *.{settings.domain}", how=trust)
    for kind in sorted(STACKS.values(), key=lambda kind: (kind.site is None, kind.name != "ingress", kind.name)):
        if kind.name in settings.stacks:
            yield kind.row(settings, place)


_TITLES = Row("WHAT", "WHERE", "USER", "HOW", "HEALTH")
_COLUMNS = ("what", "health", "where", "user", "how")


def text(shown: Overview) -> str:
    """The table with its notes; a column that nothing stands in is left out."""
    titles, *rows = ([str(getattr(row, column)) for column in _COLUMNS] for row in (_TITLES, *shown.rows))
    lines = table(titles, rows)
    return "\n".join([*lines, *(["", *shown.notes] if shown.notes else [])])

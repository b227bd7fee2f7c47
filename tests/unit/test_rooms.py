"""Which rooms of kubestage/ know of which: data flows one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from sample_cluster import ROOT

# A room -> what of kubestage it may import, beside itself; and, for all, the small modules at the root.
SMALL = {"hidden", "host_file", "kubernetes", "local_file", "started"}
KNOWS = {
    "settings": SMALL,
    "facts": SMALL | {"certificates"},
    "stacks": SMALL | {"certificates", "facts", "settings"},
    "certificates": SMALL,
}


def imported(folder: str) -> Iterator[str]:
    """The modules that those of a folder import, by their full names."""
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module
            elif isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("room", KNOWS)
def test_a_room_knows_what_is_below_it(room: str) -> None:
    rooms = {name.split(".")[1] for name in imported(f"kubestage/{room}") if name.startswith("kubestage.")}
    assert rooms - KNOWS[room] <= {room.partition("/")[0]}


def test_the_product_knows_neither_tasks_nor_the_lab() -> None:
    assert not {name.partition(".")[0] for name in imported("kubestage")} & {"tasks", "lab", "tests"}
    assert "lab" not in {name.partition(".")[0] for name in imported("tasks")}

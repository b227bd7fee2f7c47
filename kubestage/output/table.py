"""Columns of text for people."""

from __future__ import annotations

from collections.abc import Sequence


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines, two blanks between columns; a column that nothing stands in is left out."""
    used = [column for column in range(len(titles)) if any(row[column] for row in rows)]
    cells = [[row[column] for column in used] for row in (titles, *rows)]
    widths = [max(len(row[number]) for row in cells) for number in range(len(used))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]

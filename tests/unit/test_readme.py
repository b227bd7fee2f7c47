"""The README names every setting and every phase there is, and none that there is not."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module

from sample_cluster import ROOT

import tasks
from kubestage.phase import PHASES
from kubestage.settings import Settings


def test_every_setting_is_in_its_tables() -> None:
    chapter = (ROOT / "README.md").read_text().partition("## Settings")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in chapter.splitlines() if line.startswith("| `")]
    assert sorted(name for cell in cells for name in re.findall(r"`(\w+)`", cell)) == sorted(Settings.model_fields)


def test_where_to_look_is_what_a_failed_phase_says() -> None:
    for module in pkgutil.iter_modules(tasks.__path__):
        import_module(f"tasks.{module.name}")
    chapter = (ROOT / "README.md").read_text().partition("## When a phase fails")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| ([^|]+) \| (.*) \|$", chapter, re.MULTILINE))
    told = {title: where for titles, where in rows.items() for title in titles.split(", ")}
    before = ("phase", "Settings", "Preflight")  # the table's head, and what comes before the phases
    assert {title: where for title, where in told.items() if title not in before} == {
        title: phase.look_at for title, phase in PHASES.items()
    }

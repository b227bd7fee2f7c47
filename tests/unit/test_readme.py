"""The README names every setting there is, and none that there is not."""

from __future__ import annotations

import re

from sample_cluster import ROOT

from kubestage.settings import Settings


def test_every_setting_is_in_its_tables() -> None:
    chapter = (ROOT / "README.md").read_text().partition("## Settings")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in chapter.splitlines() if line.startswith("| `")]
    assert sorted(name for cell in cells for name in re.findall(r"`(\w+)`", cell)) == sorted(Settings.model_fields)

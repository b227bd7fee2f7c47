"""The README names every setting and phase there is and no other, and its chapters; the Chinese one is level."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module

import pytest
from sample_cluster import ROOT

import tasks
from kubestage.cluster.phase import PHASES
from kubestage.settings import SETTINGS
from kubestage.stacks.catalogue import STACKS

ENGLISH, CHINESE = "README.md", "README.zh-CN.md"
_FENCE = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text(name: str) -> str:
    return (ROOT / name).read_text()


def prose(name: str) -> str:
    """Without what stands in code blocks."""
    return _FENCE.sub("", text(name))


def headings(name: str) -> list[tuple[int, str]]:
    """Depth and title of each."""
    return [(len(match[1]), match[2]) for match in re.finditer(r"^(#+) (.+)$", prose(name), re.MULTILINE)]


def settings_of(name: str, title: str) -> list[str]:
    """In the order in which the tables of the chapter about settings have them."""
    chapter = text(name).partition(f"## {title}\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in chapter.splitlines() if line.startswith("| `")]
    return [word for cell in cells for word in re.findall(r"`([\w.]+)`", cell)]


def test_every_setting_is_in_its_tables() -> None:
    of_stacks = [f"{name}.{key}" for name, kind in STACKS.items() for key in kind.settings.model_fields]
    assert sorted(settings_of(ENGLISH, "Settings")) == sorted([*SETTINGS, *of_stacks])


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


@pytest.mark.parametrize("name", [ENGLISH, CHINESE])
def test_the_contents_name_every_chapter(name: str) -> None:
    chapters = [title for depth, title in headings(name) if depth == 2]
    listed = re.findall(r"\[([^\]]+)\]\(#([^)]+)\)", prose(name).partition("\n## ")[0])
    assert [title for title, _ in listed] == chapters
    for title, anchor in listed:  # as GitHub makes them
        assert anchor == re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_the_chinese_one_has_the_same_chapters_commands_and_settings() -> None:
    assert [depth for depth, _ in headings(CHINESE)] == [depth for depth, _ in headings(ENGLISH)]
    assert _FENCE.findall(text(CHINESE)) == _FENCE.findall(text(ENGLISH))
    assert settings_of(CHINESE, "设置") == settings_of(ENGLISH, "Settings")
    assert re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text(CHINESE)) == re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text(ENGLISH))
    assert text(ENGLISH).count("\n| ") == text(CHINESE).count("\n| ")

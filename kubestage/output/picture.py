"""A run as a picture: a row for each host, a bar for each operation, over time; SVG, for a browser or a README."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from xml.sax.saxutils import escape

from kubestage.output.record import Outcome, Span

WIDTH = 1000  # pixels
_COLOURS = (
    "#4e79a7",
    "#f28e2b",
    "#59a14f",
    "#b07aa1",
    "#edc948",
    "#76b7b2",
    "#9c755f",
    "#ff9da7",
    "#2f6f8f",
    "#a0bf3c",
    "#d37295",
    "#6b6ecf",
    "#e08214",
    "#1b9e77",
    "#8c6bb1",
    "#bc80bd",
    "#5b8c85",
    "#c49c94",
)
_FAILED = "#d1242f"
_INK, _FAINT = "#24292f", "#c4c9d0"
_TOP = 52  # of the first row: under the title and the phases' band
_TICKS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
_MOST_TICKS = 12
_NARROWEST = 0.4  # pixels of a bar that is drawn though nothing has come of it
_LETTER = 6.3  # pixels, about, at font size 11


def critical_path(spans: Sequence[Span]) -> list[Span]:
    """What the run could not have been faster than, in the order of time: each span began when the one before ended."""
    by_end = sorted(spans, key=lambda span: (span.end, span.begin, span.host))
    ends = [span.end for span in by_end]
    path: list[Span] = []
    number = len(by_end)
    while number > 0:
        path.append(by_end[number - 1])
        # Never itself again, should it have taken no time.
        number = min(bisect_right(ends, path[-1].begin), number - 1)
    return path[::-1]


def picture(title: str, spans: Sequence[Span]) -> str:
    """The SVG, the same for the same spans. Hosts stand in the order in which they come in `spans`."""
    phases = dict(zip(dict.fromkeys(span.phase for span in spans), cycle(_COLOURS), strict=False))
    rows: dict[str, list[Span]] = {}
    for span in spans:
        rows.setdefault(span.host, []).append(span)
    total = max((span.end for span in spans), default=0.0) or 1.0
    height = 22 if len(rows) <= 10 else 14
    left = min(16 + max(map(len, rows), default=0) * _LETTER, 200.0)
    place = Place(left, (WIDTH - left - 14) / total)
    bottom = _TOP + height * len(rows)
    critical = set(map(id, critical_path(spans)))
    parts = [*_axis(total, place, bottom), *_band(spans, phases, place)]
    for number, (host, own) in enumerate(rows.items()):
        top = _TOP + height * number
        parts += _row(host, own, place, top, height)
        for span in own:
            parts += _bar(span, phases[span.phase], id(span) in critical, place, top + 2, height - 4)
    legend, end = _legend(phases, bottom + 34)
    return "\n".join([*_head(title, end), *parts, *legend, "</svg>", ""])


@dataclass(frozen=True)
class Place:
    """Where a time is, in pixels from the left: `scale` pixels a second from `left` on."""

    left: float
    scale: float

    def x(self, seconds: float) -> float:
        return self.left + seconds * self.scale

    def width(self, span: Span) -> float:
        return (span.end - span.begin) * self.scale


def _head(title: str, height: float) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" font-family="sans-serif" font-size="11" fill="{_INK}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="#fff"/>',  # dark pages would show through
        f'<text x="10" y="20" font-size="14">{escape(title)}</text>',
    ]


def _axis(total: float, place: Place, bottom: float) -> list[str]:
    """Lines at even times, with the seconds under them."""
    step = next((each for each in _TICKS_S if total / each <= _MOST_TICKS), _TICKS_S[-1])
    parts = []
    for number in range(int(total / step) + 1):
        x = place.x(number * step)
        parts.append(f'<path d="M{x:.1f} {_TOP - 4}V{bottom + 4}" stroke="{_FAINT}" stroke-width=".5"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{number * step:g} s</text>')
    return parts


def _band(spans: Sequence[Span], phases: Mapping[str, str], place: Place) -> list[str]:
    """When each phase was, over the rows, with its name where there is room."""
    parts = []
    for phase, colour in phases.items():
        begin = min(span.begin for span in spans if span.phase == phase)
        end = max(span.end for span in spans if span.phase == phase)
        width = (end - begin) * place.scale
        parts.append(
            f'<rect x="{place.x(begin):.1f}" y="30" width="{max(width, 1):.1f}" height="15" fill="{colour}">'
            f"<title>{escape(phase)}: {end - begin:.1f} s</title></rect>"
        )
        if width > len(phase) * _LETTER:
            middle = place.x(begin) + width / 2
            parts.append(f'<text x="{middle:.1f}" y="41" text-anchor="middle">{escape(phase)}</text>')
    return parts


def _row(host: str, own: Sequence[Span], place: Place, top: float, height: float) -> list[str]:
    """A host's name, and a thin line while the run waits for other hosts: the bars are drawn over it."""
    begin, end = min(span.begin for span in own), max(span.end for span in own)
    busy = sum(span.end - span.begin for span in own)
    middle = top + height / 2
    return [
        f'<text x="10" y="{middle + 4:.1f}">{escape(host)}'
        f"<title>{escape(host)}: {busy:.1f} s at work, {end - begin - busy:.1f} s waiting for others</title></text>",
        f'<path d="M{place.x(begin):.1f} {middle:.1f}H{place.x(end):.1f}" stroke="{_FAINT}" stroke-width="2"/>',
    ]


def _bar(span: Span, colour: str, is_critical: bool, place: Place, top: float, height: float) -> list[str]:
    """Full where something has changed, pale where not, red where it failed; with a dark foot on the critical path."""
    width = place.width(span)
    if width < _NARROWEST and span.outcome is Outcome.SAME:
        return []  # thirty hosts' looks at files
    shape = f'x="{place.x(span.begin):.1f}" width="{max(width, 0.8):.1f}"'
    look = {
        Outcome.CHANGED: f'fill="{colour}"',
        Outcome.SAME: f'fill="{_pale(colour)}"',
        Outcome.FAILED: f'fill="{_FAILED}"',
        Outcome.CUT_OFF: f'fill="{colour}" stroke="{_FAILED}"',
    }[span.outcome]
    operation = f" | {span.operation}" if span.operation else ""
    words = f"{span.host}: {span.phase}{operation}, {span.outcome}, {span.end - span.begin:.2f} s"
    words += f" from {span.begin:.2f} s on" + (", on the critical path" if is_critical else "")
    bar = f'<rect {shape} y="{top}" height="{height}" {look}><title>{escape(words)}</title></rect>'
    return [bar, f'<rect {shape} y="{top + height}" height="2" fill="{_INK}"/>'] if is_critical else [bar]


@cache
def _pale(colour: str) -> str:
    """The colour mixed with twice as much white."""
    return "#" + "".join(f"{(int(colour[at : at + 2], 16) + 2 * 255) // 3:02x}" for at in (1, 3, 5))


def _legend(phases: Mapping[str, str], top: float) -> tuple[list[str], float]:
    """What the colours and forms mean, in as many lines as it takes; and where it ends."""
    grey = "#8a929c"
    keys = [(colour, phase) for phase, colour in phases.items() if phase]
    keys += [(grey, "changed"), (_pale(grey), "no change"), (_FAILED, "failed")]
    parts = []
    x, y = 10.0, top
    for colour, text in keys:
        if x + 24 + len(text) * _LETTER > WIDTH:
            x, y = 10.0, y + 17
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14:.1f}" y="{y + 9}">{escape(text)}</text>')
        x += 30 + len(text) * _LETTER
    y += 17
    parts.append(f'<path d="M10 {y + 5}h10" stroke="{_FAINT}" stroke-width="2"/>')
    parts.append(f'<text x="24" y="{y + 9}">waiting for other hosts</text>')
    parts.append(f'<rect x="176" y="{y + 4}" width="10" height="2"/>')
    parts.append(f'<text x="190" y="{y + 9}">critical path: what the run could not have been faster than</text>')
    return parts, y + 22

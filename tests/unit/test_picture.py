"""The picture of a run: from spans, always the same, readable by every program that reads SVG."""

from __future__ import annotations

import time
from xml.etree import ElementTree

from kubestage.output.picture import critical_path, picture
from kubestage.output.record import Outcome, Record, Span

SVG = "{http://www.w3.org/2000/svg}"


def span(
    host: str, begin: float, end: float, outcome: Outcome = Outcome.CHANGED, phase: str = "Host", operation: str = "x"
) -> Span:
    return Span(host, phase, operation, begin, end, outcome)


def titles(svg: str) -> list[str]:
    return [str(each.text) for each in ElementTree.fromstring(svg).iter(f"{SVG}title")]


def bars(svg: str) -> dict[str, dict[str, str]]:
    """A bar's title, up to its first comma -> its attributes."""
    return {
        str(title.text).partition(",")[0]: rect.attrib
        for rect in ElementTree.fromstring(svg).iter(f"{SVG}rect")
        if (title := rect.find(f"{SVG}title")) is not None
    }


def test_the_critical_path_is_whom_the_others_waited_for() -> None:
    slow, quick = span("w1", 0, 5), span("w2", 0, 2)
    alone = span("cp1", 5, 6)
    last, beside = span("w2", 6, 9), span("w1", 6, 7)
    assert critical_path([slow, quick, alone, beside, last]) == [slow, alone, last]


def test_the_critical_path_where_something_took_no_time() -> None:
    spans = [span("w1", 1, 1), span("w1", 1, 1), span("w1", 1, 2)]
    assert critical_path(spans) == spans
    assert critical_path([]) == []


def test_a_bar_for_each_host_and_operation() -> None:
    svg = picture("a run", [span("w1", 0, 5), span("w1", 5, 6, phase="Join", operation="kubeadm"), span("w2", 0, 2)])
    assert "w1: Host | x, changed, 5.00 s from 0.00 s on, on the critical path" in titles(svg)
    assert "w2: Host | x, changed, 2.00 s from 0.00 s on" in titles(svg)
    assert "w2: 2.0 s at work, 0.0 s waiting for others" in titles(svg)
    assert "Join: 1.0 s" in titles(svg)
    found = bars(svg)
    assert float(found["w1: Host | x"]["width"]) > 2 * float(found["w2: Host | x"]["width"])
    assert found["w1: Host | x"]["fill"] == found["w2: Host | x"]["fill"] != found["w1: Join | kubeadm"]["fill"]
    assert found["w1: Host | x"]["y"] != found["w2: Host | x"]["y"]


def test_what_came_of_it_is_seen() -> None:
    found = bars(picture("a run", [span(str(outcome), 0, 1, outcome) for outcome in Outcome]))
    looks = {
        (bar["fill"], bar.get("fill-opacity"), bar.get("stroke"))
        for name, bar in found.items()
        if name != "Host: 1.0 s"
    }
    assert len(looks) == len(Outcome)


def test_names_are_text() -> None:
    svg = picture("<&>\"'", [span("<w&1>", 0, 1, operation='</title><script>"')])
    assert '<w&1>: Host | </title><script>", changed, 1.00 s from 0.00 s on, on the critical path' in titles(svg)
    assert not list(ElementTree.fromstring(svg).iter(f"{SVG}script"))


def test_nothing_has_been_done() -> None:
    assert titles(picture("a run", [])) == ["a run"]


def test_thirty_hosts_and_sixty_operations_take_no_time_to_draw() -> None:
    spans = [
        span(f"w{host}", number, number + 0.1 + host / 40, Outcome.SAME, f"Phase {number // 4}", f"operation {number}")
        for host in range(30)
        for number in range(60)
    ]
    took, drawn = [], set()
    for _ in range(5):
        begin = time.process_time()
        drawn.add(picture("a run", spans))
        took.append(time.process_time() - begin)
    assert min(took) < 0.1  # a busy machine has slow ones among them
    (svg,) = drawn
    assert len(svg) < 600_000


def test_a_run_without_its_barriers() -> None:
    record = Record()
    record.hosts += ["w1", "w2"]
    for operation in ("x", "done everywhere"):
        step = record.step("Host", operation)
        for host in ("w2", "w1"):
            step.began[host] = 0.0
            step.end(host, 1.0, Outcome.SAME)
    assert [(each.host, each.operation) for each in record.spans()] == [("w1", "x"), ("w2", "x")]

"""The HTML report: whatever is in a prompt is text, and nothing is loaded from anywhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evals.harness.form import Evaluation
from evals.harness.page import chart_of, to_html
from tests.evals.harness.suites import evaluated, read, sums

HOSTILE = "<script>alert(1)</script><img src=http://evil/x onerror=alert(2)>{{ 7*7 }}\u0000'\"--></td>"


class Tags(HTMLParser):
    """Every tag with its attributes, and all text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(evaluation: Evaluation) -> Tags:
    tags = Tags()
    tags.feed(to_html(evaluation).decode())
    return tags


@pytest.fixture
def hostile(tmp_path: Path) -> Evaluation:
    lines = [{"prompt": HOSTILE, "reference": HOSTILE, "check": "exact", "slice": HOSTILE}, *sums(5)]
    suite = read(tmp_path, lines, head=f"name = '''{HOSTILE.replace(chr(0), '')}'''")
    scores: dict[str, list[float | None]] = {HOSTILE[:30]: [0.0, 1, 1, 1, None, 1], "b": [0.0, 0, 1, 1, 1, 1]}
    return evaluated(suite, scores, why=HOSTILE)


def test_hostile_text_is_shown_and_never_becomes_a_tag(hostile: Evaluation) -> None:
    page = parsed(hostile)
    assert {tag for tag, _ in page.tags}.isdisjoint(
        {"script", "img", "iframe", "object", "link", "form", "a"}
    )
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") >= 5
    assert "{{ 7*7 }}" in page.text
    assert "49" not in re.findall(r"\d+", page.text.replace("{{ 7*7 }}", ""))


def test_nothing_is_loaded_from_anywhere(hostile: Evaluation) -> None:
    page = parsed(hostile)
    for _, attributes in page.tags:
        assert not {"src", "href", "xlink:href", "action", "srcset"} & set(attributes)
    policy = [a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert not re.search(r"url\(|@import", to_html(hostile).decode())


def test_the_page_has_each_part(hostile: Evaluation) -> None:
    text = parsed(hostile).text
    for part in (
        "Quality, cost and time",
        "Against",
        "Slices",
        "every model contradicts",
        "Failed or unscored",
    ):
        assert part in text
    assert "prefers-color-scheme: dark" in to_html(hostile).decode()


def test_one_model_alone_has_a_page_too(tmp_path: Path) -> None:
    text = parsed(evaluated(read(tmp_path, sums(3)), {"a": [1.0, 1.0, None]})).text
    assert "Against" not in text
    assert "100.0%" in text


def test_a_figure_may_break_before_its_interval_and_nowhere_else(tmp_path: Path) -> None:
    page = to_html(evaluated(read(tmp_path, sums(4)), {"a": [1.0] * 4})).decode()
    assert '<span class="whole">100.0%</span> <span class="ends">[39.8, 100.0]</span>' in page


def test_a_picture_is_drawn_where_cost_and_quality_are_known(tmp_path: Path) -> None:
    suite = read(tmp_path, sums(20))
    scores = {"a": [1.0] * 20, "b": [0.0] * 20}
    chart = chart_of(evaluated(suite, scores, cost={"a": 1000, "b": 10}).columns)
    assert chart is not None
    dear, cheap = chart.dots
    assert dear.x > cheap.x, "dearer is further right"
    assert dear.y < cheap.y, "better is higher up"
    assert all(0 <= value <= 560 for dot in chart.dots for value in (dot.x, dot.y, dot.low, dot.high))
    assert chart_of(evaluated(suite, scores, cost={"a": None, "b": 10}).columns) is None
    assert chart_of(evaluated(suite, {"a": [1.0] * 20}).columns) is None


def test_text_that_cannot_be_encoded_breaks_nothing(tmp_path: Path) -> None:
    suite = read(tmp_path, ['{"prompt": "lone \\\\ud800 half", "reference": 1}'])
    assert b"lone" in to_html(evaluated(suite, {"a": [0.0], "b": [1.0]}))

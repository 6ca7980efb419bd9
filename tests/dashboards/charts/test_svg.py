"""Charts as SVG that belongs to its page: no style, no script, no size and no colour of its own."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import altair as alt
import pytest
import vl_convert

from dashboards.charts import theme
from dashboards.charts.svg import draw
from dashboards.render import STATIC

EVIL = '<script>alert(1)</script><img src=x onerror="alert(1)" style="x">&'


def bars(names: list[str]) -> alt.Chart:
    values = [{"name": name, "value": number + 1} for number, name in enumerate(names)]
    chart: alt.Chart = (
        alt.Chart({"values": values})
        .mark_bar(color=theme.STRONG, blend="multiply")  # a style attribute
        .encode(x="name:N", y="value:Q", tooltip="name:N")
        .properties(title=EVIL)
    )
    return chart


@pytest.fixture(scope="module")
def drawn() -> str:
    return str(draw(bars([EVIL, "قائمة"]), EVIL, ["Name", EVIL], [[EVIL, "1"]]))


def test_it_runs_nothing_and_asks_for_nothing(drawn: str) -> None:
    assert "<script" not in drawn
    assert "<img" not in drawn
    picture = ElementTree.fromstring(re.search(r"<svg.*</svg>", drawn, re.DOTALL)[0])  # type: ignore[index]
    names = {element.tag.rpartition("}")[2] for element in picture.iter()}
    assert not names & {"script", "style", "image", "use", "foreignObject"}
    for element in picture.iter():
        assert "style" not in element.attrib
        assert not [name for name in element.attrib if name.startswith("on")]


def test_its_colours_are_those_of_the_page(drawn: str) -> None:
    assert "var(--strong)" in drawn
    assert not re.search("|".join(theme.VARIABLES), drawn, re.IGNORECASE)
    style = (STATIC / "style.css").read_text()
    for variable in theme.VARIABLES.values():
        assert style.count(f"{variable}:") == 3, variable  # light, and dark twice


def test_it_takes_the_width_of_its_place(drawn: str) -> None:
    root = re.search(r"<svg[^>]*>", drawn)
    assert root is not None
    assert "viewBox=" in root[0]
    assert "width=" not in root[0]


def test_its_numbers_are_beside_it_as_a_table(drawn: str) -> None:
    assert "<figure class=chart>" in drawn
    assert "role=img aria-label=" in drawn
    assert "<td>&lt;script&gt;" in drawn
    assert "<details class=numbers>" in drawn


def test_the_same_chart_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    render = vl_convert.vegalite_to_svg

    def counted(spec: str, **how: Any) -> str:
        asked.append(spec)
        return str(render(spec, **how))

    monkeypatch.setattr(vl_convert, "vegalite_to_svg", counted)
    once = draw(bars(["only here, once"]), "x", [], [])
    assert draw(bars(["only here, once"]), "x", [], []) == once
    assert len(asked) == 1


def test_no_two_charts_of_a_page_share_an_id() -> None:
    """Else one would be clipped to the frame of another."""
    charts = [bars(["a"]).mark_bar(clip=True).properties(width=width) for width in (100, 200)]
    drawn = [str(draw(chart, "x", [], [])) for chart in charts]
    named = [set(re.findall(r'id="([^"]+)"', one)) for one in drawn]
    assert all(named)
    assert not named[0] & named[1]
    for ids, one in zip(named, drawn, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)", one)) <= ids

"""Vega-Lite specifications to SVG that belongs to its page.

Invariant: a chart asks for nothing and runs nothing; its colours are variables of the page's style, so that
light and dark are the same picture; the same specification is rendered once. Text is for screens too: the
chart has a label, and its numbers are beside it as a table.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from functools import lru_cache

import altair as alt
import vl_convert
from altair.utils import schemapi
from markupsafe import Markup

from dashboards.charts.theme import CONFIG, VARIABLES
from dashboards.charts.values import chart_of

WARM_ROUNDS = 2
VERSION = "6.1"  # of Vega-Lite, among those that vl-convert has
_root = re.compile(r'<svg [^>]*?width="(?P<width>[\d.]+)" height="(?P<height>[\d.]+)"[^>]*>')
_colour = re.compile("|".join(map(re.escape, VARIABLES)), re.IGNORECASE)
_id = re.compile(r'(?<= id=")|(?<=url\(#)')  # made its own, since all charts of a page share one space of ids
_style = re.compile(r' style="[^"]*"')

AnyChart = alt.Chart | alt.LayerChart | alt.FacetChart | alt.HConcatChart | alt.VConcatChart


def draw(chart: AnyChart, label: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """A chart as a figure, with the table of what it shows.

    Args:
        chart: What to draw; colours are those of `dashboards.charts.theme`.
        label: What it shows, in a sentence.
        header: Of the table.
        rows: Of the table: what the chart shows, written as text.
    """
    spec = json.dumps(chart.to_dict(validate=False), sort_keys=True, default=str)
    return Markup("<figure class=chart>{}{}{}</figure>").format(
        Markup('<div class=picture role=img aria-label="{}">').format(label),
        Markup(_rendered(spec)) + Markup("</div>"),
        _table(label, header, rows),
    )


def _table(label: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    heads = Markup("").join(Markup("<th scope=col>{}</th>").format(name) for name in header)
    lines = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row))
        for row in rows
    )
    return Markup(
        "<details class=numbers><summary>The numbers</summary>"
        '<div class=scroll tabindex=0 role=region aria-label="{}">'
        "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div></details>"
    ).format(label, heads, lines)


@lru_cache(maxsize=512)
def _rendered(spec: str) -> str:
    svg = vl_convert.vegalite_to_svg(spec, vl_version=VERSION, config=CONFIG)
    own = hashlib.sha256(spec.encode()).hexdigest()[:8]
    return _id.sub(rf"\g<0>{own}-", _coloured(svg))


def _coloured(svg: str) -> str:
    """Let it take the width of its place, and its colours from the page."""

    def root(found: re.Match[str]) -> str:
        width, height = found["width"], found["height"]
        return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" aria-hidden="true">'

    svg = _root.sub(root, svg, count=1)
    svg = _colour.sub(lambda found: f"var({VARIABLES[found[0].lower()]})", svg)
    return _style.sub("", svg)


def warm() -> None:
    """Draw some pictures: the first take a second, until all that draws is loaded and compiled.

    From then on Altair does not check each piece of a chart as it is made, which takes as long as drawing it:
    the tests of the charts have it check them.
    """
    schemapi.disable_debug_mode()
    for number in range(WARM_ROUNDS):
        values = [{"at": f"2026-01-{day:02}", "share": day / 40, "name": f"{number}"} for day in range(1, 29)]
        base = chart_of(values).encode(x="at:T", y=alt.Y("share:Q", axis=alt.Axis(format="%")))
        layers = alt.layer(base.mark_area(), base.mark_line(), base.mark_rule(), base.mark_text(text="warm"))
        draw(layers, "A picture of some shares", (), ())
        draw(chart_of(values).mark_bar().encode(x="at:T", y="share:Q", color="name:N"), "Bars", (), ())

"""What each bound on the lost quality buys, and the form that sets one.

Invariant: looking changes nothing and costs no confidence: all that may be chosen was certified by the fit
of the router. A bound is set by a promotion that is based on the very one that was shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from markupsafe import Markup
from starlette.responses import Response
from starlette.routing import Route

from dashboards.ahead import Preview
from dashboards.charts.frontier import frontier_chart, in_force, looked_at
from dashboards.charts.svg import draw
from dashboards.figures import amount, estimate, percent_text
from dashboards.moves import check_task, reason_of
from dashboards.queries.frontier import Standing, standing_of
from dashboards.site import Form, Site, Visit, action, done, page, preview
from evals.bounds import apply, propose
from evals.frontier import Choice, Frontier
from stepdown.errors import BadRequest, StepdownError

PATH = "/frontier"
AT = f"{PATH}/at"
REVIEW = f"{PATH}/bound"
EVERY_FIFTH = 5  # of the curve's points, in the table beside it


class Look(NamedTuple):
    """What of the frontier is looked at.

    Attributes:
        choice: What the bound buys.
        step: Its place among the document's choices.
        is_in_force: Whether the task is routed so now.
        why_not: Why it cannot be applied; empty where it can.
    """

    choice: Choice
    step: int
    is_in_force: bool
    why_not: str


def routes(site: Site) -> list[Route]:
    """The routes of this page."""
    return [
        page(site, PATH, frontier),
        page(site, AT, at_bound),
        page(site, REVIEW, review),
        action(site, REVIEW, set_bound),
    ]


def previews(site: Site) -> list[Preview]:
    """The page as it is before anything is asked of it."""
    return [preview(site, PATH, frontier, {})]


def frontier(visit: Visit) -> Response:
    """Show the curve, and what the bound that is asked for buys."""
    standing = standing_of(visit.site.ledger, visit.site.settings, visit.task)
    if standing.document is None or not standing.document.choices:
        return visit.render("frontier_empty.html", standing=standing)
    return visit.render("frontier.html", **_shown(visit, standing, standing.document))


def at_bound(visit: Visit) -> Response:
    """The parts of the page that another bound changes."""
    standing = standing_of(visit.site.ledger, visit.site.settings, visit.task)
    if standing.document is None or not standing.document.choices:
        raise StepdownError(f"task {visit.task!r} has no frontier any more; load the page again")
    shown = _shown(visit, standing, standing.document)
    response = visit.render("frontier_at.html", **shown)
    response.headers["hx-replace-url"] = visit.link(PATH, loss=_text(shown["look"].choice.max_quality_loss))
    return response


def review(visit: Visit) -> Response:
    """Show what setting a bound would change."""
    loss = _loss(visit.query.get("loss", ""))
    found = propose(visit.site.ledger, visit.site.settings, visit.task, loss)
    return visit.render(
        "review.html",
        title=f"Allow a quality loss of {100 * loss:g}%",
        action=REVIEW,
        fields={"task": visit.task, "loss": _text(loss), "after": found.after},
        diff=[line for line in found.changes if line.before != line.after],
        facts=[f"Certified: {found.promise}."] if found.promise else [],
        warns=[f"{note[:1].upper()}{note[1:]}." for note in found.notes],
        asks_reason=True,
        button=f"Allow {100 * loss:g}%",
        back=visit.link(PATH, loss=_text(loss)),
    )


def set_bound(visit: Visit, form: Form) -> Response:
    """Set a bound, by a promotion."""
    check_task(visit, form)
    loss = _loss(form["loss"])
    promotion = apply(
        visit.site.ledger,
        visit.site.settings,
        visit.task,
        loss,
        actor=visit.person.name,
        reason=reason_of(form),
        after=form.whole("after"),
    )
    said = (
        f"Task {visit.task} may lose {100 * loss:g}% of quality now, and is in mode {promotion.mode}: "
        f"promotion {promotion.sequence}."
    )
    return done(visit, visit.link(PATH), said)


def _shown(visit: Visit, standing: Standing, document: Frontier) -> dict[str, Any]:
    look = _look(visit, standing, document)
    choice = look.choice
    return {
        "standing": standing,
        "document": document,
        "look": look,
        "picture": _picture(
            document, standing.in_force, None if look.is_in_force else choice, choice.max_quality_loss
        ),
        "steps": [f"{100 * choice.max_quality_loss:g}%" for choice in document.choices],
        "said": _said(look),
        "estimate": estimate,
        "amount": amount,
        "text": _text,
    }


def _look(visit: Visit, standing: Standing, document: Frontier) -> Look:
    step = _step(visit, standing, document.choices)
    choice = document.choices[step]
    is_now = choice.max_quality_loss == standing.bound
    return Look(choice, step, is_now and standing.in_force is not None, _why_not(visit, standing, is_now))


def _step(visit: Visit, standing: Standing, choices: Sequence[Choice]) -> int:
    """The place of the choice that is asked for: by its place, by a loss, or else the bound in force."""
    asked = visit.query.get("step", "")
    if asked and "loss" not in visit.query:
        if not asked.isascii() or not asked.isdigit() or int(asked[:4]) >= len(choices):
            raise BadRequest(f"step = {asked!r:.40} is none of 0 to {len(choices) - 1}", param="step")
        return int(asked[:4])
    loss = _loss(visit.query["loss"]) if visit.query.get("loss") else standing.bound
    return max((i for i, one in enumerate(choices) if one.max_quality_loss <= loss), default=0)


def _loss(asked: str) -> float:
    try:
        loss = float(asked)
    except ValueError:
        loss = math.nan
    if not 0 < loss < 1:
        raise BadRequest(
            f"loss = {asked!r:.40} is no share of requests: give a number above 0 and below 1, say 0.02",
            param="loss",
        )
    return loss


def _text(loss: float) -> str:
    return f"{loss:.6g}"


def _why_not(visit: Visit, standing: Standing, is_now: bool) -> str:
    if standing.deployed.candidate is not None:
        return (
            "A student is on trial under the bound in force, and would go on under another one than it began "
            "with. Wait for the end of the trial, or end it on the page of promotions."
        )
    if is_now:
        return "This bound is in force."
    return "" if visit.task in visit.site.settings.tasks else "The task is not declared in the settings."


def _said(look: Look) -> str:
    """What the bound buys, in a sentence: what a screen reader says while the slider moves."""
    choice = look.choice
    loss = f"{100 * choice.max_quality_loss:g}% allowed"
    if choice.certified_for is None:
        return f"{loss}: nothing may go to the small model yet"
    return f"{loss}: {percent_text(choice.coverage)} answered by the small model"


@lru_cache(maxsize=256)
def _picture(document: Frontier, now: Choice | None, other: Choice | None, bound: float) -> Markup | None:
    """The curve with what is in force now, and another choice that is looked at."""
    if not document.points:
        return None
    marks = [in_force(now)] if now else []
    marks += [looked_at(other)] if other else []
    router = document.baselines[0]
    label = (
        f"Quality against the share of requests that strong answers, on n={document.pairs:,} held-out pairs"
    )
    rows = [
        (
            f"{100 * point.strong_share:.0f}%",
            f"{100 * point.quality:.1f}% ({100 * point.low:.1f} to {100 * point.high:.1f})",
            *(f"{100 * one.quality[i]:.1f}%" for one in document.baselines[1:]),
        )
        for i, point in enumerate(document.points)
        if i % EVERY_FIFTH == 0
    ]
    header = ("on strong", router.name, *(one.name for one in document.baselines[1:]))
    chart = frontier_chart(document, marks, bound)
    return draw(chart, label, header, rows)

"""One request in full: what was asked and answered, why it went where it went, and what it cost.

Invariant: the page stands whatever became of the texts; those are shown as text, and given away as files of
plain text only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from dashboards.charts.requests import gain_chart
from dashboards.charts.svg import draw
from dashboards.explain import explained, reason_words
from dashboards.pages.requests import PATH, VERDICTS
from dashboards.queries.request import Content, Told, Whole, content_of, whole_request
from dashboards.site import NotThere, Site, Visit, page
from dashboards.texts import Cut, cut, shown_answer, shown_prompt
from dashboards.word_diff import LONGEST, Diff, word_diff
from stepdown.prices import MICROS_PER_USD, price_of
from stepdown.records import Role, Tier

PLAYGROUND_PATH = "/playground"
PROMPT = "prompt"
ROLES = {
    Role.LIVE: "answer to the client",
    Role.CANDIDATE: "candidate, not picked",
    Role.SHADOW: "in the shadow, unseen",
    Role.JUDGE: "judge",
    Role.ESCALATION: "escalation",
}


class ShownAnswer(NamedTuple):
    """An answer as it is shown.

    Attributes:
        text: None where there is none; `why` says so.
    """

    told: Told
    text: Cut | None
    why: str
    finish_reason: str | None


class Cost(NamedTuple):
    """One line of what a request cost; None is unknown."""

    what: str
    usd_micros: int | None


def routes(site: Site) -> list[Route]:
    """The routes of this page."""
    return [
        page(site, f"{PATH}/{{id}}", request),
        page(site, f"{PATH}/{{id}}/text/{{what}}", raw_text),
    ]


def request(visit: Visit) -> Response:
    """Show one request."""
    whole = _whole(visit)
    task = whole.request.task
    if task != visit.task and task in visit.site.tasks:
        query = urlencode({"task": task})
        return RedirectResponse(f"{PATH}/{whole.request.id}?{query}", status_code=307)
    ledger = visit.site.ledger
    prompt = content_of(ledger, whole.request.body)
    given, other = (_shown(told, visit) if told else None for told in (whole.answer, whole.other))
    costs = _costs(whole)
    return visit.render(
        "request.html",
        whole=whole,
        request=whole.request,
        decision=whole.decision,
        words=explained(whole.decision) if whole.decision is not None else None,
        picture=_picture(whole),
        prompt=shown_prompt(prompt.content) if prompt.content is not None else None,
        raw_text=cut(prompt.content.decode("utf-8", "replace")) if prompt.content is not None else None,
        content=prompt,
        answers=[answer for answer in (given, other) if answer is not None],
        diff=_diff(given, other),
        longest_compared=LONGEST,
        costs=costs,
        on_strong=_on_strong(visit, whole),
        reference=_pretty(whole.reference),
        feedback=[(one, _pretty(one.value)) for one in whole.feedback],
        trace_id=_trace_id(whole.request.trace),
        reason_words=reason_words,
        verdicts=VERDICTS,
        roles=ROLES,
        path=PATH,
        replay=visit.link(PLAYGROUND_PATH, **{"from": whole.request.id}),
    )


def raw_text(visit: Visit) -> Response:
    """A body as it went over the wire, as a file of plain text."""
    whole, what = _whole(visit), visit.names["what"]
    bodies = {PROMPT: whole.request.body} | {told.call.id: told.call.body for told in whole.calls}
    if what not in bodies:
        raise NotThere(f"request {whole.request.id!r} has no text {what!r:.100}")
    found = content_of(visit.site.ledger, bodies[what])
    if found.content is None:
        raise NotThere(f"the text {what!r} of request {whole.request.id!r} cannot be given: {found.why}")
    name = f"{whole.request.id}-{what}.txt"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(found.content, media_type="text/plain; charset=utf-8", headers=headers)


def _whole(visit: Visit) -> Whole:
    name = visit.names["id"]
    whole = whole_request(visit.site.ledger, name)
    if whole is None:
        raise NotThere(f"there is no request {name!r:.100}")
    return whole


def _shown(told: Told, visit: Visit) -> ShownAnswer:
    found: Content = content_of(visit.site.ledger, told.call.body)
    if found.content is None:
        return ShownAnswer(told, None, found.why, told.call.finish_reason)
    text = shown_answer(found.content)
    why = "" if text.text else f"the model answered no text: {told.call.error or 'its answer is empty'}"
    return ShownAnswer(told, text if text.text else None, why, told.call.finish_reason)


def _diff(given: ShownAnswer | None, other: ShownAnswer | None) -> Diff | None:
    """Both answers compared; None where one is not there, or they cannot be compared."""
    if given is None or other is None or given.text is None or other.text is None:
        return None
    if any(text.left_out or text.unread_bytes for text in (given.text, other.text)):
        return None
    return word_diff(given.text.text, other.text.text)


def _picture(whole: Whole) -> Markup | None:
    decision = whole.decision
    if decision is None or decision.gain is None or decision.threshold is None:
        return None
    return drawn_gain(round(decision.gain, 2), round(decision.threshold, 3))


@lru_cache(maxsize=512)
def drawn_gain(gain: float, threshold: float) -> Markup:
    """The picture of a gain, the same for all that are nearly as large: it takes longer than the page."""
    label = f"Expected gain of asking strong {100 * gain:+.0f} points, threshold {100 * threshold:+.1f}"
    rows = [("gain", f"{100 * gain:+.0f}"), ("threshold", f"{100 * threshold:+.1f}")]
    return draw(gain_chart(gain, threshold), label, ("What", "Points of probability"), rows)


def _costs(whole: Whole) -> list[Cost]:
    """What was spent, call by call and on labels."""
    found = [
        Cost(f"{ROLES.get(told.call.role, told.call.role)}: {told.call.model}", told.call.cost_usd_micros)
        for told in whole.calls
    ]
    labels = sum(label.cost_usd_micros for told in whole.calls for label in told.labels)
    return [*found, Cost("labels", labels)] if labels else found


def _on_strong(visit: Visit, whole: Whole) -> str:
    """What strong would have cost, where that is known, in words."""
    given, other = whole.answer, whole.other
    if given is None or given.call.tier == Tier.STRONG:
        return ""
    if other is not None and other.call.tier == Tier.STRONG and other.call.cost_usd_micros is not None:
        return f"Strong, which was asked too, cost {_dollars(other.call.cost_usd_micros)}."
    task = visit.site.settings.tasks.get(whole.request.task)
    model = visit.site.settings.models.get(task.strong) if task is not None else None
    price = price_of(model) if model is not None else None
    call = given.call
    if price is None:
        return "What strong would have cost is not known: it has no price."
    cost = price.cost_usd_micros(call.prompt_tokens, call.completion_tokens, call.cached_tokens)
    if cost is None:
        return "What strong would have cost is not known: small's tokens were not counted."
    return f"Strong would have cost about {_dollars(cost)}, had it read and written as many tokens as small."


def _dollars(micros: int) -> str:
    """To the micro-dollar, since one request costs so little."""
    return f"${micros / MICROS_PER_USD:,.6f}"


def _pretty(text: str | None) -> str | None:
    """JSON text for people; anything else as it is."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return cut(text).text
    return cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)).text


def _trace_id(trace: str | None) -> str | None:
    """The id that a tracing tool looks for, in a W3C `traceparent`."""
    parts: Sequence[Any] = (trace or "").split("-")
    return parts[1] if len(parts) == 4 else None

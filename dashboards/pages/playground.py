"""The playground: one prompt to several models and the policy at once, and kept as a case if it is worth it.

Invariant: nothing is asked but by a form with its token; each column stands for itself, whatever becomes of
the others. Without scripts the answers come whole, with them as they are written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from dashboards.pages.request import drawn_gain
from dashboards.playing.advice import Advice, advise
from dashboards.playing.asking import Event, Player
from dashboards.playing.columns import Column, Offer, offer_of
from dashboards.playing.question import Filled, Question, filled, form_of, question_of
from dashboards.queries.request import content_of, whole_request
from dashboards.site import Form, Site, Visit, action, page, stream
from evals.harness.collect import FOLDER, Collected, add_case
from stepdown.errors import BadRequest, StepdownError
from stepdown.settings import TaskSettings

PATH = "/playground"
ASK = "ask:"
COLUMN = "column"


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a column, as a whole.

    Attributes:
        asked: The model, or the models one after another.
        said: What else is to be known.
    """

    column: Column
    score: str
    asked: str
    said: str
    text: str
    error: str
    facts: list[tuple[str, str]]


def routes(site: Site) -> list[Route]:
    """The routes of this page."""
    return [
        page(site, PATH, playground),
        action(site, PATH, ask),
        action(site, f"{PATH}/advice", advice),
        stream(site, f"{PATH}/stream", streamed),
        action(site, f"{PATH}/save", save),
    ]


def playground(visit: Visit) -> Response:
    """Show the form, filled with a request's prompt where one is named."""
    form, said = _filled(visit)
    return _page(visit, form, said=said)


def ask(visit: Visit, form: Form) -> Response:
    """Ask every chosen column, and show the whole answers."""
    asked = filled(form.fields)
    player, names = _player(visit), _chosen(form)
    try:
        if not names:
            raise BadRequest("nobody is chosen to be asked; choose a model, or the policy", param="models")
        question = question_of(asked)
        for name in names:
            player.offer.column(name)
    except BadRequest as error:
        return _page(visit, asked, said=str(error), fields=form.fields, status=error.status)
    # Once answers are paid for, nothing is read that could fail and lose them.
    found = _advice(player, question)
    answers = asyncio.run(_all(player, names, question, found))
    return _page(visit, asked, fields=form.fields, offer=player.offer, answers=answers, **_advised(found))


def advice(visit: Visit, form: Form) -> Response:
    """Show what the policy would do with a prompt, as a part of the page."""
    try:
        question = question_of(filled(form.fields))
        values = _advised(_advice(_player(visit), question))
    except StepdownError as error:
        values = {"advised": None, "picture": None, "why_not": str(error)}
    return visit.render("playground_advice.html", **values)


async def streamed(visit: Visit, form: Form) -> AsyncGenerator[bytes, None]:
    """Ask one column, and tell what comes as it comes."""
    try:
        question = question_of(filled(form.fields))
        player = await asyncio.to_thread(_player, visit)
        found = await asyncio.to_thread(_advice, player, question)
    except StepdownError as error:
        yield _sent(Event(kind="error", text=str(error)))
        return
    events = player.play(form.get(COLUMN), question, found)
    try:
        async for event in events:
            yield _sent(event)
    finally:
        await events.aclose()


def _sent(event: Event) -> bytes:
    return b"data: " + msgspec.json.encode(event) + b"\n\n"


def save(visit: Visit, form: Form) -> Response:
    """Keep the prompt as a case of the task's suite."""
    asked = filled(form.fields)
    try:
        question = question_of(asked)
        kept = _kept(visit, question, form)
    except StepdownError as error:
        status = error.status if isinstance(error, BadRequest) else 409
        return _page(visit, asked, said=str(error), fields=form.fields, status=status)
    done = (
        f"Saved as case {kept.id[:12]} of {kept.file}, which has {kept.cases} now. "
        f"Try it: stepdown eval run {kept.file}"
    )
    return _page(replace(visit, said=done), asked, fields=form.fields)


def _kept(visit: Visit, question: Question, form: Form) -> Collected:
    settings = visit.site.settings
    task = settings.tasks.get(visit.task, TaskSettings())
    return add_case(
        Path(settings.home).absolute() / FOLDER,
        f"{visit.task}-playground",
        visit.task,
        task,
        question.fields,
        reference=_reference(form.get("reference")),
        check=form.get("check") or None,
    )


def _reference(text: str) -> Any:
    """What a check compares with: an object or a list as JSON, else the text itself; None for none."""
    text = text.replace("\r\n", "\n").strip()
    if text[:1] not in ("{", "["):
        return text or None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text


def _filled(visit: Visit) -> tuple[Filled, str]:
    """The form to begin with, and what has to be said of it."""
    name = visit.query.get("from", "")
    if not name:
        return Filled(), ""
    ledger = visit.site.ledger
    whole = whole_request(ledger, name)
    if whole is None:
        return Filled(), f"There is no request {name!r:.100} to replay."
    found = content_of(ledger, whole.request.body)
    if found.content is None:
        return Filled(), f"The prompt cannot be replayed: {found.why}."
    try:
        return form_of(found.content), ""
    except BadRequest as error:
        return Filled(), f"The prompt cannot be replayed: {error}."


def _player(visit: Visit) -> Player:
    site = visit.site
    offer = offer_of(site.ledger, site.settings, visit.task)
    return Player(site.ledger, offer, site.environ, visit.task)


def _advice(player: Player, question: Question) -> Advice:
    return advise(player.ledger, player.settings, player.task, question.prompt)


def _chosen(form: Form) -> list[str]:
    return [name.removeprefix(ASK) for name in form.fields if name.startswith(ASK)]


async def _all(player: Player, names: list[str], question: Question, found: Advice) -> list[Answered]:
    """The whole answers of some columns, asked for at once."""
    return list(await asyncio.gather(*(_whole(player, name, question, found) for name in names)))


async def _whole(player: Player, name: str, question: Question, found: Advice) -> Answered:
    events = [event async for event in player.play(name, question, found)]
    texts: dict[str, list[str]] = {}
    for event in events:
        texts.setdefault(event.kind, []).append(event.text)
    return Answered(
        column=player.offer.column(name),
        score="".join(texts.get("score", [])),
        asked=", then ".join(texts.get("asked", [])),
        said=" ".join(texts.get("said", [])),
        text="".join(texts.get("text", [])),
        error=" ".join(texts.get("error", [])),
        facts=[fact for event in events for fact in event.facts],
    )


def _advised(found: Advice) -> dict[str, Any]:
    picture = None
    if found.scores is not None and found.threshold is not None:
        picture = drawn_gain(round(found.scores.gain, 2), round(found.threshold, 3))
    return {"advised": found, "picture": picture, "why_not": ""}


def _page(
    visit: Visit,
    form: Filled,
    *,
    said: str = "",
    fields: Mapping[str, str] | None = None,
    offer: Offer | None = None,
    status: int = 200,
    **values: Any,
) -> Response:
    visit = replace(visit, path=PATH)  # an answer to a form has an address to which nobody can come back
    site = visit.site
    offer = offer or offer_of(site.ledger, site.settings, visit.task)
    task = site.settings.tasks.get(visit.task, TaskSettings())
    chosen = [column.name for column in offer.columns.values() if column.is_chosen]
    if fields is not None:
        chosen = [name.removeprefix(ASK) for name in fields if name.startswith(ASK)]
    response = visit.render(
        "playground.html",
        path=PATH,
        form=form,
        wrong=said,
        columns=list(offer.columns.values()),
        chosen=chosen,
        checks=list(task.checks),
        default_check=task.check,
        has_judge=bool(task.judges),
        has_portfolio=task.portfolio is not None,
        reference=(fields or {}).get("reference", ""),
        check=(fields or {}).get("check", task.check or ""),
        **{"answers": [], "advised": None, "picture": None, "why_not": "", **values},
    )
    response.status_code = status
    return response

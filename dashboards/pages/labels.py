"""The labelling queue: one item at a time, by keys or buttons, and blind.

Invariant: nothing on the page or in its source says which model gave which answer, or why the item is asked
about; the reference is shown only on asking. Every verdict is one form, with a token, and `keep_verdict`
alone writes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast, get_args

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from dashboards.access import COOKIE
from dashboards.queries.labels import labelled_since, newest_measured
from dashboards.site import Form, NotThere, Site, Visit, action, done, page
from dashboards.texts import Cut, ShownPrompt, cut, shown_prompt
from router.access import person_name
from router.people.item import Said
from router.people.shelf import Item, ShownAnswer, read_item, read_page
from router.people.verdicts import NoSuchItem, StaleItem, Statement, keep_verdict
from stepdown.errors import ArtifactError, BadRequest
from stepdown.ids import now

PATH = "/labels"
MAX_COMMENT = 10_000
YES = "1"


@dataclass(frozen=True, slots=True)
class Choice:
    """One verdict that may be given.

    Attributes:
        keys: That give it, with spaces between; the first is shown.
    """

    said: str
    words: str
    keys: str


PAIR = (
    Choice("a", "A is better", "1"),
    Choice("b", "B is better", "2"),
    Choice("tie", "Equally good", "t ="),
    Choice("bad", "Both bad", "b"),
    Choice("skip", "Skip", "s"),
)
SINGLE = (Choice("good", "Good", "g"), Choice("bad", "Bad", "b"), Choice("skip", "Skip", "s"))
KEPT = {
    "a": "A is better",
    "b": "B is better",
    "tie": "equally good",
    "good": "good",
    "bad": "bad",
    "skip": "skipped",
}


@dataclass(frozen=True, slots=True)
class Side:
    """One answer as it is shown: its text, the tools it calls, or that it refuses."""

    label: str
    text: Cut
    tools: Cut | None
    refusal: str


@dataclass(frozen=True, slots=True)
class Desk:
    """What lies before a person.

    Attributes:
        item: To be labelled now; None where nothing waits.
        again: Whether they have labelled it already, and went back to it.
        last: Id of the item before it.
    """

    item: Item | None
    waiting: int
    last: str
    prompt: ShownPrompt | None = None
    sides: tuple[Side, ...] = ()
    choices: tuple[Choice, ...] = ()
    reference: Cut | None = None
    again: bool = False


def routes(site: Site) -> list[Route]:
    """The routes of this page."""
    return [
        page(site, PATH, labels),
        action(site, PATH, label),
        action(site, f"{PATH}/name", choose_name),
        page(site, f"{PATH}/text", whole_text),
    ]


def labeller_of(visit: Visit) -> str:
    """Under which name the person labels: where nobody need sign in, the one that they chose."""
    return visit.session.name or visit.person.name


def labels(visit: Visit) -> Response:
    """Show the next item, or the one that is asked for."""
    desk = _desk(visit, visit.query.get("item", ""), visit.query.get("last", ""))
    if visit.is_part:
        return _part(visit, desk, "")
    return visit.render(
        "labels.html",
        desk=desk,
        said="",
        done=_done_today(visit),
        labeller=labeller_of(visit),
        may_choose=visit.site.doors.is_open,
        measured=_measured(visit),
    )


def label(visit: Visit, form: Form) -> Response:
    """Keep a verdict, and go on to the next item."""
    item, said = form["id"], form["verdict"]
    if said not in get_args(Said):
        raise BadRequest(f"verdict = {said!r:.40} is none", param="verdict")
    statement = Statement(
        item=item,
        annotator=labeller_of(visit),
        said=cast(Said, said),
        task=visit.task,
        comment=form.get("comment").strip()[:MAX_COMMENT] or None,
        seconds=_seconds(form.get("seconds")),
    )
    words, last = f"Kept: {KEPT[said]}.", item
    try:
        keep_verdict(visit.site.ledger, visit.site.settings.tasks, statement)
    except (StaleItem, NoSuchItem):
        words, last = "This item had other answers by then, so nothing was kept. Here is the next one.", ""
    if visit.is_part:
        return _part(visit, _desk(visit, "", last), words)
    return done(visit, visit.link(PATH, last=last), words)


def choose_name(visit: Visit, form: Form) -> Response:
    """Label under a name of one's choice, where nobody need sign in."""
    if not visit.site.doors.is_open:
        raise BadRequest("you label under the name that your key has", param="name")
    name = person_name(form["name"].strip())
    response = done(visit, visit.link(PATH), f"You label as {name} now.")
    session = msgspec.structs.replace(visit.session, name=name)
    response.set_cookie(COOKIE, visit.site.doors.cookie(session), httponly=True, samesite="strict", path="/")
    return response


def whole_text(visit: Visit) -> Response:
    """A text of an item, as long as it is: the prompt, or the answer `a` or `b`."""
    part = visit.query.get("part", "")
    item = read_item(visit.site.ledger, visit.query.get("item", ""), labeller_of(visit))
    texts = {} if item is None else {"prompt": item.prompt, **{one.label: one.text for one in item.answers}}
    if item is None or item.task != visit.task or part not in texts:
        raise NotThere("there is no such text; it may have been deleted", param="part")
    headers = {"content-disposition": f'attachment; filename="{part}.txt"'}
    encoded = texts[part].encode("utf-8", "replace")
    return Response(encoded, media_type="text/plain; charset=utf-8", headers=headers)


def _part(visit: Visit, desk: Desk, said: str) -> Response:
    """The item alone, with the counts beside it."""
    return visit.render("labels_desk.html", desk=desk, said=said, done=_done_today(visit))


def _desk(visit: Visit, wanted: str, last: str) -> Desk:
    ledger, name = visit.site.ledger, labeller_of(visit)
    with_reference = visit.query.get("reference") == YES
    queue = read_page(ledger, visit.task, name, 1, with_reference=with_reference)
    asked = read_item(ledger, wanted, name, with_reference=with_reference) if wanted else None
    if asked is not None and asked.task != visit.task:
        asked = None
    first = queue.items[0] if queue.items else None
    item = asked or first
    again = asked is not None and (first is None or asked.id != first.id)
    if item is None:
        return Desk(None, queue.waiting, last)
    return Desk(
        item=item,
        waiting=queue.waiting,
        last=last,
        prompt=_prompt(item),
        sides=tuple(_side(answer) for answer in item.answers),
        choices=PAIR if item.kind == "pair" else SINGLE,
        reference=cut(_text_of(item.reference)) if item.reference is not None else None,
        again=again,
    )


def _side(answer: ShownAnswer) -> Side:
    calls = "\n".join(f"{call.name}({call.arguments})" for call in answer.tool_calls)
    return Side(answer.label, cut(answer.text), cut(calls) if calls else None, answer.refusal)


def _prompt(item: Item) -> ShownPrompt | None:
    tools = b"[]" if item.tools is None else bytes(item.tools)
    return shown_prompt(b'{"messages":%b,"tools":%b}' % (bytes(item.messages), tools))


def _text_of(reference: msgspec.Raw) -> str:
    """A reference, which is JSON; a string as its text."""
    try:
        value = msgspec.json.decode(reference)
    except msgspec.DecodeError:
        return bytes(reference).decode("utf-8", "replace")
    return value if isinstance(value, str) else msgspec.json.format(bytes(reference), indent=2).decode()


def _seconds(given: str) -> float | None:
    """How long it took, as far as the browser says something sensible."""
    try:
        seconds = float(given)
    except ValueError:
        return None
    return round(seconds, 1) if math.isfinite(seconds) and seconds >= 0 else None


def _done_today(visit: Visit) -> int:
    return labelled_since(visit.site.ledger, visit.task, labeller_of(visit), _midnight())


def _midnight() -> datetime:
    return now().replace(hour=0, minute=0, second=0, microsecond=0)


def _measured(visit: Visit) -> Any:
    try:
        return newest_measured(visit.site.ledger, visit.task)
    except ArtifactError:
        return None

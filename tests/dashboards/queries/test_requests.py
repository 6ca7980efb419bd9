"""A search finds what fits and nothing else, in order, whatever the budget; and stops when its time is up."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import event

from dashboards.queries.filters import Filters, Held, Place, filters_of, place_in
from dashboards.queries.requests import PAGE, Found, Search
from dashboards.queries.spans import spans
from evals.rollups.due import Progress
from evals.rollups.fill import PROGRESS, roll_up
from stepdown.errors import BadRequest
from stepdown.ledger import Ledger
from stepdown.records import Mode, Reason, Tier, Verdict
from stepdown.summaries import ALL_TASKS, Summaries
from tests.dashboards.asking import START, asked, label
from tests.fakes import events

ON_BOTH_DATABASES = True
PATIENT_S = 60.0


def numbers(found: Found) -> list[int]:
    """The numbers of the requests found."""
    return [int(line.id.rpartition("-")[2]) for line in found.lines]


def search(ledger: Ledger, **query: str) -> list[int]:
    """All that a search finds."""
    return numbers(Search(ledger, "default", filters_of(query), budget_s=PATIENT_S).run(most=1000))


def keep(ledger: Ledger, *groups: list[Any]) -> None:
    """Put requests into the ledger."""
    ledger.append([record for group in groups for record in group])


def test_pages_follow_each_other_both_ways_without_a_gap(ledger: Ledger) -> None:
    same = START + timedelta(seconds=5)  # many at one moment: the id decides
    keep(ledger, *(asked(n, at=same if n % 3 else START + timedelta(seconds=n)) for n in range(170)))
    keep(ledger, asked(900, task="another"))
    nothing = Filters(given={})
    place, pages = None, []
    while True:
        found = Search(ledger, "default", nothing, budget_s=PATIENT_S).run(place)
        pages.append(found.lines)
        if found.goes_on is None:
            break
        place = found.goes_on
    seen = [line for lines in pages for line in lines]
    assert [len(lines) for lines in pages] == [PAGE, PAGE, PAGE, 20]
    assert [(line.at, line.id) for line in seen] == sorted(
        ((line.at, line.id) for line in seen), reverse=True
    )
    assert len({line.id for line in seen}) == 170
    first = pages[1][0]
    back = Search(ledger, "default", nothing, newer=True, budget_s=PATIENT_S).run(Place(first.at, first.id))
    assert back.lines == pages[0]
    assert back.goes_on is None


FILTERED = {
    "tier": "small",
    "reason": "exploration",
    "mode": "route",
    "slice": "invoices",
    "status": "failed",
    "verdict": "bad",
    "student": "beef",
    "explored": "yes",
    "conversation": "talk",
    "model": "named",
    "cost": "0.0005",
    "text": "ﬁNDE MICH",
    "id": "request-000003",
    "since": "2026-11-01T00:00:03",
    "until": "2026-11-01T00:00:04",
}


def test_each_filter_finds_the_one_that_fits(ledger: Ledger) -> None:
    keep(ledger, *(asked(n) for n in range(3)), *(asked(n) for n in range(4, 7)))
    keep(
        ledger,
        asked(
            3,
            prompt="please finde mich here",
            tier=Tier.SMALL,
            reason=Reason.EXPLORED,
            mode=Mode.ROUTE,
            verdict=Verdict.BAD,
            student="beefcafe",
            decision={"explored": True},
            cost=500,
            slice="invoices",
            status=502,
            conversation="talk",
            model_asked="named",
        ),
    )
    since = {"since": FILTERED["since"]}
    assert search(ledger, **since) == [6, 5, 4, 3]
    for name, value in FILTERED.items():
        if name not in ("since", "until"):
            assert search(ledger, **{name: value}) == [3], name
    assert search(ledger, until=FILTERED["until"], **since) == [3]
    assert search(ledger, **FILTERED) == [3]
    assert search(ledger, id="call-000003") == [3]
    assert search(ledger, explored="no") == [6, 5, 4, 2, 1, 0]


def test_classes_of_status_keep_apart_who_hung_up(ledger: Ledger) -> None:
    keep(ledger, *(asked(n, status=status) for n, status in enumerate((200, 404, 499, 500, 429))))
    assert search(ledger, status="answered") == [0]
    assert search(ledger, status="refused") == [4, 1]
    assert search(ledger, status="hung_up") == [2]
    assert search(ledger, status="failed") == [3]


def test_a_request_on_which_nothing_was_decided_is_found_too(ledger: Ledger) -> None:
    keep(ledger, asked(1, decided=False, status=400), asked(2))
    assert search(ledger) == [2, 1]
    assert search(ledger, explored="no") == [2]
    assert search(ledger, verdict="unlabelled") == [2, 1]
    line = Search(ledger, "default", Filters(given={}), budget_s=PATIENT_S).run().lines[-1]
    assert (line.chosen, line.reason, line.model, line.cost_usd_micros) == (None, None, "", 0)


def test_the_verdict_is_of_the_answer_given_and_people_outrank_checks(ledger: Ledger) -> None:
    keep(
        ledger,
        asked(1, verdict=Verdict.GOOD, shadow="no"),
        asked(2, verdict=Verdict.GOOD),
        asked(3),
        asked(4),
    )
    keep(ledger, [label("shadow-000001", Verdict.BAD), label("call-000002", Verdict.BAD, "person:ann")])
    judged = [label("call-000003", Verdict.GOOD, f"judge:{n}") for n in (1, 2)]
    keep(
        ledger,
        [*judged, label("call-000003", Verdict.BAD, "judge:3"), label("call-000004", Verdict.UNSCORED)],
    )
    assert search(ledger, verdict="good") == [3, 1]
    assert search(ledger, verdict="bad") == [2]
    assert search(ledger, verdict="unscored") == [4]


def test_cost_is_of_all_calls_and_labels_and_what_is_unknown_is_not_zero(ledger: Ledger) -> None:
    keep(ledger, asked(1, cost=100, shadow="no"), asked(2, cost=None), asked(3, cost=107))
    keep(ledger, [label("call-000003", Verdict.GOOD, cost_usd_micros=50)])
    lines = Search(ledger, "default", Filters(given={}), budget_s=PATIENT_S).run().lines
    assert [(line.cost_usd_micros, line.unpriced) for line in lines] == [(157, 0), (0, 1), (107, 0)]
    assert search(ledger, cost="0.000107") == [3, 1]
    assert search(ledger, cost="0.000108") == [3]


TEXTS: list[tuple[str, dict[str, Any]]] = [
    ("grüße", {"prompt": "GRÜSSE aus Köln".replace("SS", "ß")}),
    ('say "hi"', {"prompt": 'Please say "hi"\nnow'}),
    ("hello there", {"answer": b"".join(events("Hello there you"))}),
    ("<script>", {"answer": "a <SCRIPT>alert(1)</SCRIPT>"}),
    ("مرحبا", {"prompt": "قل مرحبا بالعالم"}),
    ("not json", {"body": b"this is Not JSON"}),
]


@pytest.mark.parametrize(("text", "said"), TEXTS)
def test_text_is_found_in_prompts_and_answers(ledger: Ledger, text: str, said: dict[str, Any]) -> None:
    keep(ledger, asked(1), asked(2, **said), asked(3, shadow=text))
    assert search(ledger, text=text) == [2]  # what was said unseen, in a shadow, is not the answer given


def test_text_that_is_gone_or_corrupt_is_not_found_and_stops_nothing(ledger: Ledger) -> None:
    keep(
        ledger, asked(1, prompt="needle one"), asked(2, prompt="needle two"), asked(3, prompt="needle three")
    )
    with ledger.writing() as connection:
        bodies = {row.id: row.body for row in connection.exec_driver_sql("SELECT id, body FROM requests")}
        gone, corrupt = bodies["request-000001"], bodies["request-000002"]
        connection.exec_driver_sql(f"DELETE FROM bodies WHERE digest = '{gone}'")
        broken = "X'00112233'" if ledger.engine.dialect.name == "sqlite" else "'\\x00112233'::bytea"
        connection.exec_driver_sql(f"UPDATE bodies SET content = {broken} WHERE digest = '{corrupt}'")
    assert search(ledger, text="needle") == [3]
    lines = Search(ledger, "default", Filters(given={}), budget_s=PATIENT_S).run().lines
    assert [(line.prompt, line.size is None) for line in lines] == [
        ("needle three", False),
        (None, False),
        (None, True),
    ]


def test_of_a_very_long_body_the_beginning_is_searched(ledger: Ledger) -> None:
    far = "x" * 5_000_000
    keep(ledger, asked(1, prompt=f"early{far}"), asked(2, prompt=f"{far}early"))
    assert search(ledger, text="early") == [1]
    assert [
        line.prompt for line in Search(ledger, "default", Filters(given={}), budget_s=PATIENT_S).run().lines
    ] == [None, None]


def stepping(seconds: float) -> Callable[[], float]:
    """A clock that goes on whenever it is read."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += seconds
        return now

    return clock


@pytest.mark.parametrize("newer", [False, True])
def test_a_search_that_runs_out_of_time_goes_on_where_it_was(ledger: Ledger, newer: bool) -> None:
    keep(
        ledger,
        *(
            asked(n, prompt="needle" if n in (3, 20, 290) else "hay", verdict=Verdict.GOOD)
            for n in range(300)
        ),
    )
    filters, place, got, rounds = filters_of({"text": "needle", "verdict": "good"}), None, list[int](), 0
    while True:
        clock = stepping(0.01)
        found = Search(ledger, "default", filters, newer=newer, budget_s=0.5, clock=clock).run(place)
        got += numbers(found)
        rounds += 1
        if found.goes_on is None:
            break
        assert found.out_of_time
        place = place_in(str(found.goes_on))
    assert rounds > 5
    assert sorted(got) == [3, 20, 290]


def test_a_search_with_no_time_at_all_still_gets_on(ledger: Ledger) -> None:
    keep(ledger, *(asked(n) for n in range(5)))
    found = Search(ledger, "default", filters_of({"text": "x"}), budget_s=0, clock=stepping(1)).run()
    assert found.out_of_time
    assert found.goes_on is not None
    assert found.goes_on.id == "request-000004"


def test_hours_in_which_nothing_fits_are_not_looked_at(ledger: Ledger) -> None:
    hour = timedelta(hours=1)
    reasons = {2: Reason.FALLBACK, 7: Reason.FALLBACK}
    keep(
        ledger, *(asked(n, at=START + n * hour, reason=reasons.get(n, Reason.MODE_STRONG)) for n in range(12))
    )
    roll_up(ledger, at=START + 12 * hour)
    filters = filters_of({"reason": Reason.FALLBACK})
    where = spans(ledger, "default", filters)
    assert [(span.low, span.high) for span in where[1:]] == [
        (START + 7 * hour, START + 8 * hour),
        (START + 2 * hour, START + 3 * hour),
    ]
    assert where[0].high is None  # the last hours may have grown
    assert search(ledger, reason=Reason.FALLBACK) == [7, 2]
    keep(ledger, asked(50, at=START + 11 * hour, reason=Reason.FALLBACK))  # not counted yet
    assert search(ledger, reason=Reason.FALLBACK) == [50, 7, 2]
    cut = spans(ledger, "default", filters_of({"reason": Reason.FALLBACK, "until": "2026-11-01T07:30"}))
    assert [(span.low, span.high) for span in cut] == [
        (START + 7 * hour, START + 7.5 * hour),
        (START + 2 * hour, START + 3 * hour),
    ]
    newer = Search(ledger, "default", filters, newer=True, budget_s=PATIENT_S).run(
        Place(START + 3 * hour, "")
    )
    assert numbers(newer) == [50, 7]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tier", "medium"),
        ("cost", "-1"),
        ("cost", "nan"),
        ("since", "yesterday"),
        ("explored", "maybe"),
        ("text", "x" * 501),
        ("verdict", "nice"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(BadRequest, match=name):
        filters_of({name: value})


def test_a_place_that_is_none_is_refused() -> None:
    for text in ("", "x.y", "9" * 40 + ".a"):
        with pytest.raises(BadRequest, match="follow a link"):
            place_in(text)
    place = Place(START, "a.b-c")
    assert place_in(str(place)) == place


def test_an_empty_ledger_has_nothing(ledger: Ledger) -> None:
    assert Search(ledger, "default", Filters(given={}), budget_s=PATIENT_S).run() == Found([], None, False)
    assert (
        Search(ledger, "default", filters_of({"text": "x", "verdict": Held.BAD}), budget_s=PATIENT_S)
        .run()
        .lines
        == []
    )


def test_an_hour_that_waits_to_be_counted_is_looked_at(ledger: Ledger) -> None:
    hour = timedelta(hours=1)
    keep(ledger, *(asked(n, at=START + n * hour) for n in range(12)))
    roll_up(ledger, at=START + 12 * hour)
    keep(ledger, asked(50, at=START + 4 * hour, reason=Reason.FALLBACK))
    summaries = Summaries(ledger)
    kept = summaries.read(ALL_TASKS, PROGRESS, Progress)
    assert kept is not None
    progress = kept.document
    progress.pending = {"default": [int((START + 4 * hour).timestamp()) // 3600]}
    summaries.keep(ALL_TASKS, PROGRESS, msgspec.json.encode(progress))
    assert search(ledger, reason=Reason.FALLBACK) == [50]
    summaries.keep(ALL_TASKS, PROGRESS, b"of another version")
    assert len(spans(ledger, "default", filters_of({"reason": Reason.FALLBACK}))) == 1


def test_an_index_gets_one_bound_a_side(ledger: Ledger) -> None:
    keep(ledger, *(asked(n, at=START + timedelta(minutes=n)) for n in range(600)))
    statements: list[str] = []
    event.listen(ledger.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    query = filters_of({"reason": Reason.FALLBACK, "since": START.isoformat()})
    for newer in (False, True):
        Search(ledger, "default", query, newer=newer, budget_s=PATIENT_S).run(
            Place(START + timedelta(minutes=300), "")
        )
    looked = [one for one in statements if "FROM requests" in one]
    assert len(looked) > 2
    for side in (r"requests\.at >= ", r"requests\.at <= |requests\.at < \S+ (?:AND|ORDER)"):
        assert all(len(re.findall(side, one)) <= 1 for one in looked)

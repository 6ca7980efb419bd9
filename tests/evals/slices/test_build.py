"""Slices are made from the ledger, kept, carried on, and say which request is of which."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, update

from evals.slices import build
from evals.slices.build import SLICES, newest_slices, slice_of, slice_task
from evals.slices.kinds import UNTAGGED, By
from stepdown.ledger import Ledger, schema
from stepdown.records import Tier
from stepdown.registry import Registry
from tests.evals.ledgers import Writer
from tests.evals.slices.prompts import mixed

ON_BOTH_DATABASES = True
THREE = {"sql": 25, "sentiment": 25, "order_json": 25}


def write(writer: Writer, items: list[tuple[str, str]], *, tagged: bool = True) -> list[str]:
    """Requests that strong answered; their ids."""
    ids = []
    with writer.together():
        for kind, text in items:
            ids.append(writer.request(text, kind=kind if tagged else None))
            writer.call(ids[-1], Tier.STRONG, cost=100, tokens=(10, 20))
    return ids


def test_slices_are_kept_and_making_them_again_keeps_nothing(ledger: Ledger) -> None:
    write(Writer(ledger), mixed(THREE))
    first = slice_task(ledger, "default")
    assert first.fresh
    assert first.artifact is not None
    assert first.artifact.summary["prompts"] == 75
    again = slice_task(ledger, "default")
    assert not again.fresh
    assert again.artifact == first.artifact
    assert Registry(ledger).count(SLICES, "default") == 1


def test_the_next_night_carries_on(ledger: Ledger) -> None:
    writer = Writer(ledger)
    write(writer, mixed(THREE))
    first = slice_task(ledger, "default")
    write(writer, mixed({"table_lookup": 25}))
    second = slice_task(ledger, "default")
    assert first.artifact is not None
    assert second.artifact is not None
    assert second.artifact.parents == (first.artifact.id,)
    before = {s.id for s in first.model.slices}
    assert {s.id for s in second.model.slices} > before
    assert {one.id for one in second.new} == {s.id for s in second.model.slices} - before
    kept = newest_slices(ledger, "default")
    assert kept is not None
    assert (kept.new, kept.model.slices) == (second.new, second.model.slices)


def test_every_request_is_named_by_its_slice(ledger: Ledger) -> None:
    items = mixed(THREE)
    ids = write(Writer(ledger), items)
    slice_task(ledger, "default")
    names = slice_of(ledger, "default")
    assert set(names) == set(ids)
    kinds: dict[str, set[str]] = {}
    for request, (kind, _) in zip(ids, items, strict=True):
        kinds.setdefault(names[request], set()).add(kind)
    assert all(len(found) == 1 for found in kinds.values())


def test_without_kept_slices_requests_are_named_and_nothing_is_kept(ledger: Ledger) -> None:
    ids = write(Writer(ledger), mixed(THREE))
    assert set(slice_of(ledger, "default")) == set(ids)
    assert Registry(ledger).count(SLICES, "default") == 0


def test_only_the_newest_requests_are_named(ledger: Ledger) -> None:
    ids = write(Writer(ledger), mixed(THREE))
    assert set(slice_of(ledger, "default", by=By.TAG, limit=5)) == set(ids[-5:])


def test_tags_lengths_and_languages_need_no_clusters(ledger: Ledger) -> None:
    writer = Writer(ledger)
    (tagged,) = write(writer, [("poems", "Wie viele Tage hat der Monat Februar in einem Schaltjahr?")])
    (bare,) = write(writer, [("", "ok")], tagged=False)
    assert slice_of(ledger, "default", by=By.TAG) == {tagged: "poems", bare: UNTAGGED}
    assert slice_of(ledger, "default", by=By.LANGUAGE) == {tagged: "de", bare: "unknown"}
    assert set(slice_of(ledger, "default", by=By.LENGTH).values()) == {"under 64 tokens"}


def test_a_prompt_asked_often_is_clustered_once(ledger: Ledger) -> None:
    write(Writer(ledger), mixed(THREE) * 3)
    made = slice_task(ledger, "default")
    assert made.artifact is not None
    assert made.artifact.summary["prompts"] == 75
    assert sum(s.prompts for s in made.model.slices) == 75


def test_bodies_that_are_gone_are_skipped_and_counted(ledger: Ledger) -> None:
    ids = write(Writer(ledger), mixed(THREE))
    gone = [row.body for row in ledger.rows(schema.requests.select().limit(5))]
    with ledger.writing() as connection:
        connection.execute(delete(schema.bodies).where(schema.bodies.c.digest.in_(gone)))
    made = slice_task(ledger, "default")
    assert made.artifact is not None
    assert made.artifact.summary["skipped_bodies"] == 5
    assert len(slice_of(ledger, "default")) == len(ids) - 5


def test_corrupt_slices_are_made_anew(ledger: Ledger) -> None:
    write(Writer(ledger), mixed(THREE))
    slice_task(ledger, "default")
    with ledger.writing() as connection:
        connection.execute(update(schema.artifacts).values(content=b"{}"))
    assert newest_slices(ledger, "default") is None
    assert slice_task(ledger, "default").fresh


def test_a_task_without_traffic_has_no_slices(ledger: Ledger) -> None:
    assert slice_task(ledger, "default").model.slices == ()
    assert slice_of(ledger, "default") == {}


def test_tasks_do_not_mix(ledger: Ledger) -> None:
    write(Writer(ledger), mixed(THREE))
    assert slice_task(ledger, "other").model.slices == ()


def test_a_large_task_is_sampled_by_hash(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "SAMPLE", 30)
    writer = Writer(ledger)
    items = mixed(THREE)
    ids = write(writer, items)
    first = slice_task(ledger, "default")
    assert first.artifact is not None
    assert first.artifact.summary["prompts"] == 30
    assert len(slice_of(ledger, "default")) == len(ids)
    write(writer, items)  # the same prompts again draw the same sample
    assert not slice_task(ledger, "default").fresh


def test_requests_that_cannot_be_read_as_chats_are_left_out(ledger: Ledger) -> None:
    ids = write(Writer(ledger), mixed(THREE))
    with ledger.writing() as connection:
        first = ledger.rows(schema.requests.select().where(schema.requests.c.id == ids[0]))[0].body
        other = ledger.rows(schema.requests.select().where(schema.requests.c.id == ids[1]))[0].body
        frame = ledger.rows(schema.bodies.select().where(schema.bodies.c.digest == other))[0].content
        connection.execute(
            update(schema.bodies)
            .where(schema.bodies.c.digest == first)
            .values(content=frame[: len(frame) // 2])
        )
    assert set(slice_of(ledger, "default")) == set(ids[1:])

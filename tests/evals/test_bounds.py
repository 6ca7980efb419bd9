"""A person sets the bound of a real task with a real router, and the next fits go on from there."""

from __future__ import annotations

import msgspec
import pytest
from sqlalchemy import select

from evals import bounds
from evals.bounds import apply, propose
from evals.choices import offer_of
from evals.frontier import FRONTIER, to_json
from evals.refit import refit
from evals.report import build_report
from router.model import RouterModel
from stepdown.errors import SettingsError, StepdownError
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact, Deployed, Mode, Promotion
from stepdown.registry import Registry
from stepdown.rollback import rollback_of
from stepdown.settings import Settings
from stepdown.summaries import Summaries
from tests.evals.frontier import scene
from tests.evals.ledgers import Writer

PAIRS = 1200
TASK = scene.TASK
DECLARED = scene.settings()


def routing(ledger: Ledger, pairs: int = PAIRS) -> Artifact:
    """A task in mode route by its first router."""
    writer = Writer(ledger)
    scene.write(writer, 0, 3)
    refit(ledger, TASK, DECLARED.tasks[TASK])  # with its first labels a task goes to shadow
    scene.write(writer, 3, pairs)
    router = scene.fit(ledger, DECLARED)
    registry = Registry(ledger)
    assert registry.deployed(TASK) == Deployed(Mode.ROUTE, router)
    return registry.artifact(router)


def shown(ledger: Ledger) -> None:
    """Keep the frontier as the workers keep it."""
    Summaries(ledger).keep(TASK, FRONTIER, to_json(scene.document(ledger, DECLARED)))


def set_bound(ledger: Ledger, loss: float, settings: Settings = DECLARED) -> Promotion:
    current = Registry(ledger).current(TASK)
    after = current.sequence if current else 0
    return apply(ledger, settings, TASK, loss, actor="ana", reason="we can afford it", after=after)


def threshold_of(ledger: Ledger, promotion: Promotion) -> float:
    assert promotion.artifact is not None
    return RouterModel.from_bytes(Registry(ledger).artifact(promotion.artifact).content).threshold


def test_a_looser_bound_gives_small_more_by_the_same_model(ledger: Ledger) -> None:
    fitted = routing(ledger)
    shown(ledger)
    found = propose(ledger, DECLARED, TASK, 0.1)
    assert Registry(ledger).revision() == 2  # nothing was changed
    assert (found.after, found.before.max_quality_loss, found.to.max_quality_loss) == (2, 0.05, 0.1)
    assert (found.before.router, found.to.mode) == (fitted.id, "route")
    assert found.before.coverage is not None
    assert found.to.coverage is not None
    assert (found.before.coverage.value or 0) < (found.to.coverage.value or 0)
    moved = apply(ledger, DECLARED, TASK, found, actor="ana", reason="cheaper", after=2)
    assert (moved.sequence, moved.actor, moved.reason) == (3, "ana", "cheaper")
    assert moved.deployed == Deployed(Mode.ROUTE, found.to.router, max_quality_loss=0.1)
    assert moved.evidence["bound"] == msgspec.json.decode(msgspec.json.encode(found))
    kept = Registry(ledger).artifact(moved.artifact or "")
    choice = next(one for one in offer_of(Registry(ledger), fitted).choices if one.epsilon == 0.1)
    assert threshold_of(ledger, moved) == choice.threshold == found.to.threshold
    assert kept.parents == (fitted.id,)
    assert kept.settings["certified_on"] == "grid"
    assert (kept.settings["epsilon"], kept.settings["look"]) == (0.1, 2)
    assert kept.summary["certificate"]["delta"] == pytest.approx(0.05 / 6 / 10)
    before, after = (RouterModel.from_bytes(one.content).weights for one in (fitted, kept))
    assert all((x == y).all() for x, y in zip(before, after, strict=True))


def test_the_evidence_that_put_it_in_force_changes_nothing_more(ledger: Ledger) -> None:
    routing(ledger)
    moved = set_bound(ledger, 0.1)
    again = refit(ledger, TASK, DECLARED.tasks[TASK])
    assert (again.router, again.step) == (None, None)
    assert "the newest router knew" in (again.why_not or "")
    assert Registry(ledger).current(TASK) == moved


def test_the_report_shows_what_was_chosen_as_the_promise(ledger: Ledger) -> None:
    routing(ledger)
    before = build_report(ledger, DECLARED, TASK)
    moved = set_bound(ledger, 0.1)
    after = build_report(ledger, DECLARED, TASK)
    assert after.promise is not None
    assert (after.promise.artifact, after.promise.epsilon) == (moved.artifact, 0.1)
    assert before.curves is not None
    assert after.curves is not None
    # The same fit: the same pairs are held out, and the same curve is drawn.
    assert (before.curves.pairs, before.curves.fit_pairs) == (after.curves.pairs, after.curves.fit_pairs)
    assert before.curves.rankings[0].quality_curve == after.curves.rankings[0].quality_curve
    assert before.curves.coverage.value < after.curves.coverage.value


def test_a_stricter_bound_takes_effect_at_once(ledger: Ledger) -> None:
    routing(ledger)
    before = threshold_of(ledger, set_bound(ledger, 0.1))
    moved = set_bound(ledger, 0.03)
    assert (moved.mode, moved.max_quality_loss) == (Mode.ROUTE, 0.03)
    assert threshold_of(ledger, moved) < before


def test_what_nothing_is_certified_for_puts_the_task_in_shadow(ledger: Ledger) -> None:
    routing(ledger)
    found = propose(ledger, DECLARED, TASK, 0.002)
    assert (found.to.mode, found.to.router, found.certificate) == ("shadow", None, None)
    assert "mode shadow at once" in found.notes[0]
    assert "cannot support a quality loss of 0.002" in found.notes[0]
    assert set_bound(ledger, 0.002).deployed == Deployed(Mode.SHADOW, max_quality_loss=0.002)
    # The next fit asks for the bound in force, finds too few labels for it, and leaves the task there.
    done = refit(ledger, TASK, DECLARED.tasks[TASK])
    assert done.router is not None
    assert Registry(ledger).artifact(done.router).settings["epsilon"] == 0.002
    assert done.step is None
    assert Registry(ledger).deployed(TASK) == Deployed(Mode.SHADOW, max_quality_loss=0.002)


def test_a_bound_between_two_steps_takes_the_stricter_ones_until_the_next_fit(ledger: Ledger) -> None:
    fitted = routing(ledger)
    found = propose(ledger, DECLARED, TASK, 0.09)
    assert "0.09 was not tried in the fit" in found.notes[0]
    assert "certified for 0.075" in found.notes[0]
    moved = set_bound(ledger, 0.09)
    assert Registry(ledger).artifact(moved.artifact or "").settings["epsilon"] == 0.075
    done = refit(ledger, TASK, DECLARED.tasks[TASK])
    assert done.step is not None
    newest = Registry(ledger).artifact(done.router or "")
    assert newest.settings["epsilon"] == 0.09
    assert newest.settings["look"] == 3  # of the first fit is 1, of its choices 2
    assert 0.09 in {choice["epsilon"] for choice in newest.summary["choices"]}
    assert Registry(ledger).deployed(TASK) == Deployed(Mode.ROUTE, newest.id, max_quality_loss=0.09)
    assert threshold_of(ledger, moved) >= RouterModel.from_bytes(fitted.content).threshold


def test_the_bound_of_the_fit_itself_goes_back_to_the_fitted_router(ledger: Ledger) -> None:
    fitted = routing(ledger)
    set_bound(ledger, 0.1)
    assert set_bound(ledger, 0.05).deployed == Deployed(Mode.ROUTE, fitted.id, max_quality_loss=0.05)
    kept = len(ledger.rows(select(schema.artifacts.c.id)))
    third = set_bound(ledger, 0.1)  # and again, which keeps nothing twice
    assert third.sequence == 5
    assert len(ledger.rows(select(schema.artifacts.c.id))) == kept


def test_a_rollback_restores_the_bound_of_what_it_goes_back_to(ledger: Ledger) -> None:
    fitted = routing(ledger)
    set_bound(ledger, 0.1)
    back = rollback_of(Registry(ledger).history(TASK))
    assert back is not None
    assert back.to == Deployed(Mode.ROUTE, fitted.id)


def test_without_a_router_in_force_only_the_bound_is_set(ledger: Ledger) -> None:
    scene.write(Writer(ledger), 0, 300)
    found = propose(ledger, DECLARED, TASK, 0.2)
    assert (found.after, found.to.router, found.certificate, found.together) == (0, None, None, None)
    assert "only the bound is set" in found.notes[0]
    assert set_bound(ledger, 0.2).deployed == Deployed(Mode.STRONG, max_quality_loss=0.2)
    done = refit(ledger, TASK, DECLARED.tasks[TASK])
    assert Registry(ledger).artifact(done.router or "").settings["epsilon"] == 0.2
    # Who sets a bound on a task that is on strong does not keep it there.
    assert Registry(ledger).deployed(TASK) == Deployed(Mode.SHADOW, max_quality_loss=0.2)


@pytest.mark.parametrize("loss", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_bound_that_is_no_share_is_refused(ledger: Ledger, loss: float) -> None:
    with pytest.raises(StepdownError, match=r"is no share of requests: give one above 0 and below 1"):
        propose(ledger, DECLARED, TASK, loss)


def test_what_is_in_force_already_is_refused(ledger: Ledger) -> None:
    with pytest.raises(StepdownError, match=r"is 0.05 already"):
        propose(ledger, DECLARED, TASK, 0.05)
    with pytest.raises(SettingsError, match="'other' is not declared"):
        propose(ledger, DECLARED, "other", 0.05)


def test_while_a_student_is_on_trial_no_bound_is_set(ledger: Ledger) -> None:
    trial = Deployed(Mode.SHADOW, None, None, "s" * 64)
    assert Registry(ledger).promote(TASK, trial, actor="auto", reason="", evidence={}, after=0)
    with pytest.raises(StepdownError, match=r"is on trial.*stepdown rollback --task default"):
        propose(ledger, DECLARED, TASK, 0.1)


def test_who_looked_at_something_else_sets_nothing(ledger: Ledger) -> None:
    routing(ledger)
    seen = propose(ledger, DECLARED, TASK, 0.1)
    set_bound(ledger, 0.03)
    for proposed, after in ((seen, seen.after), (0.1, seen.after), (seen, 3)):
        with pytest.raises(StepdownError, match=r"at promotion 3 by ana: we can|what you saw was"):
            apply(ledger, DECLARED, TASK, proposed, actor="bo", reason="", after=after)
    assert Registry(ledger).revision() == 3


def test_who_is_overtaken_in_the_very_moment_sets_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    routing(ledger)
    keep = Registry.keep

    def overtaken(registry: Registry, *args: object, **how: object) -> Artifact:
        assert registry.promote(TASK, Deployed(Mode.SHADOW), actor="bo", reason="first", evidence={}, after=2)
        return keep(registry, *args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Registry, "keep", overtaken)
    with pytest.raises(StepdownError, match="promotion 3 by bo: first, and what you saw was promotion 2"):
        set_bound(ledger, 0.1)
    monkeypatch.undo()
    assert Registry(ledger).deployed(TASK) == Deployed(Mode.SHADOW)
    # What was kept in vain is looser than the bound in force, and is put in force by nobody.
    done = refit(ledger, TASK, DECLARED.tasks[TASK])
    assert Registry(ledger).artifact(done.router or "").settings["epsilon"] == 0.05


def test_the_diff_says_it_in_words(ledger: Ledger) -> None:
    routing(ledger)
    shown(ledger)
    text = "\n".join(propose(ledger, DECLARED, TASK, 0.1).lines())
    assert "allowed quality loss   5%  ->  10%" in text
    assert "mode                   route\n" in text
    assert "regrets among" in text
    assert "holds at once with confidence 96.667%" in text
    assert "max_quality_loss = 0.05 in the settings is not what is in force" in text


def test_without_a_kept_frontier_nothing_is_expected_and_all_is_certified(ledger: Ledger) -> None:
    routing(ledger, 600)
    Summaries(ledger).keep(TASK, FRONTIER, b"{}")  # of another version
    found = propose(ledger, DECLARED, TASK, 0.1)
    assert found.to.coverage is None
    assert found.certificate is not None
    assert "coverage expected      not known" in "\n".join(found.lines())


def test_a_bound_that_is_set_during_a_fit_is_not_passed_over(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The router that was being fitted for the looser bound is not put in force under the stricter one."""
    from evals import refit as refit_module

    scene.write(Writer(ledger), 0, 300)
    refit(ledger, TASK, msgspec.structs.replace(DECLARED.tasks[TASK], min_labels=5_000))
    fit = refit_module._fit

    def slow(*args: object) -> object:
        fitted = fit(*args)  # type: ignore[arg-type]
        bounds.apply(ledger, DECLARED, TASK, 0.01, actor="ana", reason="", after=1)
        return fitted

    monkeypatch.setattr(refit_module, "_fit", slow)
    done = refit(ledger, TASK, DECLARED.tasks[TASK])
    assert done.router is not None
    assert done.step is None
    assert Registry(ledger).deployed(TASK) == Deployed(Mode.SHADOW, max_quality_loss=0.01)

"""The frontier: what a bound buys is shown before anything changes, and a bound is set by a promotion."""

from __future__ import annotations

import re

import pytest

from dashboards.moves import MAX_REASON
from evals.frontier import FRONTIER, to_json
from evals.refit import refit
from stepdown.ledger import Ledger
from stepdown.records import Deployed, Mode
from stepdown.registry import Registry
from stepdown.settings import TaskSettings
from stepdown.summaries import Summaries
from tests.dashboards.conftest import Dashboard, Open
from tests.dashboards.frontiers import ROUTER, choice, document, figure, kept, of_another_version, route
from tests.dashboards.pages.test_promotions import fields_of
from tests.evals.frontier import scene
from tests.evals.ledgers import Writer

ON_BOTH_DATABASES = True
EVIL = "<script>alert(1)</script>"
HX = {"hx-request": "true"}


@pytest.fixture
def routed(dashboard: Dashboard) -> Dashboard:
    """A dashboard of a task that is routed at 2%, with its frontier."""
    route(dashboard.ledger)
    kept(dashboard.ledger, document())
    return dashboard


def bought(html: str) -> str:
    """What the bound that is looked at buys, as text."""
    start = html.index('id="bought"') if 'id="bought"' in html else 0
    end = html.index("</section>", start) if 'id="bought"' in html else html.index('id="curve"')
    return re.sub(r"<[^>]*>", " ", html[start:end])


def test_the_page_opens_at_the_bound_in_force(routed: Dashboard) -> None:
    html = routed.html("/frontier")
    assert 'aria-valuetext="2%"' in html
    assert "30.0%" in bought(html)
    assert "$300.00" in bought(html)
    assert "$290.00 to $310.00" in bought(html)
    assert "This bound is in force" in bought(html)
    assert "Apply" not in bought(html)
    assert ">in force</text>" in html


def test_another_bound_is_looked_at_by_a_link_without_any_script(routed: Dashboard) -> None:
    html = routed.html("/frontier", loss="0.03")
    assert 'aria-valuetext="3%"' in html
    assert "45.0%" in bought(html)
    assert "-1.5%" in bought(html)
    assert "2.90%" in bought(html)
    assert "99.5% confidence" in bought(html)
    assert "n=400" in bought(html)
    assert "/frontier/bound?task=default&amp;loss=0.03" in html
    assert ">at 3%</text>" in html
    assert ">in force</text>" in html


def test_the_slider_asks_by_its_step(routed: Dashboard) -> None:
    assert 'aria-valuetext="5%"' in routed.html("/frontier", step="3")
    assert re.findall(r'<option value="\d" label="([^"]+)"', routed.html("/frontier")) == [
        "0.5%",
        "2%",
        "3%",
        "5%",
    ]


def test_a_part_has_what_the_slider_changes_and_its_address(routed: Dashboard) -> None:
    answer = routed.client.get("/frontier/at", params={"step": "2"}, headers=HX)
    assert answer.headers["hx-replace-url"] == "/frontier?task=default&loss=0.03"
    assert "<html" not in answer.text
    assert "45.0%" in bought(answer.text)
    assert re.search(r'<div id="curve" hx-swap-oob="innerHTML">.*at 3%</text>', answer.text, re.DOTALL)
    assert "3% allowed: 45.0% (43.0 to 47.0, n=400) answered by the small model" in answer.text


def test_looking_changes_nothing(routed: Dashboard) -> None:
    routed.html("/frontier", loss="0.05")
    routed.client.get("/frontier/at", params={"step": "3"}, headers=HX)
    assert Registry(routed.ledger).revision() == 1


def test_a_bound_at_which_nothing_is_certified_says_why(routed: Dashboard) -> None:
    html = routed.html("/frontier", loss="0.005")
    assert "Nothing may go to the small model at 0.5%" in html
    assert "at least 826 prompts are needed" in bought(html)


@pytest.mark.parametrize(
    ("asked", "shown"), [("0.029", "2%"), ("0.9", "5%"), ("0.001", "0.5%"), ("3e-2", "3%")]
)
def test_a_bound_between_two_steps_shows_the_stricter_one(routed: Dashboard, asked: str, shown: str) -> None:
    assert f'aria-valuetext="{shown}"' in routed.html("/frontier", loss=asked)


@pytest.mark.parametrize("asked", ["nan", "inf", "0", "1", "-0.1", "much", EVIL])
def test_a_bound_that_is_none_is_refused(routed: Dashboard, asked: str) -> None:
    for path in ("/frontier", "/frontier/at", "/frontier/bound"):
        answer = routed.get(path, loss=asked)
        assert answer.status_code == 400
        assert EVIL not in answer.text
    assert routed.post("/frontier/bound", task="default", loss=asked, after="1").status_code == 400


@pytest.mark.parametrize("asked", ["4", "-1", "1.5", "²", "9" * 5000, EVIL])
def test_a_step_that_is_none_is_refused(routed: Dashboard, asked: str) -> None:
    assert routed.get("/frontier", step=asked).status_code == 400


def test_a_student_on_trial_holds_the_bound(routed: Dashboard) -> None:
    trial = Deployed(Mode.ROUTE, ROUTER, candidate="c" * 64, candidate_share=0.05)
    Registry(routed.ledger).promote("default", trial, actor="auto", reason="", evidence={}, after=1)
    html = routed.html("/frontier", loss="0.05")
    assert "A student is on trial with 5% of the traffic" in html
    assert "Apply" not in bought(html)
    answer = routed.get("/frontier/bound", loss="0.05")
    assert (answer.status_code, "on trial" in answer.text) == (409, True)


def test_figures_older_than_what_is_in_force_say_so(routed: Dashboard) -> None:
    assert "Something was promoted since" not in routed.html("/frontier")
    to = Deployed(Mode.ROUTE, ROUTER, max_quality_loss=0.05)
    Registry(routed.ledger).promote("default", to, actor="ana", reason="", evidence={}, after=1)
    html = routed.html("/frontier")
    assert "Something was promoted since" in html
    assert 'aria-valuetext="5%"' in html
    assert "60.0%" in bought(html)
    assert "set by hand" in html
    assert ">in force</text>" in html


def test_a_router_of_another_fit_is_not_marked_on_an_old_curve(routed: Dashboard) -> None:
    Registry(routed.ledger).promote(
        "default", Deployed(Mode.ROUTE, "x" * 64), actor="auto", reason="", evidence={}, after=1
    )
    assert ">in force</text>" not in routed.html("/frontier")


def test_in_mode_shadow_nothing_is_in_force_on_the_curve(dashboard: Dashboard) -> None:
    route(dashboard.ledger, mode=Mode.SHADOW, artifact=None)
    kept(dashboard.ledger, document(mode="shadow", operating=choice(0.02, 0.3)))
    html = dashboard.html("/frontier")
    assert ">in force</text>" not in html
    assert ">at 2%</text>" in html


def test_the_page_says_that_pairs_that_chose_the_thresholds_flatter_what_is_not_certified(
    routed: Dashboard,
) -> None:
    html = routed.html("/frontier")
    assert "300 chose the thresholds, so what is not certified errs a little to the good side" in html


def test_what_is_missing_is_said(dashboard: Dashboard) -> None:
    told = "the cost-quality curve needs 12 more held-out pairs"
    bare = choice(0.02, 0.3, saving_a_month_usd_micros=None, cost_usd_micros=None)
    kept(
        dashboard.ledger,
        document(points=(), baselines=(), missing=(told,), choices=(bare,), operating=bare),
    )
    html = dashboard.html("/frontier")
    assert "No curve yet" in html
    assert told in html
    assert "no data" in bought(html)
    assert 'type="range"' not in html  # one bound is no choice


def test_before_a_router_the_page_says_what_it_needs(dashboard: Dashboard) -> None:
    html = dashboard.html("/frontier")
    assert "No router yet" in html
    assert "2.0%" in html
    Registry(dashboard.ledger).keep("router", "default", b"weights", settings={}, summary={})
    assert "A router is there, its frontier is not yet" in dashboard.html("/frontier")
    of_another_version(dashboard.ledger)
    assert "A router is there, its frontier is not yet" in dashboard.html("/frontier")
    assert dashboard.get("/frontier/at").status_code == 409


def test_without_a_small_model_there_is_nothing_to_weigh(open_dashboard: Open) -> None:
    assert "No small model" in open_dashboard(tasks={"default": TaskSettings()}).html("/frontier")


def test_names_in_the_document_are_text(routed: Dashboard) -> None:
    kept(routed.ledger, document(judged_by=(EVIL,), certify_on="judged", missing=(EVIL,)))
    html = routed.html("/frontier")
    assert EVIL not in html
    assert "on the word of &lt;script&gt;" in html


def really_routed(ledger: Ledger) -> None:
    """A task with a real router in force, and its frontier."""
    declared = scene.settings()
    writer = Writer(ledger)
    scene.write(writer, 0, 3)
    refit(ledger, scene.TASK, declared.tasks[scene.TASK])
    scene.write(writer, 3, 1200)
    scene.fit(ledger, declared)
    Summaries(ledger).keep(scene.TASK, FRONTIER, to_json(scene.document(ledger, declared)))


def test_a_bound_is_reviewed_applied_and_recorded(open_dashboard: Open, ledger: Ledger) -> None:
    really_routed(ledger)
    declared = scene.settings()
    dashboard = open_dashboard(tasks=declared.tasks, models=declared.models)
    before = Registry(ledger).current(scene.TASK)
    assert before is not None
    html = dashboard.html("/frontier/bound", loss="0.1")
    assert "<del>5%</del>" in html
    assert "<ins>10%</ins>" in html
    assert "regrets among" in html
    assert "in the settings is not what is in force" in html
    assert Registry(ledger).current(scene.TASK) == before
    sent = {**fields_of(html), "reason": "  we can afford it "}
    answer = dashboard.post("/frontier/bound", **sent)
    assert (answer.status_code, answer.headers["location"]) == (303, "/frontier?task=default")
    after = Registry(ledger).current(scene.TASK)
    assert after is not None
    assert (after.sequence, after.max_quality_loss, after.reason) == (
        before.sequence + 1,
        0.1,
        "we can afford it",
    )
    assert after.actor != "auto"
    html = dashboard.html("/frontier")
    assert f"promotion {after.sequence}" in html
    assert 'aria-valuetext="10%"' in html
    assert ">in force</text>" in html
    # The same review again is of what is no longer in force.
    again = dashboard.post("/frontier/bound", **sent)
    assert again.status_code == 409
    assert Registry(ledger).current(scene.TASK) == after


def test_a_reason_for_a_bound_is_as_long_as_one_for_any_move(dashboard: Dashboard) -> None:
    sent = fields_of(dashboard.html("/frontier/bound", loss="0.03"))
    sent["reason"] = "x" * (MAX_REASON + 1)
    assert dashboard.post("/frontier/bound", **sent).status_code == 303
    made = Registry(dashboard.ledger).current("default")
    assert made is not None
    assert made.reason == "x" * MAX_REASON


def test_a_bound_without_a_reason_is_the_dashboards(dashboard: Dashboard) -> None:
    html = dashboard.html("/frontier/bound", loss="0.03")
    assert "only the bound is set" in html
    assert dashboard.post("/frontier/bound", **fields_of(html)).status_code == 303
    made = Registry(dashboard.ledger).current("default")
    assert made is not None
    assert (made.mode, made.max_quality_loss, made.reason) == (Mode.STRONG, 0.03, "on the dashboard")


def test_a_bound_is_set_only_with_the_token_and_for_the_task_that_was_shown(open_dashboard: Open) -> None:
    tasks = {"one": TaskSettings(small="small"), "other": TaskSettings(small="small")}
    dashboard = open_dashboard(tasks=tasks)
    sent = fields_of(dashboard.html("/frontier/bound", loss="0.03", task="one"))
    assert dashboard.post("/frontier/bound?task=one", **{**sent, "token": "forged"}).status_code == 403
    assert dashboard.post("/frontier/bound?task=other", **sent).status_code == 400
    assert Registry(dashboard.ledger).revision() == 0
    assert dashboard.post("/frontier/bound?task=one", **sent).status_code == 303


def test_the_bound_that_is_in_force_is_no_change(dashboard: Dashboard) -> None:
    answer = dashboard.get("/frontier/bound", loss="0.02")
    assert (answer.status_code, "already" in answer.text) == (409, True)


@pytest.mark.parametrize(
    ("saving", "tone"), [(3e8, "stat good"), (0.0, "stat"), (-3e8, "stat bad")], ids=["gain", "even", "loss"]
)
def test_a_saving_is_good_only_where_its_whole_interval_is(
    dashboard: Dashboard, saving: float, tone: str
) -> None:
    route(dashboard.ledger)
    told = choice(0.02, 0.3, in_force=True, saving_a_month_usd_micros=figure(saving, 1e7))
    kept(dashboard.ledger, document(choices=(told,), operating=told))
    assert f'<div class="{tone}"><dt>Saved a month' in dashboard.html("/frontier")

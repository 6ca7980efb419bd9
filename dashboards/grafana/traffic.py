"""The board on which traffic and its cost are seen."""

from __future__ import annotations

from dashboards.grafana.panels import Board, Panel
from dashboards.grafana.queries import EVERY, TASK, rate_by

_COST = f"rate(stepdown_cost_usd_micros_total{{{TASK}}}{EVERY})"
_REQUESTS = f"rate(stepdown_requests_total{{{TASK}}}{EVERY})"
_ROUTED = f'stepdown_decisions_total{{{TASK}, mode="route"'

TRAFFIC = Board(
    "stepdown-traffic",
    "Stepdown: traffic and cost",
    "What is asked, who answers it and why, and what it costs. Quality and savings are on Stepdown's pages.",
    (
        Panel(
            "Requests",
            {"requests": f"sum({_REQUESTS})"},
            "Requests a second that a model answered, or was asked for.",
            "reqps",
            stat=True,
        ),
        Panel(
            "Routed requests answered by the small model",
            {
                "share": f'sum(rate({_ROUTED}, reason="gain_below_threshold"}}{EVERY}))'
                f" / sum(rate({_ROUTED}}}{EVERY}))"
            },
            "Share of the requests in mode route that the router gave to the small model.",
            "percentunit",
            stat=True,
        ),
        Panel(
            "Cost in the time shown",
            {"dollars": f"sum(increase(stepdown_cost_usd_micros_total{{{TASK}}}[$__range])) / 1e6"},
            "Dollars for all recorded calls: answers, shadow calls, candidates and what picks among them. "
            "Rent, labels and trainings are on the bill of `stepdown report`.",
            "currencyUSD",
            stat=True,
        ),
        Panel(
            "Calls without a known price",
            {"calls": f"sum(increase(stepdown_unpriced_calls_total{{{TASK}}}[$__range]))"},
            "Their cost is in no sum here: it is unknown, which is not zero. Declare the model's prices.",
            stat=True,
            alarm=1,
        ),
        Panel(
            "Requests by task",
            {"{{task}}": rate_by("stepdown_requests_total", "task", TASK)},
            "Requests a second.",
            "reqps",
            stacked=True,
        ),
        Panel(
            "Requests by model",
            {"{{model}}": rate_by("stepdown_requests_total", "model", TASK)},
            "Requests a second, by the model whose answer the client got.",
            "reqps",
            stacked=True,
        ),
        Panel(
            "Decisions by reason",
            {"{{reason}}": rate_by("stepdown_decisions_total", "reason", TASK)},
            "Decisions a second, by the reason that the client is told in x-stepdown-reason.",
            "reqps",
            stacked=True,
        ),
        Panel(
            "Decisions by mode",
            {"{{mode}}": rate_by("stepdown_decisions_total", "mode", TASK)},
            "Decisions a second, by the mode that their task was in.",
            "reqps",
            stacked=True,
        ),
        Panel(
            "Cost by model",
            {"{{model}}": f"sum by (model) ({_COST}) * 3600 / 1e6"},
            "Dollars an hour for recorded calls.",
            "currencyUSD",
            stacked=True,
        ),
        Panel(
            "Cost by role",
            {"{{role}}": f"sum by (role) ({_COST}) * 3600 / 1e6"},
            "Dollars an hour: live answers, candidates that were not picked, shadow calls, judges that pick.",
            "currencyUSD",
            stacked=True,
        ),
        Panel(
            "Cost of a request",
            {"{{task}}": f"sum by (task) ({_COST}) / sum by (task) ({_REQUESTS}) / 1e6"},
            "Dollars for all calls that a request led to, on average.",
            "currencyUSD",
        ),
        Panel(
            "Tokens",
            {"{{model}} {{kind}}": rate_by("stepdown_tokens_total", "model, kind", TASK)},
            "Tokens a second of recorded calls; cached ones are among those of the prompt.",
            "cps",
        ),
        Panel(
            "Candidates of portfolios",
            {"{{model}} {{outcome}}": rate_by("stepdown_candidates_total", "model, outcome", TASK)},
            "Answers a second of strong tiers of several: picked, passed over, failed.",
            "cps",
        ),
        Panel(
            "Picks",
            {"{{by}}": rate_by("stepdown_picks_total", "by", TASK)},
            "Answers a second picked among several, by what picked them.",
            "cps",
        ),
    ),
)

"""The board on which is seen whether all is well."""

from __future__ import annotations

from dashboards.grafana.panels import Board, Panel
from dashboards.grafana.queries import EVERY, TASK, quantile, rate_by

HEALTH = Board(
    "stepdown-health",
    "Stepdown: health",
    "Whether requests are answered in time, records are kept, and workers and servers do their work.",
    (
        Panel(
            "Proxies that answer",
            {"proxies": 'sum(up{job="stepdown"})'},
            "Proxies whose /metrics could be read.",
            "none",
            stat=True,
        ),
        Panel(
            "Requests that failed",
            {
                "share": f'(sum(rate(stepdown_requests_total{{status=~"5.."}}{EVERY})) or vector(0))'
                f" / sum(rate(stepdown_requests_total{EVERY}))"
            },
            "Share of the requests that were answered with an error of a model, or of Stepdown: 5xx.",
            "percentunit",
            stat=True,
            alarm=0.01,
        ),
        Panel(
            "Records that were refused",
            {"records": "sum(increase(stepdown_commit_failures_total[$__range]))"},
            "Answers that were withheld because the ledger could not keep their record.",
            stat=True,
            alarm=1,
        ),
        Panel(
            "Oldest sign of life of a worker",
            {"age": "max(stepdown_heartbeat_age_seconds)"},
            "Since the worker that was silent for longest was last known to be alive.",
            "s",
            stat=True,
            alarm=120,
        ),
        Panel(
            "Time of a request",
            {
                f"p{share:.0%}".rstrip("%"): quantile(share, "stepdown_request_seconds")
                for share in (0.5, 0.95, 0.99)
            },
            "From the request to its last byte, all models together; as exact as the histogram's buckets.",
            "s",
        ),
        Panel(
            "Time by stage, 95 % of requests",
            {"{{stage}}": quantile(0.95, "stepdown_stage_seconds", "stage")},
            "decide: read, parsed and decided. first_byte and upstream: of the model that answered. commit: "
            "until the records were kept. total: all of it.",
            "s",
        ),
        Panel(
            "Time to the first byte by model, 95 %",
            {"{{model}}": quantile(0.95, "stepdown_upstream_ttft_seconds", "model")},
            "From asking a model to its first byte.",
            "s",
        ),
        Panel(
            "Time of a commit",
            {
                "an answer waits, p95": quantile(0.95, "stepdown_commit_wait_seconds"),
                "the ledger takes, p95": quantile(0.95, "stepdown_ledger_commit_seconds"),
            },
            "How long answers wait for their record, and what of it is the database's own time.",
            "s",
        ),
        Panel(
            "Answers by status",
            {"{{status}}": rate_by("stepdown_requests_total", "status", TASK)},
            "Requests a second by the status that the client got; 499 is a client that hung up.",
            "reqps",
            stacked=True,
        ),
        Panel(
            "Refused requests",
            {"{{status}} {{code}}": f"sum by (status, code) (rate(stepdown_refused_total{EVERY}))"},
            "Requests a second that were refused before a model was asked.",
            "reqps",
            stacked=True,
        ),
        Panel(
            "Calls of models that failed",
            {"{{model}}": f"sum by (model) (rate(stepdown_upstream_failures_total{EVERY}))"},
            "Calls a second without a usable answer; a small model's are answered by strong instead.",
            "cps",
        ),
        Panel(
            "Shadow calls",
            {
                "under way": "sum(stepdown_shadow_calls)",
                "dropped in the time shown": "sum(increase(stepdown_shadow_calls_dropped_total[$__range]))",
            },
            "Small models asked beside strong, and those for which there was no place.",
        ),
        Panel(
            "Answers that wait for a label",
            {"{{task}}": f"max by (task) (stepdown_label_backlog{{{TASK}}})"},
            "As the workers last counted them.",
        ),
        Panel(
            "Oldest answer that waits for a label",
            {"{{task}}": f"max by (task) (stepdown_oldest_unlabelled_seconds{{{TASK}}})"},
            "Its age. One that grows without end is not labelled at all: look at the worker of labels.",
            "s",
        ),
        Panel(
            "Oldest work by queue",
            {
                "{{queue}}": "max by (queue) (stepdown_queue_age_seconds)",
                "counted": "max(stepdown_backlog_age_seconds)",
            },
            "How long the oldest work of each queue has waited, and since when that was counted.",
            "s",
        ),
        Panel(
            "Signs of life of workers",
            {"{{queue}}": "max by (queue) (stepdown_heartbeat_age_seconds)"},
            "Since each queue's worker was last known to be alive. A fit or a night may keep one busy.",
            "s",
        ),
        Panel(
            "Servers of small models",
            {
                "{{model}} {{url}} serves": "stepdown_server_serves",
                "{{model}} {{url}} has trouble": "stepdown_server_wrong",
            },
            "1 is yes. What the trouble is, `stepdown students` says.",
        ),
        Panel(
            "Students that are not where they should be",
            {
                "{{url}} {{kind}}": "stepdown_adapter_drift",
                "{{url}} did not take": "stepdown_server_refused",
            },
            "missing: in force or on trial, and the server has it not. extra: it has it without reason; for "
            "a "
            "while after a promotion, and while a night tries students, that is well.",
        ),
        Panel(
            "Students on servers",
            {"{{model}} {{url}}": "stepdown_server_students"},
            "How many students each server was last seen to have.",
        ),
        Panel(
            "Policies",
            {
                "promotions loaded": "max(stepdown_policy_revision)",
                "not loaded": "sum(increase(stepdown_policy_reload_failures_total[$__range]))",
                "pickers that failed": "sum(increase(stepdown_picker_failures_total[$__range])) or vector(0)",
            },
            "What is in force, and what could not be: a task whose policy cannot be loaded stays on strong.",
        ),
    ),
)

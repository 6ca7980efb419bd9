"""The report: what was served, what it cost, what was saved, and what that cost in quality.

`build_report` reads the ledger once; everything else is a function of the tree it returns. The picture is in
`evals.report.chart`, which those import who draw one: what it draws with takes long to load.
"""

from evals.report.build import build_report
from evals.report.encode import to_json
from evals.report.text import render_text
from evals.report.tree import Report

__all__ = ["Report", "build_report", "render_text", "to_json"]

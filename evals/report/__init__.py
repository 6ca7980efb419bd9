"""The report: what was served, what it cost, what was saved, and what that cost in quality.

`build_report` reads the ledger once; everything else is a function of the tree it returns.
"""

from evals.report.build import build_report
from evals.report.chart import write_png
from evals.report.encode import to_json
from evals.report.text import render_text
from evals.report.tree import Report

__all__ = ["Report", "build_report", "render_text", "to_json", "write_png"]

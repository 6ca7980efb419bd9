"""What a candidate is asked before the gate, and what its answers come to.

`ask_student` asks it prompts of live traffic, `label_now` labels the answers, `gather` makes them evidence,
and `distill.gate.decide` judges it by `rules_of` the settings; `keep_gate` keeps the verdict, `render_gate`
shows it, and `expected_saving` says what it comes to at the coverage of a router fitted since.
"""

from distill.evaluation.asking import AskedCounts, ask_student
from distill.evaluation.gather import gather
from distill.evaluation.keep import Expected, expected_saving, gates, keep_gate, newest_gate, read_gate
from distill.evaluation.labelling import Labelled, label_now
from distill.evaluation.rules import rules_of
from distill.evaluation.text import render_gate

__all__ = [
    "AskedCounts",
    "Expected",
    "Labelled",
    "ask_student",
    "expected_saving",
    "gates",
    "gather",
    "keep_gate",
    "label_now",
    "newest_gate",
    "read_gate",
    "render_gate",
    "rules_of",
]

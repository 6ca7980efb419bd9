"""Isolation for code that nobody has read: what a model wrote runs here or not at all."""

from evals.sandbox.bubblewrap import INTERPRETER, REMEDY
from evals.sandbox.limits import Limits
from evals.sandbox.run import Result, run, why_not

__all__ = ["INTERPRETER", "REMEDY", "Limits", "Result", "run", "why_not"]

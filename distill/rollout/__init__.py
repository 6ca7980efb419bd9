"""How a student comes to its traffic, step by step, and leaves it at once where that goes ill.

`begin` puts a candidate in the shadow of a task's traffic, `look` moves it on or back on the word of
sequential tests, `roll_back` takes it out.
"""

from distill.rollout.steps import begin, roll_back

__all__ = ["begin", "roll_back"]

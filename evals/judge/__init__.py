"""Judges: models that label. What they are asked, how they are read, and what their verdicts are worth."""

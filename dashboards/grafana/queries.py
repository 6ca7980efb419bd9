"""PromQL that the boards have in common.

Invariant: a rate is over Grafana's own interval, so that it is right for every stretch of time.
"""

from __future__ import annotations

EVERY = "[$__rate_interval]"
TASK = 'task=~"$task"'


def rate_by(metric: str, by: str, *matchers: str) -> str:
    """A counter's increase a second, summed over all labels but some."""
    return f"sum by ({by}) (rate({metric}{{{', '.join(matchers)}}}{EVERY}))"


def quantile(share: float, histogram: str, *by: str) -> str:
    """A quantile of what a histogram counted, for each value of some labels."""
    labels = ", ".join(("le", *by))
    return f"histogram_quantile({share}, sum by ({labels}) (rate({histogram}_bucket{EVERY})))"

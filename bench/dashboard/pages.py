"""The pages that the benchmark asks for, by what somebody would look for on them."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from bench.dashboard.fill import Filled
from bench.dashboard.pattern import RARE
from stepdown.records import Reason

RANGES = ("24h", "7d", "30d", "all")
FILTERS: Mapping[str, Mapping[str, str]] = {
    "newest": {},
    "by reason": {"reason": Reason.EXPLORED},
    "by a rare reason": {"reason": Reason.ASLEEP},
    "by slice and tier": {"slice": "sql", "tier": "small"},
    "by outcome": {"status": "failed"},
    "by verdict": {"verdict": "bad"},
    "by cost": {"cost": "0.01"},
    "by text": {"text": "umbrellas"},
    "by text that is rare": {"text": RARE},
    "by text that is nowhere": {"text": "xylophone"},
}


def pages_of(filled: Filled, number: int) -> Mapping[str, str]:
    """The path of each page by its name, on a visit of a number: each looks at another request."""
    return {
        **{f"overview, {name}": _path("/", range=name) for name in RANGES},
        "frontier": "/frontier",
        "slices": "/slices",
        **{f"requests, {name}": _path("/requests", **fields) for name, fields in FILTERS.items()},
        "one request": f"/requests/{filled.pairs[number % len(filled.pairs)]}",
        "playground": "/playground",
        "labels": "/labels",
        "students": "/students",
        "one student": f"/students/{filled.names.student}",
        "nights": "/nights",
        "one night": f"/nights/{quote(filled.night)}",
        "promotions": "/promotions",
        "one promotion": "/promotions/2",
    }


def _path(path: str, **query: str) -> str:
    return f"{path}?{urlencode(query)}" if query else path

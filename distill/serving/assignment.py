"""Which server serves which checkpoint, where each can serve one at a time.

Invariant: what traffic points at keeps a server before anything is tried on one, and a server that already
has what it may keep is left as it is. Pure: knows servers and models by name only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who serves what.

    Attributes:
        models: The model of each server.
        unplaced: Models that found no server, the most important first.
    """

    models: Mapping[str, str]
    unplaced: tuple[str, ...] = ()


def assign(
    servers: Sequence[str],
    has: Mapping[str, str],
    *,
    in_force: Sequence[str],
    on_trial: Mapping[str, float],
    asked_for: Sequence[str] = (),
) -> Assignment:
    """Give every server a model.

    Args:
        servers: All of them, in a fixed order.
        has: What each serves now; one that serves nothing is not in it.
        in_force: Models that traffic points at, at least one; each gets a server first.
        on_trial: Candidates, with the share of the traffic that each decides: so many of the servers, and at
            least one, as long as those in force keep theirs.
        asked_for: Models that somebody wants to ask, the first first; each gets a server if one is left.
    """
    needed = list(dict.fromkeys((*in_force, *on_trial, *asked_for)))
    placed, unplaced = needed[: len(servers)], needed[len(servers) :]
    spare = len(servers) - len(placed)
    for candidate, share in on_trial.items():
        more = min(max(round(share * len(servers)) - 1, 0), spare)
        placed += [candidate] * (more if candidate in placed else 0)
        spare -= more if candidate in placed else 0
    placed += [in_force[i % len(in_force)] for i in range(spare)]
    return Assignment(_with_few_moves(servers, has, placed), tuple(unplaced))


def _with_few_moves(servers: Sequence[str], has: Mapping[str, str], placed: Sequence[str]) -> dict[str, str]:
    """Give each server one of as many models, and leave those that have one of them."""
    left = list(placed)
    models: dict[str, str] = {}
    for server in servers:
        if has.get(server) in left:
            models[server] = has[server]
            left.remove(has[server])
    for server in servers:
        if server not in models:
            models[server] = left.pop(0)
    return models

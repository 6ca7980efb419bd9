"""What the rounds of practice of a task brought, in words."""

from __future__ import annotations

from distill.practice.gain import rounds_of
from distill.practice.round import round_of
from distill.practice.stop import why_over, words
from stepdown.ledger import Ledger
from stepdown.records import Artifact


def practice_report(ledger: Ledger, task: str) -> list[str]:
    """The share kept and the gain of every round, and whether another is to come; one line each.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    rounds = rounds_of(ledger, task)
    if not rounds:
        return [f"task {task}: no round of practice yet"]
    lines, chain = [], []
    for kept in rounds:
        seen = round_of(ledger, task, kept)
        lines.append(_line(kept))
        lines.append(f"  gain: {words(seen.gain) if seen.gain else _not_yet(kept)}")
        if kept.settings.get("recipe") == rounds[-1].settings.get("recipe"):
            chain.append(seen)
    over = why_over(chain, int(rounds[-1].settings.get("practice_rounds", 0)))
    lines.append(f"over: {over}" if over else "another round is to come")
    return lines


def _line(kept: Artifact) -> str:
    found = kept.summary
    share = found["share"]
    part = f" of {found['prompts']:,} ({found['stopped']})" if found["stopped"] else ""
    unpriced = f" and {found['unpriced']:,} samples of unknown price" if found["unpriced"] else ""
    return (
        f"round {found['round']}, {kept.at:%Y-%m-%d}: student {kept.parents[0][:12]} tried "
        f"{found['tried']:,}{part} prompts that it had failed; {found['right']:,} of {found['samples']:,} "
        f"samples right, {found['kept']:,} kept, of {share['value']:.1%} "
        f"[{share['low']:.1%}, {share['high']:.1%}] of the prompts; "
        f"${found['cost_usd_micros'] / 1e6:,.4f}{unpriced}"
    )


def _not_yet(kept: Artifact) -> str:
    if not kept.summary["kept"]:
        return "none, since nothing was worth keeping"
    return "not known yet, until a student is trained with it"

"""The card of a dataset: what is in it, where it came from, and what was left out and why.

Invariant: every figure can be read without the dataset's texts, and none of those is on the card.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from distill.dataset.assemble import Assembled
from distill.dataset.example import PARTS, TRAIN, Example, Source, repeated
from distill.dataset.tokens import APPROXIMATE
from stepdown.settings import Settings, StudentSettings

UNSLICED = "(none)"
USERS = "users' edits"


def card_of(
    done: Assembled,
    *,
    task: str,
    student: StudentSettings,
    counted_by: str,
    left_out: Mapping[str, int],
    known: Mapping[str, int],
    sources: Mapping[str, Any],
    licences: Mapping[str, str],
) -> dict[str, Any]:
    """The card, as JSON values.

    Args:
        done: What was made.
        task: Name of the task.
        student: Its settings of students.
        counted_by: How tokens were counted.
        left_out: What was left out before, by the reason.
        known: What the ledger has of the task.
        sources: Ids and hashes of what it was made from.
        licences: Of the teachers and of the general set.
    """
    every = [(part, example) for part in PARTS for example in done.parts[part]]
    train = done.parts[TRAIN]
    return {
        "task": task,
        "examples": {part: len(done.parts[part]) for part in PARTS},
        "sources": _table((example.source.value, part) for part, example in every),
        "slices": _table((example.slice or UNSLICED, part) for part, example in every),
        "teachers": dict(Counter(_teacher(e) for _, e in every if e.teacher or e.source == Source.EDIT)),
        "licences": dict(licences),
        "tokens": {
            **{part: sum(example.tokens for example in done.parts[part]) for part in PARTS},
            "counted": counted_by,
            "exact": counted_by != APPROXIMATE,
            "longest_kept": max((example.tokens for _, example in every), default=0),
            "longest": done.longest,
            "cap": student.max_tokens,
            "budget": student.token_budget,
        },
        "replay": _replay(done, train, student),
        "weights": {
            "hard": sum(example.weight > 1 for example in train),
            "weight": student.hard_weight,
            "why": dict(done.hard),
            "in_an_epoch": len(repeated(train, student.seed)),
        },
        "left_out": {why: n for why, n in (Counter(left_out) + done.dropped).items() if n},
        "leaks_removed": dict(done.leaks),
        "personal": {"policy": student.pii, "examples": done.showed, "values": dict(done.personal)},
        "known": dict(known),
        "made_from": dict(sources),
    }


def _table(cells: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(PARTS, 0))
    for row, column in cells:
        table[row][column] += 1
    return dict(sorted(table.items(), key=lambda item: (-sum(item[1].values()), item[0])))


def _teacher(example: Example) -> str:
    """Whose words they are: of an edit the user's, though a model may have begun them."""
    if example.source == Source.EDIT:
        return f"{USERS} of {example.teacher}" if example.teacher else USERS
    return example.teacher or ""


def _replay(done: Assembled, train: Sequence[Example], student: StudentSettings) -> dict[str, Any]:
    general = sum(example.source == Source.GENERAL for example in train)
    replayed = done.earlier + general
    return {
        "asked": student.replay_share,
        "share": replayed / len(train) if train else 0.0,
        "earlier": done.earlier,
        "general": general,
        "new": len(train) - replayed,
    }


def licences_of(settings: Settings, teachers: Iterable[str | None]) -> dict[str, str]:
    """What is known of the right to train on each teacher's answers: whose terms say it."""
    urls = {model.model: (model.url, model.model) for model in settings.models.values()}
    found = {}
    for teacher in sorted({name for name in teachers if name}):
        url, name = urls.get(teacher, (None, teacher))
        provider = urlsplit(url).hostname if url else name.partition("/")[0]
        found[teacher] = f"unknown, check the terms of {provider} for training on its outputs"
    return found


def render_card(card: Mapping[str, Any], name: str) -> str:
    """The card as text.

    Args:
        card: As `card_of` made it.
        name: Id of the artifact.
    """
    examples, tokens = card["examples"], card["tokens"]
    lines = [
        f"dataset {name} of task {card['task']}",
        "",
        *_grid("", {"examples": examples, "tokens": {part: tokens[part] for part in PARTS}}),
        f"  tokens by {tokens['counted']}; longest {tokens['longest_kept']:,} of {tokens['cap']:,}, "
        f"budget {tokens['budget']:,}",
        "",
        *_grid("by source", card["sources"]),
        "",
        *_grid("by slice", card["slices"]),
        "",
        "replay",
        f"  {_replay_line(card['replay'])}",
        "weights",
        f"  {_weights_line(card['weights'])}",
        "teachers",
        *([f"  {name}: {count:,}" for name, count in card["teachers"].items()] or ["  none"]),
        "licences",
        *([f"  {name}: {text}" for name, text in card["licences"].items()] or ["  nothing is declared"]),
        "left out",
        *([f"  {count:>8,}  {why}" for why, count in _most_first(card["left_out"])] or ["  nothing"]),
        "leaks removed",
        *([f"  {count:>8,}  {why}" for why, count in _most_first(card["leaks_removed"])] or ["  none"]),
        "personal data",
        f"  {_personal_line(card['personal'])}",
        "made from",
        *(f"  {what}: {value}" for what, value in card["made_from"].items()),
    ]
    if gone := sum(card.get("gone", {}).values()):
        lines.append(f"  {gone:,} examples are gone since: their texts are no longer kept")
    return "\n".join(lines) + "\n"


def _grid(title: str, rows: Mapping[str, Mapping[str, int]]) -> list[str]:
    width = max([len(title), *(len(name) + 2 for name in rows)])
    head = f"{title:<{width}}" + "".join(f"{part:>12}" for part in PARTS)
    return [head] + [
        f"  {name:<{width - 2}}" + "".join(f"{row[part]:>12,}" for part in PARTS)
        for name, row in rows.items()
    ]


def _most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _replay_line(replay: Mapping[str, Any]) -> str:
    return (
        f"{replay['share']:.0%} of the training examples are not new (at least "
        f"{replay['asked']:.0%} asked): {replay['earlier']:,} of earlier datasets, "
        f"{replay['general']:,} of the general set"
    )


def _weights_line(weights: Mapping[str, Any]) -> str:
    why = ", ".join(f"{count:,} {way}" for way, count in weights["why"].items())
    return (
        f"{weights['hard']:,} hard examples count {weights['weight']:g} times{f' ({why})' if why else ''}; "
        f"an epoch sees {weights['in_an_epoch']:,}"
    )


def _personal_line(personal: Mapping[str, Any]) -> str:
    kinds = ", ".join(f"{count:,} {kind.lower()}" for kind, count in personal["values"].items())
    if personal["policy"] == "keep":
        return "kept as it is; not looked for"
    done = {"redact": "replaced by placeholders", "drop": "left out"}[personal["policy"]]
    return f"{personal['examples']:,} examples showed some and were {done}{f': {kinds}' if kinds else ''}"

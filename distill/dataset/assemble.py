"""From targets to a dataset: personal data, duplicates, splits, lengths, weights and the mix of old and new.

Invariant: the same targets, past and settings give the same dataset; everything that is left out is counted
by its reason. Pure but for the token counter that is handed in.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein

from distill.dataset.answers import ORDER
from distill.dataset.example import PARTS, TEST, TRAIN, VALIDATION, Example, Part, Source, chat_of, example_id
from distill.dataset.mix import fill, mix, reservoir
from distill.dataset.near import folded
from distill.dataset.personal import redact
from distill.dataset.split import Asking, Groups, Past, asking_text, group, parts_of
from distill.dataset.target import Target, is_filed
from distill.dataset.texts import origin_of_file
from distill.dataset.tokens import REFUSED, TokenCounter
from stepdown.errors import DatasetError
from stepdown.settings import StudentSettings

IN_SUITE = "a case of a suite"
NEAR_SUITE = "a near duplicate of a suite's case"
LINKED_SUITE = "in one conversation or group with a suite's case"
HELD_OUT = "held out, and only what is trained on was wanted of it"
TRAINED_BEFORE = "held out now, and trained on before"
NEAR_DUPLICATE = "a near duplicate of another example"
SAME_PRACTICE = "an answer of practice that is the best known one"
PERSONAL = "personal data"
TOO_LONG = "longer than max_tokens"
NO_TEMPLATE = "refused by the student's chat template"
OVER_BUDGET = "over the token budget"
OLDEST = datetime.min.replace(tzinfo=UTC)
SAME = 0.9  # similarity by Levenshtein's distance from which on two messages ask the same
COMPARED = 2_000  # last characters in which two messages are compared
TRAINED_ONLY = frozenset((Source.PRACTICE, Source.GENERAL))


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a dataset is made from.

    Attributes:
        targets: One for each prompt, and beside those the answers of practice and the general set.
        suites: The cases of all suites.
        held_out: Prompts that were held out and have no target now: what is like them is held out too.
        conversations: Prompt hash and conversation of all requests that name one.
        order: When each prompt came first, as a rank.
        past: What earlier datasets made of prompts.
        slices: Slice of a prompt by its hash, where its request brought none.
        count: Counts tokens.
    """

    targets: Sequence[Target]
    suites: Sequence[Asking]
    held_out: Sequence[Asking]
    conversations: Sequence[tuple[str, Hashable]]
    order: Mapping[str, int]
    past: Mapping[str, Past]
    slices: Mapping[str, str]
    count: TokenCounter
    student: StudentSettings


@dataclass
class Assembled:
    """What came of it.

    Attributes:
        placed: The part of each prompt's group, whether or not an example of it is in.
        dropped: Targets that were left out, by the reason.
        leaks: Those of them that a suite has to do with, by how.
        personal: Distinct values of personal data by kind, and the number of targets that showed some.
        hard: Training examples by the way in which they were hard.
        earlier: Training examples that an earlier dataset had.
        longest: Tokens of the longest target, whether or not it is in.
    """

    parts: dict[Part, list[Example]] = field(default_factory=lambda: {part: [] for part in PARTS})
    placed: dict[str, Part] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    leaks: Counter[str] = field(default_factory=Counter)
    personal: Counter[str] = field(default_factory=Counter)
    showed: int = 0
    hard: Counter[str] = field(default_factory=Counter)
    earlier: int = 0
    longest: int = 0


class _Placed(NamedTuple):
    target: Target
    group: str
    part: Part


def assemble(given: Given) -> Assembled:
    """Make a dataset.

    Raises:
        DatasetError: Every target is longer than the cap.
    """
    done = Assembled()
    targets = list(_without_personal(given, done))
    asked = [Asking(t.prompt_hash, t.messages[:-1], t.prompt) for t in targets]
    groups = group([*asked, *given.held_out, *given.suites], given.conversations, given.order)
    targets = list(_out_of_suites(targets, groups, given, done))
    placed = _placed(targets, groups, given, done)
    placed = list(_distinct(placed, groups, done))
    _fill(done, _counted(placed, given, done), given)
    return done


def _without_personal(given: Given, done: Assembled) -> Iterable[Target]:
    for target in given.targets:
        if given.student.pii == "keep":
            yield _with_origin(target)
            continue
        redacted = redact(target.messages)
        done.showed += bool(redacted.seen)
        done.personal.update(redacted.seen)
        if redacted.seen and given.student.pii == "drop":
            done.dropped[PERSONAL] += 1
            continue
        yield _with_origin(replace(target, messages=redacted.messages) if redacted.seen else target)


def _with_origin(target: Target) -> Target:
    """What came from a file is kept as it is used."""
    return (
        replace(target, origin=origin_of_file(target.messages, target.tools)) if is_filed(target) else target
    )


def _out_of_suites(
    targets: Sequence[Target], groups: Groups, given: Given, done: Assembled
) -> Iterable[Target]:
    cases = {asking.prompt_hash for asking in given.suites}
    for target in targets:
        if groups.of[target.prompt_hash] not in groups.in_suite:
            yield target
            continue
        near = groups.alike.get(target.prompt_hash, frozenset())
        if target.prompt_hash in cases:
            done.leaks[IN_SUITE] += 1
        else:
            done.leaks[NEAR_SUITE if near & cases else LINKED_SUITE] += 1


def _placed(targets: Sequence[Target], groups: Groups, given: Given, done: Assembled) -> list[_Placed]:
    """Each target on its side; a group that is of the general set alone is on none but training's."""
    student = given.student
    parts = parts_of(
        groups.of,
        given.past,
        validation_share=student.validation_share,
        test_share=student.test_share,
        seed=student.seed,
    )
    own = {t.prompt_hash: groups.of[t.prompt_hash] for t in targets if t.source != Source.GENERAL}
    done.placed = {prompt: parts[name] for prompt, name in own.items()}
    shared = {*own.values(), *(groups.of[prompt] for prompt in given.past if prompt in groups.of)}
    found = []
    for target in targets:
        name = groups.of[target.prompt_hash]
        part = parts[name] if name in shared else TRAIN
        if why := _misplaced(target, part, given.past.get(target.prompt_hash)):
            done.dropped[why] += 1
        else:
            found.append(_Placed(target, name, part))
    return found


def _misplaced(target: Target, part: Part, past: Past | None) -> str | None:
    if part == TRAIN:
        return None
    if target.source in TRAINED_ONLY:
        return HELD_OUT
    return TRAINED_BEFORE if past is not None and past == Past(TRAIN, True) else None


def _distinct(placed: Sequence[_Placed], groups: Groups, done: Assembled) -> Iterable[_Placed]:
    """Of near duplicates the best known; answers of practice beside, where they say something else."""
    near = _Near(placed, groups)
    kept: dict[str, Target] = {}
    for one in sorted(placed, key=lambda one: _preference(one.target)):
        target = one.target
        best = kept.get(target.prompt_hash)
        if best is not None:
            practice = target.source == Source.PRACTICE
            if practice and _answer(target) != _answer(best):
                yield one
            else:
                done.dropped[SAME_PRACTICE if practice else NEAR_DUPLICATE] += 1
            continue
        if any(_same(target, kept[other]) for other in near.of(target.prompt_hash) if other in kept):
            done.dropped[NEAR_DUPLICATE] += 1
            continue
        kept[target.prompt_hash] = target
        yield one


class _Near:
    """The near duplicates of a prompt.

    Of prompts that ask in the same words each is linked with the next one only, and the first of them with
    what is like them all. Whichever of them is kept, the others are near duplicates of it.
    """

    def __init__(self, placed: Sequence[_Placed], groups: Groups) -> None:
        self._alike = groups.alike
        self._words = {one.target.prompt_hash: folded(asking_text(one.target.prompt)) for one in placed}
        self._asking: dict[str, list[str]] = defaultdict(list)
        for prompt in sorted(self._words):
            if prompt in groups.alike:  # what is linked with nothing may be a form that thousands share
                self._asking[self._words[prompt]].append(prompt)

    def of(self, prompt: str) -> list[str]:
        """They, in an order that is always the same."""
        same = self._asking.get(self._words[prompt], [prompt])
        near = {other for one in same for other in self._alike.get(one, ())}
        words = {self._words[other] for other in near if other in self._words}
        return sorted({*same, *(other for text in words for other in self._asking[text])} - {prompt})


def _preference(target: Target) -> tuple[int, float, str, str]:
    """The best known first, and of those the newest."""
    age = -(target.at or OLDEST).timestamp() if target.at else 0.0
    return ORDER.index(target.source), age, target.prompt_hash, target.origin.body


def _answer(target: Target) -> tuple[str, str]:
    last = target.messages[-1]
    return " ".join(last["content"].split()), str(last.get("tool_calls"))


def _same(one: Target, other: Target) -> bool:
    """Whether near duplicates ask the same: words or a past in common are not enough, nor are other rules."""
    return _alike(one.prompt.user, other.prompt.user) and _alike(one.prompt.system, other.prompt.system)


def _alike(one: str, other: str) -> bool:
    if one == other:
        return True
    a, b = folded(one)[-COMPARED:], folded(other)[-COMPARED:]
    return Levenshtein.normalized_similarity(a, b, score_cutoff=SAME) >= SAME


def _counted(placed: Sequence[_Placed], given: Given, done: Assembled) -> dict[Part, list[Example]]:
    """The examples of each part that are short enough.

    Raises:
        DatasetError: None is.
    """
    tokens = given.count([chat_of(one.target.messages, one.target.tools) for one in placed])
    found: dict[Part, list[Example]] = defaultdict(list)
    newest_first = sorted(zip(placed, tokens, strict=True), key=lambda pair: _newest(pair[0].target))
    for one, long in newest_first:
        if long > given.student.max_tokens:
            done.dropped[NO_TEMPLATE if long >= REFUSED else TOO_LONG] += 1
        else:
            found[one.part].append(_example(one, long, given))
    done.longest = max((long for long in tokens if long < REFUSED), default=0)
    if placed and not found:
        raise DatasetError(_all_too_long([long for long in tokens if long < REFUSED], len(tokens), given))
    return found


def _all_too_long(tokens: Sequence[int], examples: int, given: Given) -> str:
    if not tokens:
        return (
            f"the chat template of {given.student.base!r} refuses every one of {examples:,} examples; "
            "set student.base to a checkpoint with a template that takes such conversations"
        )
    return (
        f"every one of {examples:,} examples is too long: they have {min(tokens):,} to {max(tokens):,} "
        f"tokens, and student.max_tokens is {given.student.max_tokens:,}; raise it to {min(tokens):,} or "
        "more, or shorten the prompts"
    )


def _newest(target: Target) -> tuple[float, str]:
    return (-target.at.timestamp() if target.at else 0.0), target.origin.body


def _example(one: _Placed, tokens: int, given: Given) -> Example:
    target = one.target
    weighty = one.part == TRAIN and target.hard and target.source not in TRAINED_ONLY
    return Example(
        id=example_id(target.source, target.origin),
        request=target.request,
        messages=target.messages,
        tools=target.tools,
        source=target.source,
        weight=given.student.hard_weight if weighty else 1.0,
        slice=target.slice or given.slices.get(target.prompt_hash),
        prompt_hash=target.prompt_hash,
        group=one.group,
        tokens=tokens,
        origin=target.origin,
        teacher=target.teacher,
    )


def _fill(done: Assembled, found: Mapping[Part, Sequence[Example]], given: Given) -> None:
    """Choose what the budget has room for; what the held-out parts leave goes to training."""
    student = given.student
    left = float(student.token_budget)
    for part, share in ((TEST, student.test_share), (VALIDATION, student.validation_share)):
        wanted = found.get(part, ())
        done.parts[part] = fill(reservoir(wanted, student.seed), share * student.token_budget)
        done.dropped[OVER_BUDGET] += len(wanted) - len(done.parts[part])
        left -= sum(example.tokens for example in done.parts[part])
    general = [e for e in found.get(TRAIN, ()) if e.source == Source.GENERAL]
    own = [e for e in found.get(TRAIN, ()) if e.source != Source.GENERAL]
    before = {prompt for prompt, past in given.past.items() if past == Past(TRAIN, True)}
    mixed = mix(
        [e for e in own if e.prompt_hash not in before],
        [e for e in own if e.prompt_hash in before],
        general,
        share=student.replay_share,
        budget=int(left),
        seed=student.seed,
    )
    done.dropped[OVER_BUDGET] += mixed.over
    done.earlier = len(mixed.old)
    done.parts[TRAIN] = [*mixed.new, *mixed.old, *mixed.general]
    ways = {target.origin: target.hard for target in given.targets}
    for example in done.parts[TRAIN]:
        if example.weight > 1:
            done.hard.update(ways.get(example.origin, ()))

"""Which examples are on which side: whole groups, held out for good.

A group is all that could leak from one part into another: the turns of a conversation, requests that go on
where another one ended, and near duplicates; and whatever such links connect. Where a group of one part comes
to be linked with a group of another, the more held-out part takes both.

Invariant: no group is on two sides or has a case of a suite in it, and a prompt that was ever held out is
never trained on later, whatever traffic comes. Pure.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from distill.dataset.example import PARTS, TEST, TRAIN, VALIDATION, Chat, Part
from distill.dataset.near import similar_pairs
from router.fitting.splits import position
from router.prompt import Prompt
from stepdown.ids import digest

SALT = "dataset"


class Past(NamedTuple):
    """What earlier datasets made of a prompt.

    Attributes:
        part: The part that its group was in.
        included: Whether an example of it was in that part.
    """

    part: Part
    included: bool


class Asking(NamedTuple):
    """A prompt that takes part in the split.

    Attributes:
        messages: That were asked, the answer left out.
        suite: Whether it is a case of an evaluation suite.
    """

    prompt_hash: str
    messages: Sequence[Chat]
    prompt: Prompt
    suite: bool = False


class Groups(NamedTuple):
    """The groups of prompts, each named by its first prompt.

    Attributes:
        of: The group of each prompt.
        in_suite: Groups that have a case of a suite in them.
        alike: For each prompt, its near duplicates.
    """

    of: Mapping[str, str]
    in_suite: frozenset[str]
    alike: Mapping[str, frozenset[str]]


class Links:
    """Sets of things that are linked (union-find with path halving)."""

    def __init__(self) -> None:
        self._parent: dict[Hashable, Hashable] = {}

    def root(self, one: Hashable) -> Hashable:
        """The thing that stands for all that are linked with this one."""
        parent = self._parent
        parent.setdefault(one, one)
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    def link(self, one: Hashable, other: Hashable) -> None:
        """Link two things, and so all that are linked with either."""
        self._parent[self.root(one)] = self.root(other)


def group(
    askings: Sequence[Asking], conversations: Sequence[tuple[str, Hashable]], order: Mapping[str, int]
) -> Groups:
    """Put prompts into groups.

    Args:
        askings: The prompts, those of suites among them.
        conversations: Prompt hash and conversation of all requests that have one, labelled or not.
        order: When each prompt came first, as a rank; a group is named by its first prompt.
    """
    links = Links()
    for prompt, conversation in conversations:
        links.link(("prompt", prompt), ("conversation", conversation))
    _link_continued(links, askings)
    alike: dict[str, set[str]] = {}
    for i, j in similar_pairs([asking_text(asking.prompt) for asking in askings]):
        one, other = askings[i].prompt_hash, askings[j].prompt_hash
        links.link(("prompt", one), ("prompt", other))
        alike.setdefault(one, set()).add(other)
        alike.setdefault(other, set()).add(one)
    prompts = {asking.prompt_hash for asking in askings} | {prompt for prompt, _ in conversations}
    hashes = sorted(prompts, key=lambda name: (order.get(name, len(order)), name))
    names: dict[Hashable, str] = {}
    of = {name: names.setdefault(links.root(("prompt", name)), name) for name in hashes}
    in_suite = frozenset(of[asking.prompt_hash] for asking in askings if asking.suite)
    return Groups(of, in_suite, {name: frozenset(others) for name, others in alike.items()})


def asking_text(prompt: Prompt) -> str:
    """What near duplicates are told by: not the system's rules, which a whole application shares."""
    return f"{prompt.history}\n{prompt.user}" if prompt.history else prompt.user


def part_at(name: str, *, validation_share: float, test_share: float, seed: int) -> Part:
    """The part of a new group: by a hash of its name."""
    at = position(name, seed, SALT)
    if at < test_share:
        return TEST
    return VALIDATION if at < test_share + validation_share else TRAIN


def parts_of(
    groups: Mapping[str, str],
    past: Mapping[str, Past],
    *,
    validation_share: float,
    test_share: float,
    seed: int,
) -> dict[str, Part]:
    """The part of each group; the most held-out one that any prompt of it was in before, if one was.

    Args:
        groups: The group of each prompt.
        past: What earlier datasets made of prompts.
        validation_share: Share of new groups, and `test_share` likewise.
        test_share: See above.
        seed: Of the draw.
    """
    before: dict[str, Part] = {}
    for prompt, name in groups.items():
        if prompt in past:
            before[name] = max(before.get(name, TRAIN), past[prompt].part, key=PARTS.index)
    shares = {"validation_share": validation_share, "test_share": test_share}
    return {
        name: before[name] if name in before else part_at(name, **shares, seed=seed)
        for name in set(groups.values())
    }


def _link_continued(links: Links, askings: Sequence[Asking]) -> None:
    """Link requests with those that they go on from: whose messages theirs begin with."""
    chains = [_chain(asking.messages) for asking in askings]
    whole = {chain[-1] for chain in chains if chain}
    for asking, chain in zip(askings, chains, strict=True):
        for name in chain:
            if name in whole:
                links.link(("prompt", asking.prompt_hash), ("messages", name))


def _chain(messages: Sequence[Chat]) -> list[str]:
    """A hash of the messages up to each of the user's, the system's rules left out."""
    said: list[str] = []
    chain = []
    for message in messages:
        if message["role"] in ("system", "developer"):
            continue
        calls = msgspec.json.encode(message.get("tool_calls")).decode()
        said.append(f"{message['role']}\x00{' '.join(message['content'].casefold().split())}\x00{calls}")
        if message["role"] != "assistant":
            chain.append(digest("\x01".join(said).encode("utf-8", "surrogatepass")))
    return chain

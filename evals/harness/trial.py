"""Prompt trials: ways of asking one model, tried on a suite against the request as it is.

Invariant: a variant is named the best only where its advantage is significant after the correction for all
variants tried. The winner's settings ask exactly as the trial did.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from evals.harness.contender import Contender
from evals.harness.form import Column, Comparison, Evaluation
from evals.harness.measure import significant
from evals.harness.toml import toml_key, toml_value
from stepdown.errors import SuiteError
from stepdown.settings.base import Temperature

AS_IS = "as-is"


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way of asking, `[variants.NAME]`; see `Contender`."""

    system: str | None = None
    user: str | None = None
    temperature: Temperature | None = None
    samples: Annotated[int, msgspec.Meta(ge=1, le=16)] | None = None


class VariantsFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML file of variants."""

    variants: dict[str, Variant]


def read_variants(paths: Sequence[Path], alias: str, *, samples: int = 1) -> list[Contender]:
    """The variants in files, the request as it is before them.

    Args:
        paths: Of texts, each a system prompt named as its file; or of TOML files with `[variants.NAME]`.
        alias: Of the model that is asked.
        samples: Answers to each case, of variants that do not say.

    Raises:
        SuiteError: A file cannot be read or is wrong, a name is used twice, or two variants ask the same.
    """
    contenders = [Contender(name=AS_IS, alias=alias, samples=samples)]
    for path in paths:
        for name, variant in _variants(path):
            contenders.append(
                Contender(
                    name=name,
                    alias=alias,
                    system=variant.system,
                    user=variant.user,
                    temperature=variant.temperature,
                    samples=variant.samples or samples,
                )
            )
    _refuse_repeated(contenders)
    return contenders


def _variants(path: Path) -> Iterator[tuple[str, Variant]]:
    try:
        text = path.read_text()
        if path.suffix != ".toml":
            if not text.strip():
                raise SuiteError(f"prompt {str(path)!r} is empty; write a system prompt into it")
            yield path.stem, Variant(system=text.strip())
            return
        yield from msgspec.convert(tomllib.loads(text), VariantsFile).variants.items()
    except OSError as error:
        raise SuiteError(f"variants {str(path)!r} cannot be read: {error.strerror}") from error
    except (ValueError, msgspec.ValidationError) as error:
        raise SuiteError(f"variants {str(path)!r}: {error}") from error


def _refuse_repeated(contenders: Sequence[Contender]) -> None:
    names: set[str] = set()
    asked: dict[tuple[Any, ...], str] = {}
    for contender in contenders:
        if contender.name in names:
            raise SuiteError(f"variant {contender.name!r} is there twice ({AS_IS} is the request as it is)")
        names.add(contender.name)
        way = (contender.system, contender.user, contender.temperature, contender.samples)
        if way in asked:
            raise SuiteError(f"variants {asked[way]!r} and {contender.name!r} ask the same")
        asked[way] = contender.name


def winner(evaluation: Evaluation) -> Comparison | None:
    """The best variant that is significantly better than the request as it is; the cheaper of equals."""
    better = [
        one
        for one in evaluation.comparisons
        if one.slice is None
        and (one.difference.value or 0) > 0
        and significant(one.p_holm, evaluation.confidence)
    ]

    def rank(one: Comparison) -> tuple[float, float]:
        cost = evaluation.column(one.column).cost_per_1000_usd_micros.value
        return one.difference.value or 0.0, -(cost or 0.0)

    return max(better, key=rank, default=None)


def trial_lines(evaluation: Evaluation) -> Iterator[str]:
    """Which variant is the best, and the settings that ask so."""
    best = winner(evaluation)
    tried = sum(one.slice is None for one in evaluation.comparisons)
    if best is None:
        yield (
            f"No variant is significantly better than {evaluation.baseline}, after the correction for "
            f"{tried} comparisons: nothing is to be changed on this evidence."
        )
        return
    yield f"The best is {best.column}: significantly better than {evaluation.baseline}. Its settings:"
    yield ""
    yield from candidate_toml(evaluation.task, evaluation.column(best.column))


def candidate_toml(task: str, column: Column) -> Iterator[str]:
    """The settings of a portfolio whose one candidate asks as a variant did."""
    if column.user is not None:
        yield "# a portfolio has no template for the user's message; put this into the application:"
        yield from (f"#   {line}" for line in column.user.splitlines())
    yield f"[[tasks.{toml_key(task)}.portfolio.candidates]]"
    yield f"model = {toml_value(column.alias)}"
    if column.system is not None:
        yield f"system = {toml_value(column.system)}"
    if column.temperature is not None:
        yield f"temperature = {toml_value(column.temperature)}"

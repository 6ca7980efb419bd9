"""Prompt trials: variants from files, and when one of them is named the best."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from msgspec import structs

from evals.harness.form import Evaluation
from evals.harness.trial import read_variants, trial_lines, winner
from stepdown.errors import SuiteError
from stepdown.settings import load_settings
from tests.evals.harness.suites import evaluated, read, sums

TOML = """
[variants.steps]
system = "Think in steps."
temperature = 0.7
samples = 3
[variants.framed]
user = "Question: {prompt}"
"""


def test_variants_are_read_from_texts_and_tables(tmp_path: Path) -> None:
    (tmp_path / "brief.txt").write_text("Be brief.\n")
    (tmp_path / "more.toml").write_text(TOML)
    found = read_variants([tmp_path / "brief.txt", tmp_path / "more.toml"], "big", samples=2)
    assert [(v.name, v.system, v.user, v.temperature, v.samples) for v in found] == [
        ("as-is", None, None, None, 2),
        ("brief", "Be brief.", None, None, 2),
        ("steps", "Think in steps.", None, 0.7, 3),
        ("framed", None, "Question: {prompt}", None, 2),
    ]
    assert {v.alias for v in found} == {"big"}


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.txt", "  \n", "is empty"),
        ("a.toml", "[variants.x]\nsytem = 'typo'", "sytem"),
        ("a.toml", "not toml", "a.toml"),
        ("a.toml", "[variants.x]\ntemperature = 9", "temperature"),
        ("a.toml", "[variants.x]\nuser = 'nothing'", "no {prompt}"),
        ("a.toml", "[variants.x]\n", "ask the same"),
        ("a.toml", "[variants.as-is]\nsystem = 'x'", "is there twice"),
        ("missing.txt", None, "cannot be read"),
    ],
)
def test_a_variant_that_makes_no_sense_is_refused(
    tmp_path: Path, name: str, text: str | None, why: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(SuiteError) as error:
        read_variants([tmp_path / name], "big")
    assert why in str(error.value)


def trial(tmp_path: Path, costs: dict[str, int | None] | None = None, **right: int) -> Evaluation:
    """A trial of 100 cases, of which so many are right."""
    suite = read(tmp_path, sums(100))
    scores = {name: [1.0] * count + [0.0] * (100 - count) for name, count in right.items()}
    return evaluated(suite, scores, cost=costs)


def test_the_best_is_the_one_that_is_significantly_better(tmp_path: Path) -> None:
    best = winner(trial(tmp_path, as_is=60, worse=40, slightly=63, better=75, best=85))
    assert best is not None
    assert best.column == "best"


def test_of_equals_the_cheaper_is_the_best(tmp_path: Path) -> None:
    best = winner(trial(tmp_path, {"dear": 200, "cheap": 50}, as_is=60, dear=85, cheap=85))
    assert best is not None
    assert best.column == "cheap"


def test_what_could_be_chance_is_not_named(tmp_path: Path) -> None:
    found = trial(tmp_path, as_is=60, slightly=64, worse=30)
    assert winner(found) is None
    assert "No variant is significantly better than as_is" in "\n".join(trial_lines(found))


def test_an_advantage_must_survive_the_correction(tmp_path: Path) -> None:
    one = trial(tmp_path / "a", as_is=60, better=66)
    assert winner(one) is not None
    many = trial(tmp_path / "b", as_is=60, better=66, v1=60, v2=60, v3=61, v4=59)
    assert winner(many) is None


def test_the_winners_settings_are_settings(tmp_path: Path) -> None:
    found = trial(tmp_path, as_is=60, best=85)
    columns = [
        structs.replace(c, alias="strong", system='Say "so"\n\\x', temperature=1.0) for c in found.columns
    ]
    text = "\n".join(trial_lines(structs.replace(found, columns=columns)))
    snippet = text[text.index("[[tasks") :]
    file = tmp_path / "stepdown.toml"
    file.write_text(f'[models.strong]\nmodel = "m"\nurl = "http://h/v1"\n[tasks.default]\n{snippet}\n')
    portfolio = load_settings(file, environ={}).tasks["default"].portfolio
    assert portfolio is not None
    (candidate,) = portfolio.candidates
    assert (candidate.model, candidate.system, candidate.temperature) == ("strong", 'Say "so"\n\\x', 1.0)


def test_a_text_for_the_users_message_is_said_to_be_the_applications(tmp_path: Path) -> None:
    found = trial(tmp_path, as_is=60, best=85)
    columns = [structs.replace(c, user="Q: {prompt}\nA:") for c in found.columns]
    text = "\n".join(trial_lines(structs.replace(found, columns=columns)))
    assert "#   Q: {prompt}\n#   A:" in text
    assert tomllib.loads(text[text.index("# a portfolio") :])

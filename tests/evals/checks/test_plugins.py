"""Kinds from other distributions: one is installed for real, as a folder on the path."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from evals.checks import Subject, applied, build_check
from stepdown.errors import CheckError
from stepdown.records import Verdict

MODULE = """
from typing import ClassVar
import msgspec
from evals.checks import Outcome, Subject, judged

class Starts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: ClassVar[str] = "7"
    needs_reference: ClassVar[bool] = False
    word: str = "Dear"
    def __call__(self, subject: Subject, /) -> Outcome:
        return judged(subject.text.startswith(self.word), f"wanted {self.word!r} first")

class Plain:
    version, needs_reference = "1", False
    def __init__(self, answer=True):
        self.answer = answer
    def __call__(self, subject):
        return self.answer

def crashes():
    raise RuntimeError("on its own")

def no_check():
    return lambda subject: None
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs a distribution with entry points, as pip would."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def installed(name: str, points: dict[str, str], module: str | None = MODULE) -> None:
        if module is not None:
            (tmp_path / f"{name}.py").write_text(module)
        folder = tmp_path / f"{name}-1.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        lines = "".join(f"{kind} = {value}\n" for kind, value in points.items())
        (folder / "entry_points.txt").write_text(f"[stepdown.checks]\n{lines}")

    yield installed
    for name in [name for name in sys.modules if name.startswith("plug_")]:
        del sys.modules[name]


def test_a_kind_of_another_distribution_is_a_kind_like_others(install: Any) -> None:
    install("plug_a", {"starts": "plug_a:Starts"})
    check = build_check("s", {"kind": "starts", "word": "Hello"})
    assert check.version == "7"
    assert check(Subject("Hello you")).verdict is Verdict.GOOD
    assert check(Subject("Dear you")).verdict is Verdict.BAD
    inside = build_check("s", {"kind": "not", "of": {"kind": "starts"}})
    assert inside(Subject("Dear you")).verdict is Verdict.BAD


def test_nothing_is_imported_for_the_kinds_that_are_built_in(install: Any) -> None:
    install(
        "plug_b", {"number": "plug_b:crashes", "exact": "plug_b:crashes"}, "raise SystemError('imported')"
    )
    assert build_check("n", {"kind": "number"})(Subject("4", 4)).verdict is Verdict.GOOD
    assert "plug_b" not in sys.modules


@pytest.mark.parametrize(
    ("points", "module", "settings", "said"),
    [
        ({"k": "plug_c:Starts"}, "raise RuntimeError('bad import')", {}, "RuntimeError: bad import"),
        ({"k": "plug_c:Missing"}, MODULE, {}, "has no attribute 'Missing'"),
        ({"k": "plug_gone:Starts"}, None, {}, "No module named 'plug_gone'"),
        ({"k": "plug_c:crashes"}, MODULE, {}, "RuntimeError: on its own"),
        ({"k": "plug_c:no_check"}, MODULE, {}, "which is no check: it lacks version, needs_reference"),
        ({"k": "plug_c:Starts"}, MODULE, {"wort": "x"}, "unknown field `wort`"),
        ({"k": "plug_c:Starts"}, MODULE, {"word": 3}, "Expected `str`, got `int`"),
        ({"k": "plug_c:Plain"}, MODULE, {"wort": "x"}, "unexpected keyword argument 'wort'"),
    ],
)
def test_a_broken_plugin_is_named_with_its_distribution(
    install: Any, points: dict[str, str], module: str | None, settings: dict[str, Any], said: str
) -> None:
    install("plug_c", points, module)
    with pytest.raises(CheckError, match=rf"check 'mine' of kind 'k': kind 'k' of plug_c 1\.2 .*{said}"):
        build_check("mine", {"kind": "k", **settings})


def test_two_distributions_with_one_kind_are_both_named(install: Any) -> None:
    install("plug_d", {"k": "plug_d:Starts"})
    install("plug_e", {"k": "plug_e:Starts"})
    with pytest.raises(CheckError, match=r"plug_d 1\.2, plug_e 1\.2 each bring the kind 'k'"):
        build_check("mine", {"kind": "k"})


def test_an_unknown_kind_lists_the_plugins_too(install: Any) -> None:
    install("plug_f", {"starts": "plug_f:Starts"})
    with pytest.raises(CheckError, match=r"has kind 'strats'; known kinds: exact, .*, not, starts"):
        build_check("mine", {"kind": "strats"})


def test_what_a_plugin_returns_is_looked_at(install: Any) -> None:
    install("plug_g", {"plain": "plug_g:Plain"})
    outcome = applied(build_check("p", {"kind": "plain"}), Subject("x"))
    assert (outcome.verdict, outcome.evidence) == (
        Verdict.UNSCORED, "the check returned True, which is no outcome"
    )  # fmt: skip

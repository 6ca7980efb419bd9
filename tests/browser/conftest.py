"""Debian's Chromium, and the real dashboard over a ledger that has everything a page can show.

Invariant: a page that says something on its console (what its policy forbids, too), asks another place for
anything, or fails in a script, fails the test that opened it. Where there is no Chromium these tests are
skipped; with CI set, a skipped test fails the run.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec import json, structs
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from bench.dashboard.running import dashboard
from bench.dashboard.showcase import make_showcase
from stepdown.ledger import Ledger
from stepdown.settings import DashboardSettings, Settings, load_settings
from tests.fakes import FakeModel, running

CHROMIUM = "chromium"
PROMPTS = 1000  # of the recording: enough for a router, and made in a minute or two
BOUND = 0.05  # which those can certify
PHONE: ViewportSize = {"width": 390, "height": 844}
SCREEN: ViewportSize = {"width": 1280, "height": 900}
MADE = "made"
KEPT = "STEPDOWN_SHOWCASE"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a browser."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """A browser of this package alone: its event loop must not run under tests that have their own."""
    found = shutil.which(CHROMIUM)
    if found is None:
        pytest.skip("needs Debian's Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def showcase(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a ledger that has everything, made once for all processes of a run.

    `STEPDOWN_SHOWCASE` names a folder in which it is kept for the next run.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "popen-" in base.name else base) / "showcase"
    home = Path(os.environ.get(KEPT, shared))
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / MADE).exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            settings = make_showcase(home, limit=PROMPTS, bound=BOUND)
            (home / "settings.json").write_bytes(json.encode(settings))
            (home / MADE).touch()
    return home


@pytest.fixture(scope="session")
def upstream() -> Iterator[FakeModel]:
    """The model that all aliases lead to."""
    with running(model := FakeModel()):
        yield model


@dataclass(frozen=True)
class Site:
    """A dashboard that runs.

    Attributes:
        ledger: That it reads and writes.
    """

    url: str
    settings: Settings
    ledger: Ledger


@contextmanager
def serving(settings: Settings) -> Iterator[Site]:
    """Run the real dashboard."""
    ledger = Ledger(settings.database_url)
    try:
        with dashboard(settings, Path(settings.home) / "dashboard.log") as url:
            yield Site(url, settings, ledger)
    finally:
        ledger.close()


def copied(showcase: Path, home: Path, upstream: FakeModel) -> Settings:
    """Settings of a copy of the showcase, whose models are a fake."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(showcase / "ledger.db", home / "ledger.db")
    settings = load_settings(showcase / "settings.json")
    models = {
        alias: structs.replace(m, url=upstream.url, replicas=()) for alias, m in settings.models.items()
    }
    return structs.replace(settings, home=str(home), models=models, dashboard=DashboardSettings(port=0))


@pytest.fixture(scope="session")
def site(showcase: Path, upstream: FakeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A dashboard for tests that change nothing."""
    with serving(copied(showcase, tmp_path_factory.mktemp("site"), upstream)) as served:
        yield served


@pytest.fixture
def own(showcase: Path, upstream: FakeModel, tmp_path: Path) -> Iterator[Site]:
    """A dashboard of the test's own, to act on."""
    with serving(copied(showcase, tmp_path / "own", upstream)) as served:
        yield served


@pytest.fixture
def empty(showcase: Path, upstream: FakeModel, tmp_path: Path) -> Iterator[Site]:
    """A dashboard over a ledger that has nothing in it."""
    settings = copied(showcase, tmp_path / "empty", upstream)
    (tmp_path / "empty" / "ledger.db").unlink()
    with serving(settings) as served:
        yield served


@dataclass
class Watch:
    """What went wrong on a page.

    Attributes:
        expected: Words in a complaint that the test is about.
    """

    url: str
    expected: str = ""
    wrong: list[str] = field(default_factory=list)

    def over(self, page: Page) -> None:
        """Listen."""
        page.on("console", lambda said: self._said(said.type, said.text))
        page.on("pageerror", lambda error: self.wrong.append(f"script failed: {error}"))
        page.on("request", lambda asked: self._asked(asked.url))

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not (self.expected and self.expected in text):
            self.wrong.append(f"console {kind}: {text}")

    def _asked(self, url: str) -> None:
        if not url.startswith((self.url, "data:")):
            self.wrong.append(f"asked another place: {url}")


Open = Callable[..., Page]


@pytest.fixture
def browse(chromium: Browser) -> Iterator[Open]:
    """Opens pages, each in a browser profile of its own; whatever goes wrong on one fails the test."""
    watches: list[Watch] = []
    with ExitStack() as stack:

        def opened(
            site: Site,
            path: str,
            *,
            dark: bool = False,
            phone: bool = False,
            scripts: bool = True,
            wrong: str = "",
        ) -> Page:
            context = chromium.new_context(
                base_url=site.url,
                viewport=PHONE if phone else SCREEN,
                color_scheme="dark" if dark else "light",
                java_script_enabled=scripts,
                reduced_motion="reduce",
            )
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(30_000)
            watches.append(Watch(site.url, wrong))
            watches[-1].over(page)
            page.goto(path)
            return page

        yield opened
    wrong = [line for watch in watches for line in watch.wrong]
    assert not wrong, wrong


def settled(page: Page) -> None:
    """Wait until the page has asked for all that it asks for."""
    page.wait_for_load_state("networkidle")

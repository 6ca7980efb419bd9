"""`python -m bench.screenshots [--home DIR] [--out docs/images]`: the README's pictures of the dashboard.

Each is the real page over a ledger that the product filled, in Debian's Chromium, and small enough to be kept
beside the code. With `--home`, a ledger that was made before is used again.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from msgspec import json, structs
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from sqlalchemy import select

from bench.dashboard.running import dashboard
from bench.dashboard.showcase import SUMS, come_alive, make_showcase
from stepdown.ledger import Ledger, schema
from stepdown.settings import DashboardSettings, Settings, load_settings
from tests.fakes import FakeModel, running, streamed

CHROMIUM = "chromium"
OUT = Path(__file__).parents[1] / "docs" / "images"
SETTINGS = "settings.json"
WIDTH, TALLEST = 1280, 1000
PHONE_WIDTH, PHONE_TALLEST = 390, 844
COLOURS = 256
USER = "you"
MOST_BYTES = 200_000
ASKED = "Which is larger, 3/7 or 4/9? Answer with the fraction alone."
ANSWERED = {"recorded-strong": "4/9: it is about 0.444, and 3/7 about 0.429."}
ELSE = "3/7 is larger."


class Picture(NamedTuple):
    """One picture: a file's name, the page, and how it is looked at."""

    name: str
    path: str
    dark: bool = False
    phone: bool = False


PICTURES = (
    Picture("overview", "/?range=30d"),
    Picture("overview-dark", "/?range=30d", dark=True),
    Picture("frontier", "/frontier"),
    Picture("slices", "/slices"),
    Picture("requests", "/requests"),
    Picture("request", "/requests/{pair}"),
    Picture("playground", "/playground"),
    Picture("labels", "/labels"),
    Picture("students", f"/students?task={SUMS}"),
    Picture("nights", f"/nights?task={SUMS}"),
    Picture("phone", "/?range=30d", phone=True),
)


@click.command()
@click.option("--home", type=click.Path(path_type=Path), help="Keep the ledger here, and use one that is.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, show_default=True)
@click.option("--limit", type=int, help="Recorded prompts that the demo uses; all if not given.")
def main(home: Path | None, out: Path, limit: int | None) -> None:
    """Make the pictures anew."""
    found = shutil.which(CHROMIUM)
    if found is None:
        raise click.ClickException("Debian's Chromium is needed: apt-get install chromium")
    out.mkdir(parents=True, exist_ok=True)
    model = FakeModel(behaviour=lambda asked: streamed(ANSWERED.get(asked.json["model"], ELSE)))
    with _kept(home) as folder, running(model):
        _take_all(_settings(folder, limit, model), folder / "dashboard.log", found, out)


def _take_all(settings: Settings, log: Path, chromium: str, out: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        ledger = Ledger(settings.database_url)
        with dashboard(settings, log, user=USER) as url:
            for picture in PICTURES:
                come_alive(ledger)
                size = _take(browser, url, picture, _pair(ledger), out)
                click.echo(f"dashboard-{picture.name}.png: {size / 1000:.0f} kB")
        ledger.close()
        browser.close()


@contextmanager
def _kept(home: Path | None) -> Iterator[Path]:
    if home is not None:
        yield home
        return
    with tempfile.TemporaryDirectory(prefix="stepdown-showcase-") as folder:
        yield Path(folder) / "showcase"


def _settings(home: Path, limit: int | None, model: FakeModel) -> Settings:
    """Those of the showcase, which is made where it is not there, with models that are a fake."""
    file = home / SETTINGS
    if not file.exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        file.write_bytes(json.encode(make_showcase(home, limit=limit)))
    settings = load_settings(file)
    models = {name: structs.replace(one, url=model.url, replicas=()) for name, one in settings.models.items()}
    return structs.replace(
        settings, home=str(home.absolute()), models=models, dashboard=DashboardSettings(port=0)
    )


def _pair(ledger: Ledger) -> str:
    """The newest request of the demo that both models answered."""
    requests, decisions = schema.requests, schema.decisions
    joined = requests.join(decisions, decisions.c.request == requests.c.id)
    query = select(requests.c.id).select_from(joined).where(decisions.c.explored, requests.c.task != SUMS)
    return str(ledger.rows(query.order_by(requests.c.at.desc()).limit(1))[0].id)


def _take(browser: Browser, url: str, picture: Picture, pair: str, out: Path) -> int:
    """Take one picture; returns its size in bytes."""
    width, tallest = (PHONE_WIDTH, PHONE_TALLEST) if picture.phone else (WIDTH, TALLEST)
    context = browser.new_context(
        base_url=url,
        viewport={"width": width, "height": tallest},
        color_scheme="dark" if picture.dark else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(picture.path.format(pair=pair))
    page.wait_for_load_state("networkidle")
    if picture.name == "playground":
        _play(page)
    shot = page.screenshot()
    context.close()
    content = _small(shot)
    (out / f"dashboard-{picture.name}.png").write_bytes(content)
    return len(content)


def _play(page: Page) -> None:
    """Ask, so that there is something to see."""
    page.get_by_label("Prompt", exact=True).fill(ASKED)
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#state")).to_have_text("done")
    expect(page.locator("#advice h2")).to_be_visible()
    page.locator("#answers").scroll_into_view_if_needed()


def _small(shot: bytes) -> bytes:
    """The picture with so few colours that it is small enough to be kept beside the code.

    The colours are those that most of it has, so that grounds and the swatches of a legend stay as they are.
    """
    pixels = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))
    found, places, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
    by_count = found[np.argsort(-counts, kind="stable")].astype(int)
    colours = COLOURS
    while True:
        kept = by_count[:colours]
        nearest = ((found[:, None, :].astype(int) - kept[None]) ** 2).sum(axis=2).argmin(axis=1)
        image = Image.fromarray(nearest[places].astype(np.uint8).reshape(pixels.shape[:2]), "P")
        image.putpalette(kept.astype(np.uint8).tobytes())
        packed = io.BytesIO()
        image.save(packed, "PNG", optimize=True)
        if packed.tell() <= MOST_BYTES or colours <= COLOURS // 8:
            return packed.getvalue()
        colours //= 2


if __name__ == "__main__":
    main()

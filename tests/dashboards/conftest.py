"""A dashboard over an empty ledger, and a browser of one person that uses it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from httpx import Response
from starlette.testclient import TestClient

from dashboards.app import create_app
from dashboards.site import Site
from stepdown.ledger import Ledger
from stepdown.settings import DashboardSettings, ModelSettings, Settings, TaskSettings

BASE_URL = "http://127.0.0.1"
_token = re.compile(r'<meta name="token" content="([^"]+)">')


def hash_of(key: str) -> str:
    """What the settings declare of a person's key."""
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(frozen=True)
class Dashboard:
    """A dashboard, as one browser has it.

    Attributes:
        client: The browser: it keeps cookies, and follows no redirect unless told.
        ledger: Where the dashboard reads and writes.
        settings: All settings.
        site: What its pages are made from.
    """

    client: TestClient
    ledger: Ledger
    settings: Settings
    site: Site

    def get(self, path: str, /, **query: Any) -> Response:
        """A page, as it is answered."""
        answer: Response = self.client.get(path, params=query or None)
        return answer

    def html(self, path: str, /, **query: Any) -> str:
        """The text of a page, which must be there."""
        answer = self.get(path, **query)
        assert answer.status_code == 200, answer.text
        return answer.text

    def token(self, path: str = "/promotions") -> str:
        """The token of a page."""
        found = _token.search(self.html(path))
        assert found is not None
        return found[1]

    def post(self, path: str, headers: dict[str, str] | None = None, /, **fields: Any) -> Response:
        """Send a form, with the token of a page unless one is given."""
        sent = {"token": self.token(), **fields} if "token" not in fields else fields
        kind = {"content-type": "application/x-www-form-urlencoded", **(headers or {})}
        answer: Response = self.client.post(path, content=urlencode(sent), headers=kind)
        return answer

    def sign_in(self, key: str) -> Response:
        """Sign in with a key."""
        return self.post("/sign-in", token="", key=key)


Open = Callable[..., Dashboard]


def settings_of(home: Path, ledger: Ledger, **more: Any) -> Settings:
    """Settings of one task with two models, its ledger where the test has it."""
    models = {
        "strong": ModelSettings(
            model="big", url="http://127.0.0.1:9/v1", input_usd_per_million=2.5, output_usd_per_million=10.0
        ),
        "small": ModelSettings(
            model="little",
            url="http://127.0.0.1:9/v1",
            input_usd_per_million=0.15,
            output_usd_per_million=0.6,
        ),
    }
    tasks = {"default": TaskSettings(small="small")}
    url = ledger.engine.url.render_as_string(hide_password=False)
    return Settings(**{"home": str(home), "database": url, "models": models, "tasks": tasks, **more})


@pytest.fixture
def open_dashboard(ledger: Ledger, tmp_path: Path) -> Iterator[Open]:
    """Opens dashboards over the test's ledger, with whatever settings it names."""
    with ExitStack() as stack:

        def opened(*, environ: dict[str, str] | None = None, kept_s: float = 0.0, **more: Any) -> Dashboard:
            settings = settings_of(tmp_path / "home", ledger, **more)
            app = create_app(settings, ledger=ledger, environ=environ or {}, kept_s=kept_s)
            client = TestClient(app, base_url=BASE_URL, follow_redirects=False, raise_server_exceptions=False)
            return Dashboard(stack.enter_context(client), ledger, settings, app.state.site)

        yield opened


@pytest.fixture
def dashboard(open_dashboard: Open) -> Dashboard:
    """A dashboard that nobody need sign in to."""
    return open_dashboard()


@pytest.fixture
def guarded(open_dashboard: Open) -> Dashboard:
    """A dashboard of one person and one annotator; their keys are `open sesame` and `only labels`."""
    people = DashboardSettings(people={"Person": hash_of("open sesame")})
    return open_dashboard(dashboard=people, annotators={"Annotator": hash_of("only labels")})

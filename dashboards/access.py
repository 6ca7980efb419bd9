"""Who may see the dashboard, and who may act on it.

Invariant: without people in the settings the dashboard listens on a loopback address only and answers to no
other name, so that no page of another place can reach it; with people, nobody sees anything before signing
in. An annotator's key opens the labelling page alone. What changes anything needs a token of the session, and
a browser that says it comes from a page of this dashboard.
"""

from __future__ import annotations

import getpass
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from dashboards.session import Session, Signer
from router.access import is_loopback
from stepdown.errors import Forbidden, SettingsError, Unauthorized
from stepdown.settings import Settings

COOKIE = "stepdown_session"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
OWNER = "owner"  # where the machine has no name for the user whose dashboard it is


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever uses the dashboard.

    Attributes:
        name: Kept with what they do.
        only_labels: Whether the labelling page is all that they see.
    """

    name: str
    only_labels: bool = False


class WrongHost(Forbidden):
    """The request names a host that this dashboard does not answer to."""

    status = 421


def check_dashboard(settings: Settings) -> None:
    """Refuse to open a dashboard without people to other machines.

    Raises:
        SettingsError: The host is not a loopback address and nobody is declared.
    """
    dashboard = settings.dashboard
    if not dashboard.people and not is_loopback(dashboard.host):
        raise SettingsError(
            f"dashboard.host = {dashboard.host!r} lets other machines in, but dashboard.people is empty, so "
            "anyone could read your traffic; make a key with `stepdown key` and declare its hash under "
            "[dashboard.people], or listen on 127.0.0.1"
        )


class Doors:
    """Lets people in.

    Args:
        settings: All settings.
        signer: Of sessions and tokens.
    """

    def __init__(self, settings: Settings, signer: Signer) -> None:
        dashboard = settings.dashboard
        self._signer = signer
        self._lasts_s = dashboard.session_hours * 3600
        self._owner = _user()
        self.is_open = not dashboard.people
        annotators = {} if self.is_open else settings.annotators
        self._people = {key.lower(): Person(name, True) for name, key in annotators.items()}
        self._people |= {key.lower(): Person(name) for name, key in dashboard.people.items()}
        self._names = _names(settings) if self.is_open or dashboard.names else frozenset()

    def check_host(self, host: str) -> None:
        """Refuse a request that names another host: its page may be anyone's.

        Raises:
            WrongHost: It does.
        """
        name = _name_in(host)
        if self._names and name not in self._names:
            raise WrongHost(
                f"this dashboard does not answer to the name {name!r:.200}; add it to dashboard.names, or "
                f"use one of {', '.join(sorted(self._names))}",
                code="wrong_host",
            )

    def session_of(self, cookies: Mapping[str, str]) -> Session | None:
        """The session that a browser has; None where it has none that counts."""
        session = self._signer.from_cookie(cookies.get(COOKIE, ""), at=time.time())
        return session if session is not None and self._person(session) is not None else None

    def visit(self) -> Session:
        """A session of somebody who need not sign in."""
        return self._signer.new("", "", time.time() + self._lasts_s)

    def sign_in(self, key: str) -> Session:
        """A session of the person whose key it is.

        Raises:
            Unauthorized: It is nobody's.
        """
        hashed = hashlib.sha256(key.strip().encode("utf-8", "surrogatepass")).hexdigest()
        person = self._people.get(hashed)
        if person is None:
            raise Unauthorized(
                "this key opens nothing here; keys are declared under [dashboard.people] and [annotators]",
                code="invalid_key",
            )
        return self._signer.new(person.name, hashed[:16], time.time() + self._lasts_s)

    def person(self, session: Session) -> Person:
        """Whose session it is.

        Raises:
            Unauthorized: Their key was taken away.
        """
        person = self._person(session)
        if person is None:
            raise Unauthorized("this session has ended; sign in again", code="session_ended")
        return person

    def _person(self, session: Session) -> Person | None:
        if self.is_open:
            return Person(self._owner) if not session.key else None
        known = (person for key, person in self._people.items() if key[:16] == session.key)
        return next((person for person in known if person.name == session.name), None)

    def cookie(self, session: Session) -> str:
        """The session as the text of its cookie."""
        return self._signer.to_cookie(session)

    def token(self, session: Session) -> str:
        """A token for the forms of a page."""
        return self._signer.token(session)

    def check_form(self, headers: Mapping[str, str], token: str, session: Session) -> None:
        """Refuse what does not come from a form of this dashboard.

        Raises:
            Forbidden: It comes from another page, or without the session's token.
        """
        if is_from_elsewhere(headers) or not self._signer.is_token(token, session):
            raise Forbidden(
                "this form is not from a page of this dashboard, or the page is too old; load it again",
                code="wrong_token",
            )


def is_from_elsewhere(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that a page of another place sent this."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is None and origin is not None:
        return origin.partition("://")[2] != headers.get("host")
    return site not in (None, "same-origin", "none")


def is_by_https(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that the page which sent this form came by https.

    The dashboard itself speaks plain http: whatever ends TLS is before it, and what that says is not asked.
    """
    return headers.get("origin", "").startswith("https://")


def _name_in(host: str) -> str:
    """The name in a Host header, without the port; empty where it cannot be read."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return OWNER


def _names(settings: Settings) -> frozenset[str]:
    host = settings.dashboard.host.strip("[]").lower()
    return frozenset((*LOOPBACK_NAMES, host, *(name.lower() for name in settings.dashboard.names)))

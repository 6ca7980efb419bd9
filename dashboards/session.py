"""Signed sessions, and the tokens that show that a form was shown to the one who sends it.

Invariant: nothing is kept on the server but a key, in a file that only its owner may read; a session that was
changed, or is too old, is none. Knows nothing of HTTP.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from stepdown.errors import SettingsError

KEY_FILE = "dashboard.key"
KEY_BYTES = 32


class Session(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Who a browser belongs to.

    Attributes:
        id: Random, one for each session.
        name: Of the person who signed in; empty where nobody need.
        key: First 16 hex digits of the hash of the key that was used, so that a key taken away ends it.
        until: Seconds since 1970 after which it is none.
    """

    id: str
    name: str
    key: str
    until: float


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs sessions and tokens with one key."""

    key: bytes

    def new(self, name: str, key: str, until: float) -> Session:
        """A session of its own id."""
        return Session(id=secrets.token_urlsafe(16), name=name, key=key, until=until)

    def to_cookie(self, session: Session) -> str:
        """The session as the text of a cookie."""
        content = base64.urlsafe_b64encode(msgspec.json.encode(session)).decode()
        return f"{content}.{self._sign('session', content)}"

    def from_cookie(self, cookie: str, *, at: float) -> Session | None:
        """The session in a cookie; None where it is none, or was one."""
        content, _, signature = cookie.partition(".")
        if not _same(signature, self._sign("session", content)):
            return None
        try:
            session = msgspec.json.decode(base64.urlsafe_b64decode(content), type=Session)
        except (msgspec.MsgspecError, binascii.Error):
            return None
        return session if at < session.until else None

    def token(self, session: Session) -> str:
        """A token for the forms of one page: another each time, so that compression gives nothing away."""
        nonce = secrets.token_urlsafe(12)
        return f"{nonce}.{self._sign('form', session.id + nonce)}"

    def is_token(self, token: str, session: Session) -> bool:
        """Whether a token was made for this session."""
        nonce, _, signature = token.partition(".")
        return _same(signature, self._sign("form", session.id + nonce))

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self.key, f"{purpose}\n{text}".encode(), hashlib.sha256).hexdigest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode())


def _make_key(file: Path) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as new:
        new.write(secrets.token_bytes(KEY_BYTES))


def open_signer(home: Path) -> Signer:
    """The signer of this home, its key made where there is none.

    Raises:
        SettingsError: The file cannot be read or written.
    """
    file = home / KEY_FILE
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):  # then it is there already, or another process was first
            _make_key(file)
        key = file.read_bytes()
    except OSError as error:
        raise SettingsError(f"the dashboard's key {str(file)!r} cannot be kept: {error.strerror}") from error
    if len(key) != KEY_BYTES:
        raise SettingsError(f"the dashboard's key {str(file)!r} is not {KEY_BYTES} bytes; remove the file")
    return Signer(key)

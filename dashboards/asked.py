"""What a request asks for, read from its bytes: path, query, form, and the look that somebody chose.

Invariant: what a client may write at will (its host's name, bytes that are not UTF-8, a form without end)
gets no further than here. Knows nobody.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request

from stepdown.errors import BadRequest, BodyTooLarge

THEME = "stepdown_theme"
THEMES = ("light", "dark", "")
MAX_FORM_BYTES = 2_000_000
MAX_FIELDS = 60


def path_of(request: Request) -> str:
    """The path that was asked for; `request.url` is made with the host's name, which anybody may choose."""
    return str(request.scope["path"])


def theme_of(request: Request) -> str:
    """The look that somebody chose; empty for that of their system."""
    theme = request.cookies.get(THEME, "")
    return theme if theme in THEMES else ""


def query_of(request: Request) -> dict[str, str]:
    """The query of a request, the last value of each name.

    Raises:
        BadRequest: It is not UTF-8, or too long.
    """
    raw: bytes = request.scope["query_string"]
    try:
        return read_query(raw.decode())
    except UnicodeDecodeError as error:
        raise BadRequest(f"the query {raw!r:.200} cannot be read: {error}") from error


def read_query(raw: str) -> dict[str, str]:
    """The last value of each name in a query.

    Raises:
        BadRequest: It is not UTF-8, too long, or holds what no database takes for text.
    """
    try:
        found = dict(parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS))
    except ValueError as error:
        raise BadRequest(f"the query {raw!r:.200} cannot be read: {error}") from error
    for name, value in found.items():
        check_text(name, value)
    return found


def check_text(name: str, value: str) -> None:
    """Refuse a NUL, on which PostgreSQL fails.

    Raises:
        BadRequest: There is one.
    """
    if "\0" in value:
        raise BadRequest(f"{name!r:.100} holds a NUL character, which is no text", param=name)


async def read_fields(request: Request) -> dict[str, str]:
    """The fields of a form, whoever sent it.

    Raises:
        BadRequest: It is too large or cannot be read.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise BodyTooLarge(f"the form is larger than {MAX_FORM_BYTES:,} bytes; send less")
    try:
        return read_query(body.decode("ascii"))
    except UnicodeDecodeError as error:
        raise BadRequest(f"the form cannot be read: {error}") from error

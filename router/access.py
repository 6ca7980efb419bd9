"""Who may call, and into which task a caller's key puts its requests.

Invariant: a key is compared and kept only as its SHA-256. A caller's own key goes on to the strong model
only where the proxy has no keys of its own. Knows nothing of what is asked.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from typing import NamedTuple

from stepdown.errors import BadRequest, Forbidden, SettingsError, Unauthorized
from stepdown.ids import tenant_of
from stepdown.settings import Settings

ANONYMOUS = "anonymous"
NAME_TAKES = "1 to 64 letters, digits, spaces or . @ + - _, no space at either end"
_person_name = re.compile(r"[\w.@+-](?:[\w .@+-]{0,62}[\w.@+-])?")


class Caller(NamedTuple):
    """Who asks.

    Attributes:
        tenant: What the ledger keeps of the key.
        task: The task that the key or the `X-Stepdown-Task` header names, or None.
        bound: Whether the key itself belongs to that task.
        authorization: The caller's own `Authorization`, where it may go on to the strong model.
    """

    tenant: str
    task: str | None
    bound: bool
    authorization: str | None


def has_keys(settings: Settings) -> bool:
    """Whether callers need a key at all."""
    return bool(settings.proxy.keys) or any(task.keys for task in settings.tasks.values())


def check_address(settings: Settings) -> None:
    """Refuse to open a proxy without keys to other machines.

    Raises:
        SettingsError: The host is not a loopback address and there are no keys.
    """
    host = settings.proxy.host
    if not has_keys(settings) and not is_loopback(host):
        raise SettingsError(
            f"proxy.host = {host!r} lets other machines in, but proxy.keys is empty, so anyone could spend "
            "your money; make a key with `stepdown key`, or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class Access:
    """Lets callers in."""

    def __init__(self, settings: Settings) -> None:
        self._open = not has_keys(settings)
        self._task_of: dict[str, str | None] = {key.lower(): None for key in settings.proxy.keys}
        for name, task in settings.tasks.items():
            self._task_of |= {key.lower(): name for key in task.keys}

    def admit(self, headers: Mapping[bytes, bytes]) -> Caller:
        """The caller of a request.

        Args:
            headers: The request's headers, names in lower case.

        Raises:
            Unauthorized: The key is missing or not known.
            Forbidden: The key belongs to another task than the header names.
        """
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        task = self._asked_task(headers)
        if self._open:
            key = authorization.partition(" ")[2].strip()
            return Caller(tenant_of(key), task, False, authorization or None)
        key = _bearer(authorization)
        hashed = hashlib.sha256(key.encode()).hexdigest()
        if hashed not in self._task_of:
            raise Unauthorized(
                "the API key is not known to this proxy; `stepdown key` makes one", code="invalid_api_key"
            )
        bound = self._task_of[hashed]
        if bound is not None and task is not None and task != bound:
            raise Forbidden(
                f"X-Stepdown-Task: {task!r} is not the task of this key; leave the header out",
                code="wrong_task",
            )
        return Caller(hashed[:16], bound or task, bound is not None, None)

    @staticmethod
    def _asked_task(headers: Mapping[bytes, bytes]) -> str | None:
        raw = headers.get(b"x-stepdown-task")
        if raw is None:
            return None
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise BadRequest(f"X-Stepdown-Task: {raw!r} is not UTF-8", param="X-Stepdown-Task") from None


def _bearer(authorization: str) -> str:
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Unauthorized(
            "this proxy wants an API key: send `Authorization: Bearer KEY`", code="missing_api_key"
        )
    return key.strip()


class Annotators:
    """Lets people in to the labelling queue, which shows what other tenants asked.

    Raises:
        SettingsError: A declared name is none, or two people share a key.
    """

    def __init__(self, settings: Settings) -> None:
        self._name_of = _names_by_key(settings.annotators)
        self._clients = Access(settings) if has_keys(settings) else None

    def admit(self, headers: Mapping[bytes, bytes], named: str | None) -> str:
        """The name of the person who asks.

        Args:
            headers: The request's headers, names in lower case.
            named: The name that the request gives, or None.

        Raises:
            Unauthorized: The key is missing or not known.
            Forbidden: The key is a client's, or another person's than the request names.
            BadRequest: The name that the request gives is none.
        """
        if not self._name_of and self._clients is None:
            return person_name(ANONYMOUS if named is None else named)
        name = self._owner(headers)
        if named is not None and named != name:
            raise Forbidden(
                f"annotator = {named!r:.100} is not whose key this is; leave annotator out",
                param="annotator",
                code="wrong_annotator",
            )
        return name

    def _owner(self, headers: Mapping[bytes, bytes]) -> str:
        key = _bearer(headers.get(b"authorization", b"").decode("latin-1"))
        name = self._name_of.get(hashlib.sha256(key.encode()).hexdigest())
        if name is not None:
            return name
        if self._clients is not None:
            self._clients.admit({b"authorization": b"Bearer " + key.encode("latin-1")})
            raise Forbidden(
                "this key may ask models but not label, for the queue shows what others asked; give the "
                "person a key of their own under [annotators] (`stepdown key` makes one)",
                code="not_an_annotator",
            )
        raise Unauthorized(
            "the key is not that of an annotator; people's keys are declared under [annotators]",
            code="invalid_api_key",
        )


def _names_by_key(annotators: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, key in annotators.items():
        if not _person_name.fullmatch(name):
            raise SettingsError(f"annotators.{name!r:.100} is no name; take {NAME_TAKES}")
        if found.setdefault(key.lower(), name) != name:
            raise SettingsError(
                f"annotators.{name} and annotators.{found[key.lower()]} have one key; make one for each with "
                "`stepdown key`"
            )
    return found


def person_name(given: str) -> str:
    """The name that a person gives themselves, where nobody need sign in.

    Raises:
        BadRequest: It is none.
    """
    if not _person_name.fullmatch(given):
        raise BadRequest(f"annotator = {given!r:.100} is no name; take {NAME_TAKES}", param="annotator")
    return given

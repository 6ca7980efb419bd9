"""Ids and hashes: UUIDv7 for records, SHA-256 for content and keys."""

from __future__ import annotations

import hashlib
import os
import time
from datetime import UTC, datetime

_random = os.urandom
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}  # the bits 10 and two more


def new_id() -> str:
    """A UUIDv7 as text (RFC 9562, section 5.7): sorts by the time of its making, to the millisecond."""
    made = f"{time.time_ns() // 1_000_000:012x}"
    noise = _random(10).hex()
    variant = _VARIANT[noise[3]]
    return f"{made[:8]}-{made[8:]}-7{noise[:3]}-{variant}{noise[4:7]}-{noise[7:19]}"


def now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)


def digest(content: bytes) -> str:
    """SHA-256 of content as 64 hex digits: the name under which bodies and artifacts are kept."""
    return hashlib.sha256(content).hexdigest()


def tenant_of(key: str) -> str:
    """The first 16 hex digits of a key's SHA-256, all that is ever kept of it; empty for no key."""
    return hashlib.sha256(key.encode()).hexdigest()[:16] if key else ""

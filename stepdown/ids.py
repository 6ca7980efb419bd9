"""Ids and hashes: UUIDv7 for records, SHA-256 for content and keys."""

from __future__ import annotations

import hashlib
import os
import time
from datetime import UTC, datetime

_random = os.urandom


def new_id() -> str:
    """A UUIDv7 as text (RFC 9562, section 5.7): sorts by the time of its making, to the millisecond."""
    milliseconds = time.time_ns() // 1_000_000
    noise = int.from_bytes(_random(10), "big")
    value = milliseconds << 80 | 0x7 << 76 | (noise >> 68) << 64 | 0b10 << 62 | noise & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)


def digest(content: bytes) -> str:
    """SHA-256 of content as 64 hex digits: the name under which bodies and artifacts are kept."""
    return hashlib.sha256(content).hexdigest()


def tenant_of(key: str) -> str:
    """The first 16 hex digits of a key's SHA-256, all that is ever kept of it; empty for no key."""
    return hashlib.sha256(key.encode()).hexdigest()[:16] if key else ""

"""Bodies: the bytes that went over the wire, compressed and named by their content."""

from __future__ import annotations

import threading

import zstandard

from stepdown.errors import LedgerError

LEVEL = 3
_local = threading.local()


def compress(content: bytes) -> bytes:
    """Zstandard frame with the content size in its header."""
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=LEVEL)
    compressed: bytes = _local.compressor.compress(content)
    return compressed


def decompress(digest: str, frame: bytes) -> bytes:
    """The content of a frame.

    Raises:
        LedgerError: The frame is corrupt.
    """
    try:
        return zstandard.ZstdDecompressor().decompress(frame)
    except zstandard.ZstdError as error:
        raise LedgerError(f"body {digest} is corrupt: {error}") from error

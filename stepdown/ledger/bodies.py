"""Bodies: the bytes that went over the wire, compressed and named by their content."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import zstandard

from stepdown.errors import LedgerError

LEVEL = 3
_local = threading.local()


def compress_all(contents: Sequence[bytes]) -> list[bytes]:
    """A Zstandard frame for each, with the content size in its header.

    All are made in one call, because each call gives up the lock that Python threads share.
    """
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=LEVEL)
    if not all(contents):  # which the call for many refuses
        return [_local.compressor.compress(content) for content in contents]
    return [frame.tobytes() for frame in _local.compressor.multi_compress_to_buffer(contents)]


def decompress(digest: str, frame: bytes) -> bytes:
    """The content of a frame.

    Raises:
        LedgerError: The frame is corrupt.
    """
    try:
        return zstandard.ZstdDecompressor().decompress(frame)
    except zstandard.ZstdError as error:
        raise LedgerError(f"body {digest} is corrupt: {error}") from error

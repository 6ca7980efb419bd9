"""What the settings are made of: common ranges, and the words that say what a setting is."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Share = Annotated[float, Meta(ge=0, le=1)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
Dollars = Annotated[float, Meta(ge=0)]


def doc(text: str) -> Meta:
    """The words that `stepdown config` prints for a setting."""
    return Meta(description=text)

"""Opens the models that the settings declare.

Invariant: an upstream's key is read from the environment once, here, and goes nowhere but into its
upstream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import aiohttp

from router.upstream.base import Upstream
from router.upstream.litellm_provider import LiteLlmProvider
from router.upstream.openai_shaped import OpenAIShaped
from router.upstream.pool import Pool
from stepdown.errors import SettingsError
from stepdown.prices import Price, price_of
from stepdown.settings import ModelSettings, Settings


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be asked.

    Attributes:
        alias: Its name in the settings.
        name: The name that the upstream knows it by.
        price: None where it is not known.
        header: The name as a header value.
        key: The upstream's key, to be kept out of what is recorded; empty where it has none.
    """

    alias: str
    name: str
    upstream: Upstream
    price: Price | None
    header: bytes
    key: bytes = field(default=b"", repr=False)

    def served_as(self, name: str) -> Model:
        """The same server asked for another model that it has: a student."""
        return replace(self, name=name, header=header_value(name))


UpstreamFactory = Callable[[str, ModelSettings, str | None, aiohttp.ClientSession], Upstream]


def upstream_for(
    alias: str, model: ModelSettings, key: str | None, session: aiohttp.ClientSession
) -> Upstream:
    """The upstream for one model: its own URL, a pool where it has several, or litellm where it has none."""
    name = f"model {alias!r} ({model.model})"
    if model.url is None:
        return LiteLlmProvider(name=name, model=model.model, key=key, timeout_s=model.timeout_s)
    servers = [
        OpenAIShaped(name=name, url=url, key=key, timeout_s=model.timeout_s, session=session)
        for url in model.servers
    ]
    return servers[0] if len(servers) == 1 else Pool(servers, model.servers)


def open_models(
    settings: Settings,
    keys: Mapping[str, str | None],
    session: aiohttp.ClientSession,
    factory: UpstreamFactory = upstream_for,
) -> dict[str, Model]:
    """The models by alias."""
    return {
        alias: Model(
            alias=alias,
            name=model.model,
            upstream=factory(alias, model, keys[alias], session),
            price=price_of(model),
            header=header_value(model.model),
            key=(keys[alias] or "").encode(),
        )
        for alias, model in settings.models.items()
    }


def read_keys(settings: Settings, environ: Mapping[str, str]) -> dict[str, str | None]:
    """The upstreams' keys by alias, from the variables that the settings name.

    Raises:
        SettingsError: A variable is not set.
    """
    keys: dict[str, str | None] = {}
    for alias, model in settings.models.items():
        variable = model.api_key_env
        if variable is not None and not environ.get(variable):
            raise SettingsError(
                f"models.{alias}.api_key_env = {variable!r} is not set in the environment; "
                "export it, or take api_key_env out of the settings"
            )
        keys[alias] = environ[variable] if variable else None
    return keys


def header_value(text: str) -> bytes:
    """Text as the value of an HTTP header: printable ASCII, anything else escaped."""
    return "".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in text).encode("ascii")

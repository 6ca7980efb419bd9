"""Two recorded models as contenders: answers from a file, under the aliases `recorded-strong` and `-small`.

Invariant: what the cache calls such a model is a hash of the recording, and never the port that it happened
to be served on. Its answers cost what the settings say; its times say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from evals.replay.recording import load_recording
from evals.replay.upstream import RecordedUpstream, model_name
from stepdown.ids import digest
from stepdown.records import Tier
from stepdown.settings import ModelSettings, Settings

NOTE = "Answers of recorded models come from a recording: what they took is not measured."

Prices = Mapping[Tier, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Recorded:
    """Settings in which the recorded models are declared, and what the cache knows them by."""

    settings: Settings
    identities: Mapping[str, ModelSettings]


@contextmanager
def recorded_models(settings: Settings, path: Path, prices: Prices) -> Iterator[Recorded]:
    """Serve a recording for the length of the block.

    Args:
        settings: All settings; a model declared under a recorded one's alias gives its prices.
        path: The recording.
        prices: Dollars per million tokens in and out, where the settings give none.

    Raises:
        RecordingError: The file cannot be read.
    """
    pairs = load_recording(path)
    source = f"recording:{digest(path.read_bytes())}"
    with RecordedUpstream(pairs) as url:
        served = {model_name(tier): _model(settings, tier, url, prices) for tier in Tier}
        identities = {
            alias: msgspec.structs.replace(
                model, url=source, model=_named(pairs[0].answers[tier].model, alias)
            )
            for tier, (alias, model) in zip(Tier, served.items(), strict=True)
        }
        yield Recorded(msgspec.structs.replace(settings, models={**settings.models, **served}), identities)


def _model(settings: Settings, tier: Tier, url: str, prices: Prices) -> ModelSettings:
    declared = settings.models.get(model_name(tier))
    if declared is not None:
        return msgspec.structs.replace(declared, model=model_name(tier), url=url, api_key_env=None)
    paid_in, paid_out = prices[tier]
    return ModelSettings(
        model=model_name(tier), url=url, input_usd_per_million=paid_in, output_usd_per_million=paid_out
    )


def _named(recorded: str | None, alias: str) -> str:
    return recorded or alias

"""A fitted router: from a prompt to two probabilities, with numpy alone.

Invariant: a model is immutable, and its bytes are a function of its numbers only, so that the same fit
has the same content hash. It scores exactly as the scikit-learn estimators it was made from. It does not
know how it was fitted, nor what a decision costs; the policy compares its gain with its threshold.

The bytes: MAGIC, the length of the header, a JSON header naming each array's shape, the arrays as
little-endian doubles in the header's order, and the BLAKE2b digest of all before it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from router.features import BUCKETS, FEATURES_VERSION, STRUCTURE, Features, featurize
from router.prompt import Prompt
from stepdown.errors import ArtifactError

MAGIC = b"SDROUTER1"
DIGEST_SIZE = 16
REMEDY = "; fit a new router or promote an earlier one"

Floats = NDArray[np.float64]


class Scores(NamedTuple):
    """What a router thinks of a prompt.

    Attributes:
        p_strong: Probability that the strong model's answer is good.
        p_small: Probability that the small model's answer is good.
    """

    p_strong: float
    p_small: float

    @property
    def gain(self) -> float:
        """What asking the strong model is expected to gain, in [-1, 1]."""
        return self.p_strong - self.p_small


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    features: int
    arrays: list[tuple[str, list[int]]]


class Weights(NamedTuple):
    """The numbers of a router with k known buckets and s structure features; heads are columns.

    Attributes:
        buckets: Hash buckets known from fitting, ascending. (k,)
        idf: Weight of each bucket before the text vector is scaled to length 1. (k,)
        text: Coefficients of the text vector. (k, 2)
        centre: Subtracted from the structure features. (s,)
        scale: What the difference is divided by, before it is clipped to ±`clip`. (s,)
        structure: Coefficients of the scaled structure features. (s, 2)
        intercept: Of each head. (2,)
        clip: Bound on a scaled structure feature. ()
    """

    buckets: Floats
    idf: Floats
    text: Floats
    centre: Floats
    scale: Floats
    structure: Floats
    intercept: Floats
    clip: Floats


class RouterModel:
    """A fitted router. Immutable.

    Attributes:
        weights: Its numbers.
        threshold: Small iff gain <= threshold; -inf keeps everything on the strong model.
    """

    __slots__ = ("_row", "_rows", "threshold", "weights")

    weights: Weights
    threshold: float
    _row: NDArray[np.intp]
    _rows: Floats

    def __init__(self, weights: Weights, threshold: float = -math.inf) -> None:
        """Check and take the numbers.

        Raises:
            ArtifactError: A shape is wrong or a number is not finite.
        """
        frozen = Weights(*(np.array(array, dtype=np.float64) for array in weights))
        _check(frozen, threshold)
        row = np.full(BUCKETS, len(frozen.buckets), dtype=np.intp)
        row[frozen.buckets.astype(np.intp)] = np.arange(len(frozen.buckets))
        # One more row of zeros stands for every bucket unseen in fitting.
        rows = np.vstack((np.column_stack((frozen.idf, frozen.text)), np.zeros((1, 3))))
        for array in (*frozen, row, rows):
            array.setflags(write=False)
        for name, value in zip(self.__slots__, (row, rows, float(threshold), frozen), strict=True):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a RouterModel is immutable; {name!r} cannot be set")

    def with_threshold(self, threshold: float) -> RouterModel:
        """The same router with another threshold."""
        return RouterModel(self.weights, threshold)

    def score(self, prompt: Prompt) -> Scores:
        """Probabilities that each model's answer to a prompt is good."""
        return self.score_features(featurize(prompt))

    def score_features(self, features: Features) -> Scores:
        """As `score`, from features computed before."""
        numbers = self.weights
        rows = self._rows[self._row[features.buckets]]
        text = features.weights * rows[:, 0]
        norm = math.sqrt(text @ text)
        structure = (features.structure - numbers.centre) / numbers.scale
        structure = np.minimum(np.maximum(structure, -numbers.clip), numbers.clip)
        logits = structure @ numbers.structure + numbers.intercept
        if norm > 0:
            logits += (text @ rows[:, 1:]) / norm
        return Scores(_sigmoid(float(logits[0])), _sigmoid(float(logits[1])))

    def to_bytes(self) -> bytes:
        """The model as an artifact's content: the same model gives the same bytes."""
        arrays = {**self.weights._asdict(), "threshold": np.array(self.threshold)}
        header = msgspec.json.encode(
            _Header(FEATURES_VERSION, [(name, list(array.shape)) for name, array in arrays.items()])
        )
        content = b"".join(
            (
                MAGIC,
                len(header).to_bytes(4, "little"),
                header,
                *(array.astype("<f8").tobytes() for array in arrays.values()),
            )
        )
        return content + _digest(content)

    @classmethod
    def from_bytes(cls, content: bytes) -> RouterModel:
        """Read an artifact's content.

        Raises:
            ArtifactError: The content is truncated, corrupt, of an unknown version or makes no sense.
        """
        arrays = _read_arrays(content)
        wanted = {*Weights._fields, "threshold"}
        if set(arrays) != wanted:
            raise ArtifactError(f"router artifact has arrays {sorted(arrays)}, not {sorted(wanted)}{REMEDY}")
        threshold = arrays.pop("threshold")
        if threshold.shape != ():
            raise ArtifactError(f"router artifact: threshold has shape {threshold.shape}, not (){REMEDY}")
        return cls(Weights(**arrays), float(threshold))


def _sigmoid(logit: float) -> float:
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    odds = math.exp(max(logit, -700.0))
    return odds / (1.0 + odds)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_SIZE).digest()


def _read_arrays(content: bytes) -> dict[str, Floats]:
    start = len(MAGIC) + 4
    if not content.startswith(MAGIC):
        raise ArtifactError(f"not a router artifact of this version: begins with {content[:9]!r}{REMEDY}")
    if len(content) < start + DIGEST_SIZE or _digest(content[:-DIGEST_SIZE]) != content[-DIGEST_SIZE:]:
        raise ArtifactError(f"router artifact of {len(content)} bytes is truncated or corrupt{REMEDY}")
    body = start + int.from_bytes(content[len(MAGIC) : start], "little")
    try:
        header = msgspec.json.decode(content[start:body], type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"router artifact has a malformed header: {error}{REMEDY}") from error
    if header.features != FEATURES_VERSION:
        raise ArtifactError(
            f"router artifact uses features of version {header.features}, not {FEATURES_VERSION}{REMEDY}"
        )
    return _split(content[body:-DIGEST_SIZE], header.arrays)


def _split(body: bytes, shapes: list[tuple[str, list[int]]]) -> dict[str, Floats]:
    sizes = [math.prod(shape) if min(shape, default=0) >= 0 else -1 for _, shape in shapes]
    if min(sizes, default=0) < 0 or sum(sizes) * 8 != len(body):
        raise ArtifactError(f"router artifact: {len(body)} bytes of numbers do not fit {shapes}{REMEDY}")
    numbers = np.frombuffer(body, dtype="<f8").astype(np.float64)
    parts = np.split(numbers, np.cumsum(sizes)[:-1]) if sizes else []
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes, parts, strict=True)}


def _check(weights: Weights, threshold: float) -> None:
    known, structure = len(np.atleast_1d(weights.buckets)), len(STRUCTURE)
    shapes: Mapping[str, tuple[int, ...]] = {
        "buckets": (known,),
        "idf": (known,),
        "text": (known, 2),
        "centre": (structure,),
        "scale": (structure,),
        "structure": (structure, 2),
        "intercept": (2,),
        "clip": (),
    }
    for name, array in weights._asdict().items():
        if array.shape != shapes[name]:
            raise ArtifactError(f"router: {name} has shape {array.shape}, not {shapes[name]}{REMEDY}")
        if not np.isfinite(array).all():
            raise ArtifactError(f"router: {name} has a number that is not finite{REMEDY}")
    if math.isnan(threshold):
        raise ArtifactError(f"router: threshold is {threshold!r}{REMEDY}")
    if weights.scale.min(initial=1.0) <= 0 or weights.clip <= 0:
        raise ArtifactError(f"router: scale and clip must be above 0{REMEDY}")
    _check_buckets(weights.buckets)


def _check_buckets(buckets: Floats) -> None:
    whole = buckets.astype(np.int64)
    inside = len(buckets) == 0 or (whole[0] >= 0 and whole[-1] < BUCKETS)
    if not inside or (whole != buckets).any() or (np.diff(whole) <= 0).any():
        raise ArtifactError(f"router: buckets must be whole, ascending and in [0, {BUCKETS}){REMEDY}")

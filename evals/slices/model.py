"""The slices of a task as they are kept: a space, a centre for each slice, and what each is called.

Invariant: a model read back from its bytes assigns every prompt as the one that was written. It holds no
prompt: only words that many prompts share, and the digest of the body of each slice's most typical prompt.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from evals.slices.space import Floats, Space, unit
from router.features import FEATURES_VERSION, Features
from stepdown.errors import ArtifactError

VERSION = 1
OTHER = -1
OTHER_NAME = "other"


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of query.

    Attributes:
        id: Kept from night to night: `s1`, `s2`, …; never given again.
        name: Its most telling words; unique among the slices of a night.
        terms: More of them, the most telling first.
        prompts: Distinct prompts of the fitted sample that are in it.
        medoid: Digest of the body of its most typical prompt.
        cutoff: A prompt whose similarity to the centre is below it is in no slice.
    """

    id: str
    name: str
    terms: tuple[str, ...]
    prompts: int
    medoid: str
    cutoff: float


class Named(msgspec.Struct, frozen=True):
    """Id and name of a slice that is no more."""

    id: str
    name: str


@dataclass(frozen=True)
class SliceModel:
    """A task's slices, and how a prompt is put into one.

    Attributes:
        space: Where prompts are compared.
        centres: One unit vector a slice. (k, d)
        slices: In the order of the centres.
        next_number: Of the next new slice.
        vanished: Slices of the night before that are no more.
    """

    space: Space
    centres: NDArray[np.float16]
    slices: tuple[Slice, ...]
    next_number: int
    vanished: tuple[Named, ...] = ()

    def assign(self, features: Sequence[Features]) -> NDArray[np.intp]:
        """The index of each prompt's slice; `OTHER` for one that is unlike all of them."""
        nearest, similarity = self.nearest(features)
        if not self.slices:
            return np.full(len(nearest), OTHER, dtype=np.intp)
        cutoffs = np.array([s.cutoff for s in self.slices])
        return np.where(similarity < cutoffs[nearest], OTHER, nearest).astype(np.intp)

    def nearest(self, features: Sequence[Features]) -> tuple[NDArray[np.intp], Floats]:
        """The index of the nearest centre and the similarity to it, in [-1, 1].

        The similarity is the cosine of the whole TF-IDF vector, words unknown here included, with the centre.
        """
        places = self.space.place(features)
        return nearest_centre(places.directions, places.strengths, self.centres.astype(np.float64))

    def to_bytes(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode(
            _Kept(
                features_version=FEATURES_VERSION,
                buckets=_packed(self.space.buckets),
                idf=_packed(self.space.idf),
                rare_idf=self.space.rare_idf,
                dimensions=self.space.axes.shape[1],
                axes=_packed(self.space.axes),
                centres=_packed(self.centres),
                slices=self.slices,
                next_number=self.next_number,
                vanished=self.vanished,
            )
        )

    @staticmethod
    def from_bytes(content: bytes) -> SliceModel:
        """Read from JSON.

        Raises:
            ArtifactError: It is not slices, or those of another version of the features.
        """
        try:
            kept = _decoder.decode(content)
            buckets = _unpacked(kept.buckets, np.uint16)
            axes = _unpacked(kept.axes, np.float16).reshape(len(buckets), kept.dimensions)
            centres = _unpacked(kept.centres, np.float16).reshape(len(kept.slices), kept.dimensions)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            raise ArtifactError(
                f"the slices cannot be read: {error}; `stepdown slices --rebuild` makes new ones"
            ) from error
        if (kept.version, kept.features_version) != (VERSION, FEATURES_VERSION):
            raise ArtifactError(
                f"slices of version {kept.version}, features {kept.features_version} are not known here; "
                "`stepdown slices --rebuild` makes new ones"
            )
        space = Space(buckets, _unpacked(kept.idf, np.float16), kept.rare_idf, axes)
        return SliceModel(space, centres, kept.slices, kept.next_number, kept.vanished)


def nearest_centre(directions: Floats, strengths: Floats, centres: Floats) -> tuple[NDArray[np.intp], Floats]:
    """The index of the nearest centre of each direction, and the similarity to it."""
    if not len(centres):
        return np.zeros(len(directions), dtype=np.intp), np.zeros(len(directions))
    cosines = directions @ unit(centres).T
    nearest = cosines.argmax(axis=1)
    return nearest, cosines[np.arange(len(directions)), nearest] * strengths


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    version: int = VERSION
    features_version: int
    buckets: str
    idf: str
    rare_idf: float
    dimensions: int
    axes: str
    centres: str
    slices: tuple[Slice, ...]
    next_number: int
    vanished: tuple[Named, ...]


_decoder = msgspec.json.Decoder(_Kept)


def _packed(values: NDArray[Any]) -> str:
    return b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode()


def _unpacked(text: str, kind: type[Any]) -> NDArray[Any]:
    return np.frombuffer(b64decode(text), dtype=np.dtype(kind).newbyteorder("<")).astype(kind)

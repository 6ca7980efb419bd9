"""What a generator returns, and the words that several of them share."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Drawn:
    """A prompt as a generator draws it: the text, the check's name and its reference."""

    text: str
    check: str
    reference: Any


Generator = Callable[[random.Random], Drawn]

FIRST = (
    "Amara Ben Carla Deniz Elif Farid Greta Hugo Ines Jonas Kaito Leila Mateo Nadia Omar Priya Quinn "
    "Rosa Samir Tomas Ugo Vera Wen Yara Zoe"
).split()
LAST = (
    "Adler Bianchi Castro Dubois Eriksen Fischer Garcia Haddad Ivanov Jensen Kowalski Larsen Moreau "
    "Novak Okafor Petrov Rossi Santos Tanaka Urban Vasquez Weber Yilmaz"
).split()
ITEMS = (
    "notebooks pencils lamps mugs chairs cables backpacks umbrellas candles bottles keyboards "
    "headphones blankets posters plants towels baskets clocks"
).split()
CITIES = (
    "Lisbon Oslo Vienna Prague Dublin Athens Madrid Warsaw Zurich Helsinki Porto Lyon Turin Ghent "
    "Bergen Krakow Seville Graz"
).split()


def full_name(rng: random.Random) -> str:
    """A first and a last name."""
    return f"{rng.choice(FIRST)} {rng.choice(LAST)}"

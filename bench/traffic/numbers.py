"""Prompts whose answer is a number or a date."""

from __future__ import annotations

import datetime
import random

from bench.traffic.prompt import FIRST, ITEMS, Drawn

BRIEF = "Work it out briefly, then end with a line of the form 'Answer: <number>'."


def arithmetic(rng: random.Random) -> Drawn:
    """A word problem of two or three steps over whole numbers."""
    a, b, c = rng.randint(3, 19), rng.randint(3, 14), rng.randint(2, 11)
    who, other = rng.sample(FIRST, 2)
    item = rng.choice(ITEMS)
    price = rng.randint(2, 15)
    stories = [
        (
            f"{who} packs {a} boxes with {b} {item} each and then gives {c} {item} to {other}. "
            f"How many {item} does {who} have left?",
            a * b - c,
        ),
        (
            f"A shop sells {item} at {price} dollars each. {who} buys {a} of them and {other} buys {b}. "
            f"How many dollars do they pay together?",
            price * (a + b),
        ),
        (
            f"{who} reads {a} pages each morning and {b} pages each evening. "
            f"How many pages does {who} read in {c} days?",
            (a + b) * c,
        ),
        (
            f"A warehouse has {a * b * c} {item} on shelves that hold {a * b} each. "
            f"{who} adds {b} more full shelves. How many shelves of {item} are there now?",
            c + b,
        ),
        (
            f"{who} earns {price * 4} dollars an hour and works {a} hours in the first week and {b} hours "
            f"in the second. After paying {c * 10} dollars for a ticket, how many dollars are left?",
            price * 4 * (a + b) - c * 10,
        ),
        (
            f"A bus starts with {a + b} passengers. At the first stop {c} get off and {b} get on; at the "
            f"second stop {a} get on. How many passengers are on the bus now?",
            a + b - c + b + a,
        ),
    ]
    story, answer = rng.choice(stories)
    return Drawn(f"{story} {BRIEF}", "number", str(answer))


def discount(rng: random.Random) -> Drawn:
    """A price after one or two percentage changes."""
    price = rng.randint(4, 60) * 10
    percent = rng.choice((5, 10, 15, 20, 25, 30, 40, 50))
    item = rng.choice(ITEMS)
    stories = [
        (
            f"A set of {item} costs {price} dollars. In the sale it is {percent}% off. "
            "What is the sale price?",
            price * (100 - percent) / 100,
        ),
        (f"What is {percent}% of {price}?", price * percent / 100),
        (
            f"The rent of {price} dollars rises by {percent}%. What is the new rent in dollars?",
            price * (100 + percent) / 100,
        ),
        (
            f"{rng.choice(FIRST)} pays {price} dollars plus {percent}% tax for {item}. "
            f"How many dollars is the tax?",
            price * percent / 100,
        ),
    ]
    story, answer = rng.choice(stories)
    return Drawn(f"{story} {BRIEF}", "number", f"{answer:g}")


def unit_conversion(rng: random.Random) -> Drawn:
    """A conversion whose factor is given, or is one that everyone knows."""
    n = rng.randint(2, 95)
    half = n + 0.5
    choices = [
        (f"{half} kilometres", "metres", half * 1000),
        (f"{n} hours", "minutes", n * 60),
        (f"{n * 60} seconds", "minutes", n),
        (f"{half} kilograms", "grams", half * 1000),
        (f"{n * 250} millilitres", "litres", n * 0.25),
        (f"{n} feet (1 foot is 0.3048 metres)", "metres", n * 0.3048),
        (f"{n} miles (1 mile is 1.6 kilometres)", "kilometres", n * 1.6),
        (f"{n * 5} degrees Celsius", "degrees Fahrenheit", n * 9 + 32),
        (f"{n} weeks", "days", n * 7),
        (f"{n} dozen", "single pieces", n * 12),
    ]
    source, unit, answer = rng.choice(choices)
    ask = rng.choice(("Convert {s} to {u}.", "How many {u} are {s}?", "Express {s} in {u}."))
    return Drawn(f"{ask.format(s=source, u=unit)} {BRIEF}", "number", f"{answer:g}")


def largest_number(rng: random.Random) -> Drawn:
    """Pick the largest or smallest of a list."""
    values = rng.sample(range(10, 9999), rng.randint(4, 7))
    word, pick = rng.choice((("largest", max), ("smallest", min)))
    ask = rng.choice(("Which is the {w} of these numbers: {v}?", "From the list {v}, give the {w} number."))
    listed = ", ".join(map(str, values))
    return Drawn(f"{ask.format(w=word, v=listed)} Reply with the number only.", "number", str(pick(values)))


def date_arithmetic(rng: random.Random) -> Drawn:
    """Add days to a date: hard for small models."""
    start = datetime.date(2023, 1, 1) + datetime.timedelta(days=rng.randint(0, 700))
    days = rng.randint(9, 80)
    end = start + datetime.timedelta(days=days)
    return Drawn(
        f"What date is {days} days after {start:%B} {start.day}, {start.year}? "
        "Reply with the date only, as YYYY-MM-DD.",
        "exact",
        end.isoformat(),
    )

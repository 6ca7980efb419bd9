"""Prompts that turn text into JSON, or that read a table."""

from __future__ import annotations

import json
import random

from bench.traffic.prompt import CITIES, FIRST, ITEMS, LAST, Drawn, full_name

TOPICS = ("budget", "design", "hiring", "launch", "security", "pricing", "roadmap")


def order_json(rng: random.Random) -> Drawn:
    """An order in an e-mail, to JSON."""
    name, item, city = full_name(rng), rng.choice(ITEMS), rng.choice(CITIES)
    quantity, number = rng.randint(2, 60), rng.randint(10000, 99999)
    mails = (
        f"Hello, this is {name}. I would like to order {quantity} {item}, to be sent to {city}. "
        f"My customer number is {number}. Many thanks!",
        f"Hi team, please ship {quantity} {item} to our office in {city}. Customer {number}. Best, {name}",
        f"Good morning, regarding account {number}: we need {quantity} more {item} in {city} by Friday. "
        f"Regards, {name}",
    )
    wanted = {"name": name, "item": item, "quantity": quantity, "city": city, "customer": number}
    return Drawn(
        "Extract the order from the message below as JSON with the keys name (string), item (string), "
        "quantity (integer), city (string) and customer (integer). Reply with the JSON only.\n\n"
        + rng.choice(mails),
        "json",
        json.dumps(wanted),
    )


def event_json(rng: random.Random) -> Drawn:
    """An invitation, to JSON with a list in it."""
    topic = rng.choice(TOPICS)
    kind, city = rng.choice(("review", "workshop", "meeting", "call")), rng.choice(CITIES)
    hour, minute = rng.randint(8, 18), rng.choice((0, 15, 30, 45))
    people = rng.sample(FIRST, rng.randint(2, 4))
    named = f"{', '.join(people[:-1])} and {people[-1]}"
    text = rng.choice(
        (
            f"The {topic} {kind} will be in {city} at {hour:02d}:{minute:02d}. {named} will attend.",
            f"Please join {named} for the {topic} {kind} at {hour:02d}:{minute:02d} in {city}.",
        )
    )
    wanted = {"topic": topic, "city": city, "time": f"{hour:02d}:{minute:02d}", "people": people}
    return Drawn(
        f"From this invitation make a JSON object with the keys topic (one of {', '.join(TOPICS)}), city, "
        f"time (HH:MM) and people (list of the names). Reply with the JSON only.\n\n{text}",
        "json",
        json.dumps(wanted),
    )


def csv_json(rng: random.Random) -> Drawn:
    """One CSV line, to JSON."""
    columns = rng.sample(("id", "name", "city", "amount", "status", "country"), 4)
    drawn = {
        "id": rng.randint(100, 9999),
        "name": rng.choice(LAST),
        "city": rng.choice(CITIES),
        "amount": rng.randint(5, 900),
        "status": rng.choice(("open", "paid", "late", "void")),
        "country": rng.choice(("PT", "NO", "AT", "CZ", "IE", "GR", "ES")),
    }
    row = {column: drawn[column] for column in columns}
    line = ";".join(str(v) for v in row.values())
    return Drawn(
        f"Turn the CSV record into one flat JSON object; numbers stay numbers. Reply with the JSON only.\n\n"
        f"{';'.join(columns)}\n{line}",
        "json",
        json.dumps(row),
    )


def table_lookup(rng: random.Random) -> Drawn:
    """A cell of a small Markdown table."""
    cities = rng.sample(CITIES, rng.randint(4, 6))
    columns = ("stores", "staff", "visitors")
    rows = {c: {k: rng.randint(2, 900) for k in columns} for c in cities}
    table = "| city | " + " | ".join(columns) + " |\n|---|---|---|---|\n"
    table += "\n".join(f"| {c} | " + " | ".join(str(r[k]) for k in columns) + " |" for c, r in rows.items())
    city, column = rng.choice(cities), rng.choice(columns)
    ask = rng.choice(
        (
            f"How many {column} does {city} have?",
            f"Give the value of '{column}' for {city}.",
            f"According to the table, what is the number of {column} in {city}?",
        )
    )
    return Drawn(f"{table}\n\n{ask} Reply with the number only.", "number", str(rows[city][column]))


def json_value(rng: random.Random) -> Drawn:
    """The value of one key of a JSON object."""
    record = {
        "id": rng.randint(1000, 99999),
        "customer": full_name(rng),
        "city": rng.choice(CITIES),
        "item": rng.choice(ITEMS),
        "quantity": rng.randint(1, 90),
        "status": rng.choice(("open", "paid", "late", "void")),
    }
    key = rng.choice(tuple(record))
    ask = rng.choice(("What is the value of '{k}' in this JSON?", "Read the field '{k}' of this record."))
    return Drawn(
        f"{ask.format(k=key)} Reply with the value only.\n\n{json.dumps(record)}", "exact", str(record[key])
    )

"""Prompts whose answer is a class, a choice or a rewritten text."""

from __future__ import annotations

import datetime
import random

from bench.traffic.prompt import CITIES, FIRST, ITEMS, LAST, Drawn, full_name

TICKETS = {
    "billing": (
        "I was charged twice for order {n}. Please refund one of the payments.",
        "My invoice {n} shows the wrong tax amount.",
        "The discount code was not applied to my bill for {item}.",
        "Why is there an extra fee of {n} cents on my credit card statement?",
    ),
    "shipping": (
        "My parcel with {item} has not arrived in {city} after two weeks.",
        "The tracking page for package {n} has not changed since Monday.",
        "Can the delivery of my {item} be sent to {city} instead?",
        "The courier left the {item} at the wrong door in {city}.",
    ),
    "technical": (
        "The app crashes with error {n} when I open the settings page.",
        "I cannot upload photos of my {item}; the progress bar freezes.",
        "Your website shows a blank screen in my browser since the update, code {n}.",
        "The search returns error {n} for every word that I type.",
    ),
    "account": (
        "I forgot my password and the reset mail never comes. My user id is {n}.",
        "Please change the e-mail address of user {n} to my new one.",
        "How do I delete my profile and all my personal details? User {n}.",
        "I cannot log in since you asked me to confirm my phone number, user {n}.",
    ),
}
OPENERS = ("Hi,", "Hello,", "Dear team,", "Good evening,", "Hey there,", "To whom it may concern,")


def ticket_class(rng: random.Random) -> Drawn:
    """A support ticket, to one of four queues."""
    label = rng.choice(tuple(TICKETS))
    body = rng.choice(TICKETS[label]).format(
        n=rng.randint(100, 99999), item=rng.choice(ITEMS), city=rng.choice(CITIES)
    )
    return Drawn(
        "Classify the support ticket as billing, shipping, technical or account. Reply with the one word "
        f"only.\n\nTicket: {rng.choice(OPENERS)} {body} {rng.choice(FIRST)}",
        "label",
        label,
    )


PRAISE = ("wonderful", "excellent", "a joy to use", "better than I hoped", "fantastic value")
BLAME = ("terrible", "a waste of money", "broken on arrival", "very disappointing", "awful quality")
NEUTRAL = (
    "blue and weigh two kilos",
    "sold in packs of six",
    "made in two sizes",
    "listed at the usual price",
)


def sentiment(rng: random.Random) -> Drawn:
    """A review, to positive, negative or neutral; some reviews turn in the middle."""
    item, city = rng.choice(ITEMS), rng.choice(CITIES)
    label = rng.choice(("positive", "negative", "neutral", "mixed-positive", "mixed-negative"))
    if label == "neutral":
        review = f"I ordered the {item} in {city}. They are {rng.choice(NEUTRAL)}."
    elif label == "positive":
        review = f"The {item} from the {city} store are {rng.choice(PRAISE)}."
    elif label == "negative":
        review = f"The {item} that I bought in {city} are {rng.choice(BLAME)}."
    elif label == "mixed-positive":
        review = (
            f"Friends told me the {item} would be {rng.choice(BLAME)}. They were wrong: "
            f"they are {rng.choice(PRAISE)}. Greetings from {city}."
        )
    else:
        review = (
            f"The advert promised that the {item} would be {rng.choice(PRAISE)}. In truth they are "
            f"{rng.choice(BLAME)}. Never again in {city}."
        )
    return Drawn(
        "Is the writer's own opinion in this review positive, negative or neutral? Reply with the one word "
        f"only.\n\nReview: {review}",
        "label",
        label.removeprefix("mixed-"),
    )


FACTS = {
    "What is the capital of {k}?": {
        "Portugal": "Lisbon",
        "Norway": "Oslo",
        "Austria": "Vienna",
        "Ireland": "Dublin",
        "Greece": "Athens",
        "Poland": "Warsaw",
        "Finland": "Helsinki",
        "Egypt": "Cairo",
        "Kenya": "Nairobi",
        "Peru": "Lima",
        "Japan": "Tokyo",
        "Canada": "Ottawa",
        "Cuba": "Havana",
        "Hungary": "Budapest",
        "Chile": "Santiago",
    },
    "What is the chemical symbol of {k}?": {
        "sodium": "Na",
        "iron": "Fe",
        "gold": "Au",
        "silver": "Ag",
        "lead": "Pb",
        "potassium": "K",
        "tin": "Sn",
        "helium": "He",
        "copper": "Cu",
        "mercury": "Hg",
        "tungsten": "W",
        "neon": "Ne",
    },
    "How many sides has a {k}?": {
        "triangle": "3",
        "square": "4",
        "pentagon": "5",
        "hexagon": "6",
        "octagon": "8",
        "decagon": "10",
    },
    "Which HTTP status code means '{k}'?": {
        "Not Found": "404",
        "OK": "200",
        "Forbidden": "403",
        "Created": "201",
        "Bad Gateway": "502",
        "Unauthorized": "401",
        "Too Many Requests": "429",
        "Bad Request": "400",
    },
    "What is the binary number {k} in decimal?": {
        "101": "5",
        "110": "6",
        "111": "7",
        "1000": "8",
        "1010": "10",
        "1100": "12",
        "1111": "15",
        "1001": "9",
    },
}


def multiple_choice(rng: random.Random) -> Drawn:
    """A fact with four options."""
    ask = rng.choice(tuple(FACTS))
    key = rng.choice(tuple(FACTS[ask]))
    right = FACTS[ask][key]
    options = [right, *rng.sample([v for v in FACTS[ask].values() if v != right], 3)]
    rng.shuffle(options)
    listed = "\n".join(f"{letter}) {option}" for letter, option in zip("ABCD", options, strict=True))
    return Drawn(
        f"{ask.format(k=key)}\n{listed}\nReply with the letter of the right option only.",
        "letter",
        "ABCD"[options.index(right)],
    )


def iso_date(rng: random.Random) -> Drawn:
    """A date in words, to ISO 8601."""
    day = datetime.date(1990, 1, 1) + datetime.timedelta(days=rng.randint(0, 14000))
    written = rng.choice(
        (f"{day:%B} {day.day}, {day.year}", f"{day.day} {day:%B} {day.year}", f"{day:%d %b %Y}")
    )
    ask = rng.choice(("Rewrite the date {d} as YYYY-MM-DD.", "Give {d} in ISO format (YYYY-MM-DD)."))
    return Drawn(f"{ask.format(d=written)} Reply with the date only.", "exact", day.isoformat())


def list_transform(rng: random.Random) -> Drawn:
    """Change the case of a list of words, or take one away or add one."""
    words = rng.sample([c.lower() for c in CITIES] + list(ITEMS), rng.randint(4, 6))
    *kept, extra = words
    removed = rng.choice(kept)
    ask, given, result = rng.choice(
        (
            ("Write these words in upper case", kept, [w.upper() for w in kept]),
            ("Capitalise the first letter of each of these words", kept, [w.capitalize() for w in kept]),
            (f"Add the word '{extra}' at the end of this list", kept, words),
            (f"Remove the word '{removed}' from this list", kept, [w for w in kept if w != removed]),
        )
    )
    return Drawn(
        f"{ask}: {', '.join(given)}. Reply with the resulting list only, separated by commas.",
        "list",
        ", ".join(result),
    )


def email_address(rng: random.Random) -> Drawn:
    """Find the e-mail address in a text."""
    first, last = rng.choice(FIRST), rng.choice(LAST)
    number, domain = rng.choice(("", rng.randint(1, 99))), rng.choice(("com", "org", "net"))
    address = f"{first}.{last}{number}@example.{domain}".lower()
    note = rng.choice(
        (
            f"For questions about the {rng.choice(ITEMS)} please write to {address}, or call us on Monday.",
            f"{first} {last} moved to {rng.choice(CITIES)}; the new address is {address} from now on.",
            f"Send the invoice to {address} and a copy to the {rng.choice(CITIES)} office.",
        )
    )
    ask = rng.choice(("Find the e-mail address in this note.", "Which e-mail address is in the text?"))
    return Drawn(f"{ask} Reply with the address only.\n\n{note}", "exact", address)


def order_number(rng: random.Random) -> Drawn:
    """Find the order number in a message that has other numbers too."""
    number, quantity, day = rng.randint(100000, 999999), rng.randint(2, 40), rng.randint(1, 28)
    message = rng.choice(
        (
            f"Hello, on day {day} of the month I bought {quantity} {rng.choice(ITEMS)}. "
            f"The order is {number}. When will it reach {rng.choice(CITIES)}?",
            f"Order {number} came with {quantity} {rng.choice(ITEMS)} missing. {full_name(rng)}",
            f"My {rng.choice(ITEMS)} ({quantity} pieces, order no. {number}) went to {rng.choice(CITIES)} "
            f"instead. {rng.choice(FIRST)}",
        )
    )
    return Drawn(
        f"Give the order number in this message. Reply with the number only.\n\n{message}",
        "number",
        str(number),
    )


def letter_count(rng: random.Random) -> Drawn:
    """Count a letter in a word: hard for models that read tokens."""
    word = rng.choice([*ITEMS, *(c.lower() for c in CITIES), "mississippi", "strawberry", "bookkeeper"])
    letter = rng.choice(word)
    return Drawn(
        f"How many times does the letter '{letter}' occur in the word '{word}'? Reply with the number only.",
        "number",
        str(word.count(letter)),
    )

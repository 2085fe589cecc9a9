"""Prompts of twenty intents, as unevenly frequent and as differently worded as people's are.

Each intent has several ways to say it in English and some in German, Spanish and French, with slots that are filled
from lists, greetings and polite ends that mean nothing, and typing mistakes. Sizes follow Zipf's law. Some intents
share most of their words (refund, invoice, cancelling; SQL, regular expressions, code review), some paste a text of
another topic, so that words alone lead astray.
"""

import random
from itertools import accumulate
from typing import NamedTuple

_SLOTS: dict[str, list[str]] = {
    "month": ["January", "March", "May", "July", "September", "November"],
    "product": ["the Pro plan", "the team plan", "the headphones", "the blue jacket", "the espresso machine"],
    "order": [f"#{number}" for number in range(40213, 99999, 1709)],
    "table": ["orders", "customers", "employees", "invoices", "shipments", "sessions", "products", "payments"],
    "column": ["created_at", "country", "total", "status", "department", "email", "price", "customer_id"],
    "language": ["French", "German", "Japanese", "Portuguese", "Polish", "Turkish", "Dutch", "Korean"],
    "phrase": [
        "the meeting was moved to Thursday", "please find the contract attached", "our office is closed on Monday",
        "the train leaves at seven", "thank you for your patience", "we look forward to seeing you",
    ],
    "city": ["Lisbon", "Kyoto", "Oslo", "Montreal", "Cape Town", "Prague", "Lima", "Hanoi"],
    "dish": ["lasagne", "a lentil curry", "banana bread", "miso soup", "a mushroom risotto", "shakshuka"],
    "function": ["parse_config", "merge_intervals", "fetch_user", "retry", "to_csv", "find_path", "resize_image"],
    "framework": ["React", "Django", "Flask", "Spring", "Rails", "Express"],
    "error": [
        "TypeError: 'NoneType' object is not subscriptable", "KeyError: 'id'", "Segmentation fault (core dumped)",
        "NullPointerException at line 42", "ECONNREFUSED 127.0.0.1:5432", "IndexError: list index out of range",
    ],
    "pattern": ["an email address", "a date like 2024-01-31", "an IPv4 address", "a hex colour", "a phone number"],
    "company": ["Acme", "Northwind", "Globex", "Initech", "Umbrella Foods", "Hooli"],
    "role": ["data analyst", "nurse", "sales manager", "software engineer", "teacher", "warehouse lead"],
    "symptom": ["a sore throat", "back pain", "a headache behind the eyes", "a rash on my arm", "dizziness"],
    "sum": ["15% of 240", "the integral of x^2", "the area of a circle with radius 7", "3/4 plus 2/5", "12 factorial"],
    "song": ["the sea", "autumn", "an old lighthouse", "my cat", "a lost letter", "the night train"],
    "review": [
        "The delivery was late and the box was damaged, never again.", "Absolutely love it, works like a charm!",
        "It does the job but the battery is weak.", "The staff were rude and the room smelled of smoke.",
        "Five stars, my kids play with it every day.",
    ],
    "ticket": [
        "I cannot log in since the update.", "The app crashes when I open the settings.", "Why was I charged twice?",
        "It would be nice to have a dark mode.", "The export button does nothing.", "My card was declined.",
    ],
    "person": ["Ms Alvarez", "the landlord", "my manager", "a new client", "the hiring team", "Professor Lind"],
    "topic": ["black holes", "photosynthesis", "the French Revolution", "supply and demand", "plate tectonics", "DNA"],
    "number": [str(number) for number in (3, 5, 7, 10, 12, 20)],
}  # fmt: skip


class Intent(NamedTuple):
    """What people ask for, and how they say it; the last third of the ways is not in English."""

    name: str
    ways: tuple[str, ...]
    foreign: tuple[str, ...] = ()


INTENTS = (
    Intent(
        "ticket triage",
        (
            "Classify this ticket into one of: billing, technical, feature_request. Ticket: {ticket}",
            "Classify this support ticket into one of: billing, technical, feature_request. Ticket: {ticket} {ticket}",
            "Which category fits this support ticket (billing, technical, feature_request)? {ticket}",
            "Triage the ticket below. Categories: billing, technical, feature_request.\n\n{ticket}",
        ),
        ("Ordne dieses Support-Ticket ein (billing, technical, feature_request): {ticket}",),
    ),
    Intent(
        "SQL generation",
        (
            "Write a SQL query that selects the top {number} rows of {table} by {column}",
            "SQL to count {table} grouped by {column}",
            "write me a postgres query joining {table} and {table} on {column}",
            "How do I select all {table} where {column} is null in SQL?",
            "Generate SQL: average {column} per {column} from {table} for {month}",
            "I need a query for the {table} table, total {column} by month, sorted descending",
        ),
        (
            "Schreibe eine SQL-Abfrage: alle {table} sortiert nach {column}",
            "Escribe una consulta SQL sobre {table} agrupada por {column}",
        ),
    ),
    Intent(
        "code review",
        (
            "Review this code, what could be better?\ndef {function}(items):\n    return [each for each in items]",
            "Can you do a code review of my pull request? def {function}(path): return open(path).read()",
            "Please review {function} for bugs and style.\n\ndef {function}(x, y=[]):\n    y.append(x)\n    return y",
            "code review: is {function} readable enough? class Worker: def {function}(self): pass",
        ),
        ("Bitte mach ein Code-Review: def {function}(a): return a",),
    ),
    Intent(
        "refund",
        (
            "I want a refund for order {order}",
            "How do I get my money back for {product}?",
            "please refund {product}, order {order}, it arrived broken",
            "Can I return {product} and get a refund?",
            "My refund for order {order} has not arrived yet",
        ),
        (
            "Ich möchte mein Geld zurück für Bestellung {order}",
            "Quiero un reembolso del pedido {order}",
            "Je veux un remboursement de la commande {order}",
        ),
    ),
    Intent(
        "invoice download",
        (
            "Where can I download my invoice for {month}?",
            "I need the invoice of {month} as PDF",
            "How do I find my invoices for {product}?",
            "send me the receipt for order {order} please",
            "Our accountant needs all invoices since {month}, where do I download them?",
        ),
        ("Wo finde ich meine Rechnung für {month}?", "¿Dónde descargo mi factura de {month}?"),
    ),
    Intent(
        "cancel subscription",
        (
            "How do I cancel my subscription?",
            "Please cancel my subscription to {product} from {month} on",
            "I want to end my membership, cancel {product}",
            "cancel auto-renewal of {product} please",
            "Stop charging me, I'd like to unsubscribe from {product}",
        ),
        ("Ich will mein Abo kündigen", "Quiero cancelar mi suscripción a {product}"),
    ),
    Intent(
        "translation",
        (
            "Translate to {language}: {phrase}",
            "Translate the following sentence into {language}: {phrase}",
            "how do you say '{phrase}' in {language}?",
            'What is the {language} translation of "{phrase}"?',
            "Please translate this from English to {language}:\n{phrase}",
        ),
        ("Übersetze ins {language}: {phrase}", "Traduis en {language} : {phrase}"),
    ),
    Intent(
        "summary",
        (
            "Summarize this article in {number} sentences: {article} {article}",
            "Give me a short summary of the text below.\n\n{article} {article}",
            "tl;dr please: {article} {article}",
            "Summarise the key points as {number} bullets:\n{article} {article}",
        ),
        ("Fasse den folgenden Text zusammen: {article} {article}", "Résume ce texte en {number} phrases : {article}"),
    ),
    Intent(
        "sentiment",
        (
            "What is the sentiment of this review, positive or negative? {review}",
            "Label the sentiment (positive, neutral, negative): {review}",
            'Is this customer review positive or negative? "{review}"',
            "Sentiment analysis: {review} {review}",
        ),
    ),
    Intent(
        "email writing",
        (
            "Write an email to {person} asking for a meeting in {month}",
            "Draft a polite email to {person} about {product}",
            "help me write a follow-up email to {person} at {company}",
            "Compose a short email declining the offer of {company}",
            "Can you write a formal email to {person}? Subject: {phrase}",
        ),
        ("Schreibe eine höfliche E-Mail an {person}", "Escribe un correo a {person} sobre {product}"),
    ),
    Intent(
        "debugging",
        (
            "I get this error: {error}. How do I fix it?",
            "Why does my {framework} app crash with {error}?",
            "{error} when I call {function}, what is wrong?",
            "My {framework} server fails with {error} after the upgrade",
            "help, traceback ends with {error} in {function}",
        ),
        ("Warum bekomme ich den Fehler {error}?",),
    ),
    Intent(
        "regular expression",
        (
            "Write a regex that matches {pattern}",
            "I need a regular expression for {pattern} in Python",
            "regex to validate {pattern}",
            "How do I match {pattern} with a regex but not inside quotes?",
        ),
        ("Regulärer Ausdruck (Regex) für {pattern}",),
    ),
    Intent(
        "travel plan",
        (
            "Plan a {number} day trip to {city}",
            "What should I see in {city} in {month}?",
            "Make an itinerary for {number} days in {city} with kids",
            "Best hotels and sights for a weekend in {city}?",
            "I am travelling to {city} in {month}, suggest an itinerary",
        ),
        ("Plane eine Reise nach {city} für {number} Tage", "Planea un viaje de {number} días a {city}"),
    ),
    Intent(
        "recipe",
        (
            "Give me a recipe for {dish}",
            "How do I cook {dish} for {number} people?",
            "What ingredients do I need for {dish}?",
            "an easy recipe of {dish} without dairy please",
            "How long do I bake {dish} in the oven?",
        ),
        ("Rezept für {dish} bitte", "Receta de {dish} para {number} personas"),
    ),
    Intent(
        "job application",
        (
            "Write a cover letter for a {role} position at {company}",
            "Improve my resume for a {role} role",
            "Which skills should a {role} put on a CV?",
            "Interview questions for a {role} at {company}",
            "Rewrite this bullet of my resume: worked as {role} at {company}",
        ),
        ("Schreibe ein Anschreiben als {role} bei {company}",),
    ),
    Intent(
        "health question",
        (
            "I have had {symptom} for {number} days, should I see a doctor?",
            "What could cause {symptom}?",
            "Is {symptom} dangerous during pregnancy?",
            "home remedies against {symptom}",
            "My child has {symptom} and a fever, what can I do?",
        ),
    ),
    Intent(
        "maths",
        (
            "What is {sum}?",
            "Calculate {sum} step by step",
            "Solve and explain: {sum}",
            "compute {sum} and show the steps",
            "Homework: calculate {sum}",
        ),
        ("Berechne {sum} Schritt für Schritt",),
    ),
    Intent(
        "poem",
        (
            "Write a poem about {song}",
            "A haiku about {song} please",
            "Compose a rhyming poem on {song} with {number} verses",
            "write lyrics for a song about {song}",
            "Poem in the style of Rilke about {song}",
        ),
        ("Schreibe ein Gedicht über {song}",),
    ),
    Intent(
        "explanation",
        (
            "Explain {topic} to a ten year old",
            "What is {topic} in simple words?",
            "Explain {topic} briefly with an example",
            "I don't understand {topic}, can you explain it simply?",
            "How does {topic} work? Explain for beginners",
        ),
        ("Erkläre {topic} in einfachen Worten", "Explique {topic} simplement"),
    ),
    Intent(
        "password reset",
        (
            "I forgot my password, how do I reset it?",
            "The password reset email never arrives",
            "reset my password please, account of {company}",
            "I cannot log in, my password is not accepted, reset?",
            "How do I change the password of my account?",
        ),
        ("Ich habe mein Passwort vergessen", "Olvidé mi contraseña, ¿cómo la cambio?"),
    ),
)
_WHO = (
    "The central bank", "A team of researchers", "The council", "The striker", "An airline", "The museum", "A farmer",
    "The minister", "A start-up", "The orchestra", "A judge", "The union", "An old lighthouse keeper", "The school",
)  # fmt: skip
_DID = (
    "raised", "closed", "discovered", "criticised", "bought", "rebuilt", "lost", "praised", "postponed", "measured",
    "painted over", "moved", "counted", "sold",
)  # fmt: skip
_WHAT = (
    "interest rates", "the bridge", "a deep sea snail", "the transfer", "two hundred aircraft", "a stolen portrait",
    "its vineyards", "the tax reform", "a cheap battery", "the spring season", "the appeal", "the pay offer",
    "the northern tower", "every classroom",
)  # fmt: skip
_WHY = (
    "citing stubborn inflation", "after a long summer of heat", "which angered shop owners", "to be closer to home",
    "as fuel became dearer", "after twenty years of search", "because of early frost", "on Wednesday night",
    "with money from abroad", "for the third time this year", "although nobody had asked", "to general surprise",
)  # fmt: skip
_BEFORE = ("", "", "", "Hi, ", "Hello! ", "Hey there, ", "Good morning. ", "quick question: ", "Could you help me? ")
_AFTER = ("", "", "", "", " Thanks!", " Thank you in advance.", " please", " It is urgent.", " Keep it short.")


class Prompt(NamedTuple):
    """A prompt and what its writer wants."""

    text: str
    intent: str


def make_prompts(count: int, *, seed: int = 1, exponent: float = 1.0) -> list[Prompt]:
    """Make prompts, the same for the same seed; the intent of rank r is 1 / r^exponent as frequent as the first."""
    chance = random.Random(seed)
    weights = list(accumulate(1 / rank**exponent for rank in range(1, len(INTENTS) + 1)))
    return [_prompt(chance, chance.choices(INTENTS, cum_weights=weights)[0]) for _ in range(count)]


def _prompt(chance: random.Random, intent: Intent) -> Prompt:
    is_foreign = bool(intent.foreign) and chance.random() < 0.12
    text = chance.choice(intent.foreign if is_foreign else intent.ways)
    while "{" in text:
        name = text[text.index("{") + 1 : text.index("}")]
        filled = _article(chance) if name == "article" else chance.choice(_SLOTS[name])
        text = text.replace(f"{{{name}}}", filled, 1)
    if not is_foreign:
        text = chance.choice(_BEFORE) + text + chance.choice(_AFTER)
    if chance.random() < 0.3:
        text = _mistyped(chance, text)
    return Prompt(text, intent.name)


def _article(chance: random.Random) -> str:
    parts = [(chance.choice(_WHO), chance.choice(_DID), chance.choice(_WHAT), chance.choice(_WHY)) for _ in range(2)]
    return " ".join(f"{who} {did} {what}, {why}." for who, did, what, why in parts)


def _mistyped(chance: random.Random, text: str) -> str:
    """Swap, drop or double a letter in some words."""
    words = text.split(" ")
    for at, word in enumerate(words):
        if len(word) > 3 and chance.random() < 0.12:
            place = chance.randrange(1, len(word) - 1)
            words[at] = chance.choice(
                (
                    word[:place] + word[place + 1] + word[place] + word[place + 2 :],
                    word[:place] + word[place + 1 :],
                    word[:place] + word[place] + word[place:],
                )
            )
    return " ".join(words)

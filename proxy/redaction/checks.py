"""Checks that tell a secret or a personal datum from a text that only looks like one."""

import binascii
import ipaddress
import json
import math
import re
from base64 import b64decode, urlsafe_b64decode
from collections import Counter

_WIDE = re.compile(r"[A-Za-z0-9]{12}")
_NO_DIGITS = re.compile(r"[^0-9]+")

_CARD_RANGES: tuple[tuple[int, int, frozenset[int]], ...] = (
    (340000, 349999, frozenset({15})),  # American Express
    (370000, 379999, frozenset({15})),
    (300000, 305999, frozenset({14, 16})),  # Diners Club
    (309500, 309599, frozenset({14, 16})),
    (360000, 369999, frozenset({14, 16})),
    (380000, 399999, frozenset({14, 16})),
    (352800, 358999, frozenset({16, 17, 18, 19})),  # JCB
    (400000, 499999, frozenset({13, 16, 19})),  # Visa
    (222100, 272099, frozenset({16})),  # Mastercard
    (510000, 559999, frozenset({16})),
    (220000, 220499, frozenset({16, 17, 18, 19})),  # Mir
    (500000, 509999, frozenset({16, 18, 19})),  # Maestro, Elo, RuPay, Verve
    (560000, 589999, frozenset({13, 15, 16, 18, 19})),  # Maestro
    (601100, 601199, frozenset({16, 17, 18, 19})),  # Discover
    (630400, 630499, frozenset({13, 15, 16, 18, 19})),
    (644000, 659999, frozenset({16, 17, 18, 19})),
    (675900, 676999, frozenset({13, 15, 16, 18, 19})),
    (620000, 629999, frozenset({16, 17, 18, 19})),  # UnionPay
    (606900, 608999, frozenset({16})),  # RuPay
    (810000, 819999, frozenset({16, 17, 18, 19})),
)
"""Issuers' ranges by the first six digits, and how long their numbers are (ISO/IEC 7812, the networks' own pages)."""

IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip
"""Characters of an IBAN by country: the registry of ISO 13616."""

COUNTRY_CODES = frozenset(
    str(code)
    for code in (
        1, 7, 20, 27, *range(30, 35), 36, 39, 40, 41, *range(43, 50), *range(51, 59), *range(60, 67), 81, 82, 84, 86,
        *range(90, 96), 98, 211, 212, 213, 216, 218, *range(220, 259), *range(260, 270), 290, 291, *range(297, 300),
        *range(350, 360), *range(370, 379), *range(380, 384), *range(385, 388), 389, 420, 421, 423, *range(500, 510),
        *range(590, 600), 670, *range(672, 684), *range(685, 693), 800, 808, 850, 852, 853, 855, 856, 870, 878,
        *range(880, 884), 886, 888, *range(960, 969), *range(970, 978), 979, *range(992, 997), 998,
    )
)  # fmt: skip
"""Assigned country codes of ITU-T E.164."""


def digits_of(text: str) -> str:
    """Leave the ASCII digits of a text."""
    return _NO_DIGITS.sub("", text)


def is_card(digits: str) -> bool:
    """Whether some digits are a number that an issuer of payment cards could have given out."""
    head = int(digits[:6])
    return any(low <= head <= high and len(digits) in sizes for low, high, sizes in _CARD_RANGES) and _has_luhn(digits)


def _has_luhn(digits: str) -> bool:
    """Check the last digit (ISO/IEC 7812-1, annex B)."""
    total = sum(map(int, digits[-1::-2]))
    total += sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return total % 10 == 0


def is_iban(text: str) -> bool:
    """Whether letters and digits without separators are an account number of ISO 13616."""
    text = text.upper()
    if IBAN_LENGTHS.get(text[:2]) != len(text):
        return False
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1


def is_international_phone(digits: str) -> bool:
    """Whether the digits after a `+` begin with a country's code and are as many as E.164 allows."""
    return 8 <= len(digits) <= 15 and any(digits[:size] in COUNTRY_CODES for size in (1, 2, 3))


def is_address(text: str) -> bool:
    """Whether a text is an IP address of some other machine than this one."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not address.is_loopback and not address.is_unspecified and text != "255.255.255.255"


def is_random(key: str) -> bool:
    """Whether what follows a key's beginning can have been drawn by chance: a digit, a letter, no row of words."""
    return bool(_WIDE.search(key)) and any(map(str.isdigit, key)) and any(map(str.isalpha, key)) and entropy(key) >= 2.5


def is_token(value: str) -> bool:
    """Whether a value assigned to a token or a key looks random."""
    has_both = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return len(value) >= 16 and has_both and entropy(value) >= 3.0


def is_password(value: str) -> bool:
    """Whether a value assigned to a password is none of the words that stand there in prose and in code."""
    if len(value) < 6 or not any(map(str.isalpha, value)) or len(set(value)) < 4:
        return False
    # The sign at the end may be the sentence's.
    return any(map(str.isdigit, value)) or any(sign in value[:-1] for sign in "!@#$%^&*+?~")


def entropy(text: str) -> float:
    """Give Shannon's entropy in bits per character."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values())


def is_jwt(text: str) -> bool:
    """Whether the first part is the header of a token: a JSON object that names its algorithm (RFC 7515, 4.1.1)."""
    head = text.partition(".")[0]
    try:
        fields = json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, RecursionError):
        return False
    return isinstance(fields, dict) and "alg" in fields


def is_basic(text: str) -> bool:
    """Whether a text is what HTTP's basic scheme sends: a name, a colon and a password in base64."""
    try:
        return b":" in b64decode(text + "=" * (-len(text) % 4), validate=True)[1:]
    except (binascii.Error, ValueError):
        return False

"""The shapes of personal data: numbers with a check, and addresses.

Each pattern begins with the set of characters that a value can begin with, since the engine skips all others fast, and
asks what stands before that afterwards.
"""

import re
from collections.abc import Iterator

from proxy.redaction.category import Category
from proxy.redaction.checks import IBAN_LENGTHS, digits_of, is_address, is_card, is_iban, is_international_phone
from proxy.redaction.shape import Match, Shape

_SEPARATOR = "[ .\xa0-]"
_CARD = re.compile(
    r"[0-9](?<![0-9][0-9])(?<![0-9]\.[0-9])(?:[0-9]{12,18}"
    rf"|[0-9]{{3}}(?P<a>{_SEPARATOR})[0-9]{{4}}(?P=a)[0-9]{{4}}(?P=a)[0-9]{{1,4}}(?:(?P=a)[0-9]{{1,3}})?"
    rf"|[0-9]{{3}}(?P<b>{_SEPARATOR})[0-9]{{6}}(?P=b)[0-9]{{4,5}})(?![0-9])"
)
_LAST_GROUP = re.compile(rf"{_SEPARATOR}[0-9]{{1,3}}\Z")
_BY_LENGTH = {
    length: "|".join(country for country, its in IBAN_LENGTHS.items() if its == length)
    for length in sorted(set(IBAN_LENGTHS.values()))
}
_IBAN = re.compile(
    r"(?<![A-Za-z0-9])(?=[A-Za-z]{2}[0-9]{2})(?i:"
    + "|".join(
        rf"(?:{countries})[0-9]{{2}}(?:[ \xa0-]?[A-Z0-9]){{{length - 4}}}" for length, countries in _BY_LENGTH.items()
    )
    + r")(?![A-Za-z0-9])"
)
_EMAIL = re.compile(r"@(?<=[\w%+-]@)(?:[^\W_](?:[^\W_]|-(?=[^\W_]|-)){0,62}\.){1,8}[^\W\d_]{2,24}(?![^\W_])")
_LOCAL_PART = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+-"
_UNICODE_LOCAL_PART = re.compile(r"[\w.%+-]{1,64}\Z")
_NO_DOMAIN = re.compile(r"\.(?:png|jpe?g|gif|webp|svg|css|js|json|html?|py|md|txt)\Z", re.IGNORECASE)
"""`icon@2x.png` is the name of a file."""
_FAR_PHONE = re.compile(
    r"\+(?<![A-Za-z0-9+=/]\+)(?![0-9]{4}-[0-9]{2}-[0-9]{2})[1-9][0-9]{0,3}+"
    r"(?:[ \xa0.-]?+\(?+[0-9]{1,5}+\)?+){1,8}+(?![0-9A-Za-z])"
)
_PHONE_GROUP = re.compile(r"[ \xa0.(-]+[0-9]+\)?\Z")
_NEAR_PHONE = re.compile(
    r"[(1-9](?<![0-9A-Za-z+.-][(1-9])(?:(?<=1)[ .-]\(?[2-9]|(?<=\()[2-9]|(?<=[2-9]))(?!11)[0-9]{2}"
    r"(?:\)[ ]?|(?P<s>[ .-]))[2-9](?!11)[0-9]{2}(?(s)(?P=s)|[ .-])[0-9]{4}(?![0-9A-Za-z]|[.-][0-9])"
)
_SSN = re.compile(
    r"[0-8](?<![0-9A-Za-z-][0-8])[0-9]{2}(?<!000)(?<!666)-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![0-9A-Za-z]|-[0-9])"
)
_IPV4 = re.compile(r"[0-9](?<![A-Za-z0-9_.][0-9])[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?![A-Za-z0-9_]|\.[0-9])")
_IPV6 = re.compile(
    r"[0-9A-Fa-f:](?<![A-Za-z0-9_:.][0-9A-Fa-f:])(?:(?<=:)|[0-9A-Fa-f]{0,3}:)(?=[0-9A-Fa-f:]{0,39}[0-9])"
    r"[0-9A-Fa-f:]{1,39}+(?:(?:\.[0-9]{1,3}){3})?(?![A-Za-z0-9_:])"
)


def _is_ipv6(text: str) -> bool:
    # `3::2` could be an address, but is the slice of a list: three groups, or a long one, tell them apart.
    groups = [group for group in text.split(":") if group]
    return (len(groups) >= 3 or max(map(len, groups), default=0) >= 3) and is_address(text)


def _unseparated(text: str) -> str:
    return text.replace(" ", "").replace("\xa0", "").replace("-", "").upper()


NUMBER_SHAPES = {
    Category.IBAN: Shape(Category.IBAN, "", _IBAN, lambda text: is_iban(_unseparated(text)), _unseparated),
    Category.US_SSN: Shape(Category.US_SSN, "-", _SSN, None, digits_of),
    Category.IPV4: Shape(Category.IPV4, ".", _IPV4, is_address),
    Category.IPV6: Shape(Category.IPV6, ":", _IPV6, _is_ipv6, str.lower),
}


def find_phones(text: str) -> Iterator[Match]:
    """Find telephone numbers; the North American form meets its international one."""
    label = Category.PHONE.name
    if "+" in text:
        for match in _FAR_PHONE.finditer(text):
            value = match[0]
            # What goes on behind a number may be another one: an amount, an extension, a year.
            while len(digits := digits_of(value)) > 15 and (group := _PHONE_GROUP.search(value)):
                value = value[: group.start()]
            if is_international_phone(digits):
                yield Match(match.start(), match.start() + len(value), label, digits)
    for match in _NEAR_PHONE.finditer(text):
        yield Match(match.start(), match.end(), label, "1" + digits_of(match[0])[-10:])


def find_cards(text: str) -> Iterator[Match]:
    """Find payment cards, also with some digits of something else behind the last group."""
    for match in _CARD.finditer(text):
        value = match[0]
        shorter = _LAST_GROUP.sub("", value)
        for candidate in (value, shorter) if shorter != value else (value,):
            digits = digits_of(candidate)
            if len(digits) >= 13 and is_card(digits):
                yield Match(match.start(), match.start() + len(candidate), Category.CARD.name, digits)
                break


def find_emails(text: str) -> Iterator[Match]:
    """Find e-mail addresses, from the `@` to both sides: 64 characters of local part at most (RFC 5321)."""
    for match in _EMAIL.finditer(text):
        before = text[max(0, match.start() - 64) : match.start()]
        rest = before.rstrip(_LOCAL_PART)
        local = before[len(rest) :]
        if rest[-1:].isalnum() and (whole := _UNICODE_LOCAL_PART.search(before)):
            local = whole[0]
        local = local.lstrip(".")
        if local and not local.endswith(".") and not _NO_DOMAIN.search(match[0]):
            start = match.start() - len(local)
            yield Match(start, match.end(), Category.EMAIL.name, text[start : match.end()].lower())

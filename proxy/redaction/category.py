"""What redaction knows: a closed list of kinds of secrets and of personal data, each with a switch of its own."""

import difflib
from collections.abc import Iterable
from enum import StrEnum

from proxy.errors import SettingsError


class Category(StrEnum):
    """A kind of value; its name in capitals stands in the placeholder."""

    PRIVATE_KEY = "private_key"
    """A private key in PEM, with its frame."""
    OPENAI_KEY = "openai_key"
    """`sk-…`, and what other servers of the OpenAI dialect give out in that shape."""
    ANTHROPIC_KEY = "anthropic_key"
    AWS_KEY = "aws_key"
    """Access key ids (`AKIA…`, `ASIA…`); the secret behind one is found as a `credential`."""
    GITHUB_TOKEN = "github_token"  # noqa: S105 - a kind of secret
    GOOGLE_KEY = "google_key"
    SLACK_TOKEN = "slack_token"  # noqa: S105
    """Tokens and webhook addresses."""
    STRIPE_KEY = "stripe_key"
    AZURE_KEY = "azure_key"
    """Storage account keys, client secrets, keys of AI services."""
    HUGGINGFACE_TOKEN = "huggingface_token"  # noqa: S105
    VENDOR_KEY = "vendor_key"
    """Others with an unmistakable beginning: GitLab, npm, PyPI, SendGrid, Groq, xAI, …, and our own proxy keys."""
    JWT = "jwt"
    """A JSON Web Token whose header decodes."""
    BEARER_TOKEN = "bearer_token"  # noqa: S105
    """What follows `Bearer`, and `Basic` where it decodes to a name and a password."""
    CREDENTIAL = "credential"
    """What is assigned to a password, secret, token or key, if it looks random; user and password of a URL."""
    CARD = "card"
    """Payment cards: ranges of the issuers and the Luhn digit."""
    IBAN = "iban"
    """Bank accounts: length of the country and the remainder by 97."""
    US_SSN = "us_ssn"
    """US social security numbers with dashes, in areas and groups that exist."""
    EMAIL = "email"
    PHONE = "phone"
    """International numbers with `+` and a country's code, and North American ones with separators."""
    IPV4 = "ipv4"
    """Addresses but loopback and `0.0.0.0`."""
    IPV6 = "ipv6"
    """Addresses but loopback and `::`."""


PERSONAL = frozenset(
    {Category.CARD, Category.IBAN, Category.US_SSN, Category.EMAIL, Category.PHONE, Category.IPV4, Category.IPV6}
)
SECRETS = frozenset(Category) - PERSONAL
_GROUPS = {
    "off": frozenset[Category](),
    "all": frozenset(Category),
    "secrets": SECRETS,
    "personal": PERSONAL,
    **{category.value: frozenset({category}) for category in Category},
}


def select(names: Iterable[str]) -> frozenset[Category]:
    """Tell which categories some names select, in their order.

    Args:
        names: Categories, `off`, `secrets`, `personal` or `all`; a name with `-` before it takes away.

    Raises:
        SettingsError: A name is none of these.
    """
    selected: frozenset[Category] = frozenset()
    for name in names:
        bare = name.removeprefix("-")
        if bare not in _GROUPS:
            near = difflib.get_close_matches(bare, _GROUPS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_GROUPS)}."
            raise SettingsError(f"redact names {name!r}, which is nothing that can be redacted; {hint}")
        selected = selected - _GROUPS[bare] if name.startswith("-") else selected | _GROUPS[bare]
    return selected


def joined_names(value: object) -> object:
    """Take a list for the same names with commas, and YAML's `off`, which is false, for the word."""
    if value is False:
        return "off"
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value

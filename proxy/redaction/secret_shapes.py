"""The shapes of secrets: most of them begin as nothing else does.

The beginnings are those that the vendors document and that secret scanners agree on. Each pattern begins with its
literal, which the regular expression engine searches at the speed of memory; what must not stand before it is asked
afterwards.
"""

import re
from collections.abc import Callable, Iterator

from proxy.redaction.category import Category
from proxy.redaction.checks import is_basic, is_jwt, is_password, is_random, is_token
from proxy.redaction.shape import Match, Shape

_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}-----")
_PEM_BODY = re.compile(r"(?:\s|\\[nr])*+(?:[A-Za-z0-9+/=]{40,100}(?:\s|\\[nr])*+)*+[A-Za-z0-9+/=]{0,100}")
_MAX_PEM_CHARACTERS = 16 * 1024
_LONGEST_PASSWORD = 256

_PASSWORD_WORDS = ("password", "passwd", "passphrase", "pwd")
_TOKEN_WORDS = ("secret", "token", "key", "credential", "credentials")
ASSIGNED_WORDS = _PASSWORD_WORDS + _TOKEN_WORDS
"""Names whose values are secrets; they may have anything before them, as in `DB_PASSWORD` or `x-api-key`."""
_PASSWORD_NAME = re.compile(rf"(?:{'|'.join(_PASSWORD_WORDS)})\Z", re.IGNORECASE)
_TOKEN_NAMES = (
    "secret|token|credentials?|(?:api|access|secret|private|auth|account|service|signing|encryption)[_ -]?key"  # noqa: S105 - names
)
_TOKEN_NAME = re.compile(rf"(?:{_TOKEN_NAMES})\Z", re.IGNORECASE)
_GAP = r"""["'`]{0,2}[ ]{0,4}(?::=|=>|==?|:)[ \t]{0,4}["'`]{0,3}"""
_ASSIGNED_PASSWORD = re.compile(
    rf"(?i:{'|'.join(_PASSWORD_WORDS)}){_GAP}(?P<value>[^\s\"'`,;<>{{}}()\[\]|\\]{{6,256}}+)"
)
_ASSIGNED_TOKEN = re.compile(rf"(?i:{_TOKEN_NAMES}){_GAP}(?P<value>[A-Za-z0-9_+/=~%-]{{16,512}}+)(?![.(\[]\w)")
_URL_USER = re.compile(r"://(?P<value>[^\s/:@\"'<>?#]{0,64}:[^\s/@\"'<>]{3,256})@(?=[A-Za-z0-9\[])")


def _begun(
    category: Category, beginning: str, rest: str, check: Callable[[str], bool] | None = None, before: str = "A-Za-z0-9"
) -> Shape:
    """Make the shape of a key with a fixed beginning, before which none of some characters stands."""
    literal = re.escape(beginning)
    return Shape(category, beginning, re.compile(rf"{literal}(?<![{before}]{literal}){rest}"), check)


_C = Category
SECRET_SHAPES: tuple[Shape, ...] = (
    _begun(_C.ANTHROPIC_KEY, "sk-ant-", r"[A-Za-z0-9_-]{20,}", is_random),
    _begun(_C.OPENAI_KEY, "sk-", r"(?!ant-|or-|lf-)[A-Za-z0-9_-]{20,}", is_random),
    _begun(_C.VENDOR_KEY, "sk-or-", r"[A-Za-z0-9_-]{20,}", is_random),
    _begun(_C.VENDOR_KEY, "sk-lf-", r"[A-Za-z0-9_-]{20,}", is_random),
    *[_begun(_C.AWS_KEY, four, r"[A-Z0-9]{16}(?![A-Za-z0-9])", is_random) for four in ("AKIA", "ASIA", "ABIA", "ACCA")],
    *[_begun(_C.GITHUB_TOKEN, f"gh{kind}_", r"[A-Za-z0-9]{36,}") for kind in "pousr"],
    _begun(_C.GITHUB_TOKEN, "github_pat_", r"[A-Za-z0-9_]{22,}"),
    _begun(_C.GOOGLE_KEY, "AIza", r"[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    _begun(_C.GOOGLE_KEY, "ya29.", r"[A-Za-z0-9_-]{20,}"),
    _begun(_C.GOOGLE_KEY, "GOCSPX-", r"[A-Za-z0-9_-]{28}"),
    _begun(_C.SLACK_TOKEN, "xox", r"[abceoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}", is_random),
    _begun(_C.SLACK_TOKEN, "xapp-", r"[0-9]-[A-Za-z0-9-]{10,}", is_random),
    _begun(_C.SLACK_TOKEN, "hooks.slack.com", r"/(?:services|workflows|triggers)/[A-Za-z0-9+/]{20,}", before="A-Z"),
    *[
        _begun(_C.STRIPE_KEY, f"{kind}_{mode}_", r"[A-Za-z0-9]{10,}")
        for kind in ("sk", "rk")
        for mode in ("live", "test", "prod")
    ],
    _begun(_C.STRIPE_KEY, "whsec_", r"[A-Za-z0-9+/]{24,}"),
    _begun(_C.AZURE_KEY, "AccountKey=", r"(?P<value>[A-Za-z0-9+/]{86}==)"),
    Shape(
        _C.AZURE_KEY,
        "Q~",
        re.compile(r"(?<![A-Za-z0-9_~.-])[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}(?![A-Za-z0-9_~.-])"),
    ),
    Shape(_C.AZURE_KEY, "JQQJ9", re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]{52}JQQJ9[A-Za-z0-9]{20,40}(?![A-Za-z0-9])")),
    _begun(_C.HUGGINGFACE_TOKEN, "hf_", r"[A-Za-z0-9]{30,}"),
    _begun(_C.HUGGINGFACE_TOKEN, "api_org_", r"[A-Za-z0-9]{30,}"),
    _begun(_C.VENDOR_KEY, "tm-", r"[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])", is_random),
    _begun(_C.VENDOR_KEY, "gsk_", r"[A-Za-z0-9]{40,}"),
    _begun(_C.VENDOR_KEY, "xai-", r"[A-Za-z0-9]{60,}"),
    _begun(_C.VENDOR_KEY, "pplx-", r"[A-Za-z0-9]{40,}"),
    _begun(_C.VENDOR_KEY, "r8_", r"[A-Za-z0-9]{37}"),
    _begun(_C.VENDOR_KEY, "nvapi-", r"[A-Za-z0-9_-]{60,}"),
    _begun(_C.VENDOR_KEY, "glpat-", r"[A-Za-z0-9_.-]{20,}"),
    _begun(_C.VENDOR_KEY, "npm_", r"[A-Za-z0-9]{36}"),
    _begun(_C.VENDOR_KEY, "pypi-AgE", r"[A-Za-z0-9_-]{50,}"),
    _begun(_C.VENDOR_KEY, "SG.", r"[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    _begun(_C.VENDOR_KEY, "dop_v1_", r"[a-f0-9]{64}"),
    _begun(_C.VENDOR_KEY, "dapi", r"[a-f0-9]{32}(?:-[0-9])?(?![A-Za-z0-9])"),
    _begun(_C.VENDOR_KEY, "shpat_", r"[a-fA-F0-9]{32}"),
    _begun(_C.JWT, "eyJ", r"[A-Za-z0-9_-]{10,}+(?:\.[A-Za-z0-9_-]*+){2,4}+", is_jwt, before="A-Za-z0-9_."),
)
"""Their hints are looked for in the raw text of a trace, so none of them holds what JSON may write in another way."""

BEARER_SHAPES = tuple(
    Shape(Category.BEARER_TOKEN, "", re.compile(pattern), check)
    for pattern, check in (
        (r"(?i:bearer)[ \t]{1,4}(?P<value>[A-Za-z0-9._~+/-]{16,}+=*+)", is_token),
        (r"(?i:basic)[ \t]{1,4}(?P<value>[A-Za-z0-9+/]{8,}+={0,2})(?![A-Za-z0-9])", is_basic),
    )
)


def find_private_keys(text: str) -> Iterator[Match]:
    """Find PEM frames of private keys with all that is in them; one cut short goes as far as its lines do."""
    begin = _BEGIN.search(text)
    close = _PEM_END.search(text)
    while begin:
        following = _BEGIN.search(text, begin.end())
        # Looked for once for all frames before it: a text may hold nothing but beginnings.
        if close and close.start() < begin.end():
            close = _PEM_END.search(text, begin.end())
        limit = min(following.start() if following else len(text), begin.end() + _MAX_PEM_CHARACTERS)
        if close and close.end() <= limit:
            yield Match(begin.start(), close.end(), Category.PRIVATE_KEY.name, text[begin.start() : close.end()])
        elif (body := _PEM_BODY.match(text, begin.end(), limit)) and len(body[0].strip()) >= 40:
            yield Match(begin.start(), body.end(), Category.PRIVATE_KEY.name, text[begin.start() : body.end()])
        begin = following


def find_credentials(text: str) -> Iterator[Match]:
    """Find what running text or code assigns to names of secrets, and the user and password of a URL."""
    label = Category.CREDENTIAL.name
    for pattern, check in ((_ASSIGNED_PASSWORD, is_password), (_ASSIGNED_TOKEN, is_token)):
        for match in pattern.finditer(text):
            value = match["value"].rstrip(".:")
            if check(value):
                yield Match(match.start("value"), match.start("value") + len(value), label, value)
    if "://" in text:
        for match in _URL_USER.finditer(text):
            yield Match(match.start("value"), match.end("value"), label, match["value"])


def is_assigned_secret(name: str, value: str) -> bool:
    """Whether a member of a JSON object is a secret, by its name and the look of its value."""
    if len(value) > _LONGEST_PASSWORD or any(map(str.isspace, value)):
        return False
    if _PASSWORD_NAME.search(name, max(0, len(name) - 32)):
        return is_password(value)
    return bool(_TOKEN_NAME.search(name, max(0, len(name) - 32))) and is_token(value)

"""Redacting traces: every text that a client or an upstream sent, before anything is stored.

Pure: the same trace with the same settings and salt gives the same redacted trace, which holds nothing more to redact.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b

from proxy.redaction.category import SECRETS, Category
from proxy.redaction.finder import Finder
from proxy.redaction.json_edit import Find, edit_json, edit_text
from proxy.redaction.likely import Likely
from proxy.redaction.placeholder import Placeholders
from proxy.redaction.rule import RedactRule, Rule
from proxy.redaction.shape import Match
from store.trace import Flag, JsonText, Reply, Trace


@dataclass(frozen=True, slots=True)
class Redacted:
    """A trace without what was to go.

    Attributes:
        trace: The very same object when nothing was found.
        counts: Values replaced, by the name of their category or rule in lower case.
    """

    trace: Trace
    counts: Mapping[str, int]


class Redactor:
    """Redacts with one choice of categories, rules and exceptions."""

    def __init__(
        self, categories: Collection[Category], *, salt: bytes, rules: Iterable[Rule] = (), allow: Iterable[str] = ()
    ) -> None:
        """Begin.

        Args:
            categories: What to redact.
            salt: The data directory's, for placeholders: see `proxy.redaction.placeholder`.
            rules: Further patterns.
            allow: Values that stay: exact, or globs, in whatever case.
        """
        rules = tuple(rules)
        self._has_rules = bool(rules)
        self._finder = Finder(rules, allow)
        self._likely = Likely(categories)
        self._placeholders = Placeholders(salt)
        self._edited = _EditedTexts()

    def redact(self, trace: Trace) -> Redacted:
        """Redact a trace; one in which nothing is found stays as it is."""
        if not self._has_rules and not any(map(self._likely.find, (_said(trace), _told(trace)))):
            return Redacted(trace, {})
        counts: Counter[str] = Counter()
        redacted = self._redact_fields(trace, counts)
        if not counts:
            return Redacted(trace, counts)
        return Redacted(replace(redacted, flags=trace.flags | {Flag.REDACTED}), counts)

    def redact_text(self, text: str) -> str:
        """Redact one text, as a user's name that is to be found again in redacted traces."""
        return self._text(text, Counter()) or text

    def redact_json(self, text: JsonText) -> JsonText:
        """Redact one JSON text, such as a message."""
        return self._json(text, Counter()) or text

    def _redact_fields(self, trace: Trace, counts: Counter[str]) -> Trace:
        return replace(
            trace,
            messages=tuple([self._json(message, counts) or message for message in trace.messages]),
            replies=tuple([self._reply(reply, counts) for reply in trace.replies]),
            tools=self._json(trace.tools, counts),
            response_format=self._json(trace.response_format, counts),
            parameters=self._json(trace.parameters, counts) or trace.parameters,
            metadata=self._json(trace.metadata, counts),
            usage=self._json(trace.usage, counts),
            tags={self._of(name, counts): self._of(value, counts) for name, value in trace.tags.items()},
            session=self._text(trace.session, counts),
            user=self._text(trace.user, counts),
            error=self._text(trace.error, counts),
            path=self._of(trace.path, counts),
            requested_model=self._text(trace.requested_model, counts),
            served_model=self._text(trace.served_model, counts),
            # Long numbers are what ids are made of: a card's or a phone's would be chance.
            upstream_id=self._text(trace.upstream_id, counts, SECRETS),
            request_id=self._text(trace.request_id, counts, SECRETS),
            system_fingerprint=self._text(trace.system_fingerprint, counts, SECRETS),
        )

    def _reply(self, reply: Reply, counts: Counter[str]) -> Reply:
        message = self._json(reply.message, counts) or reply.message
        finish_reason = self._text(reply.finish_reason, counts)
        if message == reply.message:
            return replace(reply, finish_reason=finish_reason)
        # They spell out, token by token, what was taken out of the message.
        return replace(reply, message=message, finish_reason=finish_reason, logprobs=None)

    def _json(self, text: JsonText | None, counts: Counter[str]) -> JsonText | None:
        if text is None:
            return None
        likely = self._likely.find(text)
        if not likely and not self._has_rules:
            return text
        known = self._edited.find(text)
        if known is None:
            own: Counter[str] = Counter()
            writer = _Writer(self._placeholders, own)
            written = text.decode("utf-8", "surrogatepass")
            edited = edit_json(written, self._find(likely), writer.write)
            known = self._edited.keep(text, edited.encode("utf-8", "surrogatepass"), own)
        counts.update(known.counts)
        return known.text

    def _of(self, text: str, counts: Counter[str]) -> str:
        return self._text(text, counts) or text

    def _text(self, text: str | None, counts: Counter[str], only: Collection[Category] = tuple(Category)) -> str | None:
        if not text:
            return text
        likely = self._likely.find(text.encode("utf-8", "surrogatepass")).intersection(only)
        if not likely and not self._has_rules:
            return text
        return edit_text(text, self._find(likely), _Writer(self._placeholders, counts).write)

    def _find(self, categories: Collection[Category]) -> Find:
        return lambda text, name: self._finder.find(text, categories, name)


def make_redactor(
    categories: Collection[Category], rules: Iterable[RedactRule], allow: Iterable[str], *, salt: bytes
) -> Redactor | None:
    """Make the redactor that the settings ask for; None when they ask for none.

    Raises:
        SettingsError: A rule cannot be used: see `Rule`.
    """
    compiled = [Rule(rule) for rule in rules]
    if not categories and not compiled:
        return None
    return Redactor(categories, salt=salt, rules=compiled, allow=allow)


class _Writer:
    """Writes placeholders and counts them."""

    def __init__(self, placeholders: Placeholders, counts: Counter[str]) -> None:
        self._placeholders = placeholders
        self._counts = counts

    def write(self, match: Match) -> str:
        self._counts[match.label.lower()] += 1
        return self._placeholders.make(match.label, match.value)


@dataclass(frozen=True, slots=True)
class _Edited:
    text: JsonText
    counts: Counter[str]


class _EditedTexts:
    """What became of the texts seen lately: a chat sends its history, and tools, with each call.

    Known by hash, so what is held in memory is what is stored anyway.
    """

    _MOST = 2_000
    _MOST_BYTES = 32 * 1024

    def __init__(self) -> None:
        self._young: dict[bytes, _Edited] = {}
        self._old: dict[bytes, _Edited] = {}

    def find(self, text: JsonText) -> _Edited | None:
        if len(text) > self._MOST_BYTES:
            return None
        name = blake2b(text, digest_size=20).digest()
        known = self._young.get(name)
        if known is None and (known := self._old.get(name)) is not None:
            self._put(name, known)
        return known

    def keep(self, text: JsonText, edited: JsonText, counts: Counter[str]) -> _Edited:
        known = _Edited(edited, counts)
        if len(text) <= self._MOST_BYTES:
            self._put(blake2b(text, digest_size=20).digest(), known)
        return known

    def _put(self, name: bytes, known: _Edited) -> None:
        if len(self._young) >= self._MOST:
            self._old, self._young = self._young, {}
        self._young[name] = known


def _said(trace: Trace) -> bytes:
    texts = [*trace.messages, *[reply.message for reply in trace.replies], trace.parameters]
    texts += [text for text in (trace.tools, trace.response_format, trace.metadata) if text]
    return b"\n".join(texts)


def _told(trace: Trace) -> bytes:
    """Give the short texts around a call: looked at apart, since the names in `usage` are as long as keys."""
    texts = [
        trace.path, trace.session, trace.user, trace.error, trace.requested_model, trace.served_model,
        trace.upstream_id, trace.request_id, trace.system_fingerprint, *trace.tags, *trace.tags.values(),
        *[reply.finish_reason for reply in trace.replies],
    ]  # fmt: skip
    joined = "\n".join([text for text in texts if text]).encode("utf-8", "surrogatepass")
    return joined + b"\n" + trace.usage if trace.usage else joined

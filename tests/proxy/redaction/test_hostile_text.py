"""No text takes more than linear time: all other traces wait for it."""

import json
import time

import pytest

from proxy.redaction.rule import RedactRule, Rule
from tests.proxy.ingest.raw_calls import REQUEST, asked
from tests.proxy.redaction.redactors import redactor

_BYTES = 150_000
_PATIENCE_S = 3.0
"""A quadratic search over so much takes minutes; a linear one 0.2 s on an idle machine."""


@pytest.mark.parametrize(
    "unit",
    [
        "@", "a@b.", "a@b.co ", "eyJ", "eyJhbGciOiJIUzI1NiJ9.", "sk-", "sk-a_", "-----BEGIN PRIVATE " + "KEY-----",
        "1 ", "1234 ", "+1", "+123456789", "+1 2 3 ", "DE89 ", "1.", "::", "a:", "1:2:", "password=", "token=abc1",
        "Bearer ", "://a:b@", "\\", "\n", '"', "[", '{"a":', "\x00", "Q~a", "555-", "1", "a", "[EMAIL_", "Aa1",
        "\ud83d",
    ],
)  # fmt: skip
def test_a_hostile_text_takes_linear_time(unit: str) -> None:
    text = (unit * (_BYTES // len(unit)))[:_BYTES]
    trace = asked(json.dumps({**REQUEST, "messages": [{"role": "user", "content": text + " jane@x.example"}]}).encode())
    began = time.process_time()
    counts = redactor().redact(trace).counts
    assert time.process_time() - began < _PATIENCE_S
    assert counts.get("email")


def test_a_rule_takes_linear_time_whatever_its_pattern() -> None:
    rule = Rule(RedactRule(name="evil", pattern="(a+)+b"))
    began = time.process_time()
    assert list(rule.find("a" * _BYTES)) == []
    assert time.process_time() - began < _PATIENCE_S

"""Inside JSON only what was found changes, however it is written."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proxy.redaction.redactors import redactor

ALL = redactor()
MAIL = "jane@example.com"
PLACEHOLDER = ALL.redact_text(MAIL)
KEY = "sk-proj-Ab3dEf6hIj9lMn2pQr5tUv8xYz1B"
CARD = "4111111111111111"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            r'{"a":"\u00e9 \/ \ud83d\ude00 MAIL \n\u2028 \ud800"}',
            r'{"a":"\u00e9 \/ \ud83d\ude00 HERE \n\u2028 \ud800"}',
        ),
        (r'{"a":"x\nMAIL\ny","b":1E5,"b":1.0}', r'{"a":"x\nHERE\ny","b":1E5,"b":1.0}'),
        (r'{"MAIL":[1,{"MAIL":null}]}', r'{"HERE":[1,{"HERE":null}]}'),
        (r'{"a":"\u006aane\u0040example.com"}', r'{"a":"HERE"}'),
        (r'{"a":"\ud83d\ude00\ud83d\ude00MAIL\ud83d"}', r'{"a":"\ud83d\ude00\ud83d\ude00HERE\ud83d"}'),
        (r'{"arguments":"{\"to\": \"MAIL\", \"n\": 1.0}"}', r'{"arguments":"{\"to\": \"HERE\", \"n\": 1.0}"}'),
        (r'{"arguments":"{\"to\":\"\\u006aane@example.com\"}"}', r'{"arguments":"{\"to\":\"HERE\"}"}'),
        (r'{"arguments":"{\"to\": \"\\u006aane@example.com"}', r'{"arguments":"{\"to\": \"HERE"}'),
        (r'{"a":"[\"[\\\"MAIL\\\"]\"]"}', r'{"a":"[\"[\\\"HERE\\\"]\"]"}'),
        ("not JSON: {MAIL", "not JSON: {HERE"),
    ],
)
def test_only_the_characters_of_the_value_change(before: str, after: str) -> None:
    assert ALL.redact_text(before.replace("MAIL", MAIL)) == after.replace("HERE", PLACEHOLDER)


def test_a_number_becomes_a_string_so_that_the_text_stays_json() -> None:
    card = ALL.redact_text(CARD)
    before = '{"card":4111111111111111,"n":[1,2.5]}'
    assert ALL.redact_text(before) == before.replace(CARD, f'"{card}"')
    nested = json.dumps({"arguments": json.dumps({"card": int(CARD)})})
    assert json.loads(json.loads(ALL.redact_text(nested))["arguments"]) == {"card": card}


def test_members_named_like_secrets_lose_values_that_look_like_them() -> None:
    redacted = json.loads(
        ALL.redact_text(
            '{"password":"Tr0ub4dor&3","api_key":"a1b2c3d4e5f6g7h8","password_hint":"Tr0ub4dor","token":"x"}'
        )
    )
    assert redacted["password"].startswith("[CREDENTIAL_")
    assert redacted["api_key"].startswith("[CREDENTIAL_")
    assert redacted["password_hint"] == "Tr0ub4dor"
    assert redacted["token"] == "x"


def test_a_base64_image_is_left_alone() -> None:
    image = '{"url":"data:image/png;base64,%s"}' % ("+491701234567/" * 100)
    assert ALL.redact_text(image) == image


def test_what_gives_a_message_its_form_stays_whatever_a_rule_says() -> None:
    greedy = redactor((), ("word", "[a-z_]+"))
    assert greedy.redact_text('{"role":"user","content":"hello"}').startswith('{"role":"user","content":"[WORD_')


SECRETS = st.sampled_from([MAIL, KEY, CARD, "DE89 3704 0044 0532 0130 00", "203.0.113.9", "+49 170 1234567"])
TEXTS = st.text() | st.builds(lambda a, secret, b: f"{a} {secret} {b}", st.text(), SECRETS, st.text())
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(TEXTS, inner, max_size=4)
        | inner.map(json.dumps)
        | inner.map(lambda value: json.dumps(value, ensure_ascii=False))
    ),
    max_leaves=12,
)


@given(VALUES, st.booleans())
def test_json_stays_json_of_the_same_shape_and_nothing_is_left_to_redact(value: Any, is_ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii)
    redacted = ALL.redact_text(text)
    assert shape(json.loads(redacted)) == shape(value)
    assert ALL.redact_text(redacted) == redacted


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return [shape(item) for item in value.values()]
    return [shape(item) for item in value] if isinstance(value, list) else None


@given(st.text() | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_any_text_is_taken_and_a_second_time_changes_nothing(text: str) -> None:
    redacted = ALL.redact_text(text)
    assert ALL.redact_text(redacted) == redacted


ESCAPED = st.sampled_from([MAIL, KEY, CARD])


@given(ESCAPED, st.lists(st.booleans(), min_size=50, max_size=50), st.integers(0, 3))
def test_escapes_hide_nothing_at_any_depth(value: str, is_escaped: list[bool], depth: int) -> None:
    written = "".join(f"\\u{ord(c):04x}" if flag else c for c, flag in zip(value, is_escaped, strict=False))
    text = f'{{"a":"{written}"}}'
    for _ in range(depth):
        text = json.dumps({"a": text})
    inner: Any = ALL.redact_text(text)
    for _ in range(depth + 1):
        inner = json.loads(inner)["a"]
    assert inner == ALL.redact_text(value)

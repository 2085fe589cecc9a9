"""A whole trace: every text of it, the same for the same, and nothing else."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import SettingsError
from proxy.redaction.category import Category
from proxy.redaction.redactor import Redactor
from proxy.redaction.rule import RedactRule, Rule
from store.trace import Flag, Reply, Trace
from store.tree import chain
from tests.proxy.ingest.raw_calls import ANSWER, REQUEST, answered, asked, made
from tests.proxy.redaction.redactors import redactor

ALL = redactor()
MAIL = "jane@example.com"
CANARY = "sk-proj-Ab3dEf6hIj9lMn2pQr5tUv8xYz1B"
EVERYWHERE: dict[str, Any] = {
    "model": CANARY,
    "messages": [
        {"role": "system", "content": f"secret {CANARY}"},
        {"role": "user", "name": CANARY, "content": [{"type": "text", "text": CANARY}, {"type": "other", CANARY: 1}]},
        {"role": "assistant", "tool_calls": [
            {"id": CANARY, "type": "function", "function": {"name": "f", "arguments": json.dumps({"k": [CANARY]})}}
        ]},
        {"role": "tool", "tool_call_id": CANARY, "content": json.dumps({"r": json.dumps(CANARY)})},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "description": CANARY, "parameters": {"enum": [CANARY]}}}],
    "response_format": {"type": "json_schema", "json_schema": {"description": CANARY}},
    "metadata": {CANARY: CANARY},
    "user": CANARY,
    "prediction": {"content": CANARY},
    "stop": [CANARY],
}  # fmt: skip
REPLY = {
    "role": "assistant", "content": CANARY, "refusal": CANARY, "reasoning_content": CANARY, "x": {CANARY: CANARY},
}  # fmt: skip


def test_no_text_of_a_trace_keeps_a_secret() -> None:
    whole = answered({**ANSWER, "choices": [{"index": 0, "message": REPLY, "logprobs": {"c": [CANARY]}}]})
    full = asked(EVERYWHERE, ("x-tracemill-session", CANARY), ("x-tracemill-tags", f"{CANARY}={CANARY}"))
    full = replace(
        full,
        path=f"/v1/{CANARY}",
        error=CANARY,
        served_model=CANARY,
        upstream_id=CANARY,
        request_id=CANARY,
        system_fingerprint=CANARY,
        usage=json.dumps({"note": CANARY}).encode(),
        replies=(replace(whole.replies[0], finish_reason=CANARY),),
    )
    redacted = ALL.redact(full)
    for field in fields(Trace):
        assert CANARY not in repr(getattr(redacted.trace, field.name)), field.name
    assert redacted.trace.flags == full.flags | {Flag.REDACTED}
    assert redacted.trace.replies[0].logprobs is None
    assert redacted.counts["openai_key"] > 20
    for text in (*redacted.trace.messages, redacted.trace.tools, redacted.trace.parameters, redacted.trace.metadata):
        assert text is not None
        json.loads(text)
    again = ALL.redact(redacted.trace)
    assert again.trace is redacted.trace
    assert again.counts == {}


def test_a_trace_without_findings_is_the_same_object() -> None:
    trace = made()
    assert ALL.redact(trace).trace is trace


def test_logprobs_of_a_reply_without_findings_stay() -> None:
    trace = answered({**ANSWER, "choices": [{"index": 0, "message": {"content": "ok"}, "logprobs": {"c": [1]}}]})
    redacted = ALL.redact(replace(trace, user=MAIL)).trace
    assert redacted.replies[0].logprobs == b'{"c":[1]}'
    assert redacted.user == ALL.redact_text(MAIL)


def test_an_error_body_is_redacted_inside_its_json() -> None:
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {CANARY}"}})
    trace = ALL.redact(made(status=401, response_body=body.encode())).trace
    assert trace.error is not None
    assert json.loads(trace.error)["error"]["message"].startswith("Incorrect API key provided: [OPENAI_KEY_")


def test_long_numbers_in_the_upstreams_ids_are_no_cards() -> None:
    trace = replace(made(), upstream_id="4111111111111111", user="4111111111111111")
    redacted = ALL.redact(trace).trace
    assert redacted.upstream_id == "4111111111111111"
    assert redacted.user != trace.user


def test_placeholders_are_the_same_in_every_call_of_a_data_directory_and_of_no_other() -> None:
    first, second = redactor(), redactor({Category.EMAIL})
    assert first.redact_text(f"to {MAIL}") == second.redact_text(f"to {MAIL}")
    assert first.redact_text(MAIL) != first.redact_text("john@example.com")
    elsewhere = Redactor(frozenset(Category), salt=bytes(16))
    assert elsewhere.redact_text(MAIL) != first.redact_text(MAIL)


def test_a_chat_that_grows_call_by_call_keeps_its_shared_history() -> None:
    """Each call is redacted alone, by a redactor of its own, as after a restart: the chain of hashes is still one."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": f"Serve {MAIL}."}]
    before: list[bytes] = []
    for turn in range(6):
        messages.append({"role": "user", "content": f"{turn}: card 4111 1111 1111 1111, mail u{turn}@example.com"})
        arguments = json.dumps({"to": f"u{turn}@example.com", "card": 4111111111111111})
        call = {"id": f"c{turn}", "type": "function", "function": {"name": "send", "arguments": arguments}}
        reply = {"role": "assistant", "content": f"Sent to u{turn}@example.com", "tool_calls": [call]}
        body = {**REQUEST, "messages": messages}
        trace = made(
            request_body=json.dumps(body).encode(),
            response_body=json.dumps({**ANSWER, "choices": [{"index": 0, "message": reply}]}).encode(),
        )
        redacted = redactor().redact(trace).trace
        links = chain(redacted.messages)
        keys = [link.key for link in links]
        assert keys[: len(before)] == before
        answer = chain([redacted.replies[0].message], links[-1])[0]
        before = [*keys, answer.key]
        # The client writes its echo another way: another order, other white space in the arguments.
        echo = {**call, "function": {"arguments": json.dumps(json.loads(arguments), indent=1), "name": "send"}}
        messages.append({"tool_calls": [echo], "content": reply["content"], "role": "assistant"})
    assert len(before) == 13
    assert b"example.com" not in b"".join(redacted.messages)


def test_what_is_allowed_stays() -> None:
    chosen = redactor(allow=("*@Example.com", "8.8.8.8"))
    text = f"{MAIL} john@example.org 8.8.8.8 8.8.4.4"
    assert chosen.redact_text(text).startswith(f"{MAIL} [EMAIL_")
    assert " 8.8.8.8 [IPV4_" in chosen.redact_text(text)


def test_rules_find_what_the_categories_do_not_know() -> None:
    chosen = redactor((), ("employee", r"(?i)\bemp-[0-9]{6}\b"), ("ticket", r"ticket: (\S+)"))
    redacted = chosen.redact_text("\ud800 é EMP-123456 and ticket: T-1 by " + MAIL)
    assert redacted.startswith("\ud800 é [EMPLOYEE_")
    assert " and ticket: [TICKET_" in redacted
    assert redacted.endswith(" by " + MAIL)
    assert chosen.redact_text(redacted) == redacted
    trace = ALL.redact(made()).trace
    assert chosen.redact(replace(trace, session="emp-000001")).counts == {"employee": 1}


@pytest.mark.parametrize(
    ("name", "pattern", "message"),
    [
        ("a", "(", "none for RE2"),
        ("a", r"(a)\1", "references back"),
        ("a", "(?=a)", "look-around"),
        ("a", "x*", "matches the empty text"),
        ("email", "x", "built-in category"),
    ],
)
def test_a_rule_that_cannot_be_kept_is_refused_at_start(name: str, pattern: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Rule(RedactRule(name=name, pattern=pattern))


CANARIES = st.sampled_from([CANARY, MAIL, "4111 1111 1111 1111", "DE89370400440532013000", "203.0.113.9"])
AROUND = st.text(st.characters(exclude_categories=("L", "N", "Cs"), exclude_characters="._%+-@:/=~\xa0"), max_size=30)


@given(CANARIES, AROUND, AROUND, st.booleans())
def test_a_canary_between_any_other_signs_is_found_in_any_trace(
    canary: str, before: str, after: str, is_ascii: bool
) -> None:
    body = {**REQUEST, "messages": [{"role": "user", "content": before + canary + after}]}
    trace = asked(json.dumps(body, ensure_ascii=is_ascii).encode())
    redacted = redactor().redact(trace)
    assert sum(redacted.counts.values()) == 1
    content = json.loads(redacted.trace.messages[0])["content"]
    assert content.startswith(before)
    assert content.endswith(after)
    assert canary not in content


def test_replies_are_replies() -> None:
    redacted = ALL.redact(answered({**ANSWER, "choices": [{"index": 2, "message": {"content": MAIL}}]})).trace
    assert redacted.replies == (Reply(2, b'{"content":"%s"}' % ALL.redact_text(MAIL).encode()),)

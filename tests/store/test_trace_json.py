import json
from dataclasses import fields
from datetime import UTC, datetime
from uuid import UUID

from store.trace import Flag, Outcome, Reply, Trace
from store.trace_json import trace_json

BARE = Trace(
    id=UUID(int=7),
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
    method="POST",
    path="/v1/x",
    route="r",
    upstream="u",
    outcome=Outcome.COMPLETED,
)


def test_every_field_of_a_trace_is_there() -> None:
    shown = json.loads(trace_json(BARE))
    assert set(shown) == {field.name for field in fields(Trace)} | {"is_complete", "feedback"}
    assert (shown["id"], shown["created_at"]) == (str(UUID(int=7)), "2026-01-02T00:00:00+00:00")
    assert (shown["tools"], shown["prompt_tokens"], shown["messages"], shown["parameters"]) == (None, None, [], {})


def test_stored_texts_are_put_in_as_they_are() -> None:
    message = rb'{"role":"user","content":"\ud800 \u0000","n":1E5}'
    trace = Trace(
        id=BARE.id,
        created_at=BARE.created_at,
        method="POST",
        path="/v1/chat/completions",
        route="r",
        upstream="u",
        outcome=Outcome.COMPLETED,
        endpoint="chat.completions",
        messages=(message,),
        replies=(Reply(0, b'{"role":"assistant","x":1.10}', None, b'{"content":[]}'),),
        flags=frozenset({Flag.NO_USAGE, Flag.NO_FINISH_REASON}),
        tags={"a": "\ud800"},
    )
    text = trace_json(trace)
    assert message in text
    assert b'{"index":0,"message":{"role":"assistant","x":1.10},"finish_reason":null,"logprobs":{"content":[]}}' in text
    assert json.loads(text)["flags"] == ["no_finish_reason", "no_usage"]
    assert json.loads(text)["tags"] == {"a": "\ud800"}

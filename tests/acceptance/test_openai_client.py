"""The official client gets through the proxy what it gets directly, and the trace is what it built of it."""

import json
from typing import Any, NamedTuple

import openai
import pytest

from tests import chat
from tests.server import Server
from tests.upstream import ReceivedCall, ScriptedUpstream, Step, json_answer

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "Look it up.",
            "strict": True,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
    for name in ("get_weather", "get_time")
]
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "strict": True,
        "schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    },
}
ASK = [{"role": "system", "content": "Answer."}, {"role": "user", "content": "Wie spät ist es? 🕰️\u2028 \x00 nul"}]
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}
OURS = {"x-tracemill-trace-id", "x-accel-buffering"}
"""What we add: the trace's id, and to an event stream the word that no proxy in front of us may hold it back."""
KEY = "sk-canary-0123456789abcdef"


class Case(NamedTuple):
    message: dict[str, Any]
    extra: dict[str, Any]


CASES = {
    "text": Case(chat.text("Grüße aus Zürich – 你好 👋🏽"), {}),
    "tool": Case(chat.calling(("get_weather", '{"city": "London"}')), {"tools": TOOLS, "tool_choice": "auto"}),
    "parallel_tools": Case(
        chat.calling(("get_weather", '{"city":"Paris"}'), ("get_time", '{"city":"Zürich"}'), content="One moment."),
        {"tools": TOOLS, "parallel_tool_calls": True},
    ),
    "json_schema": Case(chat.text('{"n": 12345678901234567890}'), {"response_format": SCHEMA, "seed": 2**53 + 1}),
    "refusal": Case({"role": "assistant", "content": None, "refusal": "I will not."}, {"response_format": SCHEMA}),
}


def request(case: Case, **more: Any) -> dict[str, Any]:
    return {"model": chat.MODEL, "messages": ASK, "temperature": 0.2, **case.extra, **more}


def client(base_url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=base_url, api_key=KEY, max_retries=0)


def async_client(base_url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=base_url, api_key=KEY, max_retries=0)


class Seen(NamedTuple):
    """What a client can see of an answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def seen(response: Any, body: bytes) -> tuple[Seen, str | None]:
    fields = [(name.lower(), value) for name, value in response.headers.multi_items()]
    ours = dict(fields).get("x-tracemill-trace-id")
    rest = [(name, value) for name, value in fields if name not in HOP_BY_HOP | OURS]
    return Seen(response.status_code, rest, body), ours


def ask_raw(base_url: str, arguments: dict[str, Any]) -> tuple[Seen, str | None]:
    with client(base_url) as talking, talking.chat.completions.with_streaming_response.create(**arguments) as response:
        body = b"".join(response.http_response.iter_raw())
        return seen(response.http_response, body)


async def ask_raw_async(base_url: str, arguments: dict[str, Any]) -> tuple[Seen, str | None]:
    async with (
        async_client(base_url) as talking,
        talking.chat.completions.with_streaming_response.create(**arguments) as response,
    ):
        body = b"".join([block async for block in response.http_response.aiter_raw()])
        return seen(response.http_response, body)


def sent(call: ReceivedCall) -> tuple[str, bytes, list[tuple[bytes, bytes]], bytes]:
    headers = [(name.lower(), value) for name, value in call.headers if name.lower() not in (b"host", b"connection")]
    return call.method, call.target, headers, call.body


@pytest.mark.parametrize("is_streaming", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("name", CASES)
def test_the_client_gets_exactly_what_it_gets_directly(
    upstream: ScriptedUpstream, server: Server, name: str, is_streaming: bool
) -> None:
    upstream.script = chat.replying(CASES[name].message)
    arguments = request(CASES[name], stream=is_streaming)
    direct, none = ask_raw(upstream.base_url, arguments)
    through, trace_id = ask_raw(server.base_url, arguments)
    assert none is None
    assert trace_id is not None
    assert through == direct
    assert sent(upstream.calls[-1]) == sent(upstream.calls[-2])


@pytest.mark.parametrize("is_streaming", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("name", CASES)
async def test_the_asynchronous_client_does_too(
    upstream: ScriptedUpstream, server: Server, name: str, is_streaming: bool
) -> None:
    upstream.script = chat.replying(CASES[name].message)
    arguments = request(CASES[name], stream=is_streaming)
    direct, _ = await ask_raw_async(upstream.base_url, arguments)
    through, trace_id = await ask_raw_async(server.base_url, arguments)
    assert trace_id is not None
    assert through == direct
    assert sent(upstream.calls[-1]) == sent(upstream.calls[-2])


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "429 Too Many Requests", "503 Busy"])
def test_an_error_of_the_upstream_passes_untouched(upstream: ScriptedUpstream, server: Server, status: str) -> None:
    """LiteLLM rewrites the message and loses retry-after; OpenTracy makes 502 of a 429."""
    body = {"error": {"message": "no", "type": "x", "param": None, "code": "y"}}
    headers = [("retry-after", "7"), ("x-ratelimit-remaining-requests", "0"), ("date", "today"), ("server", "up")]
    upstream.script = lambda _call: json_answer(body, status=status, headers=headers)
    arguments = request(CASES["text"])
    raised = []
    for base_url in (upstream.base_url, server.base_url):
        with client(base_url) as talking, pytest.raises(openai.APIStatusError) as caught:
            talking.chat.completions.create(**arguments)
        raised.append(caught.value)
    direct, through = (seen(error.response, error.response.content) for error in raised)
    assert through[0] == direct[0]
    assert type(raised[0]) is type(raised[1])
    trace = stored(server, through[1])
    assert (trace["outcome"], trace["status"]) == ("upstream_error", int(status[:3]))


def stored(server: Server, trace_id: str | None) -> dict[str, Any]:
    assert trace_id is not None

    def look() -> list[dict[str, Any]]:
        return [trace for trace in server.admin("/admin/api/traces?limit=500")["data"] if trace["id"] == trace_id]

    server.wait_for(look, 1, 10)
    whole: dict[str, Any] = server.admin(f"/admin/api/traces/{trace_id}")
    return whole


def built_by_client(base_url: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the message that the client's own accumulator built of a stream."""
    with client(base_url) as talking, talking.chat.completions.stream(**arguments) as stream:
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    return as_recorded(message.to_dict())


def as_recorded(message: dict[str, Any]) -> dict[str, Any]:
    """Take away what the client's accumulator adds for its own use."""
    message = {key: value for key, value in message.items() if key != "parsed"}
    for call in message.get("tool_calls") or ():
        call.pop("index", None)
        call["function"].pop("parsed_arguments", None)
    return {key: value for key, value in message.items() if value is not None or key == "content"}


@pytest.mark.parametrize("name", CASES)
def test_the_exported_trace_is_what_the_clients_own_accumulator_built(
    upstream: ScriptedUpstream, server: Server, name: str
) -> None:
    case = CASES[name]
    upstream.script = chat.replying(case.message)
    marker = {"session": f"accumulator-{name}"}
    arguments = request(case, extra_headers={"x-tracemill-session": marker["session"]})
    built = built_by_client(server.base_url, arguments)
    plain = client(server.base_url).chat.completions.create(**arguments)

    where = f"session = '{marker['session']}'"
    lines = server.wait_for(lambda: server.export("--where", where), 2, 10)
    streamed, whole = sorted(lines, key=lambda line: line["metadata"]["trace_id"])
    assert streamed["messages"][:-1] == ASK
    assert as_recorded(streamed["messages"][-1]) == built
    assert as_recorded(whole["messages"][-1]) == as_recorded(plain.choices[0].message.to_dict())
    assert as_recorded(whole["messages"][-1]) == as_recorded(streamed["messages"][-1])
    for line in (streamed, whole):
        assert line.get("tools") == case.extra.get("tools")
        assert line.get("response_format") == case.extra.get("response_format")


def test_everything_about_a_call_is_captured(upstream: ScriptedUpstream, server: Server) -> None:
    upstream.script = chat.replying(chat.text("Yes."), number=77)
    arguments = request(
        CASES["tool"],
        user="u-1",
        metadata={"team": "a"},
        extra_body={"vendor_field": {"b": 1, "a": 2}},
        extra_headers={"X-Tracemill-Session": "s-1", "X-Tracemill-Tags": '{"env":"prod"}'},
    )
    raw = client(server.base_url).chat.completions.with_raw_response.create(**arguments)
    trace = stored(server, raw.headers["x-tracemill-trace-id"])
    assert trace["outcome"] == "completed"
    assert trace["requested_model"] == trace["served_model"] == chat.MODEL
    assert (trace["upstream_id"], trace["request_id"]) == ("chatcmpl-77", "req_scripted")
    assert trace["usage"] == chat.USAGE
    assert (trace["prompt_tokens"], trace["completion_tokens"]) == (11, 7)
    assert (trace["session"], trace["user"], trace["tags"]) == ("s-1", "u-1", {"env": "prod"})
    assert trace["parameters"]["temperature"] == 0.2
    assert trace["parameters"]["vendor_field"] == {"b": 1, "a": 2}
    assert trace["parameters"]["tool_choice"] == "auto"
    assert trace["tools"] == TOOLS
    assert trace["system_fingerprint"] == "fp_scripted"
    assert trace["replies"][0]["finish_reason"] == "stop"
    assert trace["ttft_ms"] <= trace["duration_ms"]
    assert upstream.calls[-1].header(b"x-tracemill-session") is None


def test_no_key_reaches_disk_or_log(upstream: ScriptedUpstream, server: Server) -> None:
    """Gateways have written keys into spend logs, audit logs and tracebacks (LiteLLM #30670, PR 39964)."""
    upstream.script = chat.replying(chat.text("Hello."))
    raw = client(server.base_url).chat.completions.with_raw_response.create(
        **request(CASES["text"], extra_headers={"api-key": KEY, "x-api-key": KEY}, extra_query={"key": KEY})
    )
    stored(server, raw.headers["x-tracemill-trace-id"])
    assert upstream.calls[-1].header(b"authorization") == f"Bearer {KEY}".encode()
    files = [path for path in server.data_dir.rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert KEY not in server.log()


def test_files_and_folders_are_for_their_owner_alone(server: Server) -> None:
    paths = [server.data_dir, *server.data_dir.rglob("*")]
    assert [str(path) for path in paths if path.exists() and path.stat().st_mode & 0o077] == []


def test_any_path_and_method_is_forwarded_but_kept_as_metadata_only(upstream: ScriptedUpstream, server: Server) -> None:
    def script(call: ReceivedCall) -> list[Step]:
        return list(json_answer({"object": "list", "data": [], "echo": call.body.decode("latin-1")}))

    upstream.script = script
    with client(server.base_url) as talking:
        embedding = talking.embeddings.with_raw_response.create(model="e", input="secret-text", encoding_format="float")
        models = talking.models.with_raw_response.list()
        gone = talking.files.with_raw_response.delete("file-1")
    assert [call.method for call in upstream.calls[-3:]] == ["POST", "GET", "DELETE"]
    for raw, path in ((embedding, "/v1/embeddings"), (models, "/v1/models"), (gone, "/v1/files/file-1")):
        trace = stored(server, raw.headers["x-tracemill-trace-id"])
        assert (trace["endpoint"], trace["path"], trace["outcome"]) == (None, path, "completed")
        assert trace["messages"] == []
    assert "secret-text" not in json.dumps(stored(server, embedding.headers["x-tracemill-trace-id"]))

"""A scripted teacher server on loopback: real HTTP, known answers, faults on demand."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

Body = dict[str, Any]
GOOD = "The right answer to: "


class Fault(Exception):  # noqa: N818 - what a script raises to answer with something else than a completion
    def __init__(self, status: int, body: str = "", headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.body = body
        self.headers = headers or {}


class Teachers:
    """The server's script and what it was asked.

    Attributes:
        requests: Every request body, in the order of arrival.
        reply: Makes the assistant message for a request that is not one of the pipeline's own questions.
        fault: Called first for every request with its number from 1; may raise `Fault`.
        relevance: Scores a conversation: (relevance, coherence), None to leave it out of the answer.
        hold_from: Number of the first request that gets no answer; `held` is set when it comes.
        wraps_json: Puts verdicts into prose and fences.
        repeats_first: Scores the first of several conversations a second time, otherwise.
        arbiter: Answers the arbiter's question.
        judge: The judge's whole answer as text; None compares answer and reference.
        judge_row: Scores a row that it is shown; a text is the judge's whole answer.
    """

    def __init__(self) -> None:
        self.base_url = ""
        self.requests: list[Body] = []
        self.authorizations: list[str | None] = []
        self.reply: Callable[[Body], Body] = good_reply
        self.fault: Callable[[int, Body], None] = no_fault
        self.relevance: Callable[[Body], tuple[int, int] | None] = by_words
        self.hold_from: int | None = None
        self.held = threading.Event()
        self.wraps_json = False
        self.repeats_first = False
        self.arbiter: Callable[[Body], Body] = pick_good
        self.judge: Callable[[Body], str] | str | None = None
        self.judge_row: Callable[[Body], Body | str] = all_fives
        self._lock = threading.Lock()

    def count(self, kind: str) -> int:
        return Counter(kind_of(body) for body in self.requests)[kind]

    async def answer(self, request: Request) -> Response:
        try:
            body = json.loads(await request.body())
        except ClientDisconnect:  # whoever asked was killed meanwhile
            return Response(status_code=400)
        with self._lock:
            self.requests.append(body)
            self.authorizations.append(request.headers.get("authorization"))
            number = len(self.requests)
        if self.hold_from is not None and number >= self.hold_from:
            self.held.set()
            while (await request.receive())["type"] != "http.disconnect":
                pass
            return Response(status_code=500)
        try:
            self.fault(number, body)
            message = self._message(body)
        except Fault as fault:
            return Response(fault.body, fault.status, fault.headers)
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        finish = message.pop("finish_reason", "stop")
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
        completion = {"id": f"c{number}", "object": "chat.completion", "choices": [choice], "usage": usage}
        return Response(json.dumps(completion), media_type="application/json")

    def _message(self, body: Body) -> Body:
        kind = kind_of(body)
        if kind == "tracemill_relevance":
            scored = [(one, self.relevance(one)) for one in data_of(body)]
            value: Any = {
                "scores": [
                    {"id": one["id"], "reason": "as scripted", "relevance": found[0], "coherence": found[1]}
                    for one, found in scored
                    if found is not None
                ]
            }
            if self.repeats_first and len(value["scores"]) > 1:
                value["scores"].append({**value["scores"][0], "relevance": 1})
        elif kind == "tracemill_arbiter":
            value = self.arbiter(data_of(body))
        elif kind == "tracemill_judge":
            data = data_of(body)
            if self.judge is not None:
                return {"content": self.judge if isinstance(self.judge, str) else self.judge(data)}
            value = {"reason": "compared", "verdict": "good" if data["answer"] == data["reference"] else "bad"}
        elif kind == "tracemill_judge_row":
            value = self.judge_row(data_of(body))
            if isinstance(value, str):
                return {"content": value}
        else:
            return self.reply(body)
        text = json.dumps(value)
        return {"content": f"Here it is:\n```json\n{text}\n```" if self.wraps_json else text}


def no_fault(_number: int, _body: Body) -> None:
    """Let every request through."""


def kind_of(body: Body) -> str:
    wanted = body.get("response_format") or {}
    inner = wanted.get("json_schema")
    name = str(inner.get("name", "")) if isinstance(inner, dict) else ""
    return name if name.startswith("tracemill_") else "relabel"


def data_of(body: Body) -> Any:
    return json.loads(body["messages"][-1]["content"].split("\n")[1])


def last_user(body: Body) -> str:
    said = [message["content"] for message in body["messages"] if message["role"] == "user"]
    return str(said[-1]) if said else ""


def good_reply(body: Body) -> Body:
    if kind_of(body) == "tracemill_rewrite":
        data = data_of(body)
        rewritten = [
            {"position": message["position"], "content": f"{GOOD}{message['position']}"}
            for message in data["messages"]
            if message["role"] == "assistant"
        ]
        return {"content": json.dumps({"messages": rewritten})}
    return {"content": f"{GOOD}{last_user(body)}"}


def by_words(conversation: Body) -> tuple[int, int]:
    said = json.dumps(conversation["messages"])
    return (1 if "off topic" in said else 5), (1 if "garbled" in said else 5)


def all_fives(_row: Body) -> Body:
    return row_scores(5, 5, 5, 5)


def row_scores(helpfulness: int, relevance: int, form: int, criteria: int) -> Body:
    """A judge's verdict on a row."""
    return {
        "reason": "as scripted",
        "helpfulness": helpfulness,
        "relevance": relevance,
        "format": form,
        "criteria": criteria,
    }


def pick_good(data: Body) -> Body:
    right = [letter for letter, said in data["candidates"].items() if GOOD in (said[0]["content"] or "")]
    best = right[0] if right else "A"
    return {"reason": "it is the right one", "best": best, "also_correct": [], "none_correct": not right}


@contextmanager
def serving() -> Iterator[Teachers]:
    """Serve scripted teachers until the block ends."""
    teachers = Teachers()
    application = Starlette(routes=[Route("/v1/chat/completions", teachers.answer, methods=["POST"])])
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    teachers.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    config = uvicorn.Config(application, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    # The socket listens already, so a client may connect before the server's loop runs.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="scripted teachers")
    thread.start()
    try:
        yield teachers
    finally:
        server.should_exit = True
        thread.join()
        listener.close()

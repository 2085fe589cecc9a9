"""Random clients against random upstreams through a running server, checked against a model after each call.

Each call is a plan: how the request is framed and cut, what the upstream does with it and where it breaks off, whether
and when the client leaves. From the plan follows what both ends must see and what must be on record:

- bytes: the client has exactly what the upstream sent, up to a cut; the upstream has exactly what the client sent;
- ends: an answer looks whole to the client only if the upstream gave it whole;
- record: each call has one trace, with the outcome that the plan means;
- nothing stays behind: the worker has no more files open than before.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.acceptance.differential.random_call import ASKS, REPLIES, Ask, Reply, pieces_of
from tests.process_state import open_files
from tests.raw_client import Ending, RawClient, Received
from tests.raw_upstream import RawRequest, RawUpstream, ReadPart, Step
from tests.server import Server
from tests.upstream import Pause, Reset, Stall

LEFT_AT_ONCE_S = 1.0
"""A client that leaves ends its upstream call within this time (contract, C12)."""


@dataclass
class Running:
    """A call that waits in the middle of its answer."""

    client: RawClient
    plan: str
    ask: Ask
    reply: Reply
    pause: Pause


@dataclass
class World:
    """What all examples share.

    Attributes:
        example: Counts examples, so that their sessions differ.
    """

    upstream: RawUpstream
    server: Server
    plans: dict[bytes, list[Step]] = field(default_factory=dict)
    example: int = 0

    def script(self, request: RawRequest) -> list[Step]:
        return self.plans[request.value(b"x-plan") or b""]

    def request(self, plan: str) -> RawRequest | None:
        found = [one for one in self.upstream.requests if one.value(b"x-plan") == plan.encode()]
        assert len(found) <= 1, f"the upstream was called {len(found)} times for one call"
        return found[0] if found else None


class Calls(RuleBasedStateMachine):
    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.world.example += 1
        self.world.upstream.script = self.world.script
        self.world.upstream.requests.clear()
        self.opened: list[RawClient] = []
        self.idle: list[RawClient] = []
        self.running: list[Running] = []
        self.expected: dict[str, set[str]] = {}
        self.has_stale = False

    def connection(self) -> RawClient:
        return self.idle.pop() if self.idle else self.new_connection()

    def new_connection(self) -> RawClient:
        client = RawClient(self.world.server.port, timeout_s=5)
        self.opened.append(client)
        return client

    def plan(self, steps: list[Step], outcomes: set[str]) -> str:
        name = f"{self.world.example}-{len(self.expected)}"
        self.world.plans[name.encode()] = steps
        self.expected[name] = outcomes
        return name

    def send(self, client: RawClient, ask: Ask, plan: str) -> None:
        for piece in pieces_of(ask.wire(plan, f"m-{plan}"), ask.cuts):
            client.send(piece)

    def answer(self, client: RawClient, plan: str) -> Received:
        try:
            return client.read_answer(b"POST")
        except TimeoutError:
            request = self.world.request(plan)
            reached = "was not called" if request is None else f"is done: {request.is_over.is_set()}, {request}"
            pytest.fail(f"{plan}: no answer within 5 s; the upstream {reached}")

    def check(self, client: RawClient, plan: str, ask: Ask, reply: Reply, answer: Received) -> None:
        request = self.world.request(plan)
        if request is None and answer.status == 502 and self.has_stale:
            # The upstream closed a kept connection as our request went out; a POST is not sent twice (RFC 9110, 9.2.2).
            note(f"{plan}: a stale connection")
            self.expected[plan] = {"upstream_aborted", "upstream_unreachable"}
            self.idle.append(client)
            return
        assert request is not None, f"{plan}: the upstream was not called: {answer}"
        assert request.is_over.wait(5)
        assert request.body == ask.content, f"{plan}: another body arrived"
        self.check_answer(plan, reply, answer)
        if answer.ending is Ending.WHOLE and client.ended_by() is None:
            self.idle.append(client)
        else:
            client.socket.close()

    def check_answer(self, plan: str, reply: Reply, answer: Received) -> None:
        if reply.is_whole:
            assert (answer.status, answer.ending) == (reply.status, Ending.WHOLE), f"{plan}: {answer}"
            assert answer.body == (
                reply.content[: reply.end - len(reply.head)] if reply.framing == "close" else reply.content
            )
        elif answer.status == 502:
            # Nothing was relayed yet: the cut came in the head, or a reset overtook what was sent before it.
            assert reply.end <= len(reply.head) or isinstance(reply.fault, Reset)
            assert answer.values(b"x-tracemill-error") == [b"upstream_aborted"]
        else:
            assert answer.ending is not Ending.WHOLE, f"{plan}: a cut answer ends as if it were whole: {answer}"
            assert reply.content.startswith(answer.body)

    @rule(ask=ASKS, reply=REPLIES)
    def call(self, ask: Ask, reply: Reply) -> None:
        plan = self.plan(reply.steps(), reply.outcomes())
        client = self.connection()
        self.send(client, ask, plan)
        self.has_stale |= reply.leaves_stale
        self.check(client, plan, ask, reply, self.answer(client, plan))

    @rule(calls=st.lists(st.tuples(ASKS, REPLIES), min_size=2, max_size=4))
    def pipeline(self, calls: list[tuple[Ask, Reply]]) -> None:
        """Whole answers only: a cut one ends the connection for all behind it."""
        client = self.connection()
        plans = []
        for ask, drawn in calls:
            reply = replace(drawn, ends_at=None, is_last=False)
            self.has_stale |= reply.leaves_stale
            plans.append((self.plan(reply.steps(), reply.outcomes()), ask, reply))
            self.send(client, ask, plans[-1][0])
        for plan, ask, reply in plans:
            self.check(client, plan, ask, reply, self.answer(client, plan))
            assert self.idle.pop() is client
        self.idle.append(client)

    @precondition(lambda self: len(self.running) < 4)
    @rule(ask=ASKS, reply=REPLIES, place=st.integers(0, 2200))
    def begin(self, ask: Ask, reply: Reply, place: int) -> None:
        """Start a call that waits in the middle of its answer until a later step."""
        pause = Pause()
        plan = self.plan(reply.steps(pause, place), reply.outcomes())
        self.has_stale |= reply.leaves_stale
        client = self.connection()
        self.send(client, ask, plan)
        self.running.append(Running(client, plan, ask, reply, pause))

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 3))
    def go_on(self, which: int) -> None:
        one = self.running.pop(which % len(self.running))
        one.pause.let_go()
        self.check(one.client, one.plan, one.ask, one.reply, self.answer(one.client, one.plan))

    @rule(ask=ASKS, reply=REPLIES, how=st.sampled_from(["close", "reset", "half_close"]), sent=st.integers(0, 1500))
    def leave_in_the_answer(self, ask: Ask, reply: Reply, how: str, sent: int) -> None:
        """The upstream falls silent somewhere in its answer, and the client leaves."""
        wire = (reply.head + reply.wire)[: min(sent, len(reply.head + reply.wire) - 2)]
        plan = self.plan([*pieces_of(wire, reply.cuts), Stall()], {"client_disconnect"})
        client = self.connection()
        self.send(client, ask, plan)
        if len(wire) > len(reply.head):
            client.wait_for(b"\r\n\r\n")
        else:
            self.wait_called(plan)
        self.depart(client, how)
        if self.world.request(plan) is None and self.has_stale:
            self.expected[plan] = {"upstream_aborted", "client_disconnect"}
            return
        assert self.world.upstream.departures.acquire(timeout=LEFT_AT_ONCE_S), f"{plan}: the call goes on for nobody"

    @rule(ask=ASKS, how=st.sampled_from(["close", "reset", "half_close"]), sent=st.integers(1, 1500))
    def leave_in_the_body(self, ask: Ask, how: str, sent: int) -> None:
        # A body that has begun is never sent again: on a connection that the upstream had closed, that side cuts it.
        cut = {"upstream_aborted"} if self.has_stale else set[str]()
        plan = self.plan([ReadPart(1 << 20), Stall()], {"client_disconnect", *cut})
        wire = ask.wire(plan, f"m-{plan}")
        head_end = wire.index(b"\r\n\r\n") + 4
        if head_end == len(wire):
            wire = wire.replace(b"Content-Length: 0", b"Content-Length: 5") + b"hello"
        client = self.new_connection()
        end = min(head_end + sent, len(wire) - 1)
        client.send(wire[:end])
        self.wait_called(plan, must=False)
        self.depart(client, how)
        request = self.world.request(plan)
        if request is not None:
            assert request.is_over.wait(LEFT_AT_ONCE_S), f"{plan}: the upstream still waits for the body"
            assert not request.is_whole

    @rule(ask=ASKS, how=st.sampled_from(["close", "reset", "half_close"]), sent=st.integers(0, 60))
    def leave_in_the_head(self, ask: Ask, how: str, sent: int) -> None:
        """What never became a call leaves no trace."""
        client = self.connection()
        client.send(ask.wire("none", "m-none")[:sent])
        self.depart(client, how)

    def wait_called(self, plan: str, *, must: bool = True) -> None:
        deadline = time.monotonic() + (5 if must and not self.has_stale else 0.5)
        while self.world.request(plan) is None:
            if time.monotonic() > deadline:
                assert not must or self.has_stale, f"{plan}: the upstream was not called"
                return
            time.sleep(0.001)

    def depart(self, client: RawClient, how: str) -> None:
        if how == "reset":
            client.abort()
        elif how == "half_close":
            client.half_close()
            client.read_rest()
            client.socket.close()
        else:
            client.socket.close()

    def teardown(self) -> None:
        try:
            while self.running:
                self.go_on(0)
        finally:
            for one in self.running:
                one.pause.let_go()
            for client in self.opened:
                client.socket.close()
        traces = self.traces()
        for plan, outcomes in self.expected.items():
            found = [trace["outcome"] for trace in traces if trace["session"] == f"m-{plan}"]
            assert len(found) == 1, f"{plan}: {len(found)} traces"
            assert found[0] in outcomes, f"{plan}: recorded as {found[0]}, expected {outcomes}"
        assert not [trace for trace in traces if trace["session"] == "m-none"]

    def traces(self) -> list[dict[str, object]]:
        """Wait until each call of this example has its trace."""
        names = {f"m-{plan}" for plan in self.expected}

        deadline = time.monotonic() + 5
        while True:
            found: list[dict[str, object]] = self.world.server.admin("/admin/api/traces?limit=500")["data"]
            missing = names - {str(trace["session"]) for trace in found}
            if not missing:
                return found
            assert time.monotonic() < deadline, f"no trace within 5 s of {missing}"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with (
        RawUpstream(script=lambda _request: []) as upstream,
        Server(upstream.base_url, tmp_path_factory.mktemp("machine") / "data") as server,
    ):
        yield World(upstream, server)


@pytest.mark.parametrize("framing", ["Content-Length: 5", "Transfer-Encoding: chunked"], ids=["sized", "chunked"])
def test_a_client_that_leaves_between_head_and_body_is_on_record(world: World, framing: str) -> None:
    session = f"no-body-{framing[:7]}"
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: h", f"X-Tracemill-Session: {session}", framing, "", ""]
    world.upstream.script = lambda _request: [Stall()]
    with RawClient(world.server.port) as client:
        client.send("\r\n".join(lines).encode())
    page = f"/admin/api/traces?where=session%20%3D%20'{session}'"
    (trace,) = world.server.wait_for(lambda: world.server.admin(page)["data"], 1, 1)
    assert trace["outcome"] == "client_disconnect"


def test_whatever_clients_and_upstreams_do_bytes_ends_and_records_agree(world: World) -> None:
    Calls.world = world
    (worker,) = world.server.children("worker")
    before = open_files(worker)
    run_state_machine_as_test(
        Calls,
        settings=settings(
            max_examples=25,
            stateful_step_count=12,
            deadline=None,
            print_blob=True,
            phases=[Phase.explicit, Phase.generate],  # making it smaller would take minutes of time-outs
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
    deadline = time.monotonic() + 15
    while open_files(worker) > before + 4:
        assert time.monotonic() < deadline, f"{open_files(worker)} open files, {before} at first"
        time.sleep(0.1)
    assert "Traceback" not in world.server.log()

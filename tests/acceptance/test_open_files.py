"""The system's limit of open files: raised as far as it goes, and no client is reset where it ends."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests import chat
from tests.raw_client import Ending, RawClient, Received
from tests.server import Server
from tests.upstream import STREAM_END, STREAM_HEAD, Pause, ScriptedUpstream, Step, event, framed

BODY = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}'
CALL = b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
EVENTS = [framed(event(chunk)) for chunk in chat.chunks(chat.text("one two"))]
LIMIT = 200
CARRIED = (LIMIT - 128) // 2


@contextmanager
def limited(shell: str, folder: Path, hold: Pause) -> Iterator[Server]:
    """Serve under a limit that a shell has set, with an upstream that waits in the middle of each stream."""
    steps: list[Step] = [STREAM_HEAD, EVENTS[0], hold, *EVENTS[1:], framed(event(b"[DONE]")), STREAM_END]
    with ScriptedUpstream(lambda _call: steps) as upstream:
        server = Server(upstream.base_url, folder)
        server._command = ["sh", "-c", f'{shell} && exec "$@"', "sh", *server._command]
        with server:
            yield server


def stream_at_once(server: Server, calls: int, hold: Pause) -> list[Received]:
    """Make so many calls that are all under way together; return their answers in the order they were begun."""
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(server.port)) for _ in range(calls)]
        for client in clients:
            client.send(CALL)
            client.wait_for(b"\r\n\r\n")
        hold.let_go()
        return [client.read_answer(b"POST") for client in clients]


def test_connections_past_the_limit_of_open_files_are_told_to_try_again(tmp_path: Path) -> None:
    """Accepted by nobody, they would be reset by the system, with no line and no count that tells of it."""
    hold = Pause()
    with limited(f"ulimit -n {LIMIT}", tmp_path / "data", hold) as server:
        answers = stream_at_once(server, CARRIED + 4, hold)
        assert [answer.status for answer in answers] == [200] * CARRIED + [503] * 4
        assert {answer.ending for answer in answers} == {Ending.WHOLE}
        assert answers[-1].values(b"retry-after") == [b"1"]
        assert f"allows {CARRIED} connections of clients, less than max_connections = 8192" in server.log()
        assert {trace["outcome"] for trace in server.wait_traces(CARRIED)} == {"completed"}


def test_a_low_limit_that_may_be_raised_is(tmp_path: Path) -> None:
    """Shells begin with 1,024, of which each call takes two."""
    hold = Pause()
    with limited(f"ulimit -Sn {LIMIT}", tmp_path / "data", hold) as server:
        assert {answer.status for answer in stream_at_once(server, LIMIT, hold)} == {200}

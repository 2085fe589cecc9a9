import pytest

from proxy.assembly.endpoint import Endpoint, endpoint_of


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/v1/chat/completions", Endpoint.CHAT_COMPLETIONS),
        ("/chat/completions", Endpoint.CHAT_COMPLETIONS),
        ("/openai/deployments/d/chat/completions", Endpoint.CHAT_COMPLETIONS),
        ("/openai/deployments/d/chat/completions?api-version=2024-10-21&x=/v1/models", Endpoint.CHAT_COMPLETIONS),
        ("/u/team/v1/chat/completions", Endpoint.CHAT_COMPLETIONS),
        ("/v1/completions", Endpoint.COMPLETIONS),
        ("/openai/deployments/d/completions", Endpoint.COMPLETIONS),
        ("/v1/achat/completions", Endpoint.COMPLETIONS),
        ("/v1/responses", Endpoint.RESPONSES),
        ("/openai/v1/responses", Endpoint.RESPONSES),
        ("/v1/messages", Endpoint.MESSAGES),
        ("/anthropic/v1/messages", Endpoint.MESSAGES),
        ("/threads/v1/messages", None),
        ("/v1/threads/thread_1/messages", None),
        ("/v1/messages/count_tokens", None),
        ("/v1/messages/batches", None),
        ("/v1/responses/resp_1", None),
        ("/v1/responses/resp_1/cancel", None),
        ("/v1/responses/", None),
        ("/v1/chat/completions/chatcmpl-1", None),
        ("/v1/chat%2fcompletions", None),
        ("/v1/embeddings?x=/v1/responses", None),
        ("/v1/embeddings", None),
        ("completions", None),
        ("*", None),
        ("/", None),
        ("", None),
        ("/v1/\xff/messages", Endpoint.MESSAGES),
    ],
)
def test_the_last_segments_tell_the_endpoint(path: str, endpoint: Endpoint | None) -> None:
    assert endpoint_of("POST", path) is endpoint
    assert endpoint_of(b"POST", path.encode("latin-1")) is endpoint


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "post", b"GET"])
def test_only_a_post_is_a_call_to_it(method: bytes | str) -> None:
    assert endpoint_of(method, "/v1/responses") is None

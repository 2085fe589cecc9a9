"""Messages that skip httpx's constructors are still what httpx takes for its own."""

import httpx2 as httpx

from proxy.wire.httpx_messages import RawRequest, RawResponse, fields_of

FIELDS = [(b"X-One", b"1"), (b"x-one", b"2"), (b"Content-Type", b"text/plain")]
BODY = httpx.ByteStream(b"hello")


def test_a_response_has_all_that_httpx_gives_one() -> None:
    """Its clients read attributes that only the constructor sets; a new release may bring more of them."""
    made = vars(httpx.Response(200, stream=BODY))
    assert vars(RawResponse(200, FIELDS, BODY, {})).keys() | {"headers"} == made.keys() | {"fields"}


async def test_a_response_is_read_like_any_other() -> None:
    response = RawResponse(404, FIELDS, BODY, {"reason_phrase": b"Nothing Here"})
    assert fields_of(response) == FIELDS
    assert response.headers.get_list("x-one") == ["1", "2"]
    assert (response.reason_phrase, response.is_client_error, await response.aread()) == (
        "Nothing Here",
        True,
        b"hello",
    )


def test_responses_share_nothing() -> None:
    one, other = (RawResponse(200, [], BODY, {}) for _ in range(2))
    one.history.append(other)
    one.extensions["a"] = b""
    assert (other.history, other.extensions) == ([], {})


def test_a_request_keeps_its_method_and_fields_to_the_letter() -> None:
    request = RawRequest(b"pAtCh", httpx.URL("http://h/"), FIELDS, BODY, {})
    assert request.method == "pAtCh"
    assert fields_of(request) == FIELDS
    assert fields_of(httpx.Request("GET", "http://h/", headers=FIELDS))[-3:] == FIELDS

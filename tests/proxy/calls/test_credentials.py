"""A client's key never reaches an upstream with a key of its own, and that upstream's key reaches no other."""

from pydantic import TypeAdapter

from proxy.calls.credentials import for_route
from proxy.calls.field_names import CREDENTIAL_FIELDS
from proxy.calls.route_config import RouteConfig
from proxy.calls.routes import Route, make_route_table


def route(**keys: object) -> Route:
    config = TypeAdapter(RouteConfig).validate_python({"name": "r", "upstream": "https://up/v1", **keys})
    return make_route_table(None, [config], environ={"KEY": "own-key"}).routes[0]


CLIENT = [
    (b"Host", b"up"), (b"AUTHORIZATION", b"Bearer canary"), (b"Api-Key", b"canary"), (b"x-api-key", b"canary"),
    (b"X-Goog-Api-Key", b"canary"), (b"Cookie", b"s=canary"), (b"Helicone-Auth", b"Bearer canary"),
    (b"Ocp-Apim-Subscription-Key", b"canary"), (b"Content-Type", b"application/json"), (b"X-Empty", b""),
    (b"Sec-WebSocket-Protocol", b"realtime, openai-insecure-api-key.canary, openai-beta.realtime-v1"),
    (b"x-portkey-api-key", b"canary"),
]  # fmt: skip


def test_a_route_with_a_key_sends_that_and_nothing_of_the_clients() -> None:
    sent = for_route(CLIENT, route(api_key_env="KEY"))
    assert b"canary" not in b"".join(value for _, value in sent)
    assert sent == [
        (b"Host", b"up"), (b"Content-Type", b"application/json"), (b"X-Empty", b""),
        (b"Sec-WebSocket-Protocol", b"realtime, openai-beta.realtime-v1"), (b"Authorization", b"Bearer own-key"),
    ]  # fmt: skip


def test_every_style_of_key_is_itself_a_known_credential() -> None:
    """Else a client could send a second one beside the route's."""
    for style in ("bearer", "api-key", "x-api-key"):
        sent = for_route(CLIENT, route(api_key_env="KEY", auth=style))
        own = [field for field in sent if b"own-key" in field[1]]
        assert len(own) == 1
        assert own[0][0].lower() in CREDENTIAL_FIELDS


def test_a_subprotocol_that_was_only_a_key_is_left_out() -> None:
    sent = for_route([(b"sec-websocket-protocol", b"openai-insecure-api-key.canary")], route(api_key_env="KEY"))
    assert sent == [(b"Authorization", b"Bearer own-key")]


def test_a_route_without_a_key_passes_on_what_the_client_sent() -> None:
    assert for_route(CLIENT, route()) == CLIENT


def test_a_routes_own_fields_take_the_place_of_the_clients() -> None:
    plain = route(headers={"OpenAI-Organization": "org-1", "anthropic-version": "2023-06-01"})
    sent = for_route([(b"openai-organization", b"theirs"), (b"authorization", b"k"), (b"a", b"b")], plain)
    assert sent == [
        (b"authorization", b"k"), (b"a", b"b"), (b"OpenAI-Organization", b"org-1"),
        (b"anthropic-version", b"2023-06-01"),
    ]  # fmt: skip

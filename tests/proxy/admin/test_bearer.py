from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.bearer import FailedTokens, Scope, Tokens, given_credentials, network_of


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_tokens_tell_who_asks_and_what_is_allowed() -> None:
    tokens = Tokens(admin="admin-token", read="read-token")
    admin, read = tokens.bearer(b"admin-token"), tokens.bearer(b"read-token")
    assert admin is not None
    assert read is not None
    assert (admin.name, admin.may(Scope.WRITE)) == ("admin", True)
    assert (read.name, read.may(Scope.READ), read.may(Scope.WRITE)) == ("read", True, False)
    assert tokens.bearer(b"") is None
    assert not Tokens().is_asked_for


@given(st.binary(max_size=40))
def test_no_other_bytes_are_a_token(given: bytes) -> None:
    assert Tokens(admin="the-admin-token!").bearer(given) is None


def test_one_authorization_field_of_the_bearer_scheme_is_read() -> None:
    assert given_credentials([b"bearer  abc "]) == b"abc"
    for fields in ([], [b"Bearer a", b"Bearer a"], [b"Basic a"], [b"abc"]):
        assert given_credentials(fields) is None


def test_after_so_many_wrong_tokens_a_peer_waits_out_its_window() -> None:
    clock = Clock()
    failed = FailedTokens(most=3, window_s=60, clock=clock)
    assert [failed.add("10.0.0.1") for _ in range(2)] == [False, False]
    assert failed.wait_s("10.0.0.1") is None
    clock.now = 30
    assert failed.add("10.0.0.1") is True
    assert failed.wait_s("10.0.0.1") == 30
    assert failed.wait_s("10.0.0.2") is None
    clock.now = 60
    assert failed.wait_s("10.0.0.1") is None
    assert failed.add("10.0.0.1") is False


def test_wrong_tokens_far_apart_refuse_nobody() -> None:
    clock = Clock()
    failed = FailedTokens(most=2, window_s=60, clock=clock)
    for _ in range(5):
        assert failed.add("10.0.0.1") is False
        assert failed.wait_s("10.0.0.1") is None
        clock.now += 60


def test_peers_without_end_take_bounded_memory() -> None:
    failed = FailedTokens(most=1, max_peers=8, clock=Clock())
    for number in range(1000):
        failed.add(f"10.0.{number // 250}.{number % 250}")
    assert len(failed._peers) == 8
    assert failed.wait_s("10.0.3.249") is not None


def test_one_machine_is_one_peer_whatever_address_of_its_network_it_takes() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:2")
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8::1")
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1") != network_of("10.0.0.2")
    assert network_of("fe80::1%eth0") == network_of("fe80::2")
    assert network_of("") == ""

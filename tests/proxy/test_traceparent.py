"""The W3C trace context: grammar and rules of its section 3.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ingest.labels import read_labels
from proxy.traceparent import TraceParent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize("flags", ["00", "01", "03", "ff"])
def test_a_trace_context_is_read_and_said_again(flags: str) -> None:
    parent = TraceParent.parse(f" 00-{TRACE}-{SPAN}-{flags} ")
    assert parent == (TRACE, SPAN, flags)
    assert str(parent) == f"00-{TRACE}-{SPAN}-{flags}"
    assert parent.is_sampled == (flags != "00")


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert TraceParent.parse(f"cc-{TRACE}-{SPAN}-01-what-the-future-holds") == (TRACE, SPAN, "01")


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0١",
    ],
)
def test_what_breaks_the_rules_is_none(value: str) -> None:
    assert TraceParent.parse(value) is None


@given(st.text(max_size=80))
def test_no_text_is_too_odd(value: str) -> None:
    assert TraceParent.parse(value) is None


def test_a_call_is_tagged_with_its_trace() -> None:
    value = f"00-{TRACE}-{SPAN}-01"
    labels = read_labels((("traceparent", value), ("x-tracemill-tags", "team=a")))
    assert labels.tags == {"trace_id": TRACE, "traceparent": value, "team": "a"}
    assert read_labels((("traceparent", "nonsense"),)).tags == {}
    assert read_labels((("traceparent", value), ("x-tracemill-tags", "trace_id=mine"))).tags["trace_id"] == "mine"

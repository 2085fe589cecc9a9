from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.trace import Trace
from store.trace_code import _CODES, TraceCodeError, decode_traces, encode_traces
from tests.store.traces import TRACES, make_trace


@given(st.lists(TRACES, max_size=3))
def test_any_traces_come_back_from_their_bytes_as_they_were(traces: list[Trace]) -> None:
    assert decode_traces(encode_traces(traces)) == traces


def test_every_field_of_a_trace_is_written() -> None:
    """A field that is added to traces and forgotten here would be lost on its way through the journal."""
    assert set(_CODES) == {field.name for field in fields(Trace)}


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused_and_never_a_traceback(data: bytes) -> None:
    try:
        traces = decode_traces(data)
    except TraceCodeError:
        return
    assert traces == decode_traces(encode_traces(traces))


@given(st.data())
def test_bytes_cut_short_or_changed_never_give_another_error(data: st.DataObject) -> None:
    whole = encode_traces([make_trace(1, messages=(b'{"role":"user"}',), tags={"a": "b"})])
    place = data.draw(st.integers(1, len(whole) - 1))
    damaged = data.draw(st.sampled_from([whole[:place], whole[:place] + b"\xfe" + whole[place + 1 :], whole + b"\0"]))
    try:
        traces = decode_traces(damaged)
    except TraceCodeError:
        return
    assert all(isinstance(trace, Trace) for trace in traces)


def test_a_batch_of_a_later_version_is_refused() -> None:
    with pytest.raises(TraceCodeError, match="version"):
        decode_traces(b"\x02" + encode_traces([make_trace(1)])[1:])

"""The model of a body is what every parser would find, or nothing; putting another one there changes nothing else."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.calls.model_splice import MAX_NAME_BYTES, Model, ModelFault, ModelScanner, find_model, splice

MIB = 1024 * 1024
NOTHING = Model(None, (), None)


def fed(body: bytes, *cuts: int) -> Model:
    scanner = ModelScanner()
    for start, stop in zip((0, *cuts), (*cuts, len(body)), strict=True):
        scanner.feed(body[start:stop])
    return scanner.finish()


def byte_by_byte(body: bytes) -> Model:
    return fed(body, *range(1, len(body)))


NAMED = {
    "first": (b'{"model":"a","n":1}', "a"),
    "last": (b'{"messages":[{"role":"user","content":"x"}],"model":"a"}', "a"),
    "alone": (b'{"model":"a"}', "a"),
    "white space": (b' \r\n\t{ "x" : 1 ,\n "model" :\t"a" }\n', "a"),
    "byte order mark": (b'\xef\xbb\xbf{"model":"a"}', "a"),
    "escaped key": (b'{"m\\u006fde\\u006C":"a"}', "a"),
    "key in capitals": (b'{"Model":"a"}', "a"),
    "escaped value": (b'{"model":"org\\/na\\u006de \\"q\\" \\\\"}', 'org/name "q" \\'),
    "value that ends with a backslash": (b'{"model":"a\\\\","x":"\\\\\\""}', "a\\"),
    "not ASCII": ('{"model":"modèle-é"}'.encode(), "modèle-é"),
    "the same twice": (b'{"model":"a","x":[],"model":"\\u0061"}', "a"),
    "inside others only once": (b'{"x":{"model":"b"},"y":[{"model":"c"}],"z":"\\"model\\":\\"d\\"","model":"a"}', "a"),
    "like keys": (b'{"models":"b","mode":"c","xmodel":"d","model ":"e","model\\"":"f","model":"a"}', "a"),
    "a key with an escaped backslash": (b'{"\\\\u006dodel":"b","model":"a"}', "a"),
    "empty": (b'{"model":""}', ""),
    "brackets in strings": (b'{"x":"}]{[","y":["]}","\\"}]"],"model":"a"}', "a"),
    "every kind of value": (b'{"a":null,"b":-1.5e+9,"c":true,"d":false,"e":[],"f":{},"g":"","model":"a"}', "a"),
    "deeper than the patterns": (b'{"x":' + b'[{"y":' * 60 + b"1" + b"}]" * 60 + b',"model":"a"}', "a"),
    "another value behind": (b'{"model":"a"} {"model":"b"}', "a"),
}

NAMELESS = {
    "nothing": b"",
    "white space": b"  \n",
    "no JSON": b"--boundary\r\ncontent-disposition: form-data",
    "an array": b'[{"model":"a"}]',
    "a string": b'"model"',
    "a number": b"1",
    "no such key": b'{"messages":[]}',
    "an empty object": b"{}",
    "no text": b'{"model":null}',
    "an object": b'{"model":{"model":"a"}}',
    "broken off": b'{"model":"a"',
    "broken off in the value": b'{"model":"a',
    "broken off deep": b'{"model":"a","x":[[',
    "broken off in a string": b'{"model":"a","x":"',
    "no colon": b'{"model" "a"}',
    "no comma": b'{"x":1 "model":"a"}',
    "half a byte order mark": b'\xef\xbb{"model":"a"}',
    "UTF-16": '{"model":"a"}'.encode("utf-16"),
    "a bad escape": b'{"model":"\\q"}',
    "too long": b'{"model":"' + b"a" * (MAX_NAME_BYTES + 1) + b'"}',
}

REPEATED = {
    "two names": b'{"model":"a","model":"b"}',
    "another spelling": b'{"model":"a","MODEL":"b"}',
    "an escaped spelling": b'{"model":"a","\\u006dodel":"b"}',
    "a name and none": b'{"model":"a","model":null}',
    "none and a name": b'{"model":1,"model":"a"}',
    "very often": b'{"model":"a"' + b',"model":"a"' * 40 + b"}",
}


@pytest.mark.parametrize("case", NAMED)
def test_the_model_is_found_wherever_it_stands(case: str) -> None:
    body, name = NAMED[case]
    found = find_model(body)
    assert (found.name, found.fault) == (name, None)
    for span in found.spans:
        assert json.loads(body[span.start : span.end], strict=False) == name


@pytest.mark.parametrize("case", NAMELESS)
def test_a_body_without_a_model_that_a_parser_would_find_has_none(case: str) -> None:
    assert find_model(NAMELESS[case]) == NOTHING
    assert byte_by_byte(NAMELESS[case]) == NOTHING


@pytest.mark.parametrize("case", REPEATED)
def test_a_model_that_parsers_would_disagree_on_is_a_fault(case: str) -> None:
    """One parser takes the last of two equal keys, another the first: a call could be sent past its route."""
    assert find_model(REPEATED[case]) == Model(None, (), ModelFault.REPEATED)
    assert byte_by_byte(REPEATED[case]) == Model(None, (), ModelFault.REPEATED)


@pytest.mark.parametrize("case", NAMED)
def test_the_borders_of_blocks_change_nothing(case: str) -> None:
    body, _ = NAMED[case]
    whole = find_model(body)
    assert byte_by_byte(body) == whole
    for cut in range(len(body)):
        assert fed(body, cut) == whole, cut


@pytest.mark.parametrize("case", NAMED)
def test_a_splice_changes_the_model_and_no_other_byte(case: str) -> None:
    body, name = NAMED[case]
    found = find_model(body)
    spliced = splice(body, found.spans, 'new "é" name')
    assert find_model(spliced).name == 'new "é" name'
    assert splice(spliced, find_model(spliced).spans, name).count(b"new") == 0
    kept = len(body) - sum(span.end - span.start for span in found.spans)
    assert len(spliced) == kept + len(found.spans) * len(json.dumps('new "é" name'))
    first, last = found.spans[0], found.spans[-1]
    assert spliced[: first.start] == body[: first.start]
    assert spliced.endswith(body[last.end :])


keys = st.sampled_from(["model", "Model", "messages", "m", "", 'q"', "back\\", "é", "models"]) | st.text(max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=25,
)


@given(
    pairs=st.lists(st.tuples(keys, values), max_size=8),
    is_ascii=st.booleans(),
    indent=st.sampled_from([None, 1]),
    cuts=st.lists(st.integers(0, 300), max_size=6),
)
@settings(max_examples=400, deadline=None)
def test_the_scanner_agrees_with_a_parser(
    pairs: list[tuple[str, Any]], is_ascii: bool, indent: int | None, cuts: list[int]
) -> None:
    members = [
        f"{json.dumps(key, ensure_ascii=is_ascii)}: {json.dumps(value, ensure_ascii=is_ascii, indent=indent)}"
        for key, value in pairs
    ]
    body = ("{" + ", ".join(members) + "}").encode("utf-8", "surrogatepass")
    models = [value for key, value in pairs if key.lower() == "model"]
    found = fed(body, *sorted(min(cut, len(body)) for cut in cuts))
    if not models or all(not isinstance(model, str) for model in models):
        assert found == NOTHING
    elif all(model == models[0] for model in models):
        assert (found.name, found.fault, len(found.spans)) == (models[0], None, len(models))
    else:
        assert found.fault is ModelFault.REPEATED


@given(st.binary(max_size=200) | st.text('{}[]":,\\model \n1', max_size=80).map(str.encode), st.integers(0, 80))
@settings(max_examples=400, deadline=None)
def test_any_bytes_have_an_answer_that_no_border_changes(body: bytes, cut: int) -> None:
    found = find_model(body)
    assert fed(body, min(cut, len(body))) == found
    try:
        parsed = json.loads(body.decode("utf-8-sig"))
    except ValueError:
        return
    if found.name is not None:
        assert {key.lower(): value for key, value in parsed.items()}["model"] == found.name


def slow_bodies() -> dict[str, bytes]:
    message = b'{"role":"user","content":[{"type":"text","text":"some words of a user and some more of them"}]},'
    return {
        "long text": b'{"x":"' + b"x" * MIB + b'","model":"a"}',
        "messages": b'{"x":[' + message * (MIB // len(message)) + b'0],"model":"a"}',
        "escapes": b'{"x":"' + b'\\"\\\\\\n' * (MIB // 6) + b'","model":"a"}',
        "numbers": b'{"x":[' + b"1," * (MIB // 2) + b'1],"model":"a"}',
        "tiny members": b"{" + b'"x":1,' * (MIB // 6) + b'"model":"a"}',
        "tiny strings": b'{"x":[' + b'"",' * (MIB // 3) + b'""],"model":"a"}',
        "tiny arrays": b'{"x":[' + b"[]," * (MIB // 3) + b'0],"model":"a"}',
        "deep": b'{"x":' + b"[" * (MIB // 2) + b"]" * (MIB // 2) + b',"model":"a"}',
        "rescanned": b'{"x":' + (b"[" + b"1," * 3000) * 170 + b"0" + b"]" * 170 + b',"model":"a"}',
    }


@pytest.mark.parametrize("case", slow_bodies())
def test_a_megabyte_costs_milliseconds_whatever_it_holds(case: str) -> None:
    """It is paid on the event loop; some 1 to 20 ms a megabyte here, and a busy machine is given ten times that."""
    body = slow_bodies()[case]
    started = time.process_time()
    found = find_model(body)
    spent_ms = (time.process_time() - started) * 1000
    assert (found.name, found.fault) == ("a", None)
    assert spent_ms < 200


def test_a_body_made_to_cost_time_is_given_up() -> None:
    zigzag = b"[" * 12 + (b"[" * 9 + b"[1]" + b"]" * 9) * 40 + b"]" * 12
    body = b'{"x":[' + (zigzag + b",") * (4 * MIB // len(zigzag)) + b'0],"model":"a"}'
    started = time.process_time()
    found = find_model(body)
    spent_ms = (time.process_time() - started) * 1000
    assert found == Model(None, (), ModelFault.TOO_FINE)
    assert spent_ms < 400

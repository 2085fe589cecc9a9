"""What is described is what is answered, member by member, and no member is answered that is not described."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from proxy.admin.app import create_admin_app
from proxy.admin.shapes.error import ErrorAnswer
from proxy.admin.shapes.stats import Stats
from proxy.admin.shapes.trace import Trace, TracePage
from store.trace import Flag
from tests.proxy.admin.serving import serving, write
from tests.proxy.admin.test_api import CUT, EMBEDDING, WHOLE

FULL = replace(
    WHOLE,
    tools=b'[{"type":"function","function":{"name":"f"}}]',
    response_format=b'{"type":"text"}',
    usage=b'{"prompt_tokens":1,"big":123456789012345678901234567890}',
    prompt_tokens=1,
    completion_tokens=2,
    ttft_ms=1.5,
    duration_ms=2.5,
    system_fingerprint="fp",
    session="s",
    user="u",
    tags={"a": "b"},
    metadata=b'{"k":"v"}',
    key_fingerprint="kf",
    error="went wrong",
    flags=frozenset({Flag.NO_USAGE}),
    is_streaming=True,
)


def unknown_members(given: Any, path: str = "") -> list[str]:
    """Members that no shape declares, however deep they lie."""
    if isinstance(given, BaseModel):
        extra = [f"{path}.{name}" for name in given.model_extra or {}]
        return extra + [
            each for name in type(given).model_fields for each in unknown_members(getattr(given, name), name)
        ]
    if isinstance(given, list):
        return [each for one in given for each in unknown_members(one, path)]
    return []


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/admin/api/traces", TracePage),
        ("/admin/api/traces?limit=1", TracePage),
        (f"/admin/api/traces/{FULL.id}", Trace),
        (f"/admin/api/traces/{CUT.id}", Trace),
        (f"/admin/api/traces/{EMBEDDING.id}", Trace),
        ("/admin/api/stats", Stats),
        ("/admin/api/nothing", ErrorAnswer),
    ],
)
async def test_an_answer_has_the_members_of_its_shape_and_no_others(
    tmp_path: Path, path: str, shape: type[BaseModel]
) -> None:
    await write(tmp_path, FULL, CUT, EMBEDDING)
    async with serving(create_admin_app(tmp_path)) as ask:
        given = shape.model_validate_json((await ask(path)).body)
    assert unknown_members(given) == []
    assert len(type(given).model_fields) > 0


def test_a_member_nobody_declared_would_be_seen() -> None:
    given = {"data": [], "next_cursor": None, "search_behind": None, "snippets": {}, "more": 1}
    page = TracePage.model_validate(given)
    assert unknown_members(page) == [".more"]


async def test_what_goes_beyond_a_machine_number_comes_out_as_it_was(tmp_path: Path) -> None:
    await write(tmp_path, FULL)
    async with serving(create_admin_app(tmp_path)) as ask:
        given = Trace.model_validate_json((await ask(f"/admin/api/traces/{FULL.id}")).body)
    assert given.usage == {"prompt_tokens": 1, "big": 123456789012345678901234567890}

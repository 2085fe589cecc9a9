from typing import Any

import pytest

from processing.clusters.intent import HEAD_CHARS, TAIL_CHARS, application_of, intent_of, read_message
from store.json_text import dumps


def said(content: Any) -> str:
    return read_message(dumps({"role": "user", "content": content}))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Write  SQL\n\nfor\tme", "Write SQL for me"),
        (
            [{"type": "text", "text": "What is"}, {"type": "image_url"}, {"type": "input_text", "text": "this?"}],
            "What is this?",
        ),
        ([{"type": "image_url", "image_url": {"url": "data:,x"}}], ""),
        (None, ""),
        ({"odd": 1}, ""),
        ("zero\u200bwidth \u202e\x00 marks", "zero width marks"),
        ("half \ud800 a pair", "half ? a pair"),
    ],
)
def test_only_words_are_read_and_they_stand_on_one_line(content: Any, text: str) -> None:
    assert said(content) == text


def test_what_is_no_message_has_no_words() -> None:
    assert [read_message(text) for text in (b"[]", b'"x"', b"{", b"1")] == ["", "", "", ""]


def test_of_a_long_text_the_beginning_and_the_end_count_where_instructions_stand() -> None:
    text = said("Summarise this: " + "padding " * 100_000 + "in three sentences.")
    assert text.startswith("Summarise this:")
    assert text.endswith("in three sentences.")
    assert len(text) == HEAD_CHARS + TAIL_CHARS + 3


def test_the_first_turn_is_the_intent_unless_it_is_a_greeting() -> None:
    assert intent_of(("Write SQL for me", "shorter")) == "Write SQL for me"
    assert intent_of(("Hi!", "Write SQL for me")) == "Hi! Write SQL for me"
    assert intent_of(("Hi!",)) == "Hi!"
    assert intent_of(()) == ""


def test_an_application_is_told_by_how_its_system_prompt_begins_whatever_the_date() -> None:
    assert application_of("Today is 2026-11-21. You help.") == application_of("Today is 2026-01-02. You help.")
    assert application_of("You help.") != application_of("You write SQL.")

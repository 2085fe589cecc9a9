"""Each category finds what it is for, and leaves what only looks like it."""

import re

import pytest

from proxy.errors import SettingsError
from proxy.redaction.category import PERSONAL, SECRETS, Category, select
from proxy.redaction.placeholder import PLACEHOLDER
from tests.proxy.redaction.cases import FOUND, LEFT
from tests.proxy.redaction.redactors import redactor

ALL = redactor()


@pytest.mark.parametrize(("category", "text", "value"), FOUND, ids=lambda part: str(part)[:40])
def test_what_is_one_becomes_a_placeholder_and_the_rest_stays(category: Category, text: str, value: str) -> None:
    before, after = text.split(value)
    for chosen in (ALL, redactor({category})):
        redacted = chosen.redact_text(text)
        assert redacted.startswith(before)
        assert redacted.endswith(after)
        placeholder = redacted[len(before) : len(redacted) - len(after)]
        assert re.fullmatch(rf"\[{category.name}_[0-9a-f]{{8}}\]", placeholder)


@pytest.mark.parametrize(("category", "text", "value"), FOUND, ids=lambda part: str(part)[:40])
def test_a_category_that_is_off_lets_it_be(category: Category, text: str, value: str) -> None:
    others = redactor(frozenset(Category) - {category})
    assert f"[{category.name}_" not in others.redact_text(text)
    assert redactor(()).redact_text(text) == text
    assert value in text


@pytest.mark.parametrize("text", LEFT)
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert ALL.redact_text(text) == text


def test_every_category_has_a_case() -> None:
    assert {category for category, _, _ in FOUND} == set(Category)


def test_all_writings_of_a_value_have_one_placeholder() -> None:
    for one, other in (
        ("4111 1111 1111 1111", "4111111111111111"),
        ("DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
        ("Jane@Example.com", "jane@example.com"),
        ("+1 415 555 2671", "(415) 555-2671"),
    ):
        assert ALL.redact_text(one) == ALL.redact_text(other)


def test_a_key_has_one_placeholder_with_a_name_before_it_and_without() -> None:
    key = "sk-proj-Ab3dEf6hIj9lMn2pQr5tUv8xYz1B"
    placeholder = ALL.redact_text(key)
    for text in (f"OPENAI_API_KEY={key}", f"Authorization: Bearer {key}", f'{{"api_key":"{key}"}}'):
        assert ALL.redact_text(text) == text.replace(key, placeholder)


def test_several_values_in_one_text_all_go() -> None:
    text = " | ".join(text for _, text, _ in FOUND)
    redacted = ALL.redact_text(text)
    for _, _, value in FOUND:
        assert value not in redacted
    assert len(PLACEHOLDER.findall(redacted)) >= len(FOUND)
    assert ALL.redact_text(redacted) == redacted


def test_names_select_categories() -> None:
    assert select(["off"]) == frozenset()
    assert select(["secrets", "email"]) == SECRETS | {Category.EMAIL}
    assert select(["all", "-ipv4"]) == frozenset(Category) - {Category.IPV4}
    assert select(["personal"]) == PERSONAL
    with pytest.raises(SettingsError, match="did you mean 'email'"):
        select(["emial"])


def test_what_one_match_hid_is_found_behind_it() -> None:
    """A `+` behind a digit begins no number, until the number before it is gone."""
    redacted = ALL.redact_text("415-555-2671+49 170 1234567")
    assert redacted == ALL.redact_text("415-555-2671") + ALL.redact_text("+49 170 1234567")

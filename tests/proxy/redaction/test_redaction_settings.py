"""What the settings say about redaction is checked at start."""

import re
import sys
from pathlib import Path

import pytest

from proxy.errors import SettingsError
from proxy.redaction.category import PERSONAL, SECRETS, Category
from proxy.redaction.redactor import make_redactor
from proxy.settings import ServeSettings
from proxy.settings_source import load_settings

UPSTREAM = "upstream: https://x/v1\n"


def load(tmp_path: Path, text: str) -> ServeSettings:
    file = tmp_path / "t.yaml"
    file.write_text(UPSTREAM + text)
    return load_settings({}, file)


@pytest.mark.parametrize(
    ("text", "categories"),
    [
        ("", frozenset()),
        ("redact: off\n", frozenset()),
        ("redact: secrets\n", SECRETS),
        ("redact: all,-ipv4\n", frozenset(Category) - {Category.IPV4}),
        ("redact: [personal, jwt]\n", PERSONAL | {Category.JWT}),
    ],
)
def test_a_choice_can_be_a_word_a_row_or_a_list(tmp_path: Path, text: str, categories: frozenset[Category]) -> None:
    settings = load(tmp_path, text)
    assert settings.redacted_categories() == categories
    made = make_redactor(categories, settings.redact_rules, settings.redact_allow, salt=bytes(16))
    assert (made is None) is (not categories)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("redact: emails\n", "did you mean 'email'"),
        ("redact: on\n", "redact"),
        ("redact_allow: ['*@x.example']\n", "redact_allow has no effect"),
        ("redact_rules: [{name: a, pattern: '('}]\n", "none for RE2"),
        ("redact_rules: [{name: a}]\n", "every entry of redact_rules needs name and pattern"),
        ("redact_rules: [{name: a, pattern: x}, {name: a, pattern: y}]\n", "names 'a' twice"),
        ("redact_rules: [{name: a, pattern: x, patern: y}]\n", "did you mean 'pattern'"),
        ("redact: all\nno_capture: true\n", "no effect with no_capture"),
    ],
)
def test_what_cannot_be_is_said_at_start(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said.replace("(", r"\(")):
        load(tmp_path, text)


def test_rules_without_their_engine_are_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(SettingsError, match="google-re2"):
        load(tmp_path, "redact_rules: [{name: a, pattern: x}]\n")
    assert load(tmp_path, "redact: all\n").redacted_categories() == frozenset(Category)


def test_the_page_names_every_category() -> None:
    page = (Path(__file__).parents[3] / "docs" / "redaction.md").read_text()
    rows = "".join(row.split("|")[1] for row in page.splitlines() if row.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", rows)) == {category.value for category in Category}

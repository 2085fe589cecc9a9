"""The documents name only what exists: commands, options, make targets, files."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tracemill.cli import load_all

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md")])
SHELL_BLOCK = re.compile(r"^```(?:sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
LINK_TO_HEADING = re.compile(r"\]\((?!https?://)([^)#]*)#([^)]+)\)")
INLINE_COMMAND = re.compile(r"`(tracemill [a-z][^`]*)`")


def commands_in(page: Path) -> list[list[str]]:
    """Find each use of `tracemill` in a page: in its shell blocks and in its running text."""
    text = page.read_text()
    found = [shlex.split(match) for match in INLINE_COMMAND.findall(SHELL_BLOCK.sub("", text))]
    for block in SHELL_BLOCK.findall(text):
        lines = block.replace("\\\n", " ").splitlines()
        if "$ " in block:
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        found += [shlex.split(line, comments=True) for line in lines]
    return [words[_place(words) :] for words in found if _place(words) < len(words)]


def _place(words: list[str]) -> int:
    """Where the command stands; the last place, since `docker compose exec tracemill tracemill …` names it twice."""
    places = [place for place, word in enumerate(words) if word.rpartition("/")[2] == "tracemill"]
    is_command = bool(places) and places[-1] + 1 < len(words) and not words[0].startswith(("install", "sudo"))
    return places[-1] + 1 if is_command else len(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_option_in_a_page_exists(page: Path) -> None:
    for words in commands_in(page):
        command: Any = load_all()
        while words and (inner := getattr(command, "commands", None)) and not words[0].startswith("-"):
            assert words[0] in inner, f"{page.name}: {command.name} has no command {words[0]!r}"
            command = inner[words.pop(0)]
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        used = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
        assert used <= known | {"--help"}, f"{page.name}: {command.name} has no option {used - known}"


def test_the_commands_are_found_at_all() -> None:
    named = [words[0] for page in PAGES for words in commands_in(page)]
    assert {"serve", "export", "traces"} <= set(named)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_in_a_page_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_heading_leads_to_one(page: Path) -> None:
    for target, heading in LINK_TO_HEADING.findall(page.read_text()):
        linked = page.parent / target if target else page
        headings = re.findall(r"^#+ (.*)", linked.read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
        assert heading in anchors, f"{page.name} links to {target}#{heading}"


def test_every_test_the_contract_names_exists() -> None:
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", (ROOT / "docs" / "contract.md").read_text()))
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert named
    assert named <= defined

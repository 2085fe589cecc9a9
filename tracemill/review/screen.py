"""A row on the terminal: the conversation, the recorded answer beside the new one, scores and votes.

Everything that a row holds is foreign text: what would steer the terminal is shown as an escape, and nothing is read as
markup.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TextIO

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from store.datasets.decision import DecisionKind
from store.datasets.edit import answers_before, is_edited, learned_positions
from store.datasets.review import Queued, Why, known_of
from store.recorded.answer_text import answer_text
from store.recorded.errors import MessageFormError
from store.recorded.message_form import read_messages
from tracemill.terminal_text import many_lines, one_line

Json = Any
KEYS: Final = {
    "a": "accept",
    "e": "edit",
    "r": "reject",
    "s": "skip",
    "u": "undo",
    "m": "more",
    "q": "quit",
    "?": "help",
}
HELP: Final = (
    ("a  accept", "the row is kept as it is, whatever judge and rules say"),
    ("e  edit", "write the answer anew in $EDITOR; it is checked, and kept in place of this one"),
    ("r  reject", "the row is dropped"),
    ("s  skip", "the row stays as it is, and is not shown again"),
    ("u  undo", "take back the last decision, and show its row again"),
    ("m  more", "show the conversation whole: long messages are cut at first"),
    ("q  quit", "what was decided is kept; the same command goes on here"),
)
_CUT_LINES = 12
_WIDE = 100
"""From here on two answers stand side by side."""
_STYLES = {"system": "dim", "developer": "dim", "user": "bold", "tool": "dim"}


class Screen:
    """Shows rows, one below the other, so that the terminal's own scrolling looks back."""

    def __init__(self, out: TextIO) -> None:
        self._console = Console(file=out, highlight=False, markup=False, emoji=False, soft_wrap=False)

    def row(self, queued: Queued, title: str, *, is_whole: bool = False) -> None:
        """Show a row with all that helps to decide."""
        content = queued.row.content
        self._console.print()
        self._console.print(Rule(Text(one_line(title)), align="left"))
        self._facts(queued)
        messages: Sequence[Mapping[str, Json]] = content["messages"]
        learned = learned_positions(messages)
        for position, message in enumerate(messages):
            if position not in learned:
                self._message(message, is_whole=is_whole)
        self._answers([messages[at] for at in learned], _recorded(content, learned), is_edited=is_edited(content))

    def say(self, text: str, style: str = "") -> None:
        """Say one thing."""
        self._console.print(Text(many_lines(text), style=style))

    def ask(self, keys: Mapping[str, str]) -> None:
        """Show which keys do what, and wait on the same line."""
        told = "  ".join(f"[{key}]{what[1:] if what.startswith(key) else f' {what}'}" for key, what in keys.items())
        self._console.print(Text(f"{told} ", style="bold"), end="")
        self._console.file.flush()

    def help(self) -> None:
        """Explain the keys."""
        self._console.print()
        for key, what in HELP:
            self._console.print(Text(f"  {key:<10} {what}"))

    def _facts(self, queued: Queued) -> None:
        row, metadata = queued.row, known_of(queued.row)
        # That a row was drawn at random is not told: it is to be looked at as closely as any other.
        why = ", ".join(one for one in queued.why if one != Why.RANDOM) or "-"
        facts = [("why", why), ("end", f"{row.end.state}: {row.end.stage}, {row.end.reason}")]
        if metadata.get("judge_score") is not None:
            parts = metadata.get("judge_scores") or {}
            each = ", ".join(f"{name} {score}" for name, score in parts.items())
            facts.append(("judge", _short(metadata["judge_score"]) + (f" ({each})" if each else "")))
        elif metadata.get("judge_problem"):
            facts.append(("judge", f"no verdict: {metadata['judge_problem']}"))
        if metadata.get("judge_reason"):
            facts.append(("", f"“{metadata['judge_reason']}”"))
        agreed = [
            f"{name} {_short(metadata[name])}"
            for name in ("agreement", "method", "relevance_score", "coherence_score", "cluster_id")
            if metadata.get(name) is not None
        ]
        if agreed:
            facts.append(("scores", ", ".join(agreed)))
        if metadata.get("arbiter_reason"):
            facts.append(("arbiter", f"“{metadata['arbiter_reason']}”"))
        facts += [("vote", _vote(vote)) for vote in metadata.get("votes") or () if isinstance(vote, Mapping)]
        if metadata.get("source_trace_id"):
            facts.append(("trace", str(metadata["source_trace_id"])))
        if queued.decision is not None and queued.decision.kind is not DecisionKind.UNDO:
            facts.append(("before", f"{queued.decision.kind} by {queued.decision.who}"))
        for name, value in facts:
            self._console.print(Text(f"{name:<8} {one_line(value)}", style="dim"))

    def _message(self, message: Mapping[str, Json], *, is_whole: bool) -> None:
        role = str(message.get("role"))
        text = _said(message)
        lines = text.split("\n")
        if not is_whole and len(lines) > _CUT_LINES + 1:
            text = "\n".join(lines[:_CUT_LINES]) + f"\n… {len(lines) - _CUT_LINES} more lines: m shows them"
        style = _STYLES.get(role, "")
        self._console.print(Text(f"{one_line(role)}:", style="bold"))
        self._console.print(Text(many_lines(text), style=style))

    def _answers(
        self, answers: Sequence[Mapping[str, Json]], recorded: Sequence[str | None], *, is_edited: bool
    ) -> None:
        for answer, before in zip(answers, recorded, strict=True):
            new = _said(answer)
            name = "answer (edited)" if is_edited else "answer"
            if before is None or before == new:
                same = "" if before is None else ", as recorded"
                self._block(f"{name}{same}", new)
            elif self._console.width < _WIDE:
                self._block("recorded", before, "red")
                self._block(name, new, "green")
            else:
                table = Table(expand=True, box=None, padding=(0, 2, 0, 0))
                for heading in ("recorded", name):
                    table.add_column(Text(f"── {heading}"), ratio=1, overflow="fold")
                table.add_row(Text(many_lines(before), style="red"), Text(many_lines(new), style="green"))
                self._console.print(table)

    def _block(self, name: str, text: str, style: str = "green") -> None:
        self._console.print(Text(f"── {name}", style="bold"))
        self._console.print(Text(many_lines(text), style=style))


def _short(value: Json) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _said(message: Mapping[str, Json]) -> str:
    """A message as text; what is neither text nor call is told, not shown."""
    try:
        read = read_messages([message]).messages
    except MessageFormError:
        return "(a message that cannot be read)"
    parts = message.get("content")
    others = [
        f"({one_line(str(part.get('type')))}, not shown)"
        for part in (parts if isinstance(parts, list) else ())
        if isinstance(part, Mapping) and part.get("type") not in ("text", "input_text", "output_text")
    ]
    said = [answer_text(one) or one.refusal or "" for one in read]
    if any(one.tool_calls and one.content for one in read):
        said = [f"{message.get('content')}", *said] if isinstance(message.get("content"), str) else said
    return "\n".join([*said, *others])


def _recorded(content: Mapping[str, Json], learned: Sequence[int]) -> list[str | None]:
    """What was answered before, by answer: before an edit, else as it was recorded; None where nobody knows."""
    edited_from = answers_before(content)
    if edited_from is not None:
        return [_said(answer) for answer in edited_from]
    metadata = content.get("metadata") or {}
    each = metadata.get("original_responses")
    if isinstance(each, list) and len(each) == len(learned):
        return [one if isinstance(one, str) else None for one in each]
    last = metadata.get("original_response")
    found: list[str | None] = [None] * len(learned)
    if found and isinstance(last, str):
        found[-1] = last
    return found


def _vote(vote: Mapping[str, Json]) -> str:
    """One member's vote: whether it agrees, and what it said where it does not."""
    source = vote.get("source")
    if vote.get("problem"):
        return f"{source}: {vote['problem']}"
    if vote.get("agrees"):
        return f"{source}: agrees"
    answers = [_said(answer) for answer in vote.get("answer") or () if isinstance(answer, Mapping)]
    return f"{source}: {one_line(' / '.join(answers), 160)}"

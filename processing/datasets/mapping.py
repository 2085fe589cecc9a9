"""Which column of a file is what of a row: guessed from the names and a look at the first records, or as told.

A guess is made only where a known shape fits, and one alone: `messages`; `conversations` of `from` and `value`; an
answer preferred to another; a question column with its answer column. Everything else needs to be told, and the error
shows the columns and what to write. Columns without a place of their own go into the metadata under their names.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from processing.datasets.conversation_form import is_call_text, is_conversation
from processing.errors import InputError
from store.recorded.message import Json
from store.recorded.source_value import unwrapped

SAMPLE_RECORDS: Final = 1000
METADATA_PREFIX: Final = "metadata."
_JOIN: Final = "+"


class Target(StrEnum):
    """What of a row a column can be."""

    MESSAGES = "messages"
    """The whole conversation, the answer included."""
    PROMPT = "prompt"
    """What was asked: a text, or the messages before the answer. Several columns joined by `+` stand in their order."""
    RESPONSE = "response"
    """The answer: a text, an assistant message, or several."""
    SYSTEM = "system"
    """The system prompt."""
    TOOLS = "tools"
    """Tool definitions."""
    RESPONSE_FORMAT = "response_format"
    """As a request has it."""
    METADATA = "metadata"
    """An object, all of whose fields are metadata."""
    PART = "part"
    """train or test."""
    IGNORE = "ignore"
    """Left out."""


_INPUTS: Final = (
    "prompt", "question", "instruction", "input", "query", "user_message", "user", "problem", "text", "input_text",
)  # fmt: skip
_OUTPUTS: Final = (
    "response", "answer", "completion", "output", "expected_output", "assistant_message", "assistant", "solution",
    "output_text", "result", "generated_text", "target", "label", "reply",
)  # fmt: skip
_PAIRS: Final = (
    ("prompt", "response"), ("prompt", "completion"), ("question", "answer"), ("instruction", "output"),
    ("instruction", "response"), ("input", "output"), ("query", "response"), ("query", "answer"),
    ("problem", "solution"), ("input_text", "output_text"), ("text", "label"), ("user", "assistant"),
)  # fmt: skip
"""Names that belong together, so that other columns that could be either say nothing."""
_CONVERSATIONS: Final = ("messages", "conversations", "conversation", "dialog", "dialogue", "chat")
_PREFERRED: Final = ("chosen", "preferred_output")
_SYSTEMS: Final = ("system", "system_prompt", "system_message")
_PARTS: Final = ("split", "part")
_OWN: Final = frozenset({"row_id", "messages", "prompt", "response"})
KNOWN_COLUMNS: Final = frozenset({*_INPUTS, *_OUTPUTS, *_CONVERSATIONS, *_PREFERRED})
"""Names by which a record of cells is known to be a header, in lower case."""
_PART_NAMES: Final = frozenset({"train", "test", "validation", "valid", "val", "dev", "eval", "unstructured"})


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """Which columns are what.

    Attributes:
        columns: Target to its columns; only `prompt` may have several.
        metadata: Field of the metadata to its column.
        is_guessed: Whether nobody said so.
        reads_calls: Whether a response that is JSON with name and parameters is a tool call, as distil labs has it.
        left_out: Columns that say nothing new.
    """

    columns: Mapping[Target, tuple[str, ...]]
    metadata: Mapping[str, str] = field(default_factory=dict)
    is_guessed: bool = True
    reads_calls: bool = False
    left_out: tuple[str, ...] = ()

    def column(self, target: Target) -> str | None:
        """The one column of a target; None where it has none."""
        found = self.columns.get(target)
        return found[0] if found else None

    def as_json(self) -> dict[str, Json]:
        """For machines and manifests."""
        return {
            "columns": {str(target): list(names) for target, names in self.columns.items()},
            "metadata": dict(self.metadata),
            "is_guessed": self.is_guessed,
            "reads_calls": self.reads_calls,
            "left_out": list(self.left_out),
        }

    def lines(self) -> list[str]:
        """For a person: one line for each thing that a row is made of."""
        shown = {str(target): f" {_JOIN} ".join(names) for target, names in self.columns.items()}
        shown |= {f"{METADATA_PREFIX}{name}": column for name, column in self.metadata.items()}
        width = max((len(name) for name in shown), default=0)
        lines = [f"{name:<{width}} <- {column}" for name, column in shown.items()]
        if self.reads_calls:
            lines.append('answers of the form {"name", "parameters"} are tool calls')
        return lines + [f"left out: {', '.join(self.left_out)} (they repeat the messages)" for _ in self.left_out[:1]]


def guess_mapping(records: Sequence[Mapping[str, Json]], told: Mapping[str, str], source: str) -> FieldMapping:
    """Find out what the columns are.

    Args:
        records: The first records of the file.
        told: Target to column, as `read_map` gives them; taken as they are, and the rest is guessed round them.
        source: Names the file in messages.

    Raises:
        InputError: No known shape fits, or more than one; or a column that was named is not there.
    """
    names = list(dict.fromkeys(name for record in records for name in record))
    columns, metadata = _told(told, names, source)
    if Target.MESSAGES not in columns and not (Target.PROMPT in columns and Target.RESPONSE in columns):
        columns |= _shape(names, records, columns, set(metadata.values()), source)
    left = _left(names, columns, metadata)
    columns |= _companions(left, records, columns)
    left = _left(names, columns, metadata)
    is_own = set(names) >= _OWN and columns.get(Target.MESSAGES) == ("messages",)
    repeating = tuple(name for name in left if is_own and name in _OWN)
    metadata |= {name: name for name in left if name not in repeating and name not in metadata}
    order = {target: columns[target] for target in Target if target in columns}
    return FieldMapping(order, metadata, not told, _has_calls(order, records), repeating)


def read_map(text: str) -> dict[str, str]:
    """Read `prompt=question,response=answer,metadata.topic=tag`: target to column.

    Raises:
        InputError: It is written otherwise, or names no such target.
    """
    told: dict[str, str] = {}
    for piece in text.split(",") if text else ():
        target, sign, column = (part.strip() for part in piece.partition("="))
        is_known = target in set(Target) or (target.startswith(METADATA_PREFIX) and len(target) > len(METADATA_PREFIX))
        if not sign or not column or not is_known:
            targets = ", ".join([*Target, f"{METADATA_PREFIX}NAME"])
            raise InputError(
                "--map", f'holds "{piece.strip()}"; expected TARGET=COLUMN, where TARGET is one of {targets}.'
            )
        if target in told and target != Target.IGNORE:
            raise InputError("--map", f"names {target} twice. Join columns by +: {target}=one+other.")
        told[target] = f"{told[target]}{_JOIN}{column}" if target in told else column
    return told


def _told(
    told: Mapping[str, str], names: Sequence[str], source: str
) -> tuple[dict[Target, tuple[str, ...]], dict[str, str]]:
    columns: dict[Target, tuple[str, ...]] = {}
    metadata: dict[str, str] = {}
    for target, column in told.items():
        # A column may have a + in its own name.
        chosen = (column,) if column in names else tuple(part.strip() for part in column.split(_JOIN))
        missing = [name for name in chosen if name not in names]
        if missing:
            raise InputError("--map", f'names the column "{missing[0]}", and {source} has none. {_columns(names)}')
        if target.startswith(METADATA_PREFIX):
            metadata[target.removeprefix(METADATA_PREFIX)] = chosen[0]
        else:
            columns[Target(target)] = chosen
        if len(chosen) > 1 and target not in (Target.PROMPT, Target.IGNORE):
            raise InputError("--map", f"gives {target} several columns; only prompt can have them.")
    return columns, metadata


def _shape(
    names: Sequence[str],
    records: Sequence[Mapping[str, Json]],
    columns: Mapping[Target, tuple[str, ...]],
    taken: set[str],
    source: str,
) -> dict[Target, tuple[str, ...]]:
    """The columns of what was asked and answered."""
    plain = {_plain(name): name for name in reversed(names) if name not in taken}
    if not columns.keys() & {Target.PROMPT, Target.RESPONSE}:
        for known in _CONVERSATIONS:
            if known in plain and _is_all(records, plain[known], is_conversation):
                return {Target.MESSAGES: (plain[known],)}
    told_in, told_out = columns.get(Target.PROMPT), columns.get(Target.RESPONSE)
    preferred = [plain[name] for name in _PREFERRED if name in plain and not told_out]
    if preferred:
        asked = [plain[name] for name in ("prompt", "input", "question", "instruction") if name in plain]
        if told_in or asked:
            return {Target.RESPONSE: (preferred[0],), Target.PROMPT: told_in or tuple(asked[:1])}
        if _is_all(records, preferred[0], is_conversation):
            return {Target.MESSAGES: (preferred[0],)}
    found = [(plain[one], plain[other]) for one, other in _PAIRS if one in plain and other in plain]
    if told_in or told_out or not found:
        inputs = [told_in[0]] if told_in else [plain[name] for name in _INPUTS if name in plain]
        outputs = [told_out[0]] if told_out else [plain[name] for name in _OUTPUTS if name in plain]
        found = [(one, other) for one in inputs for other in outputs if one != other]
    # `instruction, input, output` is one shape: the input belongs to the instruction.
    if {"instruction", "input", "output"} <= plain.keys():
        found = [pair for pair in found if _plain(pair[0]) != "input"]
    if len(found) != 1:
        raise _unclear(names, found, source)
    asked_in, answered_in = found[0]
    return {Target.PROMPT: told_in or _joined(asked_in, plain), Target.RESPONSE: told_out or (answered_in,)}


def _joined(column: str, plain: Mapping[str, str]) -> tuple[str, ...]:
    """What stands before or after the question and belongs to it."""
    if _plain(column) == "instruction" and "input" in plain:
        return column, plain["input"]
    if _plain(column) == "question" and "context" in plain:
        return plain["context"], column
    return (column,)


def _companions(
    left: Iterable[str], records: Sequence[Mapping[str, Json]], columns: Mapping[Target, tuple[str, ...]]
) -> dict[Target, tuple[str, ...]]:
    """Columns whose name says what they are, once the conversation is found."""
    plain = {_plain(name): name for name in left}
    found: dict[Target, tuple[str, ...]] = {}
    for name in _SYSTEMS:
        if name in plain and _is_all(records, plain[name], lambda value: isinstance(value, str)):
            found.setdefault(Target.SYSTEM, (plain[name],))
    for name in ("tools", "functions"):
        if name in plain:
            found.setdefault(Target.TOOLS, (plain[name],))
    if "response_format" in plain:
        found[Target.RESPONSE_FORMAT] = (plain["response_format"],)
    if "metadata" in plain and _is_all(records, plain["metadata"], lambda value: isinstance(unwrapped(value), dict)):
        found[Target.METADATA] = (plain["metadata"],)
    for name in _PARTS:
        if name in plain and _is_all(records, plain[name], lambda value: value in _PART_NAMES):
            found.setdefault(Target.PART, (plain[name],))
    return {target: names for target, names in found.items() if target not in columns}


def _has_calls(columns: Mapping[Target, tuple[str, ...]], records: Sequence[Mapping[str, Json]]) -> bool:
    """Whether answers are written as distil labs writes them, in its column or beside tools."""
    answer = columns.get(Target.RESPONSE, ("",))[0]
    if _plain(answer) != "answer" and Target.TOOLS not in columns:
        return False
    return any(is_call_text(record.get(answer)) for record in records)


def _is_all(records: Iterable[Mapping[str, Json]], column: str, fits: Callable[[Json], bool]) -> bool:
    """Whether most values of a column fit, and some does: a few broken lines do not hide a shape."""
    verdicts = Counter(bool(fits(value)) for record in records if (value := record.get(column)) is not None)
    return verdicts[True] > verdicts[False]


def _left(names: Iterable[str], columns: Mapping[Target, tuple[str, ...]], metadata: Mapping[str, str]) -> list[str]:
    taken = {name for chosen in columns.values() for name in chosen} | set(metadata.values())
    return [name for name in names if name not in taken]


def _unclear(names: Sequence[str], found: Sequence[tuple[str, str]], source: str) -> InputError:
    if not names:
        return InputError(source, "holds no record that can be read.")
    if found:
        pairs = " or ".join(f"--map prompt={one},response={other}" for one, other in found[:3])
        return InputError(source, f"can be read in several ways. {_columns(names)} Say which: {pairs}.")
    one, other = (names[0], names[1]) if len(names) > 1 else ("COLUMN", "COLUMN")
    hint = f"for instance --map prompt={one},response={other}, or --map messages={one}"
    return InputError(
        source, f"has no columns that tell what was asked and answered. {_columns(names)} Say it: {hint}."
    )


def _columns(names: Sequence[str]) -> str:
    shown = ", ".join(name[:40] for name in names[:20])
    return f"Its columns are: {shown}{' …' if len(names) > 20 else ''}."


def _plain(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")

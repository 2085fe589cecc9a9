"""Rules over the rows of a dataset: which are dropped, and for what reason. Pure; nobody is asked."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple

from processing.datasets.row_form import RowFormError, example_of, is_empty
from processing.errors import InputError
from processing.example import Example
from processing.filter import length_of
from processing.repair import RepairError, check
from store.recorded.message import Json, Message
from store.recorded.message_form import text_of

FindPersonal = Callable[[str], Collection[str]]
"""Names the kinds of personal data and secrets that a text holds."""
Handling = Literal["keep", "review", "drop"]
Duplicates = Literal["keep", "exact", "near"]
_LONG_VALUE = 1000
"""A data URL from here on is an image or a file, where chance makes card numbers."""


class CurationReason(StrEnum):
    """Why judge or filter ended a row. A closed list; the texts are stable."""

    LOW_SCORE = "low_judge_score"
    """The judge's score is below the threshold."""
    SCORE_REACHED = "score_reached"
    """Kept: its birth had dropped it for a score that the threshold no longer asks for."""
    NO_VERDICT = "no_verdict"
    """The judge gave no verdict that can be read; the row stays."""
    BELOW_MIN_SCORE = "below_min_score"
    """The judge's score is below the filter's `--min-score`."""
    NOT_A_ROW = "not_a_row"
    """Its messages cannot be read, or nothing is learned from them."""
    INCOMPLETE = "incomplete"
    """The call that wrote the answer did not complete."""
    LENGTH = "length"
    """The answer was cut short by the token limit."""
    CONTENT_FILTER = "content_filter"
    """The answer was cut short by the upstream's content filter."""
    REFUSAL = "refusal"
    """The answer is a refusal."""
    EMPTY_REPLY = "empty_reply"
    """An answer says nothing: neither text nor a tool call."""
    INVALID_TOOL_ARGUMENTS = "invalid_tool_arguments"
    """The arguments of a tool call are not one JSON object, or do not fit the tool's schema."""
    UNKNOWN_TOOL = "unknown_tool"
    """The answer calls a tool that the row does not offer."""
    INVALID_RESPONSE = "invalid_response"
    """The answer is not valid under the row's `response_format`."""
    NOT_JSON = "not_json"
    """The answer is not JSON, and `--valid-json` asks for it."""
    TOO_LONG = "too_long"
    """More characters than `--max-chars`."""
    TOO_SHORT = "too_short"
    """Fewer characters than `--min-chars`."""
    OTHER_CLUSTER = "other_cluster"
    """It is of another cluster than the wanted ones, or of none."""
    NOT_SELECTED = "not_selected"
    """Its metadata do not have what `--where` asks for."""
    PERSONAL_DATA = "personal_data"
    """It holds personal data or a secret."""
    EXACT_DUPLICATE = "exact_duplicate"
    """It says the same as another row, ids and white space aside."""
    NEAR_DUPLICATE = "near_duplicate"
    """What it asks is nearly what another row asks."""


@dataclass(frozen=True, slots=True)
class FilterRules:
    """What the filter drops.

    Attributes:
        min_score: Least judge's score; rows without a score stay. None for no bound.
        max_chars: Most characters of a row, input and output together.
        min_chars: Fewest.
        drop_errors: Drop what cannot be learned from: failed calls, answers cut short, refusals, empty answers, tool
            calls and answers that are not valid.
        valid_json: Drop answers that are not JSON, whatever the row's response format says.
        clusters: Only rows of these clusters; None for all.
        where: Only rows whose metadata have these values: field to value, both as text.
        pii: What becomes of rows with personal data or secrets.
        duplicates: Which duplicates are dropped: none, exact ones, or near ones too.
    """

    min_score: float | None = None
    max_chars: int | None = None
    min_chars: int | None = None
    drop_errors: bool = True
    valid_json: bool = False
    clusters: tuple[str, ...] | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    pii: Handling = "keep"
    duplicates: Duplicates = "exact"

    def as_json(self) -> dict[str, Json]:
        """For the manifest."""
        return {**asdict(self), "clusters": None if self.clusters is None else list(self.clusters)}

    @staticmethod
    def from_json(value: Mapping[str, Json]) -> "FilterRules":
        """Read what `as_json` wrote."""
        clusters = value.get("clusters")
        return FilterRules(**{**value, "clusters": None if clusters is None else tuple(clusters)})


class Fault(NamedTuple):
    """Why a row is not to be learned from.

    Attributes:
        reason: The rule.
        detail: Numbers and codes; never text of the row.
        is_for_review: Whether a person is to decide.
    """

    reason: CurationReason
    detail: Mapping[str, Json] = {}
    is_for_review: bool = False


def read_where(conditions: Sequence[str]) -> dict[str, str]:
    """Read `field=value` conditions.

    Raises:
        InputError: One is not of that form, or a field stands twice.
    """
    found: dict[str, str] = {}
    for condition in conditions:
        name, sign, value = condition.partition("=")
        if not sign or not name.strip() or name.strip() in found:
            raise InputError("--where", f"{condition!r} is not field=value with a field of its own, as tags=reviewed.")
        found[name.strip()] = value.strip()
    return found


def fault_of(row: Mapping[str, Json], rules: FilterRules, find_personal: FindPersonal | None) -> Fault | None:
    """Find the first rule that a row breaks by itself; None when it may stay. Duplicates are not its own fault.

    Args:
        row: The row.
        rules: The rules.
        find_personal: Needed where `rules.pii` is not `keep`.
    """
    try:
        example = example_of(row)
    except RowFormError as exc:
        return Fault(CurationReason.NOT_A_ROW, {"form": str(exc.reason)})
    metadata: Mapping[str, Json] = row.get("metadata") or {}
    if rules.drop_errors and (fault := _error(example, metadata)) is not None:
        return fault
    if rules.valid_json and not all(_is_json(message) for message in _answers(example) if not message.tool_calls):
        return Fault(CurationReason.NOT_JSON)
    if (fault := _bounds(example, metadata, rules)) is not None:
        return fault
    if rules.clusters is not None and not _has(metadata, "cluster_id", rules.clusters):
        return Fault(CurationReason.OTHER_CLUSTER)
    for name, value in rules.where.items():
        if not _has(metadata, name, (value,)):
            return Fault(CurationReason.NOT_SELECTED, {"field": name})
    if rules.pii != "keep" and find_personal is not None:
        kinds = sorted({kind for text in _texts(row["messages"]) for kind in find_personal(text)})
        if kinds:
            return Fault(CurationReason.PERSONAL_DATA, {"kinds": kinds}, is_for_review=rules.pii == "review")
    return None


def answer_fault(example: Example) -> Fault | None:
    """Find the first rule that an answer breaks by what it says, whatever is known of the call that wrote it."""
    for position in example.targets:
        message = example.messages[position]
        where = {"position": position}
        if message.refusal:
            return Fault(CurationReason.REFUSAL, where)
        if is_empty(message):
            return Fault(CurationReason.EMPTY_REPLY, where)
        if message.tool_calls:
            if (fault := _call_fault(message, example.tools, where)) is not None:
                return fault
        elif not _fits_format(message, example.response_format):
            return Fault(CurationReason.INVALID_RESPONSE, where)
    return None


def _error(example: Example, metadata: Mapping[str, Json]) -> Fault | None:
    if metadata.get("outcome") not in (None, "completed"):
        return Fault(CurationReason.INCOMPLETE, {"outcome": str(metadata["outcome"])})
    if metadata.get("finish_reason") in ("length", "content_filter"):
        return Fault(CurationReason(metadata["finish_reason"]))
    return answer_fault(example)


def _call_fault(message: Message, tools: list[Json] | None, where: Mapping[str, Json]) -> Fault | None:
    schemas = _schemas(tools)
    for call in message.tool_calls:
        try:
            arguments = json.loads(call.arguments)
        except (ValueError, RecursionError):
            return Fault(CurationReason.INVALID_TOOL_ARGUMENTS, where)
        if not isinstance(arguments, dict):
            return Fault(CurationReason.INVALID_TOOL_ARGUMENTS, where)
        if schemas and call.name not in schemas:
            return Fault(CurationReason.UNKNOWN_TOOL, where)
        if not _fits(arguments, schemas.get(call.name)):
            return Fault(CurationReason.INVALID_TOOL_ARGUMENTS, where)
    return None


def _schemas(tools: list[Json] | None) -> dict[str, Json]:
    definitions = [tool.get("function", tool) for tool in tools or () if isinstance(tool, dict)]
    return {str(one["name"]): one.get("parameters") for one in definitions if isinstance(one, dict) and "name" in one}


def _fits_format(message: Message, response_format: Json) -> bool:
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if kind == "json_object":
        return isinstance(_json_of(message), dict)
    if kind != "json_schema":
        return True
    wanted = response_format.get("json_schema")
    value = _json_of(message)
    return value is not _NO_JSON and _fits(value, wanted.get("schema") if isinstance(wanted, dict) else None)


def _fits(value: Json, schema: Json) -> bool:
    if not isinstance(schema, dict):
        return True
    try:
        check(value, schema)
    except RepairError:
        return False
    return True


def _bounds(example: Example, metadata: Mapping[str, Json], rules: FilterRules) -> Fault | None:
    score = metadata.get("judge_score")
    if rules.min_score is not None and isinstance(score, int | float) and score < rules.min_score:
        return Fault(CurationReason.BELOW_MIN_SCORE, {"judge_score": score, "min_score": rules.min_score})
    length = length_of(example.messages)
    if rules.max_chars is not None and length > rules.max_chars:
        return Fault(CurationReason.TOO_LONG, {"characters": length, "limit": rules.max_chars})
    if rules.min_chars is not None and length < rules.min_chars:
        return Fault(CurationReason.TOO_SHORT, {"characters": length, "limit": rules.min_chars})
    return None


def _has(metadata: Mapping[str, Json], name: str, wanted: Collection[str]) -> bool:
    """Whether a field has one of some values, or is a list or object that holds one; `a=b` finds it in an object."""
    value = metadata.get(name)
    if isinstance(value, Mapping):
        held = [*value, *(f"{key}={_as_text(item)}" for key, item in value.items())]
    elif isinstance(value, list):
        held = [_as_text(item) for item in value]
    else:
        held = [] if value is None else [_as_text(value)]
    return any(item in wanted for item in held)


def _as_text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)


_NO_JSON = object()


def _json_of(message: Message) -> Json:
    try:
        return json.loads(text_of(message))
    except (ValueError, RecursionError):
        return _NO_JSON


def _is_json(message: Message) -> bool:
    return _json_of(message) is not _NO_JSON


def _answers(example: Example) -> list[Message]:
    return [example.messages[position] for position in example.targets]


def _texts(value: Json) -> Iterator[str]:
    """Every text of some messages; files and images apart."""
    if isinstance(value, str):
        if not (len(value) > _LONG_VALUE and value.startswith("data:")):
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)

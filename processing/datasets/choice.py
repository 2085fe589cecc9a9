"""Which answers of a teacher become rows: the best judged of each prompt, if it is good enough and like no other row.

The order in which an answer can end: no answer, too long, the same as another answer to the prompt, no verdict of the
judge, not the best, below the threshold, too like another row. Only the last two depend on anything but the prompt's
own answers, and every one of them stays in the version with its score.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from processing import near_text
from processing.answer_form import canonical
from processing.config import Config
from processing.datasets.drawing import Drawn, form_of
from processing.datasets.judging import RowScore
from processing.datasets.prompt_file import PromptItem
from processing.datasets.row_form import example_of
from processing.dedup import prompt_document
from processing.disjoint_sets import DisjointSets
from processing.near_text import TextDocument, near_pairs
from store.datasets.row import RowEnd, RowState
from store.recorded.message import Json
from store.recorded.message_form import text_of

STAGE: Final = "generate"
_NUMBER: Final = re.compile(r"\d+")


class GenerateReason(StrEnum):
    """How an answer of a teacher ends. A closed list."""

    GENERATED = "generated"
    """Kept: a row."""
    DUPLICATE_PROMPT = "duplicate_prompt"
    """The prompt stands in the file before, and is asked once."""
    NO_ANSWER = "no_answer"
    """The teacher gave no answer that fits, corrections and restarts included; `metadata.problem` tells why."""
    TOO_LONG = "too_long"
    """More characters than `synthgen.validation_max_total_length`, prompt and answer together."""
    DUPLICATE_ANSWER = "duplicate_answer"
    """Another answer to the same prompt says the same."""
    NEAR_DUPLICATE_ANSWER = "near_duplicate_answer"
    """Another answer to the same prompt says nearly the same, with the same numbers."""
    NO_VERDICT = "no_verdict"
    """The judge gave no verdict that can be read."""
    NOT_BEST = "not_best"
    """Another answer to the same prompt has a higher score, or came before with the same."""
    LOW_SCORE = "low_judge_score"
    """The judge's score is below the threshold; `tracemill datasets judge --threshold` moves it for nothing."""
    NEAR_DUPLICATE_ROW = "near_duplicate_row"
    """Prompt and answer together are too like a better row's (`synthgen.validation_similarity_threshold`)."""
    NOT_STORED = "not_stored"
    """The store does not take it; a row that was erased with its trace stays away."""
    ALREADY_THERE = "already_there"
    """The version to which rows are added has this very row."""


class Keep(StrEnum):
    """Which of the answers to a prompt may become rows."""

    BEST = "best"
    ALL = "all"


@dataclass(slots=True)
class Answered:
    """One answer on its way.

    Attributes:
        item: What was asked.
        drawn: What was answered.
        content: The row; without an answer just the prompt.
        end: None as long as it may be kept.
        score: What the judge said; None as long as nobody was asked.
        columns: Message traces that go beside the row.
    """

    item: PromptItem
    drawn: Drawn
    content: dict[str, Json]
    end: RowEnd | None = None
    score: RowScore | None = None
    columns: Mapping[str, Json] = field(default_factory=dict)

    @property
    def row_id(self) -> str:
        """Id of the row."""
        return str(self.content["row_id"])

    @property
    def known_score(self) -> float | None:
        """The judge's score; None without one."""
        return None if self.score is None else self.score.judge_score

    def drop(self, reason: GenerateReason, **detail: Json) -> None:
        """End it as dropped."""
        self.end = RowEnd(RowState.DROPPED, STAGE, reason, self._detail(detail))

    def fail(self, reason: GenerateReason, **detail: Json) -> None:
        """End it as failed."""
        self.end = RowEnd(RowState.FAILED, STAGE, reason, self._detail(detail))

    def settled(self) -> RowEnd:
        """Give the end; what has none is kept."""
        return self.end or RowEnd(RowState.KEPT, STAGE, GenerateReason.GENERATED, self._detail({}))

    def _detail(self, detail: Mapping[str, Json]) -> dict[str, Json]:
        known: dict[str, Json] = {} if self.known_score is None else {"judge_score": self.known_score}
        if self.item.repeated_key is not None:
            known["repeated_key"] = self.item.repeated_key
        return {"place": self.item.place, "sample": self.drawn.number, **known, **detail}


def drop_too_long(answers: Iterable[Answered], most: int) -> None:
    """Drop what has more characters than a row may have."""
    for one in answers:
        if one.end is None:
            example = example_of(one.content)
            length = sum(len(text_of(m)) + sum(len(c.arguments) for c in m.tool_calls) for m in example.messages)
            if length > most:
                one.drop(GenerateReason.TOO_LONG, characters=length, limit=most)


def drop_repeated(answers: Sequence[Answered], config: Config, bound: float) -> None:
    """Keep the first of the answers to one prompt that say the same, or nearly the same."""
    kept: list[Answered] = []
    for one in answers:
        if one.end is None:
            earlier = next((other for other in kept if _same(one, other, config)), None)
            near = next((other for other in kept if _nearly_same(one, other, bound)), None)
            if earlier is not None:
                one.drop(GenerateReason.DUPLICATE_ANSWER, same_as=earlier.row_id)
            elif near is not None:
                one.drop(GenerateReason.NEAR_DUPLICATE_ANSWER, same_as=near.row_id)
            else:
                kept.append(one)


def choose(answers: Sequence[Answered], keep: Keep, threshold: float) -> None:
    """End the judged answers to one prompt that do not become rows."""
    judged = [one for one in answers if one.end is None]
    for one in judged:
        if one.known_score is None:
            one.fail(GenerateReason.NO_VERDICT)
    ranked = sorted((one for one in judged if one.end is None), key=_rank)
    for place, one in enumerate(ranked):
        if keep is Keep.BEST and place:
            one.drop(GenerateReason.NOT_BEST, best=ranked[0].row_id)
        elif (one.known_score or 0.0) < threshold:
            one.drop(GenerateReason.LOW_SCORE, threshold=threshold)


def drop_alike(answers: Sequence[Answered], known: Sequence[Mapping[str, Json]], bound: float) -> None:
    """Of rows whose prompt and answer are too alike keep the best judged, or one that was there before.

    Args:
        answers: Of all prompts.
        known: Rows that the version began with.
        bound: Overlap of the character shingles, templates left out.
    """
    kept = {one.row_id: one for one in answers if one.end is None}
    documents = [_document(one.content) for one in kept.values()]
    there = [_document(content) for content in known]
    union: DisjointSets[str] = DisjointSets()
    for first, second in near_pairs([*documents, *there], bound=bound):
        union.join(first, second)
    groups: dict[str, list[str]] = defaultdict(list)
    for document in [*there, *documents]:
        groups[union.find(document.owner)].append(document.owner)
    for members in groups.values():
        old = [name for name in members if name not in kept]
        new = sorted((kept[name] for name in members if name in kept), key=_rank)
        stays = old[0] if old else new[0].row_id
        for one in new:
            if one.row_id != stays:
                one.drop(GenerateReason.NEAR_DUPLICATE_ROW, same_as=stays)


def _rank(one: Answered) -> tuple[float, int, str]:
    """The best first, of equals the one that was drawn first."""
    return -(one.known_score or 0.0), one.drawn.number, one.row_id


def _same(one: Answered, other: Answered, config: Config) -> bool:
    form = form_of(one.item, config)
    mine, theirs = one.drawn.message, other.drawn.message
    return mine is not None and theirs is not None and canonical((mine,), form) == canonical((theirs,), form)


def _nearly_same(one: Answered, other: Answered, bound: float) -> bool:
    """Whether two texts differ by so little that both are not worth a judge; never when they differ by a number."""
    mine, theirs = one.drawn.message, other.drawn.message
    if mine is None or theirs is None or mine.tool_calls or theirs.tool_calls:
        return False
    texts = [" ".join(text_of(message).split()).casefold() for message in (mine, theirs)]
    if _NUMBER.findall(texts[0]) != _NUMBER.findall(texts[1]):
        return False
    return texts[0] == texts[1] or near_text.similarity(*texts) >= bound


def _document(content: Mapping[str, Json]) -> TextDocument:
    example = example_of(content)
    asked = prompt_document(str(content["row_id"]), example.messages, example.tools)
    said = " ".join(str(content.get("response") or "").split()).casefold()
    return asked._replace(text=f"{asked.text} {said}")

"""The stages of a run, each from what came in to what goes on, with every end in the ledger."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from processing.candidates import Candidate, Task
from processing.convert import Converted, convert
from processing.dedup import drop_exact, group_conversations
from processing.example import Conversation, Example
from processing.filter import Scores, example_rule_end, relevance_end, rule_end, score
from processing.ledger import End, Kind, Ledger, Reason, Stage, State
from processing.message_trace import TraceColumns
from processing.parallel import each
from processing.progress import Progress, StageProgress, silent
from processing.relabel import Relabelled, candidates_of, decide, reliability_of
from processing.split import Part, Split
from processing.teachers import Teachers
from processing.trace_kind import Step
from store.recorded.message import Json


@dataclass(slots=True)
class Run:
    """What every stage needs.

    Attributes:
        task: Configuration and job description.
        teachers: The models.
        ledger: Takes every end.
        progress: Is told how far each stage is.
        conversations: Every conversation by id.
        examples: Every example by id, as it was recorded.
        reliability: Candidate's source to how often it is right; empty where nothing tells, None until asked.
        columns: Message traces that go beside the rows and lines of a conversation or example, by its id.
    """

    task: Task
    teachers: Teachers
    ledger: Ledger = field(default_factory=Ledger)
    progress: Progress = silent
    conversations: dict[str, Conversation] = field(default_factory=dict)
    examples: dict[str, Example] = field(default_factory=dict)
    reliability: dict[str, float] | None = None
    columns: dict[str, dict[str, Json]] = field(default_factory=dict)

    async def trace_columns(self, step: Step, call: bytes | None) -> dict[str, Json]:
        """Read the message trace of a step from its last call, as far as the configuration asks for it."""
        config = self.task.config
        columns = TraceColumns(
            self.teachers.work, config.message_traces, is_reasoning_extracted=config.extract_reasoning_content
        )
        return await columns.of(step, call)

    def tell(self, stage: str, done: int, total: int) -> None:
        """Tell how far a stage is, with the counts of calls."""
        counts = self.teachers.counts
        self.progress(StageProgress(stage, done, total, counts.in_flight, counts.paid, counts.cached, counts.failed))


def filter_by_rules(conversations: Sequence[Conversation], run: Run) -> list[Conversation]:
    """Drop conversations of which nothing may be learned."""
    return _judge(conversations, {one.id: rule_end(one, run.task) for one in conversations}, Stage.RULES, run)


async def filter_by_relevance(
    conversations: Sequence[Conversation], run: Run
) -> tuple[list[Conversation], dict[str, Scores]]:
    """Drop conversations that the teacher scores below the thresholds; return the scores too."""
    if not run.task.config.trace_processing.relevance_filtering:
        return list(conversations), {}
    total = len(conversations)
    run.tell(Stage.RELEVANCE, 0, total)
    scores = await score(
        conversations, run.teachers, run.task, done=lambda done: run.tell(Stage.RELEVANCE, done, total)
    )
    for name, one in scores.items():
        run.columns[name] = await run.trace_columns(Step.FILTER, one.call)
    ends = {one.id: relevance_end(scores[one.id], run.task) for one in conversations}
    kept = _judge(conversations, ends, Stage.RELEVANCE, run)
    return kept, {name: one for name, one in scores.items() if isinstance(one, Scores)}


def drop_duplicates(conversations: Sequence[Conversation], run: Run) -> list[Conversation]:
    """Keep the first of conversations that say the same."""
    distinct = drop_exact(conversations)
    ends: dict[str, End | None] = {one.id: None for one in conversations}
    for name, kept in distinct.duplicate_of.items():
        ends[name] = End(State.DROPPED, Stage.DUPLICATES, Reason.EXACT_DUPLICATE, {"same_as": kept})
    return _judge(conversations, ends, Stage.DUPLICATES, run)


def cut_into_examples(conversations: Sequence[Conversation], run: Run) -> tuple[list[Example], Converted]:
    """Cut conversations into examples and hold each against the rules."""
    bare = run.task.config.trace_processing.remove_system_prompt_from_traces
    groups = group_conversations(conversations, without_system=bare)
    single_turn = run.task.config.is_single_turn
    converted = convert(conversations, single_turn=single_turn, remove_system_prompt=bare, groups=groups)
    ends: dict[str, End | None] = {one.id: None for one in conversations}
    for name, reason in converted.without_example.items():
        ends[name] = End(State.DROPPED, Stage.CONVERT, Reason(reason))
    _judge(conversations, ends, Stage.CONVERT, run)
    run.examples.update({example.id: example for example in converted.examples})
    run.ledger.enter(Kind.EXAMPLE, [example.id for example in converted.examples])
    kept: list[Example] = []
    for example in converted.examples:
        end = example_rule_end(example, run.task)
        if end is None:
            kept.append(example)
        else:
            run.ledger.end(Kind.EXAMPLE, example.id, end)
    _example_border(Stage.RULES, converted.examples, kept, run)
    return kept, converted


def settle_split(examples: Sequence[Example], parts: Split, *, is_curated: bool, run: Run) -> list[Conversation]:
    """Note what the split took out of train and test; return the conversations that become unstructured."""
    for name, other in parts.removed.items():
        run.ledger.end(Kind.EXAMPLE, name, End(State.DROPPED, Stage.SPLIT, Reason.NEAR_TEST, {"like": other}))
    for example in parts.unstructured:
        run.ledger.end(Kind.EXAMPLE, example.id, End(State.KEPT, Stage.SPLIT, Reason.UNSTRUCTURED))
    goes_on = [*parts.train, *(() if is_curated else parts.test)]
    _example_border(Stage.SPLIT, examples, goes_on, run)
    unstructured: list[Conversation] = []
    wanted = {example.conversation_id for example in goes_on}
    spare = {example.conversation_id for example in parts.unstructured} - wanted
    entered = [name for name in run.conversations if run.ledger.find(Kind.CONVERSATION, name) is None]
    for name in entered:
        if name in spare and len(unstructured) < run.task.config.trace_processing.max_unstructured:
            unstructured.append(run.conversations[name])
            end = End(State.KEPT, Stage.SPLIT, Reason.UNSTRUCTURED)
        elif name in spare:
            end = End(State.DROPPED, Stage.SPLIT, Reason.OVER_MAX_UNSTRUCTURED)
        elif name not in wanted:
            end = End(State.DROPPED, Stage.SPLIT, Reason.NO_EXAMPLE_KEPT)
        else:
            continue
        run.ledger.end(Kind.CONVERSATION, name, end)
    left = [name for name in entered if name in wanted]
    run.ledger.border(Stage.SPLIT, Kind.CONVERSATION, entered, left)
    return unstructured


async def relabel_all(examples: Sequence[Example], run: Run) -> list[Relabelled]:
    """Relabel train and test; an example without a label ends here."""
    relabelled = await ask_committee(examples, run, stage=Stage.RELABEL)
    kept: list[Example] = []
    for example, found in zip(examples, relabelled, strict=True):
        call = found.deciding_call(run.task.form(example))
        run.columns[example.id] = await run.trace_columns(Step.RELABEL, call)
        if found.problem is None:
            kept.append(example)
            continue
        state = State.FAILED if found.problem in _FAILURES else State.REVIEW
        detail = found.lineage(run.task.form(example))
        run.ledger.end(Kind.EXAMPLE, example.id, End(state, Stage.RELABEL, found.problem, detail))
    _example_border(Stage.RELABEL, examples, kept, run)
    return relabelled


_FAILURES = {Reason.NO_CANDIDATE, Reason.NO_VERDICT}


async def ask_committee(examples: Sequence[Example], run: Run, *, stage: str) -> list[Relabelled]:
    """Relabel examples without noting their ends, as the unfiltered sample needs it.

    Where votes are weighed the committee answers everything first: how far each model is right is estimated once, from
    all its answers, and holds for the sample too.
    """
    done = 0
    run.tell(stage, 0, len(examples))
    found: dict[str, tuple[Candidate, ...]] = {}
    if run.task.is_weighed and run.reliability is None:

        async def vote(example: Example) -> None:
            found[example.id] = await candidates_of(example, run.teachers, run.task)
            run.tell(f"{stage}: votes", len(found), len(examples))

        await each(examples, vote, parallel=run.task.config.lanes)
        run.reliability = reliability_of([found[example.id] for example in examples], examples, run.task)

    async def relabel_one(example: Example) -> Relabelled:
        nonlocal done
        given = found.get(example.id) or await candidates_of(example, run.teachers, run.task)
        labelled = await decide(example, given, run.reliability or {}, run.teachers, run.task)
        done += 1
        run.tell(stage, done, len(examples))
        return labelled

    return await each(examples, relabel_one, parallel=run.task.config.lanes)


def settle_output(parts: Mapping[str, Part], run: Run) -> None:
    """End every example that has a label as kept, and every conversation by what became of its examples.

    Args:
        parts: Example id to its part, for every example that entered relabelling.
        run: The run.
    """
    entered = [name for name in parts if run.ledger.find(Kind.EXAMPLE, name) is None]
    for name in entered:
        run.ledger.end(Kind.EXAMPLE, name, End(State.KEPT, Stage.OUTPUT, Reason(parts[name])))
    run.ledger.border(Stage.OUTPUT, Kind.EXAMPLE, entered, [])
    ends: dict[str, list[End]] = {}
    for name, end in run.ledger.ends(Kind.EXAMPLE):
        ends.setdefault(run.examples[name].conversation_id, []).append(end)
    left = [name for name in run.conversations if run.ledger.find(Kind.CONVERSATION, name) is None]
    for name in left:
        run.ledger.end(Kind.CONVERSATION, name, _conversation_end(ends[name]))
    run.ledger.border(Stage.OUTPUT, Kind.CONVERSATION, left, [])
    run.ledger.close()


def draw_sample(conversations: Sequence[Conversation], wanted: int, seed: str) -> list[Conversation]:
    """Draw conversations by the hash of their ids: the same seed, the same sample, newcomers apart."""
    order = sorted(conversations, key=lambda one: hashlib.blake2b(f"{seed}\nsample\n{one.id}".encode()).digest())
    chosen = {one.id for one in order[:wanted]}
    return [one for one in conversations if one.id in chosen]


def _conversation_end(ends: Sequence[End]) -> End:
    kept = [end for end in ends if end.state is State.KEPT]
    if kept:
        return End(State.KEPT, Stage.OUTPUT, kept[0].reason)
    states = {end.state for end in ends}
    state = next(state for state in (State.REVIEW, State.FAILED, State.DROPPED) if state in states)
    return End(state, Stage.OUTPUT, Reason.NO_EXAMPLE_KEPT)


def _judge(
    conversations: Sequence[Conversation], ends: Mapping[str, End | None], stage: Stage, run: Run
) -> list[Conversation]:
    kept: list[Conversation] = []
    for conversation in conversations:
        end = ends[conversation.id]
        if end is None:
            kept.append(conversation)
        else:
            run.ledger.end(Kind.CONVERSATION, conversation.id, end)
    run.ledger.border(stage, Kind.CONVERSATION, [one.id for one in conversations], [one.id for one in kept])
    return kept


def _example_border(stage: Stage, entered: Sequence[Example], went_on: Sequence[Example], run: Run) -> None:
    run.ledger.border(stage, Kind.EXAMPLE, [one.id for one in entered], [one.id for one in went_on])

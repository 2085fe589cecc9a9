"""The calls behind one row, found again in the call table: nobody is asked and nothing is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from processing.answer import Answer, Fault, read_answer, reported
from processing.baseline import predict
from processing.convert import convert
from processing.errors import ProcessingError
from processing.filter import Scores, known_scores
from processing.inputs import Inputs
from processing.kept_inputs import BASE_URL, KeptInputs, read_kept
from processing.lineage import Entry
from processing.model_client import ModelClient
from processing.pipeline import describe
from processing.relabel import Relabelled, relabel
from processing.report_examples import judge_reason
from processing.sources import Intake
from processing.teachers import Teachers
from store import json_text
from store.call import Call
from store.recorded.message import Json, Message
from store.work import WorkStore

_UNKNOWN = "not in the call table"


@dataclass(slots=True)
class RowCalls:
    """What models said of one conversation or example.

    Attributes:
        scores: Relevance and coherence with the teacher's reason; None where it was not scored.
        relabelled: The example with every candidate; None for a conversation.
        judge: Metric to score of each scored answer, with the judge's reason.
        calls: Every call in the order of the steps, as JSON.
    """

    scores: Scores | None = None
    relabelled: Relabelled | None = None
    judge: list[dict[str, Json]] = field(default_factory=list)
    calls: list[dict[str, Json]] = field(default_factory=list)


class RememberingTeachers(Teachers):
    """Teachers that say what they once said, and nothing else."""

    def __init__(self, client: ModelClient, work: WorkStore, inputs: Inputs, environ: Mapping[str, str]) -> None:
        super().__init__(client, work, inputs.config, environ)
        self.found: dict[bytes, Call] = {}

    async def ask(
        self,
        model: str,
        purpose: str,  # noqa: ARG002 - of the method that this one stands for
        messages: Sequence[Mapping[str, Json]],
        *,
        draw: int = 0,
        **parameters: Json,
    ) -> Answer:
        """Give the answer that is known, else one that says there is none."""
        _, _, key = self.question(model, messages, draw=draw, **parameters)
        call = await self.remember(key)
        if call is None:
            return Answer(key, Message("assistant"), None, Fault.FAILING, _UNKNOWN)
        return read_answer(call)

    async def remember(self, key: bytes) -> Call | None:
        """Look a call up, and note that it was found."""
        call = await self.work.call(key)
        if call is not None:
            self.found.setdefault(key, call)
        return call


async def calls_behind(
    entry: Entry, kept: KeptInputs, work: WorkStore, environ: Mapping[str, str], *, stored: Intake | None = None
) -> RowCalls:
    """Find what models said of a conversation or example.

    Args:
        entry: Which.
        kept: What its run kept of its inputs.
        work: The call table.
        environ: As of now; models are looked up where they were asked then.
        stored: The captured traces, when the run worked on those.

    Raises:
        ProcessingError: The inputs are gone, or the conversation is no longer among them.
    """
    inputs, _ = read_kept(kept, kept.config, stored=stored)
    one = next((each for each in inputs.intake.conversations if each.id == entry.conversation_id), None)
    if one is None:
        raise ProcessingError(f"conversation {entry.conversation_id} is no longer among what the run has loaded")
    async with ModelClient(1) as client:
        teachers = RememberingTeachers(client, work, inputs, _then(kept, environ))
        task, _ = await describe(inputs, teachers)
        wanted = task.config.trace_processing
        found = RowCalls()
        if wanted.relevance_filtering:
            found.scores = (await known_scores([one], teachers, task)).get(one.id)
            if found.scores is not None and found.scores.call is not None:
                await teachers.remember(found.scores.call)
        converted = convert(
            [one],
            single_turn=task.config.is_single_turn,
            remove_system_prompt=wanted.remove_system_prompt_from_traces,
        )
        example = next((each for each in converted.examples if each.id == entry.id), None)
        if example is not None and wanted.relabel:
            found.relabelled = await relabel(example, teachers, task, _reliability(kept))
            for scored in await predict([example], [found.relabelled], teachers, task):
                # Equal to the label, nobody was asked: then only a row of test was scored at all.
                asked = scored.judge_call
                is_known = entry.file == "test.jsonl" if asked is None else asked in teachers.found
                if wanted.evaluate_original_model and is_known:
                    reason = await judge_reason(scored.judge_call, work)
                    found.judge.append({"scores": dict(scored.scores), "reason": reason})
        found.calls = [_shown(call) for call in teachers.found.values()]
    return found


def _reliability(kept: KeptInputs) -> dict[str, float]:
    """How votes were weighed in the run, from its report; empty where they were not, or nothing tells."""
    try:
        found = json_text.loads((kept.folder / "report.json").read_bytes())["relabel"]["reliability"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return dict(found)


def _then(kept: KeptInputs, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the run, as far as the names of its calls depend on it; keys do not matter."""
    entries = kept.config.models.values()
    keys = {entry.api_key_env: "unused" for entry in entries if entry.api_key_env is not None}
    return {**environ, **keys, **({BASE_URL: kept.base_url} if kept.base_url else {})}


def _shown(call: Call) -> dict[str, Json]:
    usage = json_text.loads(call.usage) if call.usage else {}
    return {
        "key": call.key.hex(),
        "purpose": call.purpose,
        "model": call.model,
        "base_url": call.base_url,
        "attempts": call.attempts,
        "prompt_tokens": reported(usage, "prompt_tokens"),
        "completion_tokens": reported(usage, "completion_tokens"),
        "cost": call.cost,
        "error": call.error,
    }

"""Comparing evaluations of the same rows, answer by answer."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations

from processing.baseline import JUDGE
from processing.errors import InputError
from processing.evaluation.alike import check_alike, choose_alike
from processing.evaluation.paired import Paired, PairedInterval, holm, paired_interval
from store.datasets.evaluation import Evaluation, Prediction
from store.datasets.evaluation_store import EvaluationStore
from store.recorded.message import Json

NO_DIFFERENCE = "no difference shown at 95 %"
_NOT_COMPARED = "not comparable: no answer has both scores"
_TOO_FEW = "too few conversations to tell"
_Scores = Mapping[tuple[str, int], Prediction]


@dataclass(frozen=True, slots=True)
class Difference:
    """How two contenders differ by one metric, on the answers that both have a score for.

    Attributes:
        metric: Its name; more is better with each.
        first: Name of one contender.
        second: Name of the other.
        mean: Mean of the first's score less the second's.
        low: Lower end of the 95 % interval; `high` is the upper.
        p: Probability of as much by chance.
        wins: Answers on which the first has the higher score.
        ties: Answers with equal scores.
        losses: Answers on which the second has the higher score.
        answers: Compared.
        conversations: They come from.
        verdict: For a person.
        holds_together: Whether a difference is still shown when all of the comparison are looked at together.
    """

    metric: str
    first: str
    second: str
    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    wins: int
    ties: int
    losses: int
    answers: int
    conversations: int
    verdict: str
    holds_together: bool = False

    @property
    def is_shown(self) -> bool:
        """Whether one of the two is better, at 95 %."""
        return self.verdict.endswith(" better")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Evaluations side by side.

    Attributes:
        evaluations: As they were named.
        names: What each is called in the differences: its model, with its id where two have the same.
        differences: Of every pair, by every metric that both have.
        notes: What a reader has to know.
    """

    evaluations: tuple[Evaluation, ...]
    names: tuple[str, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Json]:
        """For `--json` and the result of a job."""
        sides = [
            {
                "evaluation_id": one.evaluation_id,
                "name": name,
                "reference": one.label,
                "scores": one.metrics["scores"],
                "cost": one.cost,
                "latency": {key: value for key, value in one.latency.items() if key != "curve_ms"},
                "counts": one.counts,
            }
            for name, one in zip(self.names, self.evaluations, strict=True)
        ]
        return {
            "test_hash": self.evaluations[0].test_hash,
            "sides": sides,
            "differences": [asdict(one) for one in self.differences],
            "notes": list(self.notes),
        }


async def compare_stored(names: Sequence[str], store: EvaluationStore) -> Comparison:
    """Compare evaluations by their ids.

    Raises:
        DatasetError: There is no such evaluation.
        InputError: They cannot be compared; the message tells why.
    """
    evaluations = [await store.evaluation(name) for name in names]
    return compare([(one, await store.predictions(one.evaluation_id)) for one in evaluations])


async def compare_models(reference: str, models: Sequence[str], store: EvaluationStore, *, part: str) -> Comparison:
    """Compare the newest evaluations of models on a frozen version that are alike; notes tell of newer ones.

    Raises:
        DatasetError: There is no such version.
        InputError: A model was not evaluated on it, or no evaluations of all models can be compared.
    """
    version = await store.version(reference, wants="frozen")
    there = [one for one in await store.evaluations(version.dataset, version.number) if one.part == part]
    chosen = choose_alike(models, there, version, part)
    found = await compare_stored([one.evaluation_id for one in chosen.evaluations], store)
    return replace(found, notes=(*chosen.notes, *found.notes))


def compare(sides: Sequence[tuple[Evaluation, Sequence[Prediction]]]) -> Comparison:
    """Compare every evaluation with every other, on the answers that both have.

    Raises:
        InputError: There are fewer than two, or they do not rest on the same rows, asked and scored alike.
    """
    evaluations = [evaluation for evaluation, _ in sides]
    if len({one.evaluation_id for one in evaluations}) < len(evaluations) or len(evaluations) < 2:
        raise InputError("compare", "needs two different evaluations or more.")
    for other in evaluations[1:]:
        check_alike(evaluations[0], other)
    names = _names(evaluations)
    places = [{(one.row_id, one.target): one for one in predictions} for _, predictions in sides]
    seed = evaluations[0].settings["random_seed"]
    differences = [
        _difference(metric, (names[one], names[other]), (places[one], places[other]), seed)
        for one, other in combinations(range(len(sides)), 2)
        for metric in _metrics(evaluations[one], evaluations[other])
    ]
    return Comparison(tuple(evaluations), names, tuple(_together(differences)), tuple(_notes(evaluations, differences)))


def _names(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    models = [one.model for one in evaluations]
    return tuple(
        one.model if models.count(one.model) == 1 else f"{one.model} ({one.evaluation_id[:6]})" for one in evaluations
    )


def _metrics(one: Evaluation, other: Evaluation) -> list[str]:
    shared = [name for name in one.metrics["scores"] if name in other.metrics["scores"]]
    # Scores of different judges are different measures.
    return [name for name in shared if name != JUDGE or one.settings.get("judge") == other.settings.get("judge")]


def _difference(metric: str, names: tuple[str, str], places: tuple[_Scores, _Scores], seed: int | None) -> Difference:
    pairs = []
    wins = ties = losses = 0
    for place, prediction in places[0].items():
        other = places[1].get(place)
        a, b = prediction.scores.get(metric), None if other is None else other.scores.get(metric)
        if a is None or b is None:
            continue
        pairs.append(Paired(prediction.conversation_id, a - b))
        wins, ties, losses = wins + (a > b), ties + (a == b), losses + (a < b)
    found = paired_interval(pairs, seed=seed)
    mean, low, high, p = (None if one is None else round(one, 6) for one in found[:4])
    return Difference(
        metric=metric,
        first=names[0],
        second=names[1],
        mean=mean,
        low=low,
        high=high,
        p=p,
        wins=wins,
        ties=ties,
        losses=losses,
        answers=found.answers,
        conversations=found.conversations,
        verdict=_verdict(found, names),
    )


def _verdict(found: PairedInterval, names: tuple[str, str]) -> str:
    if found.mean is None:
        return _NOT_COMPARED
    if found.p is None:
        return _TOO_FEW
    if not found.is_shown:
        return NO_DIFFERENCE
    return f"{names[0] if found.mean > 0 else names[1]} better"


def _together(differences: Sequence[Difference]) -> list[Difference]:
    known = [one for one in differences if one.p is not None]
    holds = dict(zip(map(id, known), holm([one.p or 0.0 for one in known]), strict=True))
    return [
        Difference(**{**asdict(one), "holds_together": holds.get(id(one), False) and one.is_shown})
        for one in differences
    ]


def _notes(evaluations: Sequence[Evaluation], differences: Sequence[Difference]) -> list[str]:
    notes = []
    known = sum(one.p is not None for one in differences)
    if known > 1:
        notes.append(
            f"{known} differences were looked at. At 95 % one in twenty shows where there is none: trust those that "
            "hold together (Holm's correction)."
        )
    judges = [one.settings.get("judge") for one in evaluations]
    if any(judges) and any(judge != judges[0] for judge in judges):
        notes.append(f"{JUDGE} is compared only between evaluations of the same judge.")
    erased = sum(one.erased for one in evaluations)
    if erased:
        notes.append(f"{erased} answers were erased since, with their rows; what is left of both is compared.")
    return notes

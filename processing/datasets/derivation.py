"""Making a version once more of what it was made of, in a store that is gone afterwards; nobody is asked.

What makes it are the functions that made it the first time: its birth, then its steps in their order
(`processing.datasets.step`), each after the decisions of people that there were by then, and at the end those up to the
freezing. Answers come from the call table, rows that it began with from its parent, traces from the store, prompts from
the copy that is kept, and files from whoever still has them.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import UUID

from processing.clusters.promotion import PromoteSettings, promote_members
from processing.config import Config
from processing.datasets.beginning import ADDED, BEGINS_WITH
from processing.datasets.choice import Keep
from processing.datasets.curation_stages import filter_rows, judge
from processing.datasets.data_set import Format
from processing.datasets.decided_again import DecidedAgain, decisions_at_freeze
from processing.datasets.generate import Wanted, generate
from processing.datasets.generate_config import read_asked_with
from processing.datasets.judging import PURPOSE
from processing.datasets.kept_source import kept_copy, read_members
from processing.datasets.known_answers import CallTable, KnownAnswers
from processing.datasets.named_source import named_data, named_prompts
from processing.datasets.prompt_file import Setting
from processing.datasets.row_filter import FilterRules, FindPersonal
from processing.datasets.row_split import split_rows
from processing.datasets.step import ADD, CURATION, STEPS, steps_of
from processing.datasets.upload import UploadSettings, upload
from processing.errors import InputError
from processing.model_client import ModelClient
from processing.prompt import prompt
from processing.teachers import Teachers
from store.clusters.cluster import Member
from store.data_files import TRACES_FILE, WORK_FILE
from store.datasets.covering import FILTER, JUDGE
from store.datasets.dataset_reader import BATCH_ROWS
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Part, Row
from store.datasets.version import Birth, Place, Version
from store.traces import TraceReader

Json = Any
_NAMED: Final = 5


@dataclass(slots=True)
class Derived:
    """What was made once more.

    Attributes:
        places: Where each row stands, by its id.
        notes: What is no more as it was, and was gone on without.
        missing: Purpose and model of each answer that is not in the call table.
    """

    places: Mapping[str, Place] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where that is found of which versions were made.

    Attributes:
        store: Holds the version, those that it follows, and what people decided.
        data_dir: Holds the call table, the traces and what is kept.
        files: Files that somebody still has.
        find_personal: Finds personal data, where the filter asked for that.
    """

    store: DatasetStore
    data_dir: Path
    files: Sequence[Path] = ()
    find_personal: FindPersonal | None = None


async def derive(version: Version, sources: Sources) -> Derived:
    """Make a version once more.

    Raises:
        InputError: What it was made of is missing; the message names it.
    """
    made = Derived()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="tracemill-")))
        scratch = await stack.enter_async_context(await DatasetStore.open(folder / WORK_FILE))
        calls = await stack.enter_async_context(await CallTable.open_to_read(sources.data_dir / WORK_FILE))
        client = await stack.enter_async_context(ModelClient(1))
        making = _Making(version, sources, scratch, lambda config: KnownAnswers(client, calls, config, made.missing))
        made.places = await scratch.places(await making.run())
        made.notes = making.notes
    return made


class _Making:
    """Makes a version once more."""

    def __init__(
        self, version: Version, sources: Sources, scratch: DatasetStore, teachers: Callable[[Config], Teachers]
    ) -> None:
        self.notes: list[str] = []
        self._version = version
        self._name = version.dataset
        self._sources = sources
        self._scratch = scratch
        self._teachers = teachers

    async def run(self) -> Version:
        """Give the version as it was before it was frozen."""
        manifest = self._version.manifest
        if CURATION in manifest and STEPS not in manifest and self._version.birth is not Birth.CURATE:
            raise InputError(
                self._version.label,
                "was made by an earlier Tracemill, which did not note the order of its steps.",
            )
        has_beginning = await self._begin(manifest)
        if self._version.birth is not Birth.CURATE:
            await self._bear(manifest, add=has_beginning)
        log = await self._sources.store.decision_log(self._name)
        people = DecidedAgain(self._scratch, log)
        made = await self._scratch.version(self._name, wants="active")
        await people.carry(made, manifest.get("decisions", 0))
        added = iter(manifest.get(ADDED) or ())
        for step in steps_of(manifest):
            await people.apply(made, step["decisions"])
            if step["stage"] == ADD:
                await self._bear(next(added), add=True)
                await people.carry(made, step["decisions"])
            else:
                await self._take(step)
        await people.apply(made, decisions_at_freeze(self._version, log))
        return await self._scratch.version(self._name, wants="active")

    async def _begin(self, manifest: Mapping[str, Json]) -> bool:
        """Take over the rows that the version began with; tell whether there were any."""
        is_curated = self._version.birth is Birth.CURATE
        if not is_curated and BEGINS_WITH not in manifest:
            return False
        parent = await self._sources.store.version(f"{self._name}-v{self._version.parent}")
        there = await self._sources.store.places(self._version)
        erased = sorted(name for name in await self._sources.store.erased_rows(parent) if name in there)
        if erased:
            more = f" and {len(erased) - _NAMED} more" if len(erased) > _NAMED else ""
            named = ", ".join(erased[:_NAMED])
            self.notes.append(f"{len(erased)} rows of {parent.label} were erased and are left out: {named}{more}.")
        inherited = {CURATION: parent.manifest[CURATION]} if is_curated and CURATION in parent.manifest else {}
        async with self._scratch.birth(self._name, birth=Birth.REBUILD, manifest=inherited) as born:
            async for batch in _in_batches(self._sources.store.rows(parent)):
                await born.add_rows(batch)
        return True

    async def _bear(self, manifest: Mapping[str, Json], *, add: bool) -> None:
        """Have the rows come in that came from outside."""
        if "mapping" in manifest:
            await self._upload(manifest, add=add)
        elif "generate" in manifest:
            await self._generate(manifest, add=add)
        elif "members" in manifest:
            await self._promote(manifest, add=add)
        else:
            raise InputError(
                self._version.label,
                f"was born by {self._version.birth}, and its manifest does not tell of what: it can be verified "
                "(`tracemill datasets verify`) and not derived again.",
            )

    async def _upload(self, manifest: Mapping[str, Json], *, add: bool) -> None:
        mapping, read_as = manifest["mapping"], manifest.get("read_as") or {}
        told: dict[str, str] = {}
        if not mapping["is_guessed"]:
            told = {name: "+".join(columns) for name, columns in mapping["columns"].items()}
            told |= {f"metadata.{name}": column for name, column in mapping["metadata"].items()}
        settings = UploadSettings(
            told=told,
            format=Format(manifest["source"]["format"]),
            subset=read_as.get("subset"),
            has_header=read_as.get("has_header"),
            part=None if read_as.get("part") is None else Part(read_as["part"]),
        )
        data = named_data(manifest, self._sources.files, self._version.label)
        await upload(data, self._name, self._scratch, settings, add=add)

    async def _generate(self, manifest: Mapping[str, Json], *, add: bool) -> None:
        given = manifest["generate"]
        self._require_prompt(given["judge_prompt"])
        wanted = Wanted(
            teacher=given["teacher"],
            judge=given["judge"],
            n_samples=given["n_samples"],
            threshold=given["threshold"],
            temperature=given["temperature"],
            keep=Keep(given["keep"]),
            setting=Setting(given["system"], given["tools"], given["response_format"]),
            task=given["task"],
            criteria=given["criteria"],
        )
        teachers = self._teachers(read_asked_with(manifest["asked_with"]))
        found = (manifest["source"], self._sources.files, self._sources.data_dir, self._version.label)
        with named_prompts(*found) as path:
            await generate(path, self._name, self._scratch, teachers, wanted, add=add)

    async def _promote(self, manifest: Mapping[str, Json], *, add: bool) -> None:
        label, kept = self._version.label, manifest["members"]
        with kept_copy(kept["sha256"], "members", self._sources.data_dir) as path:
            if path is None:
                raise InputError(
                    label, f"was made of {kept['traces']} traces, and the list of their ids is no longer kept."
                )
            members = [Member(UUID(trace), cluster) for trace, cluster in read_members(path)]
        settings = PromoteSettings((), self._name, rows=manifest["selection"]["rows"], add=add)
        async with await TraceReader.open(self._sources.data_dir / TRACES_FILE) as reader:
            made = await promote_members(self._scratch, reader, settings, members, manifest)
        if made.missing:
            more = f" and {made.gone - _NAMED} more" if made.gone > _NAMED else ""
            named = ", ".join(map(str, made.missing[:_NAMED]))
            raise InputError(
                label,
                f"was made of {len(members)} traces, {made.gone} of which are no longer in the store: {named}{more}. "
                "`--as-new` makes the next version without rows that were erased.",
            )

    async def _take(self, step: Mapping[str, Json]) -> None:
        """Take a step of curation again."""
        settings, find_personal = step["settings"], self._sources.find_personal
        is_continued = step.get("is_continued", False)
        if step["stage"] == FILTER:
            rules = FilterRules.from_json(settings)
            await filter_rows(self._scratch, self._name, rules, find_personal=find_personal)
        elif step["stage"] == JUDGE:
            await self._judge(settings, is_continued=is_continued)
        else:
            wanted = {} if is_continued else {name: settings[name] for name in ("test_fraction", "test")}
            await split_rows(self._scratch, self._name, seed=settings.get("seed"), **wanted)

    async def _judge(self, settings: Mapping[str, Json], *, is_continued: bool) -> None:
        threshold, find_personal = settings["threshold"], self._sources.find_personal
        if is_continued:
            await judge(self._scratch, self._name, None, None, threshold=threshold, find_personal=find_personal)
            return
        self._require_prompt(settings["prompt"])
        await judge(
            self._scratch,
            self._name,
            settings["model"],
            self._teachers(read_asked_with({"models": settings["models"]})),
            threshold=threshold,
            task=settings["task"] or "",
            criteria=settings["criteria"] or "",
            find_personal=find_personal,
        )

    def _require_prompt(self, hash_: str) -> None:
        """See that the judge would be asked the same today, or none of its answers is found."""
        if hash_ != prompt(PURPOSE).hash:
            raise InputError(
                self._version.label,
                f"was judged with prompt {hash_}, and this Tracemill has {prompt(PURPOSE).hash}. Derive it with the "
                "version of Tracemill that made it.",
            )


async def _in_batches(rows: AsyncIterator[Row]) -> AsyncIterator[list[Row]]:
    batch: list[Row] = []
    async for row in rows:
        batch.append(row)
        if len(batch) == BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch

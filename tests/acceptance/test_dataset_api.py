"""Datasets as a person has them over the admin API and the Python client, with scripted teachers."""

import asyncio
import io
import json
import os
import signal
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Row, RowEnd, RowState
from store.datasets.version import Birth
from tests.acceptance.test_jobs import (
    DESCRIPTION,
    KEY,
    UPSTREAM,
    capture,
    config,
    events,
    process_of,
    questions,
    statuses,
    wait,
)
from tests.processing.teachers import Teachers, all_fives, serving
from tests.server import Server
from tracemill import AsyncClient, Client, ConflictError, ForbiddenError, InvalidRequestError, NotFoundError
from tracemill.client.errors import JobError

COUNT = 12
ODD_ID = "2026/07 ?a=b#c;d%2Fe/../decisions/ü.json"


@pytest.fixture(scope="module")
def teachers() -> Iterator[Teachers]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def server(teachers: Teachers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data_dir = tmp_path_factory.mktemp("datasets") / "data"
    asyncio.run(capture(data_dir, 14))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACEMILL_TEACHER_BASE_URL", teachers.base_url)
        patch.setenv("TRACEMILL_TEACHER_API_KEY", KEY)
        with Server(UPSTREAM, data_dir, "--max-jobs", "2") as running:
            yield running


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(base_url=server.admin_url) as found:
        yield found


def rows_file(path: Path, count: int = COUNT) -> Path:
    """A file as the dataset page has it."""
    lines = [
        {
            "prompt": f"What is invoice {number * 7919} about? {'xyz'[number % 3] * 30}",
            "response": f"It is about {number}.",
        }
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_file_is_uploaded_looked_at_frozen_and_handed_on(server: Server, client: Client, tmp_path: Path) -> None:
    d = client
    dataset = d.upload_dataset(name="invoice-extraction-v1", path=rows_file(tmp_path / "invoices.jsonl"))
    assert (dataset.label, dataset.state, dataset.birth) == ("invoice-extraction-v1", "active", "upload")
    assert dataset.counts.kept == COUNT
    assert dataset.warnings
    assert not [path for path in (server.data_dir / "jobs").rglob("*") if path.name == "invoices.jsonl"]
    with pytest.raises(InvalidRequestError, match="is active") as refused:
        d.upload_dataset(name="invoice-extraction", path=rows_file(tmp_path / "more.jsonl"))
    assert refused.value.param == "dataset"
    rows = list(d.rows(dataset))
    assert rows == list(d.rows("invoice-extraction"))
    assert len(rows) == COUNT
    page = d.row_page(dataset.label, limit=5, state="kept")
    assert page.data == rows[:5]
    assert d.row_page(dataset.label, limit=500, cursor=page.next_cursor).data == rows[5:]
    whole = d.row(dataset.label, str(rows[0].row["row_id"]))
    assert (whole.row, whole.decisions) == (rows[0].row, [])

    frozen = d.freeze("invoice-extraction", note="first upload")
    assert (frozen.state, frozen.note, d.freeze("invoice-extraction-v1").hash) == (
        "frozen",
        "first upload",
        frozen.hash,
    )
    with pytest.raises(ConflictError, match="never changes"):
        d.discard("invoice-extraction-v1")
    with pytest.raises(ConflictError, match="note"):
        d.freeze("invoice-extraction-v1", note="another")
    job = d.upload_dataset(
        name="invoice-extraction", path=rows_file(tmp_path / "b.jsonl", COUNT + 3), add=True, wait=False
    )
    assert (job.kind, d.wait_job(job.id).result["version"]) == ("upload", "invoice-extraction-v2")
    diff = d.diff("invoice-extraction-v1", 2, limit=2)
    assert (diff.counts["added"], len(diff.added), diff.removed) == (3, 2, [])
    assert [version.number for version in d.versions("invoice-extraction")] == [1, 2]
    assert d.version("invoice-extraction").progress.added == 3
    assert d.discard("invoice-extraction").label == "invoice-extraction-v2"
    (listed,) = [one for one in d.datasets() if one.dataset == "invoice-extraction"]
    assert (listed.versions, listed.active, d.dataset("invoice-extraction")) == (1, None, listed)

    out = d.export_dataset("invoice-extraction", format="openai", path=tmp_path / "train.jsonl", part="train")
    lines = out.read_text().splitlines()
    assert len(lines) == COUNT
    assert all("messages" in json.loads(line) for line in lines)
    folder = d.export_dataset("invoice-extraction", format="openai", path=tmp_path / "folder")
    assert (folder / "manifest.json").is_file()
    archive = d.export_dataset("invoice-extraction-v1", path=tmp_path / "rows.tar")
    with tarfile.open(archive) as opened:
        assert any(name.endswith(".jsonl") for name in opened.getnames())
    with closing(d.export_version("invoice-extraction")) as blocks:  # type: ignore[type-var] # it is a generator
        assert next(blocks)
    wait(lambda: not list(server.data_dir.glob(".export-*")), "the folder of an export that nobody reads any more")
    with pytest.raises(FileExistsError):
        d.export_dataset("invoice-extraction", path=folder)
    with pytest.raises(InvalidRequestError, match="format"):
        d.export_dataset("invoice-extraction", format="no-such", path=tmp_path / "none")
    assert not list(tmp_path.glob(".*"))

    done = wait(lambda: [x for x in d.changes("dataset") if x.result["version"].startswith("invoice")][1:], "audit")
    assert {change.result["do"] for change in [*done, *d.changes("dataset")]} >= {"freeze", "discard"}
    exported = wait(lambda: [x for x in d.changes("export") if x.result.get("format") == "openai"], "audit")
    assert exported[0].result["version"] == "invoice-extraction-v1"


def test_a_row_is_found_and_decided_about_whatever_its_id_is(server: Server, client: Client) -> None:
    messages = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So.", "weight": 1}]
    row = Row(
        {"row_id": ODD_ID, "messages": messages, "metadata": {}}, None, RowEnd(RowState.KEPT, "upload", "uploaded")
    )

    async def write() -> None:
        async with (
            await DatasetStore.open(server.data_dir / "work.db") as store,
            store.birth("odd-ids", birth=Birth.UPLOAD, manifest={}) as born,
        ):
            await born.add_rows([row])

    asyncio.run(write())
    assert client.row("odd-ids", ODD_ID).row["row_id"] == ODD_ID
    assert client.decide("odd-ids", ODD_ID, "reject").end.state == "dropped"
    assert [decision.kind for decision in client.row("odd-ids", ODD_ID).decisions] == ["reject"]
    with pytest.raises(NotFoundError, match="no row"):
        client.row("odd-ids", ODD_ID.replace("%2F", "/"))


def test_what_cannot_be_uploaded_is_said_and_leaves_nothing(server: Server, client: Client, tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_text('{"a": 1, "b": 2}\n')
    with pytest.raises(InvalidRequestError) as refused:
        client.upload_dataset(name="odd", path=tmp_path / "odd.jsonl")
    assert refused.value.param == "file"
    with pytest.raises(InvalidRequestError):
        client.upload_dataset(name="Odd Name", path=rows_file(tmp_path / "a.jsonl"))
    with pytest.raises(InvalidRequestError, match="next version") as refused:
        client.upload_dataset(name="odd-v7", path=rows_file(tmp_path / "a.jsonl"))
    for name in ("../evil.jsonl", "..", ".hidden"):
        with closing(client.blocks(client_upload(name))) as blocks:
            if name == "../evil.jsonl":
                job = json.loads(b"".join(blocks))
                client.wait_job(job["id"])
                client.discard("evil")
            else:
                with pytest.raises(InvalidRequestError, match="name of a file"):
                    list(blocks)
    assert not (server.data_dir.parent / "evil.jsonl").exists()
    assert not list((server.data_dir / "jobs").glob(".*"))
    for missing in ("nothing", "nothing-v1", "invoice-extraction-v99"):
        with pytest.raises(NotFoundError):
            client.version(missing)
    with pytest.raises(FileNotFoundError):
        client.upload_dataset(name="none", path=tmp_path / "none.jsonl")


def client_upload(file: str, body: bytes = b'{"prompt": "Hi", "response": "Ho"}\n', **query: str) -> Any:
    from tracemill.client.call import BYTES, Asked, Blocks

    return Blocks(Asked("", "POST", "/admin/api/datasets/evil/upload", {"file": file, **query}, body, BYTES))


def archive_of(name: str, content: bytes = b"") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("file", "body", "format_", "said"),
    [
        ("my letter.docx", b"x", "auto", "my letter.docx: has none of the known endings"),
        ("rows.jsonl", b"{}", "hf", "rows.jsonl: is a file, and format hf takes a folder."),
        ("rows.tar", archive_of("hub/rows.txt"), "auto", "hub: holds no data files"),
        ("rows.tar", archive_of("../../evil"), "auto", "rows.tar: holds '../../evil', which has no place in a folder"),
        ("rows.tar", archive_of("n" * 300), "auto", "rows.tar: cannot be unpacked: File name too long."),
        ("rows.tar", bytes(10240), "auto", "unpacked: holds no data files"),
        ("rows.tar", b"x", "auto", "rows.tar: is no tar archive that can be read."),
        (
            "rows.tar",
            archive_of("hub/state.json", b'{"_data_files": [{"filename": "gone.arrow"}]}'),
            "auto",
            "gone.arrow: cannot be read",
        ),
    ],
)
def test_what_is_wrong_with_an_upload_is_said_without_the_servers_folders(
    server: Server, client: Client, file: str, body: bytes, format_: str, said: str
) -> None:
    with (
        pytest.raises(InvalidRequestError) as refused,
        closing(client.blocks(client_upload(file, body, format=format_))) as blocks,
    ):
        list(blocks)
    assert refused.value.param == "file"
    assert said in str(refused.value)
    assert str(server.data_dir) not in str(refused.value)


def test_a_dataset_folder_is_uploaded_and_a_file_of_any_size_is_never_held(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    folder.mkdir()
    rows_file(folder / "train.jsonl", 9)
    rows_file(folder / "test.jsonl", 3)
    version = client.upload_dataset(name="hub", path=folder)
    assert (version.counts.entered, version.counts.test) == (12, 3)
    assert version.counts.train + version.counts.dropped == 9


def test_prompts_become_a_dataset_and_a_killed_job_pays_for_nothing_twice(
    server: Server, client: Client, teachers: Teachers, tmp_path: Path
) -> None:
    d = client
    (tmp_path / "prompt_seeds.txt").write_text("".join(f"Write a docstring for function {n}\n" for n in range(3)))
    replies = iter(range(10_000))
    teachers.reply = lambda body: {"content": f"Docstring {next(replies)} for {body['messages'][-1]['content']}"}
    teachers.requests.clear()
    teachers.hold_from = 6
    teachers.held.clear()
    job = d.generate_dataset(
        name="python-docstrings-v1",
        prompts_path=tmp_path / "prompt_seeds.txt",
        teacher="openai/gpt-4o",
        n_samples=4,
        judge="openai/gpt-4o-mini",
        config={"base": {"llm_num_parallel_requests": 1}, "with_trace": True},
        wait=False,
    )
    assert teachers.held.wait(30)
    answered = questions(teachers)[:5]
    teachers.hold_from = None
    pid = wait(lambda: process_of(server, job.id), "no process")
    os.kill(pid, signal.SIGKILL)
    done = d.wait_job(job.id)
    told = statuses(events(d, job.id))
    assert told == ["PENDING", "RUNNING", "PENDING", "RUNNING", "SUCCESS"]
    asked = questions(teachers)
    # Draws of one prompt are alike on the wire, so they are counted.
    assert len(asked) == 1 + 24
    assert len(answered) + len(asked[6:]) == done.calls == 24
    version = d.version("python-docstrings")
    assert (version.label, version.birth, version.counts.kept) == ("python-docstrings-v1", "generate", 3)
    assert version.manifest["job"] == job.id
    first = next(d.rows(version.label, state="kept")).row
    assert first["metadata"]["teacher_model"] == "openai/gpt-4o"
    assert first["metadata"]["judge_score"] == 1.0
    assert "judge__trace" in first
    d.freeze("python-docstrings")
    with pytest.raises(InvalidRequestError) as refused:
        d.generate_dataset(
            name="x", prompts=["Hi"], teacher="t", judge="j", config={"models": {"t": {"base_url": "http://evil/v1"}}}
        )
    assert refused.value.param == "config"
    with pytest.raises(JobError, match="budget of 2 calls"):
        d.generate_dataset(name="x", prompts=["Hi", "Ho"], teacher="t", judge="j", max_calls=2)
    assert "x" not in [one.dataset for one in d.datasets()]


def test_rows_are_curated_reviewed_and_decided_about(client: Client, teachers: Teachers, tmp_path: Path) -> None:
    d = client
    d.upload_dataset(name="curated", path=rows_file(tmp_path / "rows.jsonl"), map="prompt=prompt,response=response")
    d.freeze("curated", note="raw")
    low = {**all_fives({}), "helpfulness": 2, "relevance": 2}
    teachers.judge_row = lambda data: low if "It is about 3." in json.dumps(data) else all_fives(data)
    teachers.requests.clear()
    judged = d.curate("judge", "curated", model="openai/gpt-4o-mini", threshold=0.7)
    assert (judged.label, judged.counts.kept, judged.counts.dropped) == ("curated-v2", COUNT - 1, 1)
    bought = len(teachers.requests)
    assert d.curate("judge", "curated", threshold=0.1).counts.kept == COUNT
    assert len(teachers.requests) == bought == COUNT
    assert d.curate("split", "curated", test=2).counts.test == 2
    split = d.curate("split", "curated", test_fraction=0.3)
    assert split.counts.unsplit == 0
    assert split.counts.entered == COUNT
    nothing = d.curate("filter", "curated", where={"tags": "no-such-tag"})
    assert nothing.counts.kept == 0
    with pytest.raises(ConflictError, match="nothing to freeze"):
        d.freeze(nothing)
    d.curate("filter", "curated")
    d.curate("review", "curated", limit=4)
    queue = d.reviews("curated")
    assert queue.waiting == len(queue.data) > 0
    row_id = str(queue.data[0].row["row_id"])
    assert d.decide("curated", row_id, "reject", by="anna", note="no").end.state == "dropped"
    assert d.reviews("curated").waiting == queue.waiting - 1
    assert d.decide("curated", row_id, "undo").end.state == "kept"
    messages = [dict(one) for one in queue.data[0].row["messages"]]  # type: ignore[union-attr, arg-type]
    messages[-1]["content"] = "A better answer."
    edited = d.decide("curated", row_id, "edit", by="anna", messages=messages)
    assert edited.row["response"] == "A better answer."
    assert [one.kind for one in d.row("curated-v2", row_id).decisions] == ["reject", "undo", "edit"]
    assert [(one.kind, one.who) for one in d.decisions("curated")] == [
        ("reject", "anna"),
        ("undo", "local"),
        ("edit", "anna"),
    ]
    with pytest.raises(InvalidRequestError, match="Messages"):
        d.decide("curated", row_id, "edit")
    with pytest.raises(ConflictError, match="frozen"):
        d.decide("curated-v1", row_id, "accept")
    with pytest.raises(NotFoundError):
        d.decide("curated", "no-such-row", "accept")
    with pytest.raises(InvalidRequestError) as refused:
        d.curate("split", "curated")
    assert refused.value.param == "test_fraction"
    with pytest.raises(InvalidRequestError) as refused:
        d.curate("judge", "no-such", threshold=0.5)
    assert refused.value.param == "version"
    d.freeze("curated")


def test_models_are_evaluated_compared_and_a_killed_evaluation_pays_for_nothing_twice(
    server: Server, client: Client, teachers: Teachers, tmp_path: Path
) -> None:
    d = client
    d.upload_dataset(name="measured", path=rows_file(tmp_path / "rows.jsonl"), part="test")
    with pytest.raises(InvalidRequestError, match="active"):
        d.evaluate("measured-v1", models=["openai/gpt-4o"])
    d.freeze("measured")
    teachers.reply = lambda body: {"content": "It is about 3." if body["model"].endswith("4o") else "No idea."}
    teachers.requests.clear()
    teachers.held.clear()
    teachers.hold_from = 7
    parallel = {"base": {"llm_num_parallel_requests": 1}}
    members = {"version": "measured", "models": ["openai/gpt-4o", "mini"], "config": parallel}
    job = d.file_work("evaluate", members)
    assert teachers.held.wait(30)
    answered = questions(teachers)[:6]
    teachers.hold_from = None
    os.kill(wait(lambda: process_of(server, job.id), "no process"), signal.SIGKILL)
    done = d.wait_job(job.id)
    asked = questions(teachers)
    assert not set(answered) & set(asked[7:])
    assert done.calls == len(set(asked)) == 2 * COUNT
    best, other = d.evaluate("measured", models=["openai/gpt-4o", "mini"], config=parallel)
    assert len(questions(teachers)) == len(asked)
    assert [best.evaluation_id, other.evaluation_id] == done.result["evaluation_ids"]  # type: ignore[index]
    assert (best.model, best.reference, best.counts["rows"]) == ("openai/gpt-4o", "measured-v1", COUNT)
    assert {one.evaluation_id for one in d.evaluations("measured-v1")} == {best.evaluation_id, other.evaluation_id}
    page = d.evaluation_page("measured", limit=1)
    assert d.evaluation_page("measured", limit=1, cursor=page.next_cursor).next_cursor is None
    assert len(list(d.evaluation_predictions(best.evaluation_id))) == COUNT
    compared = d.compare([best.evaluation_id, other.evaluation_id])
    assert compared.test_hash == best.test_hash
    assert [side["name"] for side in compared.sides] == ["openai/gpt-4o", "mini"]
    with pytest.raises(ConflictError, match="two different"):
        d.compare([best.evaluation_id, best.evaluation_id])
    with pytest.raises(NotFoundError):
        d.compare([best.evaluation_id, "0000"])


def test_traces_become_a_frozen_version_by_a_job_and_by_clusters(client: Client, teachers: Teachers) -> None:
    d = client
    teachers.reply = lambda body: {"content": f"The right answer to: {body['messages'][-1]['content']}"}
    job = d.file_job(config(), DESCRIPTION, dataset="lists", note="from traces")
    assert d.wait_job(job.id).result == {"version": "lists-v1"}
    made = d.version("lists")
    assert (made.state, made.birth, made.note, made.manifest["job"]) == ("frozen", "process", "from traces", job.id)
    built = d.build_clusters(clusters=2)
    assert built.result["traces"] == 14  # type: ignore[index]
    found = d.clusters()
    assert found
    whole = d.cluster(found[0].id, limit=3)
    assert (whole.id, len(whole.members) <= 3) == (found[0].id, True)
    promoted = d.promote_cluster(found[0].id, name="promoted", rows=5)
    assert (promoted.label, promoted.birth) == ("promoted-v1", "clusters")
    assert 0 < promoted.counts.kept <= 5
    with pytest.raises(NotFoundError):
        d.cluster(9999)
    with pytest.raises(InvalidRequestError) as refused:
        d.promote_cluster(9999, name="none")
    assert refused.value.param == "clusters"


async def test_the_client_that_does_not_block_does_the_same(server: Server, tmp_path: Path) -> None:
    async with AsyncClient(server.admin_url) as d:
        version = await d.upload_dataset(name="later", path=rows_file(tmp_path / "rows.jsonl"))
        assert version.counts.kept == COUNT
        assert len([row async for row in d.rows("later")]) == COUNT
        await d.freeze("later")
        out = await d.export_dataset("later", path=tmp_path / "out")
        assert (out / "manifest.json").is_file()
        with pytest.raises(JobError, match="no row"):
            await d.curate("judge", "later", threshold=0.5)


def test_a_token_for_reading_reads_datasets_and_changes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEMILL_ADMIN_TOKEN", "a-token-for-everything-here")
    monkeypatch.setenv("TRACEMILL_ADMIN_READ_TOKEN", "a-token-for-reading-alone")
    with Server(UPSTREAM, tmp_path / "data") as server:
        with Client(server.admin_url) as admin:
            admin.upload_dataset(name="some", path=rows_file(tmp_path / "rows.jsonl"))
        with Client(server.admin_url, token="a-token-for-reading-alone") as reader:
            assert reader.version("some").counts.kept == COUNT
            for change in (
                lambda: reader.freeze("some"),
                lambda: reader.discard("some"),
                lambda: reader.upload_dataset(name="more", path=rows_file(tmp_path / "rows.jsonl")),
                lambda: reader.decide("some", "x", "accept"),
                lambda: reader.evaluate("some", models=["m"]),
            ):
                with pytest.raises(ForbiddenError):
                    change()

"""Write the reference pages that are made from the code; `make docs` runs it, a test compares."""

import ast
import dataclasses
import inspect
import json
import re
import runpy
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, TypeAdapter

from processing.answer import Fault
from processing.clusters.promotion import PromoteReason
from processing.config import WITHOUT_EFFECT, Config, Model, Price
from processing.convert import SkipReason
from processing.datasets.choice import GenerateReason
from processing.datasets.record import RecordFault
from processing.datasets.row_filter import CurationReason
from processing.datasets.row_form import RowFault
from processing.datasets.upload_report import UploadReason
from processing.ledger import Reason
from proxy.calls.route_config import RouteConfig
from proxy.metrics.catalog import LABEL_VALUES, OWNERS, DropReason, Metric
from proxy.price_config import PriceEntry
from proxy.settings import ENV_PREFIX, KIB, MIB, ServeSettings
from store.clusters.cluster import Apart
from store.datasets.decided_row import ReviewReason
from store.datasets.review import Why
from store.filter_fields import (
    FEEDBACK_PREFIX,
    FIELDS,
    METADATA_FIELD,
    METADATA_PREFIX,
    TAG_PREFIX,
    Field,
    feedback_field,
    tag_field,
)
from store.finding import GROUPS, KINDS
from store.price import KINDS as PRICE_KINDS
from store.recorded.errors import RejectReason
from tracemill.cli import load_all
from tracemill.serve_command import WITHOUT_FLAG, flag_of

DOCS = Path(__file__).parent
SETTINGS_HEAD = """# Settings of `tracemill serve`

Made by `make docs` from `proxy/settings.py`; change it there. A setting can be given as a flag where the table names
one, as an environment variable, or as a key of a YAML file (`--config FILE`, or `tracemill.yaml` in the current
folder). Flags win over the environment, the environment over the file, the file over the defaults. An unknown key in
the file is an error at start.

| key | flag | environment | default | meaning |
|---|---|---|---|---|
"""
ROUTES_HEAD = """
## A route

Each entry of `routes` has these keys; [routes.md](routes.md) shows them at work.

| key | values | default | meaning |
|---|---|---|---|
"""


def settings_page() -> str:
    """Return the page of all settings."""
    rows = [_row(field) for field in fields(ServeSettings)]
    schemas = TypeAdapter(RouteConfig).json_schema()
    routes = [
        f"| `{field.name}` | {_route_values(schema, schemas)} | {_route_default(field)} | {_meaning(field)} |\n"
        for field, schema in zip(fields(RouteConfig), schemas["properties"].values(), strict=True)
    ]
    return SETTINGS_HEAD + "".join(rows) + ROUTES_HEAD + "".join(routes) + PRICES_HEAD + "".join(_price_rows())


PRICES_HEAD = """
## A price

Each entry of `prices` has these keys; [cost.md](cost.md) shows them at work. It needs `input` and `output`, or a
`provider`.

| key | values | default | meaning |
|---|---|---|---|
"""


def _price_rows() -> Iterator[str]:
    for field in fields(PriceEntry):
        name = field.name
        kind = "dollars" if name in PRICE_KINDS else "day" if name == "starts_on" else "text"
        values = "`flex`, `priority`, `batch`" if name == "tier" else kind
        default = "none" if field.default is None else f"`{field.default}`"
        yield f"| `{name}` | {values} | {default} | {_meaning(field)} |\n"


def _route_values(schema: Any, schemas: Any) -> str:  # noqa: ANN401 - a piece of a JSON Schema
    if "$ref" in schema:
        schema = schemas["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        schema = next(one for one in schema["anyOf"] if one.get("type") != "null")
    return "mapping of text" if schema.get("type") == "object" else _values(schema).replace("list of names", "list")


def _meaning(field: dataclasses.Field[Any]) -> str:
    return str(field.metadata["description"])


def _route_default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return "none"
    if field.default is dataclasses.MISSING:
        return "required"
    value = field.default
    return "none" if value in (None, (), {}) else f"`{json.dumps(value)}`".replace('"', "")


def _row(field: dataclasses.Field[Any]) -> str:
    name = field.name
    flag = "" if name in WITHOUT_FLAG else f"`{flag_of(name)}`"
    cells = (f"`{name}`", flag, f"`{ENV_PREFIX}{name.upper()}`", _default(name, field.default), _meaning(field))
    return f"| {' | '.join(cells)} |\n"


def _default(name: str, value: object) -> str:
    if value is None or value == ():
        return "none"
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value // MIB} MiB" if value >= MIB else f"{value // KIB} KiB"
    return f"`{value}`"


FILTER_HEAD = """# The filter language

Made by `make docs` from `store/filter_fields.py`; change it there. `--where` of `tracemill traces list`,
`tracemill export` and `tracemill process --from-store`, and `where` of the [admin API](admin-api.md), take an
expression that selects traces:

```text
"""
FILTER_EXAMPLES = (
    "model = gpt-4o and complete",
    "created_at >= 2026-01-31 and created_at < 2026-02-01T06:00:00+01:00",
    'tag.team in (search, "ad hoc") or session ~ "web-*"',
    "not outcome = completed and created_at >= -24h",
    'model ~ "gpt-*" and finish_reason not in (length, content_filter)',
    "finish_reason != null and (prompt_tokens < 4000 or tool = look_up)",
    "metadata.plan.tier = pro and metadata.seats > 10",
    """text ~ 'refund "next week" ship*' and not text contains 'thank you' and model = gpt-4o""",
    "feedback.helpful = false or has_demonstration",
)
FILTER_RULES = """```

- Conditions are joined by `and` and `or`; `not` stands before one. `not` binds closest, then `and`, then `or`;
  parentheses group.
- A condition is a field, an operator and a value; or `FIELD in (A, B)`, `FIELD not in (A, B)`; or, where the values are
  true and false, the field alone.
- A value is a bare word, or any text in single or double quotes, with `\\` before a quote or a backslash inside. `null`
  stands for what is missing.
- `~` compares with a pattern: `*` is any text, `?` one character, `[abc]` one of these. It tells capital letters from
  small ones, as `=` does.
- Of a field that can have several values (`finish_reason` of several replies, `tool`, `flag`, feedback), any may match.
- `metadata.PATH` goes into objects by dots, and into lists by places from 0; a part of the path may be in quotes. A
  quoted value is a text; a bare `5`, `2.5` or `true` is also that number or truth, and `1.0` equals `1`. Order compares
  numbers, exactly.
- `text` searches what was said: in messages, names and arguments of tool calls, results of tools; not in images, files
  and runs of 200 letters. `~` finds messages with all of the words, in any order; `"two words"` in it stand together,
  and `refund*` is the beginning of a word. `contains` finds the words one after the other. Case and accents make no
  difference, and signs between words are as good as spaces. Scripts without spaces (Chinese, Japanese, Korean, Thai
  and others) are searched by their characters, so any part of a text in them is found. A trace matches by any message
  of its request, or a reply; `text ~ a and text ~ b` may be two of them. The first 500,000 characters of a message
  count.
- New messages are searched a moment after they were stored: `search_behind` tells how many are not yet.
- A field that is missing equals only `null`, differs from every value (`!=`), and is neither before nor after any.
- A list is told page by page, and a page is what was found within a moment. Most questions fill it at once, however
  many traces there are; one that nothing leads to (`stream and route = nowhere`) gives an empty page with a
  `next_cursor`, by which the search goes on. The command line goes on by itself.
- At most 500 comparisons and 100 levels of parentheses. What cannot be understood is refused with its position.

| field | values | operators | can be missing | meaning |
|---|---|---|---|---|
"""


def filter_page() -> str:
    """Return the page of the filter language."""
    examples = "".join(f"{example}\n" for example in FILTER_EXAMPLES)
    named = {f"{TAG_PREFIX}NAME": tag_field("name"), f"{FEEDBACK_PREFIX}NAME": feedback_field("name")}
    fields = {**FIELDS, **named, f"{METADATA_PREFIX}PATH": METADATA_FIELD}
    rows = [_filter_row(name, field) for name, field in fields.items()]
    return FILTER_HEAD + examples + FILTER_RULES + "".join(rows)


def _filter_row(name: str, field: Field) -> str:
    kind = field.kind
    operators = " ".join(
        f"`{operator}`" for operator in sorted(kind.operators, key="= != < <= > >= ~ in contains".find)
    )
    cells = (f"`{name}`", kind.expects, operators, "yes" if kind.null else "no", field.meaning)
    return f"| {' | '.join(cells)} |\n"


VALUE_NAMES = {str: "TEXT", int: "N", float: "N", Path: "PATH"}
CLI_HEAD = """# The command line

Made by `make docs` from the commands themselves. Every command tells the same with `--help`.

A message says what happened, with which input, and how to mend it; it goes to standard error, results to standard
output. With `--json` a result is JSON, and nothing else stands on standard output. Files that are made are for their
owner alone.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | bad input: a file, a database, an id or a configuration; or output that cannot be written |
| 2 | wrong usage: an option or a value that the command does not take |
| 3 | an upstream or a teacher failed |
| 4 | done in part: some examples failed, the rest is there |
| 130 | interrupted by Ctrl-C; the same command given again goes on, or begins anew |

"""


def cli_page() -> str:
    """Return the page of all commands with their options."""
    root = load_all()
    parts = [f"## tracemill\n\n{_paragraphs(root.help or '')}\n\n{_options(root)}"]
    return CLI_HEAD + "\n".join([*parts, *_command_parts(root, "tracemill")])


def _command_parts(group: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - typer keeps the type of a command to itself
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _command_parts(command, f"{path} {name}")
        else:
            arguments = "".join(f" {p.name.upper()}" for p in command.params if p.param_type_name == "argument")
            yield f"## {path} {name}{arguments}\n\n{_paragraphs(command.help)}\n\n{_options(command)}"


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _options(command: Any) -> str:  # noqa: ANN401
    rows = []
    for parameter in command.params:
        is_argument = parameter.param_type_name == "argument"
        names = parameter.name.upper() if is_argument else ", ".join(parameter.opts)
        # A setting of `serve` has its default elsewhere, so its help says it.
        meaning, _, told_default = (parameter.help or "").removesuffix("]").partition(" [default: ")
        default = f"`{told_default}`" if told_default else _option_default(parameter)
        environment = f" Environment: `{parameter.envvar}`." if parameter.envvar else ""
        cells = (f"`{names}{_option_value(parameter)}`", default, meaning + environment)
        rows.append(f"| {' | '.join(cells)} |\n")
    return "| option | default | meaning |\n|---|---|---|\n" + "".join(rows)


def _option_value(parameter: Any) -> str:  # noqa: ANN401
    if parameter.param_type_name == "argument" or parameter.is_flag:
        return ""
    if isinstance(parameter.default, Enum):
        return f" {'/'.join(type(parameter.default))}"
    annotation = parameter.type_descriptor.annotation
    for choice in (annotation, *get_args(annotation)):
        if isinstance(choice, type) and issubclass(choice, Enum):
            return f" {'/'.join(member.value for member in choice)}"
    for choice in (annotation, *get_args(annotation)):
        if get_origin(choice) is Literal:
            return f" {'/'.join(get_args(choice))}"
    kind = next((kind for kind in get_args(annotation) if kind in VALUE_NAMES), annotation)
    return f" {VALUE_NAMES[kind]}"


def _option_default(parameter: Any) -> str:  # noqa: ANN401
    if parameter.required:
        return "required"
    return "" if parameter.default is None or isinstance(parameter.default, bool) else f"`{parameter.default}`"


CONFIG_HEAD = """# The configuration of a run

Made by `make docs` from `processing/config.py`; change it there. `tracemill process` takes it as `config.yaml`,
`config.yml` or `config.json`. Only `base.task` is required. An unknown key is an error that names the nearest known
one, and so is a key that stands twice. Keys that only concern training (`tuning`, `rlvr_…`, the generator's settings of
`synthgen`, `evaluation.num_few_shot_examples` and `evaluation.batch_size`) are accepted, kept in the manifest and named
in the report as having no effect here. [processing.md](processing.md) shows a whole run.
"""


def config_page() -> str:
    """Return the page of all keys of a run's configuration."""
    fields = {name: field for name, field in Config.model_fields.items() if name not in ("models", "not_used")}
    sections = {name: field.annotation for name, field in fields.items() if _is_section(field)}
    parts = [_config_section(name, model) for name, model in sections.items()]
    alone = {name: field for name, field in fields.items() if name not in sections}
    parts.append("\n## Keys without a section\n\n" + _config_table("", Config, alone))
    parts.append(_config_section("models.NAME", Model))
    parts.append(_config_section("models.NAME.price", Price))
    return CONFIG_HEAD + "".join(parts)


def _is_section(field: Any) -> bool:  # noqa: ANN401 - pydantic's own type of a field
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _config_section(name: str, model: Any) -> str:  # noqa: ANN401 - a section of the configuration
    told = inspect.getdoc(model).splitlines()[0]
    return f"\n## {name}\n\n{told}\n\n" + _config_table(f"{name}.", model, model.model_fields)


def _config_table(prefix: str, model: Any, fields: Any) -> str:  # noqa: ANN401
    meanings = _attributes(model)
    schema = model.model_json_schema()
    rows = [
        f"| `{key}` | {_values(_resolved(schema, key))} | {_config_default(field)} | {effect} | {meanings[key]} |\n"
        for key, field in fields.items()
        for effect in [WITHOUT_EFFECT.get(f"{prefix}{key}", "yes")]
    ]
    return "| key | values | default | effect today | meaning |\n|---|---|---|---|---|\n" + "".join(rows)


def _resolved(schema: Any, key: str) -> Any:  # noqa: ANN401 - pieces of a JSON Schema
    """Give a property, and of one that only names a definition that definition."""
    found = schema["properties"][key]
    return schema["$defs"][found["$ref"].rpartition("/")[2]] if "$ref" in found else found


def _attributes(model: Any) -> dict[str, str]:  # noqa: ANN401
    """What a docstring says under `Attributes:`, by name."""
    found: dict[str, str] = {}
    name = ""
    for line in inspect.getdoc(model).partition("Attributes:\n")[2].splitlines():
        start = re.match(r"    (\w+): (.*)", line)
        if start:
            name = start[1]
        found[name] = f"{found.get(name, '')} {start[2] if start else line.strip()}".strip()
    return found


VALUE_WORDS = {
    "string": "text",
    "boolean": "`true`, `false`",
    "integer": "whole number",
    "number": "number",
    "null": "`null`",
    "array": "list of names",
    "object": "mapping",
}
BOUND_WORDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to"}


def _values(schema: Any) -> str:  # noqa: ANN401 - a piece of a JSON Schema
    if "anyOf" in schema:
        return " or ".join(_values(one) for one in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    bounds = [f"{word} {schema[name]:g}" for name, word in BOUND_WORDS.items() if name in schema]
    return " ".join([VALUE_WORDS[schema.get("type", "object")], *bounds])


def _config_default(field: Any) -> str:  # noqa: ANN401
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return ", ".join(f"`{one}`" for one in value) if isinstance(value, tuple) else f"`{json.dumps(value)}`"


REASONS_HEAD = """# Reasons

Made by `make docs` from the lists in `processing/`; change them there. The lists are closed and the texts stable.
Every input of a run ends in exactly one place, and `report.json` counts each; the counts add up at every stage, or the
run fails.
"""
REASONS = (
    (
        "How conversations and examples end",
        "Column `reason` of `dropped.jsonl`, `failed.jsonl` and `review.jsonl`, and the funnel of `report.json`.",
        Reason,
    ),
    (
        "Lines and traces that cannot be read",
        "Column `reason` of `rejected.jsonl`, with the line itself.",
        RejectReason,
    ),
    (
        "Assistant messages that are no target",
        "Counted under `converted` in `report.json`; the message stays in the history of later targets.",
        SkipReason,
    ),
    ("Teacher calls without an answer", "Named in the votes of a row and in messages.", Fault),
    (
        "How rows of an uploaded file end",
        "As `tracemill datasets rows` and the report of `tracemill datasets upload` have it; see uploading.md.",
        UploadReason,
    ),
    ("Records of a file that cannot be read", "They count as failed.", RecordFault),
    ("Records that are no rows", "They count as failed, in uploads and among prompts.", RowFault),
    (
        "How answers to prompts end",
        "As `tracemill datasets rows` and the report of `tracemill generate` have it; see uploading.md.",
        GenerateReason,
    ),
    (
        "How the calls of a cluster end",
        "As `tracemill clusters promote` has it, beside reasons of assistant messages and of rows; see clusters.md.",
        PromoteReason,
    ),
    ("Traces that are in no cluster", "As `tracemill clusters list` counts them; see clusters.md.", Apart),
    (
        "How judge and filter end rows",
        "As `tracemill datasets rows`, `judge` and `filter` have it; see curation.md.",
        CurationReason,
    ),
    ("What people decide about rows", "The reason of a row whose stage is `review`; see curation.md.", ReviewReason),
    ("Why a row is worth a person's time", "As `tracemill review` has it; see curation.md.", Why),
)


def reasons_page() -> str:
    """Return the page of all reasons for which something is left out."""
    return REASONS_HEAD + "".join(
        f"\n## {title}\n\n{where}\n\n| reason | meaning |\n|---|---|\n"
        + "".join(f"| `{kind[name].value}` | {meaning} |\n" for name, meaning in _member_texts(kind).items())
        for title, where, kind in REASONS
    )


def _member_texts(kind: type[Enum]) -> dict[str, str]:
    """The text under each member of an enumeration; Python itself throws it away."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    texts: dict[str, str] = {}
    name = None
    for statement in definition.body:  # type: ignore[attr-defined]
        if isinstance(statement, ast.Assign):
            name = statement.targets[0].id  # type: ignore[attr-defined]
        elif name and isinstance(statement, ast.Expr):
            texts[name] = " ".join(ast.literal_eval(statement.value).split())
            name = None
    missing = [member for member in kind.__members__ if member not in texts]
    if missing:
        raise AssertionError(f"{kind.__name__}: nothing is said of {', '.join(missing)}")
    return texts


METRICS_HEAD = """# Metrics

Made by `make docs` from `proxy/metrics/catalog.py`; change it there. The [admin side](admin-api.md) shows them under
`/metrics`, in the text format of Prometheus. Seconds, bytes and counts, nothing else.

Each process counts in its own memory and writes what it counted into a folder in memory (`/dev/shm`), for its owner
alone, every quarter of a second if something changed and once more at its end; a scrape adds all of them up. So a value
can be a quarter of a second old, and that much is lost of the counts (never of the traces) when a process is killed.
Counters of a process that is gone still count; what it held (calls in flight, connections) does not. All counters
begin at 0 when the server starts.

No label holds anything that a client or an upstream sent, so the number of series is bounded by the configuration.

| label | values |
|---|---|
"""
METRICS_USE = """
## What to watch

- `tracemill_capture_dropped_total` rises, other than by `sampled` and `left_before_route`: calls are missing from the
  record; the reason says why. What is missing is declared in the store later, and counted in
  `tracemill_ingest_declared_missing_total`.
- `tracemill_ingest_lag_seconds` above 10, or `tracemill_journal_bytes` rising for minutes: traces come late. Nothing is
  lost until the journal has reached `max_journal_bytes`.
- `tracemill_journal_stuck` above 0: a disk does not answer; calls go on and what is recorded waits in memory.
- `tracemill_process_restarts_total` rises: the log says why.
- `tracemill_snapshot_age_seconds` above 10: a process hangs.
- `histogram_quantile(0.99, sum by (le) (rate(tracemill_added_seconds_bucket[5m])))`: what the proxy adds to calls.

## Distributed traces

`traceparent` and `tracestate` pass through untouched. A call that comes with a W3C `traceparent` gets two tags:
`trace_id`, the id that a tracing tool shows, and `traceparent` as it came. So
`tracemill traces list --where 'tag.trace_id = 4bf92f3577b34da6a3ce929d0e0e4736'` finds what belongs to a trace.

With `otlp_endpoint` (and `pip install 'tracemill[otel]'`) a process of its own sends one span for each stored trace to
an OTLP/HTTP collector, as protobuf, by the `gen_ai.*` conventions: operation, models, parameters, token counts, finish
reasons, `error.type`, time to the first block. It stands under the client's own span when there was a `traceparent`,
and is left out when that one is marked as not sampled. Messages and error texts go along only with `otlp_content`; of
each side at most 256 KiB, else that side is left out. User, tags and keys never do. `OTEL_SERVICE_NAME` names the
service.

The process reads the store, so capture waits for nothing of it. It begins with what is stored after its first start and
notes its place in `otlp-position`. Each trace is sent at least once; one that is sent twice has the same ids. A
collector that is down, or answers 429, 502, 503 or 504, is asked again after 1 s to 60 s, or when it says; what it
refuses otherwise is counted, logged and left out. Traces that are deleted before they are sent are not sent.
"""


def metrics_page() -> str:
    """Return the page of all metrics."""
    labels = "".join(f"| `{name}` | {values} |\n" for name, values in LABEL_VALUES.items())
    groups = "".join(
        f"\n## {heading}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n"
        + "".join(_metric_row(metric) for metric in metrics)
        for heading, metrics in OWNERS.items()
    )
    reasons = "".join(f"| `{DropReason[name].value}` | {text} |\n" for name, text in _member_texts(DropReason).items())
    dropped = f"\n## Why something is not recorded\n\n| reason | what is missing, and why |\n|---|---|\n{reasons}"
    return METRICS_HEAD + labels + groups + dropped + METRICS_USE


def _metric_row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.shown_name}` | {metric.kind} | {labels} | {metric.meaning} |\n"


DOCTOR_HEAD = """# Is everything as it should be?

Made by `make docs` from `store/finding.py`; change it there.

```console
$ tracemill doctor --data-dir tracemill-data
tracemill doctor tracemill-data

program
  ok       versions  tracemill 0.1.0, python 3.13.2, sqlite 3.51.3, uvloop 0.23.0, httpx2 2.16.2.

server
  ok       server    process 871: proxy http://127.0.0.1:8080, admin http://127.0.0.1:8081.
  ok       settings  of process 871: upstream=https://api.openai.com/v1; all else as by default.

files
  ok       data_dir  tracemill-data: 10 files and folders, 41.3 MiB, for user 1000 alone.
  ok       disk      78,652 MiB are free; the journals may take 1,024 MiB of them.

database
  ok       database  traces.db: schema version 2, 38.9 MiB, quick check passed.

journal
  ok       journal   1 living writers and 0 dead ones, 1 segments, 2.4 MiB on disk.
  ok       ingest    process 874 holds the right to write the store.

capture
  warning  gaps      3 calls were not recorded between 2026-11-20 16:50:58 and … UTC (journal_backlog).
                     → The reasons are told in docs/metrics.md: for `journal_backlog` give the disk room or raise …
  ok       capture   of 20,000 calls since the start 19,997 are stored; not recorded: 3 journal_backlog.

1 warning.
```

It looks at a running server's data directory, at a stopped one's and at a broken one's, and changes nothing: not a
byte, not a file's time. Each check stands alone, so one that fails hides none of the others. Run it as the user that
runs `tracemill serve`, and where that runs: a server in a container is seen from inside.

- The exit code is 0 unless a finding is an error, so it can stand in a cron job or a start script.
- `--json` prints one object: `is_healthy`, `is_verified`, `counts` by severity, and `findings`, each with `name`,
  `group`, `severity`, `what`, `remedy` and `facts`. Names are stable.
- Settings are those of the running server, else those that `tracemill serve` would find here (give its `--config` here,
  too). Keys and tokens are told as set or unset.
- While a server runs, its counts are held against the rows of the store: each call that ended is stored, set aside,
  waiting in the journal, or counted as not recorded with its reason.

`tracemill traces list` and `tracemill export` say so at their end, on standard error, when calls of the time that they
show were not recorded.

## Deriving everything again

`tracemill doctor --verify` hashes every stored message and value again, by the formulas of
[trace-format.md](trace-format.md), holds the result against the ids and stitch keys that are stored, follows every
reference, and has SQLite check indexes and foreign keys. It reads page by page in bounded memory, beside a running
server too, and names what it finds by id, never by content. A hundred thousand traces take some seconds.

## Findings

| finding | severity | meaning | remedy |
|---|---|---|---|
"""


def doctor_page() -> str:
    """Return the page of the self-check with all its findings."""
    return DOCTOR_HEAD + "".join(
        f"| `{kind.name}` | {kind.severity.value} | {kind.meaning} | {kind.remedy or 'none needed'} |\n"
        for kind in sorted(KINDS.values(), key=lambda kind: GROUPS.index(kind.group))
    )


PAGES = {
    "admin-api.md": runpy.run_path(str(DOCS / "admin_page.py"))["admin_page"],
    "doctor.md": doctor_page,
    "settings.md": settings_page,
    "filter.md": filter_page,
    "cli.md": cli_page,
    "processing-config.md": config_page,
    "drop-reasons.md": reasons_page,
    "metrics.md": metrics_page,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())

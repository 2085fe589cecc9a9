"""What `why` and `where` tell, as a person reads it; what traces and models said cannot steer the terminal."""

import json
from collections.abc import Mapping
from typing import Any

from tracemill.terminal_text import one_line

_WIDTH = 100
_Json = Mapping[str, Any]


def why_text(told: _Json) -> str:
    """Write the story of one row, from its trace to its line."""
    lines = [f"{told['kind']} {told['id']}", f"  run      {told['run']['name']} ({told['run']['out_dir']})"]
    lines += _origin(told)
    lines += _scores(told)
    lines += _label(told)
    lines += _judge(told)
    lines += _calls(told)
    lines += _end(told)
    if told["also_in"]:
        lines.append(f"  also in  {', '.join(told['also_in'])}")
    lines += _decisions(told)
    lines += _versions(told)
    if told["problem"]:
        lines.append(f"  note     {one_line(told['problem'])}")
    return "\n".join(lines)


def version_row_text(told: _Json) -> str:
    """Write the story of a row as its version tells it."""
    content = told["row"] or {}
    metadata = content.get("metadata") or {}
    lines = [f"row {one_line(told['id'])}"]
    stored = {True: "", False: " (no longer in the store)", None: ""}
    lines += [f"  trace    {one_line(one['trace_id'])}{stored[one['is_stored']]}" for one in told["traces"]]
    if told["row"] is None:
        lines.append("  content  erased with a trace that it was made from")
    else:
        lines.append(f"  asked    {_said(content.get('prompt'))}")
        lines.append(f"  answer   {_said(content.get('response'))}")
    lines += [
        f"  {name:<8} {one_line(_plain(metadata[key]), _WIDTH)}"
        for name, key in (("teacher", "teacher_model"), ("cluster", "cluster_id"), ("tags", "tags"))
        if metadata.get(key)
    ]
    lines += _label(told) if "votes" in metadata else []
    if metadata.get("judge_score") is not None:
        scores = ", ".join(f"{name} {value}" for name, value in (metadata.get("judge_scores") or {}).items())
        reason = f": {one_line(str(metadata['judge_reason']), _WIDTH)}" if metadata.get("judge_reason") else ""
        lines.append(f"  judge    {metadata['judge_score']:g}{f' ({scores})' if scores else ''}{reason}")
    lines += _calls(told)
    lines += [f"  end      {_state(end)}" for end in told["ends"]]
    return "\n".join([*lines, *_decisions(told), *_versions(told)])


def _decisions(told: _Json) -> list[str]:
    lines = []
    for one in told["decisions"]:
        note = f": {one_line(one['note'], _WIDTH)}" if one["note"] else ""
        lines.append(f"  decided  {one['kind']} by {one_line(one['who'])} at {one['at']}{note}")
    return lines


def _versions(told: _Json) -> list[str]:
    return [f"  version  {_version(one)}" for one in told["versions"]]


def _version(row: _Json) -> str:
    return f"{row['version']} ({row['version_state']}): {row['part'] or 'no part'}, {one_line(_state(row))}"


def _plain(value: Any) -> str:  # noqa: ANN401 - a JSON value
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def where_text(told: _Json) -> str:
    """Write the runs and versions that hold a trace, each with its rows, and whether it was erased."""
    lines = list(map(_erased, told["erased"]))
    lines += [f"{_version(row)}: row {one_line(row['row_id'])}" for row in told["versions"]]
    for run in told["runs"]:
        erased = f"; erased since: {run['erased_traces']} of its traces" if run["erased_traces"] else ""
        lines.append(f"{run['name']} ({run['out_dir']}, {run['status']}{erased})")
        lines += [f"  {_place(row):<24} {row['kind']} {row['id']}: {_state(row)}" for row in run["rows"]]
        if not run["rows"]:
            lines.append("  it was read and stands in no row: it says the same as another trace, or could not be read")
    return "\n".join(lines)


def _erased(trace: _Json) -> str:
    asked = "" if trace["asked_at"] is None else f", as was asked at {trace['asked_at']}"
    held = ", ".join(map(one_line, trace["datasets"]))
    marked = f". Marked, since they held something of what was erased with it: {held}" if held else ""
    return f"{trace['trace_id']} was erased{asked}{marked}"


def _origin(told: _Json) -> list[str]:
    lines = [f"  source   {one_line(told['source'])}"]
    stored = {True: "", False: " (no longer in the store)", None: ""}
    lines += [f"  trace    {one_line(one['trace_id'])}{stored[one['is_stored']]}" for one in told["traces"]]
    if told["kind"] == "example":
        lines.append(f"  of       conversation {told['conversation_id']}")
    lines += [f"  example  {row['id']}: {_state(row)} {_place(row)}" for row in told["examples"]]
    return lines


def _scores(told: _Json) -> list[str]:
    found = told["scores"]
    if found is None:
        return []
    reason = f": {one_line(found['reason'], _WIDTH)}" if found["reason"] else ""
    return [f"  scores   relevance {found['relevance']}, coherence {found['coherence']}{reason}"]


def _label(told: _Json) -> list[str]:
    """The recorded answer, each candidate with its vote, and the label, where there are any."""
    row = told["row"] or {}
    made = row.get("metadata") or row.get("detail") or {}
    lines = []
    if "original_response" in made:
        lines.append(f"  recorded {_said(made['original_response'])}")
    for vote in made.get("votes") or ():
        mark = {True: "agrees", False: "differs", None: "failed"}[vote["agrees"]]
        answer = vote["problem"] if vote["answer"] is None else _answer(vote["answer"])
        lines.append(f"  vote     {mark:<8} {one_line(vote['source'])}: {_said(answer)}")
    if made.get("arbiter_reason"):
        lines.append(f"  arbiter  {_said(made['arbiter_reason'])}")
    if made.get("method"):
        agreement = "" if made.get("agreement") is None else f", agreement {made['agreement']:g}"
        lines.append(f"  label    by {made['method']}{agreement}: {_said(row.get('response'))}")
    return lines


def _judge(told: _Json) -> list[str]:
    lines = []
    for one in told["judge"]:
        scores = ", ".join(f"{name} {value:g}" for name, value in one["scores"].items() if value is not None)
        reason = f": {one_line(one['reason'], _WIDTH)}" if one["reason"] else ""
        lines.append(f"  judge    recorded answer {scores}{reason}")
    return lines


def _calls(told: _Json) -> list[str]:
    lines = []
    for call in told["calls"]:
        cost = "" if call["cost"] is None else f", {call['cost']:g}"
        error = f", {call['error']}" if call["error"] else ""
        tokens = f"{call['prompt_tokens']} + {call['completion_tokens']} tokens"
        lines.append(f"  call     {call['purpose']:<8} {one_line(call['model'])} ({tokens}{cost}{error}) {call['key']}")
    return lines


def _end(told: _Json) -> list[str]:
    lines = [f"  end      {_state(told)}"]
    if told["file"] is not None:
        lines.append(f"  line     {_place(told)}" + ("" if told["row"] else " (which holds something else by now)"))
    return lines


def _state(row: _Json) -> str:
    return f"{row['state']} at {row['stage']}: {row['reason']}"


def _place(row: _Json) -> str:
    return "" if row["file"] is None else f"{row['file']}:{row['line']}"


def _answer(messages: list[_Json]) -> str:
    last = messages[-1] if messages else {}
    return str(last.get("content") or json.dumps(last.get("tool_calls") or "", ensure_ascii=False))


def _said(text: str | None) -> str:
    return "nothing" if text is None else one_line(text, _WIDTH)

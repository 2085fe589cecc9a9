"""One condition of a filter: the SQL that says it, and the ways to the traces for which it holds."""

# ruff: noqa: S608 - put together from the closed table of fields; values are parameters.
from collections.abc import Callable
from dataclasses import dataclass

from store.filter_fields import FIELDS, METADATA_FIELD, OUTCOME, TIME, Field, Value
from store.filter_labels import ERROR_STATUS, LATER, MORE, Scalar, is_kept, label

Bind = Callable[[Value], str]
"""Makes a value a parameter and gives its name."""

_INDEXED = "SELECT number, created_at FROM traces INDEXED BY {index} WHERE {column} = {value} AND {column} IS NOT NULL"
_LABELLED = "SELECT trace AS number, created_at FROM trace_labels WHERE label = :{label}"
_BY_FEEDBACK = """
    SELECT t.number FROM feedback e JOIN traces t ON t.id = e.trace_id
    WHERE e.name = :{name} AND e.is_current = 1 AND {comparison}
"""
_MOST_STREAMS = 20
"""More values of an `in` are not looked for one by one."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition over `traces t`.

    Attributes:
        sql: Says it.
        streams: Statements that give number and time of traces, each in any order of time that is asked for; a trace
            for which the condition holds is in at least one, and others may be. Empty where there is no such way.
        numbers: A statement that gives the numbers of all traces for which it holds, in no order.
        since: It holds for no trace before this time.
        until: It holds for no trace after this time.
        words: The parameters that stand for the traces whose texts were searched and found.
        is_search: It says no more than that a trace was found so.
    """

    sql: str
    streams: tuple[str, ...] = ()
    numbers: str | None = None
    since: int | None = None
    until: int | None = None
    words: tuple[str, ...] = ()
    is_search: bool = False


def negated(condition: Condition) -> Condition:
    """Say the contrary."""
    return Condition(f"NOT {condition.sql}", words=condition.words)


def any_of(conditions: list[Condition]) -> Condition:
    """Join conditions of which one has to hold."""
    if len(conditions) == 1:
        return conditions[0]
    streams = tuple(stream for condition in conditions for stream in condition.streams)
    is_found = all(condition.streams for condition in conditions) and len(streams) <= _MOST_STREAMS
    return Condition(
        "(" + " OR ".join(condition.sql for condition in conditions) + ")",
        tuple(dict.fromkeys(streams)) if is_found else (),
        words=_words(conditions),
    )


def all_of(conditions: list[Condition]) -> Condition:
    """Join conditions that have to hold together; how each is found is lost."""
    if len(conditions) == 1:
        return conditions[0]
    return Condition("(" + " AND ".join(condition.sql for condition in conditions) + ")", words=_words(conditions))


def _words(conditions: list[Condition]) -> tuple[str, ...]:
    return tuple(word for condition in conditions for word in condition.words)


def missing(field: Field) -> Condition:
    """Say that a field has no value."""
    if field.rows is not None:
        return Condition(f"NOT EXISTS (SELECT 1 FROM {field.rows} AND {field.sql[0]} IS NOT NULL)")
    sql = [f"{sql} IS NULL" for sql in field.sql]
    # A field kept twice is missing only when both are.
    return Condition(sql[0] if len(sql) == 1 else "(" + " AND ".join(sql) + ")")


def glob(field: Field, pattern: str) -> Condition:
    """Say that a field matches a pattern, a parameter."""
    sql = [f"CAST({sql} AS TEXT) GLOB CAST(:{pattern} AS TEXT)" for sql in field.sql]
    return Condition(_over_rows(field, [f"coalesce({each}, 0)" for each in sql]))


def equal(field: Field, parameter: str, value: Value, name: bytes, bind: Bind) -> Condition:
    """Say that a field has a value, a parameter; `name` is that of a tag."""
    if field.members is not None:
        members = field.members.format(value=f":{parameter}")
        return Condition(f"t.number IN ({members})", numbers=members)
    is_nullable = field.kind.null
    parts = [_equal(sql, f":{parameter}", is_nullable=is_nullable) for sql in field.sql]
    streams: tuple[str, ...] = ()
    numbers = since = until = None
    if field.label is not None:
        streams = labelled(field.label, name, [value.encode() if isinstance(value, str) else value], bind)
    elif field.indexes:
        streams = tuple(
            _INDEXED.format(index=index, column=_column(sql), value=f":{parameter}")
            for index, sql in zip(field.indexes, field.sql, strict=True)
        )
    elif field.ranged is not None:
        numbers = _ranged(field, "=", f":{parameter}")
    if field.kind is TIME and isinstance(value, int):
        since = until = value
    if field.kind is OUTCOME:
        streams = tuple(stream.removesuffix(" AND outcome IS NOT NULL") for stream in streams)
    return Condition(_over_rows(field, parts), streams, numbers, since, until)


def ordered(field: Field, operator: str, parameter: str, value: Value, bind: Bind) -> Condition:
    """Say that a field is before or after a value, a parameter."""
    plain = [f"{sql} {operator} :{parameter}" for sql in field.sql]
    if field.kind is TIME and isinstance(value, int):
        since = value if operator in (">", ">=") else None
        return Condition(plain[0], since=since, until=value if since is None else None)
    parts = [f"coalesce({each}, 0)" for each in plain] if field.kind.null else plain
    sql = _over_rows(field, parts)
    if field is FIELDS["status"] and operator in (">", ">=") and value >= ERROR_STATUS:  # type: ignore[operator]
        return Condition(sql, labelled(b"error", b"", [b""], bind))
    if field is FIELDS["total_tokens"] and operator in (">", ">="):
        # One of the two is at least half of both.
        halves = (_ranged(FIELDS[name], ">=", f":{parameter} / 2") for name in ("prompt_tokens", "completion_tokens"))
        return Condition(sql, numbers=" UNION ALL ".join(halves))
    return Condition(sql, numbers=None if field.ranged is None else _ranged(field, operator, f":{parameter}"))


def with_feedback(condition: Condition, name: str, comparison: str) -> Condition:
    """Add the way by the feedback of a name, a parameter, whose score compares so."""
    numbers = _BY_FEEDBACK.format(name=name, comparison=comparison)
    return Condition(condition.sql, condition.streams, numbers)


def labelled(kind: bytes, name: bytes, values: list[Scalar], bind: Bind) -> tuple[str, ...]:
    """Give the streams of the traces that have one of these labels; empty where not all of them are kept."""
    if not all(is_kept(kind, value) for value in values):
        return ()
    labels = [*[label(kind, name, value) for value in values], MORE, LATER]
    return tuple(_LABELLED.format(label=bind(each)) for each in labels)


def metadata(path: str, operator: str, parameter: str) -> Condition:
    """Say that a value of metadata compares so with a value; both are parameters."""
    return Condition(f"metadata_holds({_METADATA}, :{path}, '{operator}', :{parameter})")


def metadata_text(path: str) -> Field:
    """Give the field of the text of one value of metadata, its path a parameter."""
    return Field(METADATA_FIELD.kind, (f"metadata_text({_METADATA}, :{path})",), "")


_METADATA = "(SELECT b.body FROM blobs b WHERE b.number = t.metadata_blob)"


def _over_rows(field: Field, parts: list[str]) -> str:
    sql = parts[0] if len(parts) == 1 else "(" + " OR ".join(parts) + ")"
    return sql if field.rows is None else f"EXISTS (SELECT 1 FROM {field.rows} AND {sql})"


def _equal(sql: str, value: str, *, is_nullable: bool) -> str:
    """Compare so that a missing value is unequal, and never unknown, which no `NOT` could turn round."""
    if sql.startswith("("):
        return f"{sql} IS {value}"
    # The indexes leave out what is missing; SQLite takes one only where it is said that nothing missing is asked for.
    return f"({sql} = {value} AND {sql} IS NOT NULL)" if is_nullable else f"{sql} = {value}"


def _ranged(field: Field, operator: str, value: str) -> str:
    return f"{field.ranged} {operator} {value}"


def _column(sql: str) -> str:
    return sql.removeprefix("t.")

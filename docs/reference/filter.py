"""The page of the filter language."""

from docs.reference.table import table
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

HEAD = """# The filter language

Made by `make docs` from `store/filter_fields.py`; change it there. `--where` of `tracemill traces list`,
`tracemill export` and `tracemill process --from-store`, and `where` of the [admin API](admin-api.md), take an
expression that selects traces:

```text
"""
EXAMPLES = (
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
RULES = """```

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

"""


def filter_page() -> str:
    """Return the page of the filter language."""
    examples = "".join(f"{example}\n" for example in EXAMPLES)
    named = {f"{TAG_PREFIX}NAME": tag_field("name"), f"{FEEDBACK_PREFIX}NAME": feedback_field("name")}
    fields = {**FIELDS, **named, f"{METADATA_PREFIX}PATH": METADATA_FIELD}
    rows = [_field(name, field) for name, field in fields.items()]
    return HEAD + examples + RULES + table(("field", "values", "operators", "can be missing", "meaning"), rows)


def _field(name: str, field: Field) -> tuple[str, ...]:
    kind = field.kind
    operators = " ".join(
        f"`{operator}`" for operator in sorted(kind.operators, key="= != < <= > >= ~ in contains".find)
    )
    return f"`{name}`", kind.expects, operators, "yes" if kind.null else "no", field.meaning

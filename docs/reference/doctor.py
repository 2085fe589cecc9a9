"""The page of the self-check."""

from docs.reference.table import table
from store.finding import GROUPS, KINDS

HEAD = """# Is everything as it should be?

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
  ok       database  traces.db: schema version 3, 38.9 MiB, quick check passed.

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

"""


def doctor_page() -> str:
    """Return the page of the self-check with all its findings."""
    rows = [
        (f"`{kind.name}`", kind.severity.value, kind.meaning, kind.remedy or "none needed")
        for kind in sorted(KINDS.values(), key=lambda kind: GROUPS.index(kind.group))
    ]
    return HEAD + table(("finding", "severity", "meaning", "remedy"), rows)

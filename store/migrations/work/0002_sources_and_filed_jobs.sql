CREATE TABLE call_sources (
    number INTEGER PRIMARY KEY,
    call_key BLOB NOT NULL,
    trace_id BLOB NOT NULL,
    UNIQUE (call_key, trace_id)
);

CREATE TABLE run_sources (
    number INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL,
    trace_id BLOB NOT NULL,
    UNIQUE (run_id, trace_id)
);

CREATE TABLE run_erasures (
    run_id TEXT PRIMARY KEY,
    erased_at TEXT NOT NULL,
    traces INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE filed_jobs (
    run_id TEXT PRIMARY KEY,
    filed_by TEXT NOT NULL,
    request TEXT NOT NULL,
    max_calls INTEGER,
    max_cost REAL,
    is_wanted INTEGER NOT NULL,
    starts INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    cost REAL NOT NULL
) WITHOUT ROWID;

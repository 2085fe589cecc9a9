-- Schema of work.db: what processing has paid for, and its jobs. Migrations in ../migrations/work lead here.

-- Every call of a teacher or judge, committed before its answer is used.
CREATE TABLE calls (
    key BLOB PRIMARY KEY, -- BLAKE2b-160 of the exact request, see store/work.py
    purpose TEXT NOT NULL, -- the step that asked: filter, relabel, arbiter, judge, compress
    model TEXT NOT NULL, -- name in the configuration
    base_url TEXT NOT NULL, -- without credentials
    request TEXT NOT NULL, -- request body, JSON
    reply TEXT, -- the whole completion, JSON; NULL when the upstream gave none
    usage TEXT, -- usage object as reported, JSON; NULL when it was not
    cost REAL, -- in the price table's currency; NULL when price or usage is unknown
    attempts INTEGER NOT NULL, -- requests sent, waits asked for by the upstream apart
    created_at TEXT NOT NULL, -- UTC, RFC 3339
    error TEXT -- why the reply is no answer (closed list in processing/teachers.py), NULL for an answer
) WITHOUT ROWID;

-- One example's part of a call that judged several, so that a new neighbour in its batch costs nothing.
CREATE TABLE verdicts (
    key BLOB PRIMARY KEY, -- BLAKE2b-160 of model, prompt and the example's text
    verdict TEXT NOT NULL, -- JSON
    call_key BLOB NOT NULL REFERENCES calls (key)
) WITHOUT ROWID;

CREATE INDEX verdicts_by_call ON verdicts (call_key);

CREATE TABLE jobs (
    run_id TEXT PRIMARY KEY, -- UUIDv7
    name TEXT NOT NULL,
    out_dir TEXT NOT NULL UNIQUE, -- absolute; running again into it continues the same run
    status TEXT NOT NULL CHECK (
        status IN ('JOB_NOT_STARTED', 'JOB_PENDING', 'JOB_RUNNING', 'JOB_SUCCESS', 'JOB_FAILURE', 'JOB_STOPPED')
    ),
    config TEXT NOT NULL, -- effective configuration, JSON
    counts TEXT, -- funnel and calls, JSON
    base_model_performance TEXT, -- JSON; NULL when not computed
    error TEXT, -- why it failed or stopped
    created_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT
) WITHOUT ROWID;

CREATE INDEX jobs_by_name ON jobs (name, created_at);

-- Which traces a call was about, by their ids: when one is erased, the call goes.
CREATE TABLE call_sources (
    number INTEGER PRIMARY KEY,
    call_key BLOB NOT NULL, -- in calls
    trace_id BLOB NOT NULL, -- the UUID's 16 bytes
    UNIQUE (call_key, trace_id)
);

-- Which traces a run was made from, the latest attempt's.
CREATE TABLE run_sources (
    number INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL, -- in jobs
    trace_id BLOB NOT NULL, -- as above
    UNIQUE (run_id, trace_id)
);

-- Runs whose files hold what was erased since.
CREATE TABLE run_erasures (
    run_id TEXT PRIMARY KEY, -- in jobs
    erased_at TEXT NOT NULL, -- UTC, RFC 3339, of the last erasing
    traces INTEGER NOT NULL -- how many traces of the run's were erased
) WITHOUT ROWID;

-- Runs that were filed with a server, which runs each in a process of its own.
CREATE TABLE filed_jobs (
    run_id TEXT PRIMARY KEY, -- in jobs
    filed_by TEXT NOT NULL, -- whose token: admin, or local where none is needed
    request TEXT NOT NULL, -- BLAKE2b-160 of what was asked, hexadecimal: the same id with the same request is filed once
    max_calls INTEGER, -- calls that all its attempts may buy together; NULL without bound
    max_cost REAL, -- the same for money, in the currency of the configured prices
    is_wanted INTEGER NOT NULL, -- 0 when it was cancelled, has used its budget up, or died too often
    starts INTEGER NOT NULL, -- since it last came to an end in order
    calls INTEGER NOT NULL, -- bought so far, by all attempts
    cost REAL NOT NULL -- of them, as far as it is known
) WITHOUT ROWID;

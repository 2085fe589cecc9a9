CREATE TABLE calls (
    key BLOB PRIMARY KEY,
    purpose TEXT NOT NULL,
    model TEXT NOT NULL,
    base_url TEXT NOT NULL,
    request TEXT NOT NULL,
    reply TEXT,
    usage TEXT,
    cost REAL,
    attempts INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    error TEXT
) WITHOUT ROWID;

CREATE TABLE verdicts (
    key BLOB PRIMARY KEY,
    verdict TEXT NOT NULL,
    call_key BLOB NOT NULL REFERENCES calls (key)
) WITHOUT ROWID;

CREATE INDEX verdicts_by_call ON verdicts (call_key);

CREATE TABLE jobs (
    run_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    out_dir TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL CHECK (
        status IN ('JOB_NOT_STARTED', 'JOB_PENDING', 'JOB_RUNNING', 'JOB_SUCCESS', 'JOB_FAILURE', 'JOB_STOPPED')
    ),
    config TEXT NOT NULL,
    counts TEXT,
    base_model_performance TEXT,
    error TEXT,
    created_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT
) WITHOUT ROWID;

CREATE INDEX jobs_by_name ON jobs (name, created_at);

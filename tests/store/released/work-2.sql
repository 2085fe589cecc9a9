-- A work.db as schema version 2 left it: what version 1 held, the sources of calls and runs, and a filed job.
BEGIN TRANSACTION;
CREATE TABLE call_sources (
    number INTEGER PRIMARY KEY,
    call_key BLOB NOT NULL,
    trace_id BLOB NOT NULL,
    UNIQUE (call_key, trace_id)
);
INSERT INTO "call_sources" VALUES(1,X'0101010101010101010101010101010101010101',X'019A0000000070008000000000000001');
INSERT INTO "call_sources" VALUES(2,X'0101010101010101010101010101010101010101',X'019A0000000070008000000000000002');
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
INSERT INTO "calls" VALUES(X'0101010101010101010101010101010101010101','relabel','big','https://u.test/v1','{"seed":12345678901234567890}','{"choices":[]}','{"total_tokens":1.0}',0.25,2,'2026-01-01T00:00:00.000Z',NULL);
INSERT INTO "calls" VALUES(X'0202020202020202020202020202020202020202','filter','small','https://u.test/v1','{"q":"\ud800 \u0000"}',NULL,NULL,NULL,4,'2026-01-01T00:00:00.000Z','refused');
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
INSERT INTO "filed_jobs" VALUES('01a00000-0000-7000-8000-000000000002','admin','abababababababababababababababababababab',100,NULL,1,1,7,0.5);
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
INSERT INTO "jobs" VALUES('01a00000-0000-7000-8000-000000000001','first','/data/out','JOB_SUCCESS','{"a":1}','{"kept":3}','{"f1":0.5}',NULL,'2026-01-01T00:00:00.000Z','2026-01-01T00:00:01.000Z','2026-01-01T00:00:02.000Z');
INSERT INTO "jobs" VALUES('01a00000-0000-7000-8000-000000000002','second','/data/other','JOB_RUNNING','{}',NULL,NULL,NULL,'2026-01-01T00:00:00.000Z','2026-01-01T00:00:01.000Z',NULL);
CREATE TABLE run_erasures (
    run_id TEXT PRIMARY KEY,
    erased_at TEXT NOT NULL,
    traces INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "run_erasures" VALUES('01a00000-0000-7000-8000-000000000001','2026-01-02T00:00:00.000Z',1);
CREATE TABLE run_sources (
    number INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL,
    trace_id BLOB NOT NULL,
    UNIQUE (run_id, trace_id)
);
INSERT INTO "run_sources" VALUES(1,'01a00000-0000-7000-8000-000000000001',X'019A0000000070008000000000000001');
CREATE TABLE verdicts (
    key BLOB PRIMARY KEY,
    verdict TEXT NOT NULL,
    call_key BLOB NOT NULL REFERENCES calls (key)
) WITHOUT ROWID;
INSERT INTO "verdicts" VALUES(X'0303030303030303030303030303030303030303','{"score":0.5}',X'0101010101010101010101010101010101010101');
CREATE INDEX verdicts_by_call ON verdicts (call_key);
CREATE INDEX jobs_by_name ON jobs (name, created_at);
COMMIT;
PRAGMA application_id = 1416451889;
PRAGMA user_version = 2;

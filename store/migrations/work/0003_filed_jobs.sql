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

-- Schema of work.db: what processing has paid for, and its jobs. Migrations in ../migrations/work lead here.

-- Every call of a teacher or judge, committed before its answer is used.
CREATE TABLE calls (
    key BLOB PRIMARY KEY, -- BLAKE2b-160 of the exact request, see store/call.py
    purpose TEXT NOT NULL, -- the step that asked: filter, relabel, arbiter, judge, compress
    model TEXT NOT NULL, -- name in the configuration
    base_url TEXT NOT NULL, -- without credentials
    request TEXT NOT NULL, -- request body, JSON
    reply TEXT, -- the whole completion, JSON; NULL when the upstream gave none
    usage TEXT, -- usage object as reported, JSON; NULL when it was not
    cost REAL, -- in the price table's currency; NULL when price or usage is unknown
    attempts INTEGER NOT NULL, -- requests sent, waits asked for by the upstream apart
    created_at TEXT NOT NULL, -- UTC, RFC 3339
    error TEXT, -- why the reply is no answer (closed list in processing/teachers.py), NULL for an answer
    duration_ms REAL -- from the request that was answered to its answer; NULL when it was not measured
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
    cost REAL NOT NULL, -- of them, as far as it is known
    kind TEXT NOT NULL DEFAULT 'process', -- what it does, see store/job_kind.py
    result TEXT -- what came of it, JSON; NULL before its end
) WITHOUT ROWID;

---- versions

-- Versions of datasets. One that is frozen never changes: the triggers below refuse, whoever asks.
CREATE TABLE versions (
    id INTEGER PRIMARY KEY,
    dataset TEXT NOT NULL, -- its name
    number INTEGER NOT NULL CHECK (number > 0), -- from 1; the label is the name, -v and the number
    state TEXT NOT NULL CHECK (state IN ('active', 'frozen')),
    birth TEXT NOT NULL CHECK (birth IN ('clusters', 'upload', 'generate', 'process', 'curate', 'rebuild')),
    parent INTEGER CHECK (parent < number), -- number of the version it follows; NULL for a first one
    note TEXT, -- a few words that lists show
    manifest TEXT NOT NULL, -- what made it, JSON
    entered INTEGER NOT NULL DEFAULT 0, -- rows ever taken in; freezing compares it with those that are there
    created_at TEXT NOT NULL, -- UTC, RFC 3339
    frozen_at TEXT,
    hash BLOB, -- BLAKE2b-256 over the kept rows, see store/datasets/freezing.py
    test_hash BLOB, -- the same for what the test rows teach; NULL without test rows
    counts TEXT, -- rows by state and part when it was frozen, JSON
    UNIQUE (dataset, number),
    CHECK (
        (state = 'frozen') = (hash IS NOT NULL) AND (state = 'frozen') = (frozen_at IS NOT NULL)
        AND (state = 'frozen') = (counts IS NOT NULL)
    )
);

CREATE UNIQUE INDEX one_active_version ON versions (dataset) WHERE state = 'active';

-- What rows hold, each once, however many versions have it.
CREATE TABLE row_contents (
    number INTEGER PRIMARY KEY,
    row_hash BLOB NOT NULL UNIQUE, -- BLAKE2b-160 of the canonical row, see store/datasets/row.py
    learned_hash BLOB NOT NULL, -- BLAKE2b-160 of what is learned from it: messages, tools, response format
    body BLOB NOT NULL -- the canonical row, JSON, packed as in store/body.py
);

CREATE INDEX row_contents_by_learned ON row_contents (learned_hash);

CREATE TABLE version_rows (
    version INTEGER NOT NULL REFERENCES versions (id),
    row_id TEXT NOT NULL,
    row_hash BLOB NOT NULL, -- in row_contents, unless it stands in erased_rows
    learned_hash BLOB NOT NULL, -- as in row_contents; it stays when the content is erased
    part TEXT CHECK (part IN ('train', 'test', 'unstructured')), -- NULL when it is not split yet
    state TEXT NOT NULL CHECK (state IN ('kept', 'dropped', 'failed', 'review')),
    stage TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT, -- more about the end, JSON; NULL for nothing
    PRIMARY KEY (version, row_id)
) WITHOUT ROWID;

CREATE INDEX version_rows_by_hash ON version_rows (row_hash);

-- Which traces a row was made from: when one is erased, the row goes.
CREATE TABLE row_sources (
    number INTEGER PRIMARY KEY,
    row_hash BLOB NOT NULL, -- in row_contents
    trace TEXT NOT NULL, -- id of a stored trace, or what the file called it that a row was read from
    UNIQUE (row_hash, trace)
);

CREATE INDEX row_sources_by_trace ON row_sources (trace);

-- Rows whose content was erased with a trace. Versions that had them keep their places and hashes.
CREATE TABLE erased_rows (
    row_hash BLOB PRIMARY KEY,
    change INTEGER NOT NULL, -- in changes of traces.db
    erased_at TEXT NOT NULL -- UTC, RFC 3339
) WITHOUT ROWID;

-- Rows of a version that is being made. They become a version's in one transaction, or nobody's.
CREATE TABLE births (
    id INTEGER PRIMARY KEY,
    dataset TEXT NOT NULL UNIQUE,
    started_at TEXT NOT NULL -- UTC, RFC 3339
);

CREATE TABLE birth_rows (
    birth INTEGER NOT NULL REFERENCES births (id),
    row_id TEXT NOT NULL,
    row_hash BLOB NOT NULL, -- this and the rest as in version_rows
    learned_hash BLOB NOT NULL,
    part TEXT,
    state TEXT NOT NULL,
    stage TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT,
    PRIMARY KEY (birth, row_id)
) WITHOUT ROWID;

CREATE INDEX birth_rows_by_hash ON birth_rows (row_hash);

-- What people decided about rows. Added to, never changed: the last one counts, unless it was undone.
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY,
    dataset TEXT NOT NULL,
    learned_hash BLOB NOT NULL, -- of the row as it was shown
    row_id TEXT,
    kind TEXT NOT NULL CHECK (kind IN ('accept', 'edit', 'reject', 'skip', 'undo')),
    who TEXT NOT NULL,
    at TEXT NOT NULL -- UTC, RFC 3339
);

CREATE INDEX decisions_by_dataset ON decisions (dataset);

CREATE INDEX decisions_by_learned ON decisions (learned_hash);

-- What somebody wrote with a decision.
CREATE TABLE decision_texts (
    decision INTEGER PRIMARY KEY REFERENCES decisions (id),
    body BLOB NOT NULL -- {"note", "messages"}, JSON, packed as in store/body.py
);

-- Which traces a decided row was made from: when one is erased, the text goes.
CREATE TABLE decision_sources (
    number INTEGER PRIMARY KEY,
    decision INTEGER NOT NULL REFERENCES decisions (id),
    trace TEXT NOT NULL, -- as in row_sources
    UNIQUE (decision, trace)
);

CREATE TABLE erased_decisions (
    decision INTEGER PRIMARY KEY REFERENCES decisions (id),
    change INTEGER NOT NULL, -- in changes of traces.db
    erased_at TEXT NOT NULL -- UTC, RFC 3339
);

-- REPLACE deletes without asking the triggers of DELETE, so those of INSERT refuse what would replace.
CREATE TRIGGER versions_are_born_active BEFORE INSERT ON versions
WHEN NEW.state <> 'active' OR EXISTS (
    SELECT 1 FROM versions WHERE id = NEW.id OR (dataset = NEW.dataset AND number = NEW.number)
)
BEGIN
    SELECT RAISE(ABORT, 'a version is begun as active, under a number of its own');
END;

CREATE TRIGGER frozen_versions_stay BEFORE UPDATE ON versions
WHEN OLD.state = 'frozen' OR NEW.id <> OLD.id OR NEW.dataset <> OLD.dataset OR NEW.number <> OLD.number
BEGIN
    SELECT RAISE(ABORT, 'a frozen version never changes');
END;

CREATE TRIGGER frozen_versions_are_kept BEFORE DELETE ON versions WHEN OLD.state = 'frozen'
BEGIN
    SELECT RAISE(ABORT, 'a frozen version is never deleted');
END;

CREATE TRIGGER frozen_rows_are_complete BEFORE INSERT ON version_rows
WHEN EXISTS (SELECT 1 FROM versions WHERE id = NEW.version AND state = 'frozen')
BEGIN
    SELECT RAISE(ABORT, 'a frozen version takes no more rows');
END;

CREATE TRIGGER frozen_rows_stay BEFORE UPDATE ON version_rows
WHEN EXISTS (SELECT 1 FROM versions WHERE id IN (OLD.version, NEW.version) AND state = 'frozen') AND NOT (
    NEW.detail IS NULL AND EXISTS (SELECT 1 FROM erased_rows WHERE row_hash = OLD.row_hash)
    AND NEW.version = OLD.version AND NEW.row_id = OLD.row_id AND NEW.row_hash = OLD.row_hash
    AND NEW.learned_hash = OLD.learned_hash AND NEW.part IS OLD.part AND NEW.state = OLD.state
    AND NEW.stage = OLD.stage AND NEW.reason = OLD.reason
)
BEGIN
    SELECT RAISE(ABORT, 'rows of a frozen version never change');
END;

CREATE TRIGGER frozen_rows_are_kept BEFORE DELETE ON version_rows
WHEN EXISTS (SELECT 1 FROM versions WHERE id = OLD.version AND state = 'frozen')
BEGIN
    SELECT RAISE(ABORT, 'rows of a frozen version are never deleted');
END;

CREATE TRIGGER contents_are_written_once BEFORE INSERT ON row_contents
WHEN EXISTS (SELECT 1 FROM row_contents WHERE row_hash = NEW.row_hash OR number = NEW.number)
    OR EXISTS (SELECT 1 FROM erased_rows WHERE row_hash = NEW.row_hash)
BEGIN
    SELECT RAISE(ABORT, 'what a row holds is written once, and not again after it was erased');
END;

CREATE TRIGGER contents_stay BEFORE UPDATE ON row_contents
BEGIN
    SELECT RAISE(ABORT, 'what a row holds never changes');
END;

CREATE TRIGGER frozen_contents_are_kept BEFORE DELETE ON row_contents
WHEN NOT EXISTS (SELECT 1 FROM erased_rows WHERE row_hash = OLD.row_hash) AND EXISTS (
    SELECT 1 FROM version_rows r JOIN versions v ON v.id = r.version
    WHERE r.row_hash = OLD.row_hash AND v.state = 'frozen'
)
BEGIN
    SELECT RAISE(ABORT, 'what a row of a frozen version holds is deleted by an erasure alone');
END;

CREATE TRIGGER sources_are_written_once BEFORE INSERT ON row_sources
WHEN EXISTS (SELECT 1 FROM row_sources WHERE number = NEW.number)
BEGIN
    SELECT RAISE(ABORT, 'the source of a row never changes');
END;

CREATE TRIGGER sources_stay BEFORE UPDATE ON row_sources
BEGIN
    SELECT RAISE(ABORT, 'the source of a row never changes');
END;

CREATE TRIGGER sources_are_kept BEFORE DELETE ON row_sources
WHEN EXISTS (SELECT 1 FROM row_contents WHERE row_hash = OLD.row_hash)
BEGIN
    SELECT RAISE(ABORT, 'the source of a row goes with the row');
END;

CREATE TRIGGER erased_rows_are_written_once BEFORE INSERT ON erased_rows
WHEN EXISTS (SELECT 1 FROM erased_rows WHERE row_hash = NEW.row_hash)
BEGIN
    SELECT RAISE(ABORT, 'that a row was erased is never changed');
END;

CREATE TRIGGER erased_rows_stay BEFORE UPDATE ON erased_rows
BEGIN
    SELECT RAISE(ABORT, 'that a row was erased is never changed');
END;

CREATE TRIGGER erased_rows_are_kept BEFORE DELETE ON erased_rows
BEGIN
    SELECT RAISE(ABORT, 'that a row was erased is never changed');
END;

CREATE TRIGGER decisions_are_added BEFORE INSERT ON decisions
WHEN EXISTS (SELECT 1 FROM decisions WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'decisions are added, never changed');
END;

CREATE TRIGGER decisions_stay BEFORE UPDATE ON decisions
BEGIN
    SELECT RAISE(ABORT, 'decisions are added, never changed');
END;

CREATE TRIGGER decisions_are_kept BEFORE DELETE ON decisions
BEGIN
    SELECT RAISE(ABORT, 'decisions are added, never deleted');
END;

CREATE TRIGGER decision_texts_are_added BEFORE INSERT ON decision_texts
WHEN EXISTS (SELECT 1 FROM decision_texts WHERE decision = NEW.decision)
    OR EXISTS (SELECT 1 FROM erased_decisions WHERE decision = NEW.decision)
BEGIN
    SELECT RAISE(ABORT, 'decisions are added, never changed');
END;

CREATE TRIGGER decision_texts_stay BEFORE UPDATE ON decision_texts
BEGIN
    SELECT RAISE(ABORT, 'decisions are added, never changed');
END;

CREATE TRIGGER decision_texts_are_kept BEFORE DELETE ON decision_texts
WHEN NOT EXISTS (SELECT 1 FROM erased_decisions WHERE decision = OLD.decision)
BEGIN
    SELECT RAISE(ABORT, 'the text of a decision is deleted by an erasure alone');
END;

CREATE TRIGGER erased_decisions_stay BEFORE UPDATE ON erased_decisions
BEGIN
    SELECT RAISE(ABORT, 'that a decision was erased is never changed');
END;

CREATE TRIGGER erased_decisions_are_kept BEFORE DELETE ON erased_decisions
BEGIN
    SELECT RAISE(ABORT, 'that a decision was erased is never changed');
END;

---- clusters and embeddings

-- Vectors that models made of texts, each bought once.
CREATE TABLE embeddings (
    number INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE, -- BLAKE2b-160 of server, request and text, see processing/clusters/bought_vectors.py
    vector BLOB NOT NULL -- float32, little endian
);

-- Which traces say what a vector was made of: when the last of them is erased, the vector goes.
CREATE TABLE embedding_sources (
    number INTEGER PRIMARY KEY,
    key BLOB NOT NULL, -- in embeddings
    trace_id BLOB NOT NULL, -- the UUID's 16 bytes
    UNIQUE (key, trace_id)
);

-- Each time that traces were grouped; the members are those of the last.
CREATE TABLE cluster_builds (
    number INTEGER PRIMARY KEY,
    built_at TEXT NOT NULL, -- UTC, RFC 3339
    settings TEXT NOT NULL, -- what decides the outcome, JSON
    counts TEXT NOT NULL -- what became of the traces, JSON
);

-- Groups of traces by what their users want. An id is given once: a row stays when its cluster is no more.
CREATE TABLE clusters (
    id INTEGER PRIMARY KEY,
    first_build INTEGER NOT NULL, -- in cluster_builds
    last_build INTEGER NOT NULL, -- the last that found it; it is retired when a later one did not
    terms TEXT NOT NULL, -- words that tell it from others, with the members that have them, JSON
    model_name TEXT, -- as a model calls it; NULL when none was asked, and when a trace that it was made of is erased
    description TEXT, -- the same
    facts TEXT NOT NULL, -- counted when it was built, JSON
    erased INTEGER NOT NULL DEFAULT 0 -- members that were erased since
);

-- Where each trace stands.
CREATE TABLE cluster_members (
    number INTEGER PRIMARY KEY,
    trace_id BLOB NOT NULL UNIQUE, -- the UUID's 16 bytes
    cluster INTEGER REFERENCES clusters (id), -- NULL for a trace that is in none
    reason TEXT, -- why it is in none, see store/clusters/cluster.py
    similarity REAL NOT NULL -- to the middle of its cluster, in [-1, 1]
);

CREATE INDEX cluster_members_by_cluster ON cluster_members (cluster, similarity);

-- Which traces a model was shown when it named a cluster: when one is erased, the name goes.
CREATE TABLE cluster_name_sources (
    number INTEGER PRIMARY KEY,
    cluster INTEGER NOT NULL REFERENCES clusters (id),
    trace_id BLOB NOT NULL, -- as above
    UNIQUE (cluster, trace_id)
);

CREATE INDEX cluster_name_sources_by_trace ON cluster_name_sources (trace_id);

---- evaluations

-- What the answers of one model to a frozen version came to. The same model, asked the same, is the same evaluation.
CREATE TABLE evaluations (
    evaluation_id TEXT PRIMARY KEY, -- 16 hex digits, from what was asked of whom, see store/datasets/evaluation.py
    dataset TEXT NOT NULL,
    version INTEGER NOT NULL, -- its number in the dataset
    version_hash TEXT NOT NULL, -- hexadecimal, as the next
    test_hash TEXT NOT NULL, -- over what the asked rows teach; of the part test it is the version's own
    part TEXT NOT NULL CHECK (part IN ('test', 'train', 'all')),
    model TEXT NOT NULL, -- name in the configuration; recorded for the answers that the traces hold
    identity TEXT NOT NULL, -- the model's server and its name there
    settings TEXT NOT NULL, -- what else decides the numbers, JSON
    metrics TEXT NOT NULL, -- means, intervals, classes and strata, JSON
    cost TEXT NOT NULL, -- JSON, as the next two
    latency TEXT NOT NULL,
    counts TEXT NOT NULL,
    created_at TEXT NOT NULL, -- UTC, RFC 3339
    erased INTEGER NOT NULL DEFAULT 0 -- predictions that were erased since, with the rows they belong to
) WITHOUT ROWID;

CREATE INDEX evaluations_by_version ON evaluations (dataset, version);

-- One answer each, with its scores.
CREATE TABLE predictions (
    number INTEGER PRIMARY KEY,
    evaluation_id TEXT NOT NULL REFERENCES evaluations (evaluation_id),
    row_hash BLOB NOT NULL, -- in row_contents; when the row is erased, this goes
    row_id TEXT NOT NULL,
    target INTEGER NOT NULL, -- position of the reference among the row's messages
    conversation_id TEXT NOT NULL, -- answers of one conversation are drawn together
    answer TEXT, -- the model's message, JSON; NULL when there is none that counts
    failure TEXT, -- why there is none, from the closed list in docs/evaluation.md
    scores TEXT NOT NULL, -- metric to score, JSON; a null where it cannot be computed
    judging TEXT, -- how the judge's score came about; NULL where the judge had nothing to do
    call_key BLOB, -- in calls; NULL for recorded answers, and for one that will be asked for again
    judge_call BLOB, -- in calls
    cost REAL, -- NULL when unknown, as the next
    duration_ms REAL,
    UNIQUE (evaluation_id, row_id, target)
);

CREATE INDEX predictions_by_row ON predictions (row_hash);

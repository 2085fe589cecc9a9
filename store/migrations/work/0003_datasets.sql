---- versions

CREATE TABLE versions (
    id INTEGER PRIMARY KEY,
    dataset TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number > 0),
    state TEXT NOT NULL CHECK (state IN ('active', 'frozen')),
    birth TEXT NOT NULL CHECK (birth IN ('clusters', 'upload', 'generate', 'process', 'curate', 'rebuild')),
    parent INTEGER CHECK (parent < number),
    note TEXT,
    manifest TEXT NOT NULL,
    entered INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    frozen_at TEXT,
    hash BLOB,
    test_hash BLOB,
    counts TEXT,
    UNIQUE (dataset, number),
    CHECK (
        (state = 'frozen') = (hash IS NOT NULL) AND (state = 'frozen') = (frozen_at IS NOT NULL)
        AND (state = 'frozen') = (counts IS NOT NULL)
    )
);

CREATE UNIQUE INDEX one_active_version ON versions (dataset) WHERE state = 'active';

CREATE TABLE row_contents (
    number INTEGER PRIMARY KEY,
    row_hash BLOB NOT NULL UNIQUE,
    learned_hash BLOB NOT NULL,
    body BLOB NOT NULL
);

CREATE INDEX row_contents_by_learned ON row_contents (learned_hash);

CREATE TABLE version_rows (
    version INTEGER NOT NULL REFERENCES versions (id),
    row_id TEXT NOT NULL,
    row_hash BLOB NOT NULL,
    learned_hash BLOB NOT NULL,
    part TEXT CHECK (part IN ('train', 'test', 'unstructured')),
    state TEXT NOT NULL CHECK (state IN ('kept', 'dropped', 'failed', 'review')),
    stage TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT,
    PRIMARY KEY (version, row_id)
) WITHOUT ROWID;

CREATE INDEX version_rows_by_hash ON version_rows (row_hash);

CREATE TABLE row_sources (
    number INTEGER PRIMARY KEY,
    row_hash BLOB NOT NULL,
    trace TEXT NOT NULL,
    UNIQUE (row_hash, trace)
);

CREATE INDEX row_sources_by_trace ON row_sources (trace);

CREATE TABLE erased_rows (
    row_hash BLOB PRIMARY KEY,
    change INTEGER NOT NULL,
    erased_at TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE births (
    id INTEGER PRIMARY KEY,
    dataset TEXT NOT NULL UNIQUE,
    started_at TEXT NOT NULL
);

CREATE TABLE birth_rows (
    birth INTEGER NOT NULL REFERENCES births (id),
    row_id TEXT NOT NULL,
    row_hash BLOB NOT NULL,
    learned_hash BLOB NOT NULL,
    part TEXT,
    state TEXT NOT NULL,
    stage TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT,
    PRIMARY KEY (birth, row_id)
) WITHOUT ROWID;

CREATE INDEX birth_rows_by_hash ON birth_rows (row_hash);

CREATE TABLE decisions (
    id INTEGER PRIMARY KEY,
    dataset TEXT NOT NULL,
    learned_hash BLOB NOT NULL,
    row_id TEXT,
    kind TEXT NOT NULL CHECK (kind IN ('accept', 'edit', 'reject', 'skip', 'undo')),
    who TEXT NOT NULL,
    at TEXT NOT NULL
);

CREATE INDEX decisions_by_dataset ON decisions (dataset);

CREATE INDEX decisions_by_learned ON decisions (learned_hash);

CREATE TABLE decision_texts (
    decision INTEGER PRIMARY KEY REFERENCES decisions (id),
    body BLOB NOT NULL
);

CREATE TABLE decision_sources (
    number INTEGER PRIMARY KEY,
    decision INTEGER NOT NULL REFERENCES decisions (id),
    trace TEXT NOT NULL,
    UNIQUE (decision, trace)
);

CREATE TABLE erased_decisions (
    decision INTEGER PRIMARY KEY REFERENCES decisions (id),
    change INTEGER NOT NULL,
    erased_at TEXT NOT NULL
);

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

CREATE TABLE evaluations (
    evaluation_id TEXT PRIMARY KEY,
    dataset TEXT NOT NULL,
    version INTEGER NOT NULL,
    version_hash TEXT NOT NULL,
    test_hash TEXT NOT NULL,
    part TEXT NOT NULL CHECK (part IN ('test', 'train', 'all')),
    model TEXT NOT NULL,
    identity TEXT NOT NULL,
    settings TEXT NOT NULL,
    metrics TEXT NOT NULL,
    cost TEXT NOT NULL,
    latency TEXT NOT NULL,
    counts TEXT NOT NULL,
    created_at TEXT NOT NULL,
    erased INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE INDEX evaluations_by_version ON evaluations (dataset, version);

CREATE TABLE predictions (
    number INTEGER PRIMARY KEY,
    evaluation_id TEXT NOT NULL REFERENCES evaluations (evaluation_id),
    row_hash BLOB NOT NULL,
    row_id TEXT NOT NULL,
    target INTEGER NOT NULL,
    conversation_id TEXT NOT NULL,
    answer TEXT,
    failure TEXT,
    scores TEXT NOT NULL,
    judging TEXT,
    call_key BLOB,
    judge_call BLOB,
    cost REAL,
    duration_ms REAL,
    UNIQUE (evaluation_id, row_id, target)
);

CREATE INDEX predictions_by_row ON predictions (row_hash);

---- calls

ALTER TABLE calls ADD COLUMN duration_ms REAL;

---- jobs

ALTER TABLE filed_jobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'process';

ALTER TABLE filed_jobs ADD COLUMN result TEXT;

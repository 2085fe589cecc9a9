-- traces.db as it is today. Databases are made by the steps in store/migrations/traces/; a test holds both equal.
--
-- Text that came from a client or an upstream is a BLOB of UTF-8, lone surrogates in the generalised form: SQLite's own
-- functions stop at a NUL inside TEXT, and its drivers refuse lone surrogates. A body starts with one byte
-- that tells how the rest is packed: 0 plain, 1 zstd.

-- One message with its parent; id and stitch_key are the contracts of docs/trace-format.md.
CREATE TABLE nodes (
    id         BLOB    NOT NULL PRIMARY KEY,
    parent_id  BLOB    REFERENCES nodes (id),
    stitch_key BLOB    NOT NULL,
    role       BLOB,
    body       BLOB    NOT NULL,
    body_bytes INTEGER NOT NULL
) STRICT;
CREATE INDEX nodes_by_stitch_key ON nodes (stitch_key);
CREATE INDEX nodes_by_parent ON nodes (parent_id);
CREATE INDEX nodes_by_size ON nodes (body_bytes); -- statistics add up without reading a body

-- Values kept once, by content: tools, response formats, parameters, logprobs, and long strings cut out of messages.
CREATE TABLE blobs (
    id         BLOB    NOT NULL PRIMARY KEY,
    body       BLOB    NOT NULL,
    body_bytes INTEGER NOT NULL
) STRICT;
CREATE INDEX blobs_by_size ON blobs (body_bytes);

-- Where the long strings go back in: at this byte of the node's body as it is kept.
CREATE TABLE node_blobs (
    node_id BLOB    NOT NULL REFERENCES nodes (id),
    offset  INTEGER NOT NULL,
    blob_id BLOB    NOT NULL REFERENCES blobs (id),
    PRIMARY KEY (node_id, offset)
) STRICT, WITHOUT ROWID;
CREATE INDEX node_blobs_by_blob ON node_blobs (blob_id);

-- One call. id is the UUID's 16 bytes, created_at microseconds since 1970 UTC.
CREATE TABLE traces (
    id                   BLOB    NOT NULL PRIMARY KEY,
    created_at           INTEGER NOT NULL,
    endpoint             TEXT,
    method               BLOB    NOT NULL,
    path                 BLOB    NOT NULL,
    route                BLOB    NOT NULL,
    upstream             BLOB    NOT NULL,
    status               INTEGER,
    outcome              TEXT    NOT NULL,
    is_streaming         INTEGER NOT NULL,
    is_complete          INTEGER NOT NULL,
    requested_model      BLOB,
    served_model         BLOB,
    request_node         BLOB    REFERENCES nodes (id),
    message_count        INTEGER NOT NULL,
    has_tool_calls       INTEGER NOT NULL,
    tools_blob           BLOB    REFERENCES blobs (id),
    response_format_blob BLOB    REFERENCES blobs (id),
    parameters_blob      BLOB    NOT NULL REFERENCES blobs (id),
    metadata_blob        BLOB    REFERENCES blobs (id),
    error_blob           BLOB    REFERENCES blobs (id),
    usage                BLOB,
    prompt_tokens        INTEGER,
    completion_tokens    INTEGER,
    ttft_ms              REAL,
    duration_ms          REAL,
    upstream_id          BLOB,
    request_id           BLOB,
    system_fingerprint   BLOB,
    session              BLOB,
    user                 BLOB,
    key_fingerprint      BLOB,
    flags                TEXT    NOT NULL,
    request_bytes        INTEGER NOT NULL,
    response_bytes       INTEGER NOT NULL
) STRICT;
CREATE INDEX traces_by_time ON traces (created_at, id);
CREATE INDEX traces_by_outcome ON traces (outcome, created_at);
CREATE INDEX traces_by_requested_model ON traces (requested_model, created_at);
CREATE INDEX traces_by_served_model ON traces (served_model, created_at);
CREATE INDEX traces_by_session ON traces (session, created_at);
CREATE INDEX traces_by_user ON traces (user, created_at);
CREATE INDEX traces_by_upstream_id ON traces (upstream_id);
CREATE INDEX traces_by_request_id ON traces (request_id);
CREATE INDEX traces_by_request_node ON traces (request_node);

-- A completion's choices in the order they came; node_id is a child of the trace's request_node.
CREATE TABLE replies (
    trace_id      BLOB    NOT NULL REFERENCES traces (id),
    position      INTEGER NOT NULL,
    choice_index  INTEGER NOT NULL,
    node_id       BLOB    NOT NULL REFERENCES nodes (id),
    finish_reason BLOB,
    logprobs_blob BLOB    REFERENCES blobs (id),
    PRIMARY KEY (trace_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX replies_by_node ON replies (node_id);

CREATE TABLE tags (
    trace_id BLOB    NOT NULL REFERENCES traces (id),
    name     BLOB    NOT NULL,
    position INTEGER NOT NULL,
    value    BLOB    NOT NULL,
    PRIMARY KEY (trace_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_name ON tags (name, value);

-- What could not be understood, kept with its reason.
CREATE TABLE dead_letters (
    id         INTEGER NOT NULL PRIMARY KEY,
    trace_id   BLOB,
    reason     TEXT    NOT NULL,
    detail     BLOB    NOT NULL,
    body       BLOB    NOT NULL,
    body_bytes INTEGER NOT NULL
) STRICT;
CREATE INDEX dead_letters_by_trace ON dead_letters (trace_id);

-- How far ingest has come in each writer's journal; moves in the same transaction as what it read.
CREATE TABLE journal_positions (
    writer  TEXT    NOT NULL PRIMARY KEY,
    segment INTEGER NOT NULL,
    offset  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Rows refer to each other by number instead of by hash, so that new rows stand at the end of nearly every index: with
-- 160,000 traces a commit had come to write eleven pages a trace. Numbers are the old rows' own, so all that came first
-- stays first. Indexes are made last, since sorted rows fill them best.

DROP INDEX nodes_by_stitch_key;
DROP INDEX nodes_by_parent;
DROP INDEX nodes_by_size;
DROP INDEX blobs_by_size;
DROP INDEX node_blobs_by_blob;
DROP INDEX traces_by_time;
DROP INDEX traces_by_outcome;
DROP INDEX traces_by_requested_model;
DROP INDEX traces_by_served_model;
DROP INDEX traces_by_session;
DROP INDEX traces_by_user;
DROP INDEX traces_by_upstream_id;
DROP INDEX traces_by_request_id;
DROP INDEX traces_by_request_node;
DROP INDEX replies_by_node;
DROP INDEX tags_by_name;
ALTER TABLE nodes RENAME TO old_nodes;
ALTER TABLE blobs RENAME TO old_blobs;
ALTER TABLE node_blobs RENAME TO old_node_blobs;
ALTER TABLE traces RENAME TO old_traces;
ALTER TABLE replies RENAME TO old_replies;
ALTER TABLE tags RENAME TO old_tags;

CREATE TABLE nodes (
    number     INTEGER NOT NULL PRIMARY KEY,
    id         BLOB    NOT NULL UNIQUE,
    parent     INTEGER REFERENCES nodes (number),
    stitch_key BLOB    NOT NULL,
    role       BLOB,
    body_bytes INTEGER NOT NULL,
    body       BLOB    NOT NULL
) STRICT;

CREATE TABLE blobs (
    number     INTEGER NOT NULL PRIMARY KEY,
    id         BLOB    NOT NULL UNIQUE,
    body_bytes INTEGER NOT NULL,
    body       BLOB    NOT NULL
) STRICT;

CREATE TABLE node_blobs (
    node   INTEGER NOT NULL REFERENCES nodes (number),
    offset INTEGER NOT NULL,
    blob   INTEGER NOT NULL REFERENCES blobs (number),
    PRIMARY KEY (node, offset)
) STRICT, WITHOUT ROWID;

CREATE TABLE totals (
    nodes      INTEGER NOT NULL,
    blobs      INTEGER NOT NULL,
    body_bytes INTEGER NOT NULL
) STRICT;

CREATE TABLE traces (
    number               INTEGER NOT NULL PRIMARY KEY,
    id                   BLOB    NOT NULL UNIQUE,
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
    request_node         INTEGER REFERENCES nodes (number),
    message_count        INTEGER NOT NULL,
    has_tool_calls       INTEGER NOT NULL,
    tools_blob           INTEGER REFERENCES blobs (number),
    response_format_blob INTEGER REFERENCES blobs (number),
    parameters_blob      INTEGER NOT NULL REFERENCES blobs (number),
    metadata_blob        INTEGER REFERENCES blobs (number),
    error_blob           INTEGER REFERENCES blobs (number),
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

CREATE TABLE usages (
    trace INTEGER NOT NULL PRIMARY KEY REFERENCES traces (number),
    body  BLOB    NOT NULL
) STRICT;

CREATE TABLE replies (
    trace         INTEGER NOT NULL REFERENCES traces (number),
    position      INTEGER NOT NULL,
    choice_index  INTEGER NOT NULL,
    node          INTEGER NOT NULL REFERENCES nodes (number),
    finish_reason BLOB,
    logprobs_blob INTEGER REFERENCES blobs (number),
    PRIMARY KEY (trace, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE tags (
    trace    INTEGER NOT NULL REFERENCES traces (number),
    name     BLOB    NOT NULL,
    position INTEGER NOT NULL,
    value    BLOB    NOT NULL,
    PRIMARY KEY (trace, name)
) STRICT, WITHOUT ROWID;

INSERT INTO nodes (number, id, parent, stitch_key, role, body_bytes, body)
SELECT n.rowid, n.id, p.rowid, n.stitch_key, n.role, n.body_bytes, n.body
FROM old_nodes n LEFT JOIN old_nodes p ON p.id = n.parent_id ORDER BY n.rowid;
INSERT INTO blobs (number, id, body_bytes, body)
SELECT rowid, id, body_bytes, body FROM old_blobs ORDER BY rowid;
INSERT INTO node_blobs (node, offset, blob)
SELECT n.rowid, c.offset, b.rowid
FROM old_node_blobs c JOIN old_nodes n ON n.id = c.node_id JOIN old_blobs b ON b.id = c.blob_id
ORDER BY n.rowid, c.offset;
INSERT INTO totals (nodes, blobs, body_bytes)
SELECT (SELECT count(*) FROM nodes), (SELECT count(*) FROM blobs),
       (SELECT coalesce(sum(body_bytes), 0) FROM nodes) + (SELECT coalesce(sum(body_bytes), 0) FROM blobs);
INSERT INTO traces
SELECT t.rowid, t.id, t.created_at, t.endpoint, t.method, t.path, t.route, t.upstream, t.status, t.outcome,
       t.is_streaming, t.is_complete, t.requested_model, t.served_model,
       (SELECT n.rowid FROM old_nodes n WHERE n.id = t.request_node), t.message_count, t.has_tool_calls,
       (SELECT b.rowid FROM old_blobs b WHERE b.id = t.tools_blob),
       (SELECT b.rowid FROM old_blobs b WHERE b.id = t.response_format_blob),
       (SELECT b.rowid FROM old_blobs b WHERE b.id = t.parameters_blob),
       (SELECT b.rowid FROM old_blobs b WHERE b.id = t.metadata_blob),
       (SELECT b.rowid FROM old_blobs b WHERE b.id = t.error_blob),
       t.prompt_tokens, t.completion_tokens, t.ttft_ms, t.duration_ms, t.upstream_id, t.request_id,
       t.system_fingerprint, t.session, t.user, t.key_fingerprint, t.flags, t.request_bytes, t.response_bytes
FROM old_traces t ORDER BY t.rowid;
INSERT INTO usages (trace, body)
SELECT rowid, usage FROM old_traces WHERE usage IS NOT NULL ORDER BY rowid;
INSERT INTO replies (trace, position, choice_index, node, finish_reason, logprobs_blob)
SELECT t.rowid, r.position, r.choice_index, n.rowid, r.finish_reason,
       (SELECT b.rowid FROM old_blobs b WHERE b.id = r.logprobs_blob)
FROM old_replies r JOIN old_traces t ON t.id = r.trace_id JOIN old_nodes n ON n.id = r.node_id
ORDER BY t.rowid, r.position;
INSERT INTO tags (trace, name, position, value)
SELECT t.rowid, g.name, g.position, g.value
FROM old_tags g JOIN old_traces t ON t.id = g.trace_id ORDER BY t.rowid, g.name;

DROP TABLE old_tags;
DROP TABLE old_replies;
DROP TABLE old_traces;
DROP TABLE old_node_blobs;
DROP TABLE old_blobs;
DROP TABLE old_nodes;

CREATE INDEX nodes_by_parent ON nodes (parent) WHERE parent IS NOT NULL;
CREATE INDEX node_blobs_by_blob ON node_blobs (blob);
CREATE INDEX traces_by_time ON traces (created_at, id);
CREATE INDEX traces_by_outcome ON traces (outcome, created_at);
CREATE INDEX traces_by_requested_model ON traces (requested_model, created_at);
CREATE INDEX traces_by_served_model ON traces (served_model, created_at);
CREATE INDEX traces_by_session ON traces (session, created_at) WHERE session IS NOT NULL;
CREATE INDEX traces_by_user ON traces (user, created_at) WHERE user IS NOT NULL;
CREATE INDEX traces_by_upstream_id ON traces (upstream_id) WHERE upstream_id IS NOT NULL;
CREATE INDEX traces_by_request_id ON traces (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX traces_by_request_node ON traces (request_node) WHERE request_node IS NOT NULL;
CREATE INDEX replies_by_node ON replies (node);

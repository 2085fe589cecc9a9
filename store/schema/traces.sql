-- traces.db as it is today. Databases are made by the steps in store/migrations/traces/; a test holds both equal.
--
-- Rows are numbered in the order in which they are stored, and refer to each other by these numbers: new rows then stand
-- at the end of nearly every index. Ids that are hashes land anywhere; each stands in one index and nowhere else.
--
-- Text that came from a client or an upstream is a BLOB of UTF-8, lone surrogates in the generalised form: SQLite's own
-- functions stop at a NUL inside TEXT, and its drivers refuse lone surrogates. A body starts with one byte
-- that tells how the rest is packed: 0 plain, 1 zstd.

-- One message with its parent; id and stitch_key are the contracts of docs/trace-format.md. A parent has the lower number.
CREATE TABLE nodes (
    number     INTEGER NOT NULL PRIMARY KEY,
    id         BLOB    NOT NULL UNIQUE,
    parent     INTEGER REFERENCES nodes (number),
    stitch_key BLOB    NOT NULL,
    role       BLOB,
    body_bytes INTEGER NOT NULL,
    body       BLOB    NOT NULL
) STRICT;
CREATE INDEX nodes_by_parent ON nodes (parent) WHERE parent IS NOT NULL;

-- Values kept once, by content: tools, response formats, parameters, logprobs, and long strings cut out of messages.
CREATE TABLE blobs (
    number     INTEGER NOT NULL PRIMARY KEY,
    id         BLOB    NOT NULL UNIQUE,
    body_bytes INTEGER NOT NULL,
    body       BLOB    NOT NULL
) STRICT;

-- Where the long strings go back in: at this byte of the node's body as it is kept.
CREATE TABLE node_blobs (
    node   INTEGER NOT NULL REFERENCES nodes (number),
    offset INTEGER NOT NULL,
    blob   INTEGER NOT NULL REFERENCES blobs (number),
    PRIMARY KEY (node, offset)
) STRICT, WITHOUT ROWID;
CREATE INDEX node_blobs_by_blob ON node_blobs (blob);

-- One row: how many nodes and blobs there are, and the bytes of all of them unpacked. Counted as they are written, since
-- to add them up is to read every page.
CREATE TABLE totals (
    nodes      INTEGER NOT NULL,
    blobs      INTEGER NOT NULL,
    body_bytes INTEGER NOT NULL
) STRICT;
INSERT INTO totals (nodes, blobs, body_bytes) VALUES (0, 0, 0);

-- One call. id is the UUID's 16 bytes, created_at microseconds since 1970 UTC.
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
CREATE INDEX traces_by_time ON traces (created_at, id);
CREATE INDEX traces_by_outcome ON traces (outcome, created_at);
CREATE INDEX traces_by_requested_model ON traces (requested_model, created_at);
CREATE INDEX traces_by_served_model ON traces (served_model, created_at);
CREATE INDEX traces_by_session ON traces (session, created_at) WHERE session IS NOT NULL;
CREATE INDEX traces_by_user ON traces (user, created_at) WHERE user IS NOT NULL;
CREATE INDEX traces_by_upstream_id ON traces (upstream_id) WHERE upstream_id IS NOT NULL;
CREATE INDEX traces_by_request_id ON traces (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX traces_by_request_node ON traces (request_node) WHERE request_node IS NOT NULL;

-- The usage object as the upstream wrote it; apart, since lists and counts read all the rest of a trace and never this.
CREATE TABLE usages (
    trace INTEGER NOT NULL PRIMARY KEY REFERENCES traces (number),
    body  BLOB    NOT NULL
) STRICT;

-- A completion's choices in the order they came; node is a child of the trace's request_node.
CREATE TABLE replies (
    trace         INTEGER NOT NULL REFERENCES traces (number),
    position      INTEGER NOT NULL,
    choice_index  INTEGER NOT NULL,
    node          INTEGER NOT NULL REFERENCES nodes (number),
    finish_reason BLOB,
    logprobs_blob INTEGER REFERENCES blobs (number),
    PRIMARY KEY (trace, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX replies_by_node ON replies (node);

CREATE TABLE tags (
    trace    INTEGER NOT NULL REFERENCES traces (number),
    name     BLOB    NOT NULL,
    position INTEGER NOT NULL,
    value    BLOB    NOT NULL,
    PRIMARY KEY (trace, name)
) STRICT, WITHOUT ROWID;

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

---- changes

-- What was asked of the store from outside the calls: feedback, deletions, imports, exports; the audit log, too. Each is
-- applied once, in the transaction that moves the journal's position. finished_at is NULL while steps of it are left to
-- do; result is JSON that holds counts and ids, never content. asked_at and applied_at as created_at.
CREATE TABLE changes (
    number      INTEGER NOT NULL PRIMARY KEY,
    id          BLOB    NOT NULL UNIQUE,
    kind        TEXT    NOT NULL,
    asked_at    INTEGER NOT NULL,
    asked_by    BLOB,
    applied_at  INTEGER NOT NULL,
    finished_at INTEGER,
    result      BLOB    NOT NULL
) STRICT;
CREATE INDEX changes_by_kind ON changes (kind, number);

---- erasing

-- Erasures that have steps left to do. id is the change's; selector is JSON as it was asked for and goes with the row;
-- phase and place tell how far it has come; counts is the JSON that becomes the change's result. asked_at as created_at.
CREATE TABLE erasures (
    number   INTEGER NOT NULL PRIMARY KEY,
    id       BLOB    NOT NULL UNIQUE,
    asked_at INTEGER NOT NULL,
    selector BLOB    NOT NULL,
    phase    TEXT    NOT NULL,
    place    INTEGER NOT NULL,
    counts   BLOB    NOT NULL
) STRICT;

-- Traces that were erased because somebody asked for it; none of them is stored again. change is number in changes.
CREATE TABLE forgotten_traces (
    id     BLOB    NOT NULL PRIMARY KEY,
    change INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Sessions and users whose calls are not stored if they began by then: a hash of the kind and the name under forgotten_key.
CREATE TABLE forgotten_names (
    hash   BLOB    NOT NULL PRIMARY KEY,
    until  INTEGER NOT NULL,
    change INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- At most one row, drawn by chance.
CREATE TABLE forgotten_key (
    key BLOB NOT NULL
) STRICT;

-- Messages and values that something let go of. What nothing else holds is deleted; the rest is struck off.
CREATE TABLE loose_nodes (
    node INTEGER NOT NULL PRIMARY KEY
) STRICT;

CREATE TABLE loose_blobs (
    blob INTEGER NOT NULL PRIMARY KEY
) STRICT;

-- Loose values that all traces are looked through for; what is left behind the last trace is held by none.
CREATE TABLE doubted_blobs (
    blob INTEGER NOT NULL PRIMARY KEY
) STRICT;

-- One row: whether traces are being looked through, and up to which number they have been.
CREATE TABLE sweep (
    is_looking INTEGER NOT NULL,
    place      INTEGER NOT NULL
) STRICT;
INSERT INTO sweep (is_looking, place) VALUES (0, 0);

-- What retention took: 'content' or 'traces', the newest created_at it was taken of, and of how many traces.
CREATE TABLE pruned (
    what   TEXT    NOT NULL PRIMARY KEY,
    until  INTEGER NOT NULL,
    traces INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

---- feedback

-- Opinions of traces, only ever added; a trace's id is no reference, since feedback may come before its trace. Of those of
-- one person under one name on one thing (a message, a choice, or the whole), is_current is 1 for the last, if that is no
-- retraction. body is the value as JSON text, packed; score is it as a number, true being 1. given_at as created_at.
CREATE TABLE feedback (
    number     INTEGER NOT NULL PRIMARY KEY,
    id         BLOB    NOT NULL UNIQUE,
    trace_id   BLOB    NOT NULL,
    message    INTEGER,
    choice     INTEGER,
    name       BLOB    NOT NULL,
    kind       TEXT    NOT NULL,
    score      REAL,
    body       BLOB    NOT NULL,
    given_by   BLOB,
    given_at   INTEGER NOT NULL,
    is_current INTEGER NOT NULL
) STRICT;
CREATE INDEX feedback_by_trace ON feedback (trace_id, name, is_current, score);
CREATE INDEX feedback_by_name ON feedback (name, trace_id) WHERE is_current = 1;

---- conversations

-- Each call that is part of a conversation; docs/conversations.md tells by which rules. `conversation` is a number that
-- is given out once and may change when conversations become one; the id for others is made when it is asked for.
-- `turn` counts the user's messages in the request. `request` is a short key of the request's meaning, `continues` the
-- point of the reply that it goes on from, and `place` where in the request that reply stands: NULL where the client had
-- dropped the beginning. Which of several calls with one point is the parent follows from the times.
CREATE TABLE conversation_traces (
    trace        INTEGER NOT NULL PRIMARY KEY REFERENCES traces (number),
    conversation INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    turn         INTEGER NOT NULL,
    request      BLOB    NOT NULL,
    continues    BLOB,
    place        INTEGER
) STRICT;
CREATE INDEX conversation_traces_by_conversation ON conversation_traces (conversation, created_at);
CREATE INDEX conversation_traces_by_continues ON conversation_traces (continues, created_at)
    WHERE continues IS NOT NULL;

-- What a call can be found by: one row for each of its points (store/conversation_call.py), or for its request alone when
-- it has no reply. No references here and below: the writer would look each up, and deletes by these keys.
CREATE TABLE conversation_replies (
    point      BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    trace      INTEGER NOT NULL,
    choice     INTEGER,
    PRIMARY KEY (point, created_at, trace)
) STRICT, WITHOUT ROWID;

-- Points in a request that no call has made yet, beyond the one it continues: their calls may come late.
CREATE TABLE conversation_waits (
    point BLOB    NOT NULL,
    trace INTEGER NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (point, trace)
) STRICT, WITHOUT ROWID;

-- Windows that replies end, and windows that calls without a parent seek (store/truncated_history.py).
CREATE TABLE conversation_windows (
    window BLOB    NOT NULL,
    point  BLOB    NOT NULL,
    trace  INTEGER NOT NULL,
    system BLOB    NOT NULL,
    PRIMARY KEY (window, point, trace)
) STRICT, WITHOUT ROWID;
CREATE TABLE conversation_seekers (
    window  BLOB    NOT NULL,
    request BLOB    NOT NULL,
    trace   INTEGER NOT NULL,
    system  BLOB    NOT NULL,
    PRIMARY KEY (window, request, trace)
) STRICT, WITHOUT ROWID;

-- The conversations of sessions that clients named, by id.
CREATE TABLE conversation_sessions (
    id           BLOB    NOT NULL PRIMARY KEY,
    conversation INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row: the last number that was given to a conversation.
CREATE TABLE conversation_count (given INTEGER NOT NULL) STRICT;
INSERT INTO conversation_count (given) VALUES (0);

-- Calls that are still to be stitched: all of an older database, and those whose conversation was taken apart.
CREATE TABLE conversation_unsettled (
    message_count INTEGER NOT NULL,
    trace         INTEGER NOT NULL,
    PRIMARY KEY (message_count, trace)
) STRICT, WITHOUT ROWID;

---- usage

-- What a call used and cost, where its upstream reported usage: sums hold everything, as store/token_counts.py reads it.
-- cost is in 10^-12 dollars, NULL where no price is known or a count is missing.
CREATE TABLE costs (
    trace                 INTEGER NOT NULL PRIMARY KEY REFERENCES traces (number),
    input_tokens          INTEGER,
    output_tokens         INTEGER,
    cached_tokens         INTEGER,
    cache_write_tokens    INTEGER,
    cache_write_1h_tokens INTEGER,
    reasoning_tokens      INTEGER,
    audio_input_tokens    INTEGER,
    audio_output_tokens   INTEGER,
    tier                  TEXT,
    cost                  INTEGER
) STRICT;

-- Sums over all traces by day (since 1970 UTC), route, upstream, models, outcome and first digit of the status. durations
-- and ttfts are histograms (store/latency_histogram.py).
CREATE TABLE usage_days (
    number             INTEGER NOT NULL PRIMARY KEY,
    day                INTEGER NOT NULL,
    route              BLOB    NOT NULL,
    upstream           BLOB    NOT NULL,
    requested_model    BLOB,
    served_model       BLOB,
    outcome            TEXT    NOT NULL,
    status             INTEGER,
    calls              INTEGER NOT NULL,
    complete           INTEGER NOT NULL,
    prompt_tokens      INTEGER NOT NULL,
    completion_tokens  INTEGER NOT NULL,
    input_tokens       INTEGER NOT NULL,
    output_tokens      INTEGER NOT NULL,
    cached_tokens      INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    reasoning_tokens   INTEGER NOT NULL,
    cost               INTEGER NOT NULL,
    unpriced           INTEGER NOT NULL,
    unreported         INTEGER NOT NULL,
    request_bytes      INTEGER NOT NULL,
    response_bytes     INTEGER NOT NULL,
    durations          BLOB    NOT NULL,
    ttfts              BLOB    NOT NULL
) STRICT;
CREATE INDEX usage_days_by_key ON usage_days (
    day, route, upstream, requested_model, served_model, outcome, status
);

-- One row: the prices that hold and their hash; how far traces of an earlier version are counted, and costs priced anew.
CREATE TABLE usage_state (
    price_hash  BLOB    NOT NULL,
    prices      BLOB    NOT NULL,
    counted_to  INTEGER NOT NULL,
    count_until INTEGER NOT NULL,
    priced_to   INTEGER NOT NULL,
    price_until INTEGER NOT NULL
) STRICT;
INSERT INTO usage_state (price_hash, prices, counted_to, count_until, priced_to, price_until)
VALUES (X'', X'', 0, 0, 0, 0);

---- search

-- What traces can be found by besides their columns: hashes of tags, metadata, tools called, finish reasons, flags and
-- keys (store/filter_labels.py). They propose traces, and prove nothing. created_at is the trace's.
CREATE TABLE trace_labels (
    label      INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    trace      INTEGER NOT NULL,
    PRIMARY KEY (label, created_at, trace)
) STRICT, WITHOUT ROWID;
CREATE INDEX traces_by_duration_ms ON traces (duration_ms) WHERE duration_ms IS NOT NULL;
CREATE INDEX traces_by_prompt_tokens ON traces (prompt_tokens) WHERE prompt_tokens IS NOT NULL;
CREATE INDEX traces_by_completion_tokens ON traces (completion_tokens) WHERE completion_tokens IS NOT NULL;
CREATE INDEX costs_by_cost ON costs (cost) WHERE cost IS NOT NULL;

-- One row: whether messages are indexed for search.
CREATE TABLE search_settings (
    is_on INTEGER NOT NULL
) STRICT;
INSERT INTO search_settings (is_on) VALUES (1);

-- The parts of the full-text index (store/search_index.py). Each has an FTS5 table search_words_<number> over the messages
-- from first_node to last_node, of which those up to indexed_node are in. state is growing, full, merging, whole, stale (a part
-- that replaces it is being made) or gone (its table is being emptied).
CREATE TABLE search_parts (
    number       INTEGER NOT NULL PRIMARY KEY,
    first_node   INTEGER NOT NULL,
    last_node    INTEGER NOT NULL,
    indexed_node INTEGER NOT NULL,
    state        TEXT    NOT NULL,
    replaces     INTEGER
) STRICT;

---- raw calls

-- Where the raw bytes of calls lie in the files of the folder raw/, some calls together: those of traces from first_trace
-- to last_trace, of which some may have none. Packs do not overlap. The numbers are no references: a pack outlives traces
-- that had no raw bytes. stored_at as created_at.
CREATE TABLE raw_packs (
    number      INTEGER NOT NULL PRIMARY KEY,
    segment     INTEGER NOT NULL,
    offset      INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    calls       INTEGER NOT NULL,
    first_trace INTEGER NOT NULL,
    last_trace  INTEGER NOT NULL,
    stored_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX raw_packs_by_place ON raw_packs (segment, offset);
CREATE INDEX raw_packs_by_trace ON raw_packs (last_trace);

-- What a store needs to be kept for years: changes that are asked for, feedback, conversations, usage by day, search, raw
-- calls. Each part has its section; the sections are independent of each other.

---- changes

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

CREATE TABLE erasures (
    number   INTEGER NOT NULL PRIMARY KEY,
    id       BLOB    NOT NULL UNIQUE,
    asked_at INTEGER NOT NULL,
    selector BLOB    NOT NULL,
    phase    TEXT    NOT NULL,
    place    INTEGER NOT NULL,
    counts   BLOB    NOT NULL
) STRICT;

CREATE TABLE forgotten_traces (
    id     BLOB    NOT NULL PRIMARY KEY,
    change INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE forgotten_names (
    hash   BLOB    NOT NULL PRIMARY KEY,
    until  INTEGER NOT NULL,
    change INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE forgotten_key (
    key BLOB NOT NULL
) STRICT;

CREATE TABLE loose_nodes (
    node INTEGER NOT NULL PRIMARY KEY
) STRICT;

CREATE TABLE loose_blobs (
    blob INTEGER NOT NULL PRIMARY KEY
) STRICT;

CREATE TABLE doubted_blobs (
    blob INTEGER NOT NULL PRIMARY KEY
) STRICT;

CREATE TABLE sweep (
    is_looking INTEGER NOT NULL,
    place      INTEGER NOT NULL
) STRICT;
INSERT INTO sweep (is_looking, place) VALUES (0, 0);

CREATE TABLE pruned (
    what   TEXT    NOT NULL PRIMARY KEY,
    until  INTEGER NOT NULL,
    traces INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

---- feedback

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
CREATE TABLE conversation_replies (
    point      BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    trace      INTEGER NOT NULL,
    choice     INTEGER,
    PRIMARY KEY (point, created_at, trace)
) STRICT, WITHOUT ROWID;
CREATE TABLE conversation_waits (
    point BLOB    NOT NULL,
    trace INTEGER NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (point, trace)
) STRICT, WITHOUT ROWID;
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
CREATE TABLE conversation_sessions (
    id           BLOB    NOT NULL PRIMARY KEY,
    conversation INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE conversation_count (given INTEGER NOT NULL) STRICT;
INSERT INTO conversation_count (given) VALUES (0);
CREATE TABLE conversation_unsettled (
    message_count INTEGER NOT NULL,
    trace         INTEGER NOT NULL,
    PRIMARY KEY (message_count, trace)
) STRICT, WITHOUT ROWID;
INSERT INTO conversation_unsettled (message_count, trace) SELECT message_count, number FROM traces;

---- usage

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

CREATE TABLE usage_state (
    price_hash  BLOB    NOT NULL,
    prices      BLOB    NOT NULL,
    counted_to  INTEGER NOT NULL,
    count_until INTEGER NOT NULL,
    priced_to   INTEGER NOT NULL,
    price_until INTEGER NOT NULL
) STRICT;
INSERT INTO usage_state (price_hash, prices, counted_to, count_until, priced_to, price_until)
SELECT X'', X'', 0, coalesce(max(number), 0), 0, 0 FROM traces;

---- search

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
CREATE TABLE search_settings (
    is_on INTEGER NOT NULL
) STRICT;
INSERT INTO search_settings (is_on) VALUES (1);
CREATE TABLE search_parts (
    number       INTEGER NOT NULL PRIMARY KEY,
    first_node   INTEGER NOT NULL,
    last_node    INTEGER NOT NULL,
    indexed_node INTEGER NOT NULL,
    state        TEXT    NOT NULL,
    replaces     INTEGER
) STRICT;

-- The label LATER (store/filter_labels.py): a chore makes their own, and until then they are looked at one by one.
INSERT INTO trace_labels (label, created_at, trace) SELECT 3313452712160405918, created_at, number FROM traces;

---- raw calls

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

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

---- usage

---- search

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

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

---- feedback

---- conversations

---- usage

---- search

---- raw calls

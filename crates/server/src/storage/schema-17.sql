-- Schema version 17: a relay, which keeps envelopes by content topics and knows nothing of the rest. A relay that is no hub has
-- the row of `hub`, with positions, and these tables alone.

-- The identity of what is kept. Another one says that positions have begun anew.
CREATE TABLE relay_log (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    log BLOB NOT NULL CHECK (length(log) = 16)
) STRICT;

CREATE TABLE relay_topics (
    topic    INTEGER PRIMARY KEY, -- the number of the content topic
    position INTEGER NOT NULL,    -- the last one given out in the topic; they begin with 1
    cut      INTEGER NOT NULL,    -- up to here nothing is kept any more
    bytes    INTEGER NOT NULL,    -- of the envelopes that are kept
    moved_at INTEGER NOT NULL     -- the hub's position when the last one was given out
) STRICT;

CREATE TABLE relay_envelopes (
    topic    INTEGER NOT NULL,
    position INTEGER NOT NULL,
    hash     BLOB    NOT NULL CHECK (length(hash) = 32), -- SHA-256 of the envelope
    size     INTEGER NOT NULL, -- of the envelope, in bytes
    taken_at INTEGER NOT NULL,
    envelope BLOB    NOT NULL,
    PRIMARY KEY (topic, position)
) STRICT;
CREATE UNIQUE INDEX relay_envelopes_by_hash ON relay_envelopes (topic, hash);

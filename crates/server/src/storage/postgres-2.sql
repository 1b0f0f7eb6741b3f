-- The schema of PostgreSQL, version 2: what version 17 is of SQLite.

CREATE TABLE relay_log (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    log BYTEA NOT NULL CHECK (length(log) = 16)
);

CREATE TABLE relay_topics (
    topic BIGINT PRIMARY KEY, -- the number of the content topic
    position BIGINT NOT NULL, -- the last one given out in the topic; they begin with 1
    cut BIGINT NOT NULL, -- up to here nothing is kept any more
    bytes BIGINT NOT NULL, -- of the envelopes that are kept
    moved_at BIGINT NOT NULL -- the hub's position when the last one was given out
);

CREATE TABLE relay_envelopes (
    topic BIGINT NOT NULL,
    position BIGINT NOT NULL,
    hash BYTEA NOT NULL CHECK (length(hash) = 32), -- SHA-256 of the envelope
    size BIGINT NOT NULL, -- of the envelope, in bytes
    taken_at BIGINT NOT NULL,
    envelope BYTEA NOT NULL,
    PRIMARY KEY (topic, position)
);
CREATE UNIQUE INDEX relay_envelopes_by_hash ON relay_envelopes (topic, hash);

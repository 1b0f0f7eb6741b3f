-- Schema version 1. Ids of users and conversations are the 16 bytes of the UUID, devices the 64 bits of their id as a
-- signed integer, times milliseconds since 1970.
--
-- A *position* is a number that the writer counts up for every entry of every conversation's log and for every event of
-- a user. It rises in the order of commits, so that what a reader has seen is everything up to one number.

CREATE TABLE hub (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    domain   TEXT    NOT NULL,
    position INTEGER NOT NULL -- the last one given out
) STRICT;

CREATE TABLE users (
    id         BLOB    PRIMARY KEY CHECK (length(id) = 16),
    handle     TEXT    NOT NULL UNIQUE,
    password   TEXT    NOT NULL, -- Argon2id, PHC string
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE devices (
    user          BLOB    NOT NULL REFERENCES users (id),
    device        INTEGER NOT NULL,
    label         TEXT    NOT NULL,
    signature_key BLOB    NOT NULL, -- every leaf of the device uses it
    created_at    INTEGER NOT NULL,
    registered    INTEGER NOT NULL, -- position at which the device's stream begins
    acknowledged  INTEGER NOT NULL, -- position up to which the device has everything
    published     INTEGER NOT NULL DEFAULT 0, -- whether it ever uploaded a key package, so that it can be added to groups
    PRIMARY KEY (user, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    token_hash BLOB    PRIMARY KEY CHECK (length(token_hash) = 32), -- SHA-256 of the token
    user       BLOB    NOT NULL REFERENCES users (id),
    device     INTEGER, -- set once, when the session registers its device
    created_at INTEGER NOT NULL,
    FOREIGN KEY (user, device) REFERENCES devices (user, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions (user, created_at);

CREATE TABLE key_packages (
    hash        BLOB    PRIMARY KEY CHECK (length(hash) = 32), -- SHA-256 of the KeyPackage without MLSMessage header
    user        BLOB    NOT NULL,
    device      INTEGER NOT NULL,
    last_resort INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    key_package BLOB    NOT NULL, -- as it was uploaded
    FOREIGN KEY (user, device) REFERENCES devices (user, device)
) STRICT;
CREATE INDEX key_packages_by_device ON key_packages (user, device, last_resort, expires_at);

-- Those that were handed out, until they expire: an upload that is repeated after its answer was lost must not offer
-- them again.
CREATE TABLE spent_key_packages (
    hash       BLOB    PRIMARY KEY CHECK (length(hash) = 32),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX spent_key_packages_by_expiry ON spent_key_packages (expires_at);

-- A pair of users has two rows, one each way, or none.
CREATE TABLE connections (
    user         BLOB    NOT NULL REFERENCES users (id),
    other        BLOB    NOT NULL REFERENCES users (id),
    status       TEXT    NOT NULL,
    conversation BLOB    NOT NULL, -- the pair's 1:1
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (user, other)
) STRICT, WITHOUT ROWID;
CREATE INDEX connections_by_conversation ON connections (conversation, user);

CREATE TABLE conversations (
    id            BLOB    PRIMARY KEY CHECK (length(id) = 16),
    type          TEXT    NOT NULL,
    creator       BLOB    NOT NULL REFERENCES users (id),
    created_at    INTEGER NOT NULL,
    group_id      BLOB    NOT NULL UNIQUE,
    epoch         INTEGER NOT NULL DEFAULT 0,
    last_sequence INTEGER NOT NULL DEFAULT 0, -- the last number in its log
    last_position INTEGER NOT NULL DEFAULT 0  -- the position of the last entry in its log
) STRICT, WITHOUT ROWID;

-- One row for each time that a user was in a conversation. A user sees the entries of its log from `joined_position` to
-- `left_position`, both included.
CREATE TABLE members (
    conversation    BLOB    NOT NULL REFERENCES conversations (id),
    user            BLOB    NOT NULL REFERENCES users (id),
    role            TEXT    NOT NULL,
    joined_position INTEGER NOT NULL,
    left_position   INTEGER, -- absent while the user is in it
    PRIMARY KEY (conversation, user, joined_position)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX members_now ON members (conversation, user) WHERE left_position IS NULL;
CREATE INDEX members_by_user ON members (user, left_position);

-- What the hub keeps of an MLS group, to check the next commit. Separate from `conversations`, because it is large.
CREATE TABLE groups (
    conversation BLOB PRIMARY KEY REFERENCES conversations (id),
    snapshot     BLOB NOT NULL, -- the external group (public state only)
    group_info   BLOB NOT NULL  -- the MLSMessage for who joins by external commit
) STRICT;

-- The devices in the ratchet tree at the current epoch.
CREATE TABLE leaves (
    conversation BLOB    NOT NULL REFERENCES conversations (id),
    leaf_index   INTEGER NOT NULL,
    user         BLOB    NOT NULL,
    device       INTEGER NOT NULL,
    PRIMARY KEY (conversation, leaf_index),
    UNIQUE (conversation, user, device)
) STRICT, WITHOUT ROWID;

-- Pending proposals of the current epoch.
CREATE TABLE proposals (
    conversation BLOB    NOT NULL REFERENCES conversations (id),
    epoch        INTEGER NOT NULL,
    ref          BLOB    NOT NULL, -- ProposalRef (RFC 9420 section 5.2)
    removes      INTEGER, -- the leaf index that it removes
    message      BLOB    NOT NULL, -- the MLSMessage
    PRIMARY KEY (conversation, ref)
) STRICT, WITHOUT ROWID;

-- The logs of all conversations. Every entry is stored once, however many devices read it.
CREATE TABLE log (
    position      INTEGER PRIMARY KEY,
    conversation  BLOB    NOT NULL REFERENCES conversations (id),
    sequence      INTEGER NOT NULL,
    kind          TEXT    NOT NULL,
    epoch         INTEGER, -- of a commit, the one that it made; otherwise the one it was sent in
    sender_user   BLOB,    -- absent where the hub is the sender
    sender_device INTEGER,
    sent_at       INTEGER NOT NULL,
    body          BLOB,    -- the message, commit or proposal, an MLSMessage
    welcome       BLOB,    -- of a commit
    message       BLOB,    -- of a commit: the application message that came with it
    extra         TEXT,    -- JSON, by kind
    digest        BLOB     -- the first 16 bytes of SHA-256 of what was sent, to know it when it is sent again
) STRICT;
CREATE INDEX log_by_conversation ON log (conversation, position);
CREATE UNIQUE INDEX log_by_digest ON log (conversation, digest) WHERE digest IS NOT NULL;

-- Events of a user that stand in no conversation's log.
CREATE TABLE user_events (
    position INTEGER PRIMARY KEY,
    user     BLOB NOT NULL REFERENCES users (id),
    body     TEXT NOT NULL -- JSON, an event without its cursor
) STRICT;
CREATE INDEX user_events_by_user ON user_events (user, position);

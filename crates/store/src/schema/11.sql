-- Version 11 of the store: homes without an account, and conversations that travel in envelopes.

-- Who the user is where there is no hub. The key is an Ed25519 private key.
CREATE TABLE identity (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    secret  BLOB NOT NULL,
    replays BLOB NOT NULL -- which invitations have come
);

-- The keys that invitations are encrypted to: X25519 private keys. Old ones stay while a bundle with them is about.
CREATE TABLE inbox_keys (
    id          INTEGER PRIMARY KEY,
    secret      BLOB    NOT NULL,
    since       INTEGER NOT NULL, -- when it was made, seconds since 1970
    until       INTEGER NOT NULL, -- when no bundle with it is valid any more, seconds since 1970
    key_package BLOB    NOT NULL  -- the MLS key package that stands in the bundles beside it
);

-- The relays of this home, in the order in which they are asked.
CREATE TABLE relays (
    place   INTEGER PRIMARY KEY,
    address TEXT NOT NULL UNIQUE
);

-- How far the topics were read at each carrier.
CREATE TABLE topic_cursors (
    carrier TEXT NOT NULL,
    topic   TEXT NOT NULL,
    cursor  TEXT NOT NULL,
    PRIMARY KEY (carrier, topic)
) WITHOUT ROWID;

-- Conversations that travel in envelopes.
CREATE TABLE enveloped (
    conversation    BLOB    PRIMARY KEY,
    type            INTEGER NOT NULL, -- the number of its type
    creation_secret BLOB    NOT NULL,
    listening       INTEGER NOT NULL, -- whether its topic is read
    carriers        TEXT    NOT NULL, -- JSON: by whose names; none are all of the home
    state           BLOB    NOT NULL, -- what its type keeps of it
    due_at          INTEGER           -- when its type has something to do, milliseconds since 1970
);

CREATE INDEX enveloped_by_due ON enveloped (due_at) WHERE due_at IS NOT NULL;

-- The hints of each conversation, with this device's own counters. Whoever reads them anew takes what others have written since.
CREATE TABLE hints (
    conversation BLOB    PRIMARY KEY,
    version      INTEGER NOT NULL UNIQUE, -- rises with each write
    writer       INTEGER NOT NULL,        -- a number of the process that wrote it
    record       BLOB    NOT NULL         -- empty once the conversation is forgotten
);

-- Envelopes on their way out. Their hints are used up, so they are never made anew.
CREATE TABLE envelopes (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation BLOB    NOT NULL, -- of an invitation, the one that it is to
    topic        TEXT    NOT NULL,
    bytes        BLOB    NOT NULL,
    outbox       INTEGER UNIQUE,   -- the message of the outbox that is in it, if one is
    created_at   INTEGER NOT NULL  -- milliseconds since 1970
);

-- The carriers that have not taken an envelope yet.
CREATE TABLE postings (
    envelope INTEGER NOT NULL REFERENCES envelopes (id) ON DELETE CASCADE,
    carrier  TEXT    NOT NULL,
    PRIMARY KEY (envelope, carrier)
) WITHOUT ROWID;

-- Envelopes of this device whose place in an ordered topic it waits to see.
CREATE TABLE echoes (
    digest       BLOB PRIMARY KEY, -- SHA-256 of the envelope
    conversation BLOB NOT NULL
) WITHOUT ROWID;

-- What people have shown of themselves, in bundles.
CREATE TABLE bundles (
    user   BLOB PRIMARY KEY,
    bundle BLOB    NOT NULL,
    device INTEGER NOT NULL -- which of its devices this home talks with
);

-- Invitations that were not answered yet.
CREATE TABLE invitations (
    conversation BLOB    PRIMARY KEY,
    user         BLOB    NOT NULL,
    received_at  INTEGER NOT NULL, -- milliseconds since 1970
    content      BLOB    NOT NULL  -- what it is to; opaque bytes of the SDK's making
);

CREATE INDEX invitations_by_user ON invitations (user);

-- Envelopes of known conversations that a later version may be able to read.
CREATE TABLE unsupported_envelopes (
    digest      BLOB    PRIMARY KEY, -- SHA-256 of the envelope
    bytes       BLOB    NOT NULL,
    received_at INTEGER NOT NULL     -- milliseconds since 1970
) WITHOUT ROWID;

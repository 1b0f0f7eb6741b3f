-- How the messages of a conversation are encrypted.
ALTER TABLE conversations ADD COLUMN protocol TEXT NOT NULL DEFAULT 'mls';

-- Whether the ciphertext is one for a pair of devices each, or else of the MLS group.
ALTER TABLE outbox ADD COLUMN pairwise INTEGER NOT NULL DEFAULT 0;

-- What belongs to the pairwise sessions. States are opaque bytes of their making.

-- This device's own long-lived and one-time keys.
CREATE TABLE pairwise_account (
    id             INTEGER PRIMARY KEY CHECK (id = 1),
    incarnation    INTEGER NOT NULL, -- of the store, for which the keys were made
    fallback_since INTEGER NOT NULL, -- when the present fallback key was made, milliseconds since 1970
    state          BLOB    NOT NULL
);

-- The devices with which there were sessions, and the keys by which they are known for good.
CREATE TABLE pairwise_peers (
    address       TEXT    PRIMARY KEY, -- user:device@domain
    user          BLOB    NOT NULL,
    signature_key BLOB    NOT NULL,
    identity_key  BLOB    NOT NULL,
    preferred     TEXT,             -- the session to encrypt with
    renew         INTEGER NOT NULL  -- whether the next message begins a new session
) WITHOUT ROWID;

CREATE INDEX pairwise_peers_by_user ON pairwise_peers (user);

CREATE TABLE pairwise_sessions (
    address     TEXT    NOT NULL REFERENCES pairwise_peers (address) ON DELETE CASCADE,
    id          TEXT    NOT NULL,
    used        INTEGER NOT NULL, -- rises with each use of one of the peer's sessions
    incarnation INTEGER NOT NULL, -- of the store, in which the session was last used to encrypt
    state       BLOB    NOT NULL,
    PRIMARY KEY (address, id)
);

-- What belongs to the MLS engine. Ids and records are opaque bytes of its own making.

CREATE TABLE mls_groups (
    id    BLOB PRIMARY KEY,
    state BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE mls_epochs (
    group_id BLOB    NOT NULL,
    epoch    INTEGER NOT NULL,
    state    BLOB    NOT NULL,
    PRIMARY KEY (group_id, epoch)
) WITHOUT ROWID;

CREATE TABLE mls_pending_commits (
    group_id BLOB PRIMARY KEY,
    record   BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE mls_credentials (
    public_key  BLOB PRIMARY KEY,
    client_id   BLOB    NOT NULL,
    ciphersuite INTEGER NOT NULL,
    secret_key  BLOB    NOT NULL
) WITHOUT ROWID;

CREATE TABLE mls_key_packages (
    reference     BLOB PRIMARY KEY,
    data          BLOB    NOT NULL,
    not_after     INTEGER NOT NULL, -- seconds since 1970
    last_resort   INTEGER NOT NULL,
    signature_key BLOB    NOT NULL  -- which credential it was made with
) WITHOUT ROWID;

CREATE TABLE mls_data (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    data BLOB NOT NULL
);

-- What belongs to the application. UUIDs are 16 bytes; times are milliseconds since 1970.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE users (
    id     BLOB PRIMARY KEY,
    handle TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX users_by_handle ON users (handle);

CREATE TABLE connections (
    user         BLOB PRIMARY KEY,
    status       TEXT    NOT NULL,
    conversation BLOB    NOT NULL,
    updated_at   INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE conversations (
    id         BLOB PRIMARY KEY,
    kind       TEXT    NOT NULL,
    name       TEXT,
    epoch      INTEGER NOT NULL,           -- the hub's, as far as it is known here
    joined     INTEGER NOT NULL DEFAULT 0, -- whether this device is in the MLS group
    active     INTEGER NOT NULL DEFAULT 1, -- whether the user is a member
    last_read  INTEGER NOT NULL DEFAULT 0, -- arrival of a message
    created_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE members (
    conversation BLOB NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    user         BLOB NOT NULL,
    role         TEXT NOT NULL,
    PRIMARY KEY (conversation, user)
) WITHOUT ROWID;

CREATE TABLE messages (
    -- The order in which they came into this home. A device's own message can come before an earlier one of somebody else.
    arrival       INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation  BLOB    NOT NULL,
    sequence      INTEGER NOT NULL,
    sender        BLOB    NOT NULL,
    sender_device INTEGER NOT NULL, -- the bits of the device's id
    sent_at       INTEGER NOT NULL,
    message_id    BLOB    NOT NULL, -- MIMI, 32 bytes
    content       BLOB    NOT NULL, -- MIMI, as it was decrypted
    text          TEXT,             -- what of it is shown
    UNIQUE (conversation, sequence)
);

CREATE INDEX messages_by_arrival ON messages (conversation, arrival);
CREATE INDEX messages_by_id ON messages (conversation, message_id);

CREATE TABLE outbox (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation BLOB    NOT NULL,
    kind         TEXT    NOT NULL,
    content      BLOB    NOT NULL,
    ciphertext   BLOB,
    digest       BLOB UNIQUE,       -- SHA-256 of the ciphertext
    created_at   INTEGER NOT NULL
);

CREATE INDEX outbox_by_conversation ON outbox (conversation, id);

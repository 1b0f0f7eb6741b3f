-- The cost of a message no longer grows with its group: what a message changes goes into a journal, and the state of the
-- group, with its serial number, is written now and then. The number comes before the state, so that it is found without
-- reading past it. Tables whose rows can be long have a ROWID: without one SQLite reads a row as a whole to compare its key.
CREATE TABLE mls_groups_2 (
    id     BLOB PRIMARY KEY,
    serial INTEGER NOT NULL, -- of the newest journal entry that the state contains
    state  BLOB    NOT NULL
);

INSERT INTO mls_groups_2 (id, serial, state) SELECT id, 0, state FROM mls_groups;
DROP TABLE mls_groups;
ALTER TABLE mls_groups_2 RENAME TO mls_groups;

-- The ratchet tree of a group, where it is not part of the state: it changes with the epoch only, and few parts of it do.
CREATE TABLE mls_trees (
    group_id BLOB    NOT NULL,
    part     INTEGER NOT NULL, -- from 0, without gaps
    nodes    BLOB    NOT NULL,
    PRIMARY KEY (group_id, part)
);

CREATE TABLE mls_epochs_2 (
    group_id BLOB    NOT NULL,
    epoch    INTEGER NOT NULL,
    state    BLOB    NOT NULL,
    PRIMARY KEY (group_id, epoch)
);

INSERT INTO mls_epochs_2 (group_id, epoch, state) SELECT group_id, epoch, state FROM mls_epochs;
DROP TABLE mls_epochs;
ALTER TABLE mls_epochs_2 RENAME TO mls_epochs;

-- A pending commit in two parts: what every operation looks at, and what is sent with the state that follows. Of an older
-- one the first is empty.
CREATE TABLE mls_pending_commits_2 (
    group_id BLOB PRIMARY KEY,
    head     BLOB NOT NULL,
    body     BLOB NOT NULL
);

INSERT INTO mls_pending_commits_2 (group_id, head, body) SELECT group_id, X'', record FROM mls_pending_commits;
DROP TABLE mls_pending_commits;
ALTER TABLE mls_pending_commits_2 RENAME TO mls_pending_commits;

-- The message keys that were used up. Entries up to the serial number of the group's state are contained in it.
CREATE TABLE mls_journal (
    group_id   BLOB    NOT NULL,
    serial     INTEGER NOT NULL,
    leaf       INTEGER NOT NULL, -- the sender
    generation INTEGER NOT NULL,
    digest     BLOB,             -- of a message of this device, to know it again
    PRIMARY KEY (group_id, serial)
) WITHOUT ROWID;

-- Everything else that the engine keeps, by its own kinds, owners and keys.
CREATE TABLE mls_records (
    kind  INTEGER NOT NULL,
    owner BLOB    NOT NULL,
    key   BLOB    NOT NULL,
    value BLOB    NOT NULL,
    PRIMARY KEY (kind, owner, key)
) WITHOUT ROWID;

-- The credential as it stands in a leaf, if it is more than the client's id.
ALTER TABLE mls_credentials ADD COLUMN credential BLOB;

-- Which incarnation of the store made the key package.
ALTER TABLE mls_key_packages ADD COLUMN incarnation INTEGER NOT NULL DEFAULT 0;

-- Which file this database is, to find out when it has been restored or copied.
CREATE TABLE incarnation (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    number  INTEGER NOT NULL, -- raised each time, to the next `written`
    file    TEXT,             -- what the file system says about the file; none until it is first opened
    written INTEGER NOT NULL  -- how often
);

INSERT INTO incarnation (id, number, file, written) VALUES (1, 0, NULL, 0);

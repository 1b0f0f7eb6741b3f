-- Schema version 12: what operators do. Accounts that they have locked, and restores of backups.

ALTER TABLE users ADD COLUMN locked_at INTEGER; -- absent while the account is not locked

-- When the session was last used, to the day; absent while it was not used under this version.
ALTER TABLE sessions ADD COLUMN used_at INTEGER;

-- What was given out after `after` and before `until` was lost when a backup was restored. Whoever comes with a place in
-- between knows more than the hub.
CREATE TABLE restores (
    after INTEGER PRIMARY KEY, -- the position that the backup ended with
    until INTEGER NOT NULL,    -- the position that the hub went on after
    at    INTEGER NOT NULL
) STRICT;

-- The conversations whose groups have to be begun anew after a restore, before the hub serves anybody: devices may be ahead
-- of them.
CREATE TABLE groups_to_renew (
    conversation BLOB PRIMARY KEY REFERENCES conversations (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

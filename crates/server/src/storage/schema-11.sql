-- Schema version 11: the MLS groups in which the hub has yet to propose removals, because a user or a device is gone that was in
-- many.

CREATE TABLE removals_due (
    conversation BLOB PRIMARY KEY REFERENCES conversations (id)
) STRICT, WITHOUT ROWID;

-- The conversation of a deleted user with themselves is read by nobody: what its members do not need any more goes here, the rest
-- when the hub starts.
UPDATE conversations SET ended_at = 0
    WHERE type = 'self' AND ended_at IS NULL AND creator IN (SELECT id FROM users WHERE deleted_at IS NOT NULL);
DELETE FROM groups    WHERE conversation IN (SELECT id FROM conversations WHERE type = 'self' AND ended_at = 0);
DELETE FROM leaves    WHERE conversation IN (SELECT id FROM conversations WHERE type = 'self' AND ended_at = 0);
DELETE FROM proposals WHERE conversation IN (SELECT id FROM conversations WHERE type = 'self' AND ended_at = 0);

-- Of an ended guest nothing stays once nothing refers to it.
CREATE INDEX conversations_by_creator ON conversations (creator);
DELETE FROM users WHERE kind = 'guest' AND deleted_at IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM members m WHERE m.user = users.id)
    AND NOT EXISTS (SELECT 1 FROM conversations c WHERE c.creator = users.id)
    AND NOT EXISTS (SELECT 1 FROM connections n WHERE n.user = users.id OR n.other = users.id);

-- Links that are given to the hub before the commit that puts their keys into the conversations' policies, which makes them the
-- conversations' links.
CREATE TABLE prepared_links (
    conversation BLOB    PRIMARY KEY REFERENCES conversations (id),
    code_hash    BLOB    NOT NULL UNIQUE CHECK (length(code_hash) = 32),
    public_key   BLOB    NOT NULL CHECK (length(public_key) = 32),
    password     TEXT,
    expires_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

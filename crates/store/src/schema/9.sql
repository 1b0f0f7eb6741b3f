-- Version 9 of the store: what those who come later may read, and messages that this device was given to read so.

ALTER TABLE conversations ADD COLUMN history TEXT NOT NULL DEFAULT 'none';
ALTER TABLE conversations ADD COLUMN history_since INTEGER NOT NULL DEFAULT 0; -- epoch from which on it is shared
ALTER TABLE conversations ADD COLUMN came_at INTEGER; -- when the hub accepted the commit that added this device, if one did

-- Of a message from shared history: the first epoch of its span. Such a message has an arrival below 0, before all others: it is
-- never unread.
ALTER TABLE messages ADD COLUMN history_span INTEGER;
ALTER TABLE messages ADD COLUMN history_verified INTEGER NOT NULL DEFAULT 0; -- whether the span is known to be genuine
ALTER TABLE messages ADD COLUMN shared_by BLOB;                              -- the user who gave the span

-- When epochs began, as far as history of that age is shared.
CREATE TABLE epochs (
    conversation BLOB    NOT NULL,
    epoch        INTEGER NOT NULL,
    began_at     INTEGER NOT NULL, -- when the hub accepted its commit, milliseconds since 1970
    PRIMARY KEY (conversation, epoch)
) WITHOUT ROWID;

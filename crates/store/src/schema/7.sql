-- What is set for all members of a conversation, messages that are deleted by themselves, who has read what, and what the user
-- has set for themselves.

ALTER TABLE conversations ADD COLUMN message_timer INTEGER; -- milliseconds that messages stay once they were read
ALTER TABLE conversations ADD COLUMN receipt_mode TEXT NOT NULL DEFAULT 'off';
ALTER TABLE conversations ADD COLUMN add_permission TEXT NOT NULL DEFAULT 'admins'; -- as the hub says; a policy counts for more
ALTER TABLE conversations ADD COLUMN parent BLOB;

-- When a message is to be deleted, milliseconds since 1970. Of one that stays for a time after it was read, that is known once
-- it was read.
ALTER TABLE messages ADD COLUMN expires_at INTEGER;
ALTER TABLE messages ADD COLUMN expires_after INTEGER; -- milliseconds after it was read

CREATE INDEX messages_by_expiry ON messages (expires_at) WHERE expires_at IS NOT NULL;

-- What members have told of messages: delivered, read or error.
CREATE TABLE receipts (
    conversation BLOB    NOT NULL,
    message_id   BLOB    NOT NULL, -- MIMI, 32 bytes
    user         BLOB    NOT NULL,
    status       TEXT    NOT NULL,
    told_at      INTEGER NOT NULL, -- when the hub accepted it, milliseconds since 1970
    PRIMARY KEY (conversation, message_id, user)
) WITHOUT ROWID;

-- Whether the user has muted, archived or hidden a conversation. Known to the user's own devices only.
CREATE TABLE own_settings (
    conversation BLOB    NOT NULL,
    setting      TEXT    NOT NULL,
    is_set       INTEGER NOT NULL,
    reference    TEXT,             -- what the application wants to know of it
    decided      INTEGER NOT NULL, -- number of the message that brought it, in the user's conversation with themselves
    pending      INTEGER NOT NULL, -- whether the user's other devices are to be told
    PRIMARY KEY (conversation, setting)
) WITHOUT ROWID;

-- Schema version 15: a session's token is exchanged for another from time to time, and it is known how much of a user is stored.

ALTER TABLE sessions ADD COLUMN next_hash BLOB;   -- SHA-256 of the token that takes the place of this one when it is first used
ALTER TABLE sessions ADD COLUMN token_at INTEGER; -- since when the token is used; absent of the session's first

CREATE UNIQUE INDEX sessions_by_next ON sessions (next_hash) WHERE next_hash IS NOT NULL;

-- Bytes of messages, commits and proposals in the logs that this user sent; and how many an entry adds to that. What is there
-- already is not counted.
ALTER TABLE users ADD COLUMN stored_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE log ADD COLUMN counted INTEGER NOT NULL DEFAULT 0;

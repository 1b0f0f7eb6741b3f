-- Schema version 7: who is admitted to a conversation, its join link, and who waits to come in.

-- Bit n stands for the nth mode and the nth role of the domain. Until now members were added by members, and nobody came in
-- otherwise.
ALTER TABLE conversations ADD COLUMN access       INTEGER NOT NULL DEFAULT 2; -- invite
ALTER TABLE conversations ADD COLUMN access_roles INTEGER NOT NULL DEFAULT 15; -- everybody
UPDATE conversations SET access_roles = 3 WHERE team IS NOT NULL; -- persons

CREATE TABLE join_links (
    conversation BLOB    PRIMARY KEY REFERENCES conversations (id),
    code_hash    BLOB    NOT NULL UNIQUE CHECK (length(code_hash) = 32), -- SHA-256 of the code
    public_key   BLOB    NOT NULL CHECK (length(public_key) = 32),
    password     TEXT,    -- hash of the password, a PHC string; absent without one
    expires_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Users whom the hub has found fit to come in, and whom a member has to add by a commit.
CREATE TABLE join_requests (
    conversation BLOB    NOT NULL REFERENCES conversations (id),
    user         BLOB    NOT NULL REFERENCES users (id),
    proof        BLOB    CHECK (length(proof) = 64), -- by which link; absent of who asked by the conversation's id alone
    requested_at INTEGER NOT NULL,
    PRIMARY KEY (conversation, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX join_requests_by_user ON join_requests (user);

-- Schema version 6: devices and accounts that are no more, what users say of themselves, and teams.

ALTER TABLE users ADD COLUMN name       TEXT;    -- for people
ALTER TABLE users ADD COLUMN locale     TEXT;    -- a language tag
ALTER TABLE users ADD COLUMN deleted_at INTEGER; -- of a deleted account, of which id and handle stay, so that nobody gets them

-- When the last member of a group went. It is deleted once all who were in it have read what is theirs.
ALTER TABLE conversations ADD COLUMN ended_at INTEGER;

-- Devices that their user has removed. Their ids are not used again: a leaf that others have not removed yet must not
-- become that of another device.
CREATE TABLE removed_devices (
    user       BLOB    NOT NULL REFERENCES users (id),
    device     INTEGER NOT NULL,
    removed_at INTEGER NOT NULL,
    PRIMARY KEY (user, device)
) STRICT, WITHOUT ROWID;

-- Tokens of sessions that ended with their device: who comes with one is told what became of the device. Forgotten after
-- a time.
CREATE TABLE removed_sessions (
    token_hash BLOB    PRIMARY KEY CHECK (length(token_hash) = 32), -- SHA-256 of the token
    removed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX removed_sessions_by_time ON removed_sessions (removed_at);

CREATE INDEX leaves_by_device ON leaves (user, device);
CREATE INDEX connections_by_other ON connections (other);
CREATE INDEX conversations_ended ON conversations (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE teams (
    id         BLOB    PRIMARY KEY CHECK (length(id) = 16),
    name       TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A user is in one team at most.
CREATE TABLE team_members (
    user      BLOB    PRIMARY KEY REFERENCES users (id),
    team      BLOB    NOT NULL REFERENCES teams (id),
    role      TEXT    NOT NULL,
    joined    INTEGER NOT NULL, -- the position at which the user joined, for the order
    joined_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX team_members_by_team ON team_members (team, joined);

-- Each can be accepted once.
CREATE TABLE team_invitations (
    code_hash  BLOB    PRIMARY KEY CHECK (length(code_hash) = 32), -- SHA-256 of the code
    team       BLOB    NOT NULL REFERENCES teams (id),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX team_invitations_by_team ON team_invitations (team, expires_at);

ALTER TABLE conversations ADD COLUMN team BLOB REFERENCES teams (id); -- set at creation, absent once the team is no more
CREATE INDEX conversations_by_team ON conversations (team) WHERE team IS NOT NULL;

-- Roles that teams define for their conversations.
CREATE TABLE team_roles (
    team    BLOB    NOT NULL REFERENCES teams (id),
    name    TEXT    NOT NULL,
    actions INTEGER NOT NULL, -- bit n stands for the nth action of the domain
    PRIMARY KEY (team, name)
) STRICT, WITHOUT ROWID;

-- The schema of PostgreSQL, version 1: what version 13 is of SQLite, whose files say more. Texts are compared by their bytes.

CREATE TABLE hub (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    domain TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL, -- the last one given out
    key BYTEA NOT NULL -- the secret MLS key of the hub, which all its nodes have (SQLite's stands in a file of its own)
);

CREATE TABLE users (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    handle TEXT COLLATE "C" NOT NULL UNIQUE,
    password TEXT COLLATE "C" NOT NULL, -- Argon2id, PHC string
    created_at BIGINT NOT NULL,
    name TEXT COLLATE "C", -- for people
    locale TEXT COLLATE "C", -- a language tag
    deleted_at BIGINT, -- of a deleted account, of which id and handle stay, so that nobody gets them
    kind TEXT COLLATE "C" NOT NULL DEFAULT 'person',
    expires_at BIGINT, -- absent once it has ended
    locked_at BIGINT, -- absent while the account is not locked
    cut_position BIGINT NOT NULL DEFAULT 0, -- the last of the user's own events that was cut
    stored_bytes BIGINT NOT NULL DEFAULT 0 -- bytes of messages, commits and proposals in the logs that this user sent
);

CREATE TABLE devices (
    user_id BYTEA NOT NULL REFERENCES users (id),
    device BIGINT NOT NULL,
    label TEXT COLLATE "C" NOT NULL,
    signature_key BYTEA NOT NULL, -- every leaf of the device uses it
    created_at BIGINT NOT NULL,
    registered BIGINT NOT NULL, -- position at which the device's stream begins
    acknowledged BIGINT NOT NULL, -- position up to which the device has everything
    supplied BOOLEAN NOT NULL DEFAULT false,
    PRIMARY KEY (user_id, device)
);

CREATE TABLE sessions (
    token_hash BYTEA PRIMARY KEY CHECK (length(token_hash) = 32), -- SHA-256 of the token
    user_id BYTEA NOT NULL REFERENCES users (id),
    device BIGINT, -- set once, when the session registers its device
    created_at BIGINT NOT NULL,
    used_at BIGINT,
    next_hash BYTEA, -- SHA-256 of the token that takes the place of this one when it is first used
    token_at BIGINT, -- since when the token is used; absent of the session's first
    FOREIGN KEY (user_id, device) REFERENCES devices (user_id, device)
);

CREATE TABLE key_packages (
    hash BYTEA PRIMARY KEY CHECK (length(hash) = 32), -- SHA-256 of the KeyPackage without MLSMessage header
    user_id BYTEA NOT NULL,
    device BIGINT NOT NULL,
    last_resort BOOLEAN NOT NULL,
    expires_at BIGINT NOT NULL,
    key_package BYTEA NOT NULL, -- as it was uploaded
    FOREIGN KEY (user_id, device) REFERENCES devices (user_id, device)
);

-- Those that were handed out, until they expire: an upload that is repeated after its answer was lost must not offer
-- them again.
CREATE TABLE spent_key_packages (
    hash BYTEA PRIMARY KEY CHECK (length(hash) = 32),
    expires_at BIGINT NOT NULL,
    user_id BYTEA,
    device BIGINT,
    claimed_by BYTEA, -- the user who asked for it
    claimed_at BIGINT
);

-- A pair of users has two rows, one each way, or none.
CREATE TABLE connections (
    user_id BYTEA NOT NULL REFERENCES users (id),
    other BYTEA NOT NULL REFERENCES users (id),
    status TEXT COLLATE "C" NOT NULL,
    conversation BYTEA NOT NULL, -- the pair's 1:1
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, other)
);

-- Events of a user that stand in no conversation's log.
CREATE TABLE user_events (
    position BIGINT PRIMARY KEY,
    user_id BYTEA NOT NULL REFERENCES users (id),
    body TEXT COLLATE "C" NOT NULL -- JSON, an event without its cursor
);

-- What a device has published, so that others can begin sessions with it. Goes with the device.
CREATE TABLE pairwise_devices (
    user_id BYTEA NOT NULL,
    device BIGINT NOT NULL,
    incarnation BIGINT NOT NULL, -- of the device's state; keys of another one are void
    last_key BIGINT NOT NULL, -- the largest number of a one-time key that was uploaded; -1 before the first
    identity_key BYTEA NOT NULL CHECK (length(identity_key) = 32),
    fallback_key BYTEA NOT NULL CHECK (length(fallback_key) = 32),
    fallback_signature BYTEA NOT NULL CHECK (length(fallback_signature) = 64),
    supplied BOOLEAN NOT NULL DEFAULT false,
    PRIMARY KEY (user_id, device),
    FOREIGN KEY (user_id, device) REFERENCES devices (user_id, device) ON DELETE CASCADE
);

-- One-time keys that were not handed out yet.
CREATE TABLE pairwise_keys (
    user_id BYTEA NOT NULL,
    device BIGINT NOT NULL,
    id BIGINT NOT NULL, -- the device's number for it
    key BYTEA NOT NULL CHECK (length(key) = 32),
    signature BYTEA NOT NULL CHECK (length(signature) = 64),
    PRIMARY KEY (user_id, device, id),
    FOREIGN KEY (user_id, device) REFERENCES pairwise_devices (user_id, device) ON DELETE CASCADE
);

-- Devices that their user has removed. Their ids are not used again: a leaf that others have not removed yet must not
-- become that of another device.
CREATE TABLE removed_devices (
    user_id BYTEA NOT NULL REFERENCES users (id),
    device BIGINT NOT NULL,
    removed_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, device)
);

-- Tokens of sessions that ended with their device: who comes with one is told what became of the device. Forgotten after
-- a time.
CREATE TABLE removed_sessions (
    token_hash BYTEA PRIMARY KEY CHECK (length(token_hash) = 32), -- SHA-256 of the token
    removed_at BIGINT NOT NULL
);

CREATE TABLE teams (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    name TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE conversations (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    type TEXT COLLATE "C" NOT NULL,
    creator BYTEA NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    group_id BYTEA NOT NULL UNIQUE,
    epoch BIGINT NOT NULL DEFAULT 0,
    last_sequence BIGINT NOT NULL DEFAULT 0, -- the last number in its log
    last_position BIGINT NOT NULL DEFAULT 0, -- the position of the last entry in its log
    protocol TEXT COLLATE "C" NOT NULL DEFAULT 'mls',
    generation BIGINT NOT NULL DEFAULT 0,
    last_policy BYTEA,
    sub_of BYTEA REFERENCES conversations (id),
    sub_name TEXT COLLATE "C",
    ended_at BIGINT,
    team BYTEA REFERENCES teams (id), -- set at creation, absent once the team is no more
    access BIGINT NOT NULL DEFAULT 2, -- invite
    access_roles BIGINT NOT NULL DEFAULT 15, -- everybody
    message_timer BIGINT, -- milliseconds that messages stay once they were read
    receipt_mode TEXT COLLATE "C" NOT NULL DEFAULT 'off',
    add_permission TEXT COLLATE "C" NOT NULL DEFAULT 'admins',
    parent BYTEA,
    name TEXT COLLATE "C",
    handshake TEXT COLLATE "C" NOT NULL DEFAULT 'plaintext',
    history TEXT COLLATE "C" NOT NULL DEFAULT 'none',
    history_since BIGINT,
    cut_position BIGINT NOT NULL DEFAULT 0, -- the last entry that was cut out of its log
    cut_sequence BIGINT NOT NULL DEFAULT 0,
    cut_epoch BIGINT NOT NULL DEFAULT 0, -- that the group had come to with it
    cut_at BIGINT NOT NULL DEFAULT 0 -- when it was accepted
);

-- One row for each time that a user was in a conversation. A user sees the entries of its log from `joined_position` to
-- `left_position`, both included.
CREATE TABLE members (
    conversation BYTEA NOT NULL REFERENCES conversations (id),
    user_id BYTEA NOT NULL REFERENCES users (id),
    role TEXT COLLATE "C" NOT NULL,
    joined_position BIGINT NOT NULL,
    left_position BIGINT, -- absent while the user is in it
    PRIMARY KEY (conversation, user_id, joined_position)
);

-- What the hub keeps of an MLS group, to check the next commit. Separate from `conversations`, because it is large.
CREATE TABLE groups (
    conversation BYTEA PRIMARY KEY REFERENCES conversations (id),
    snapshot BYTEA NOT NULL, -- the external group (public state only)
    group_info BYTEA NOT NULL -- the MLSMessage for who joins by external commit
);

-- The devices in the ratchet tree at the current epoch.
CREATE TABLE leaves (
    conversation BYTEA NOT NULL REFERENCES conversations (id),
    leaf_index BIGINT NOT NULL,
    user_id BYTEA NOT NULL,
    device BIGINT NOT NULL,
    PRIMARY KEY (conversation, leaf_index),
    UNIQUE (conversation, user_id, device)
);

-- Pending proposals of the current epoch.
CREATE TABLE proposals (
    conversation BYTEA NOT NULL REFERENCES conversations (id),
    epoch BIGINT NOT NULL,
    ref BYTEA NOT NULL, -- ProposalRef (RFC 9420 section 5.2)
    removes BIGINT, -- the leaf index that it removes
    message BYTEA NOT NULL, -- the MLSMessage
    expires_at BIGINT, -- when the key package of the device that it adds expires
    PRIMARY KEY (conversation, ref)
);
CREATE INDEX proposals_by_expiry ON proposals (expires_at) WHERE expires_at IS NOT NULL;

-- The logs of all conversations. Every entry is stored once, however many devices read it.
CREATE TABLE log (
    position BIGINT PRIMARY KEY,
    conversation BYTEA NOT NULL REFERENCES conversations (id),
    sequence BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    epoch BIGINT, -- of a commit, the one that it made; otherwise the one it was sent in
    sender_user BYTEA, -- absent where the hub is the sender
    sender_device BIGINT,
    sent_at BIGINT NOT NULL,
    body BYTEA, -- the message, commit or proposal, an MLSMessage
    welcome BYTEA, -- of a commit
    message BYTEA, -- of a commit: the application message that came with it
    extra TEXT COLLATE "C", -- JSON, by kind
    digest BYTEA, -- the first 16 bytes of SHA-256 of what was sent, to know it when it is sent again
    counted BIGINT NOT NULL DEFAULT 0 -- how many bytes it adds to what its sender has stored
);

CREATE TABLE conversation_roles (
    conversation BYTEA NOT NULL REFERENCES conversations (id),
    name TEXT COLLATE "C" NOT NULL,
    actions BIGINT NOT NULL, -- bit n stands for the nth action of the domain
    PRIMARY KEY (conversation, name)
);

-- The ciphertexts of pairwise messages, by the position of the entry in the log. A device reads its own.
CREATE TABLE pairwise_ciphertexts (
    position BIGINT NOT NULL REFERENCES log (position) ON DELETE CASCADE,
    user_id BYTEA NOT NULL,
    device BIGINT NOT NULL,
    ciphertext BYTEA NOT NULL,
    PRIMARY KEY (position, user_id, device)
);

-- One row for each time that a device was in a subconversation, as `members` has for users and conversations.
CREATE TABLE sub_devices (
    conversation BYTEA NOT NULL REFERENCES conversations (id),
    user_id BYTEA NOT NULL,
    device BIGINT NOT NULL,
    joined_position BIGINT NOT NULL,
    left_position BIGINT, -- absent while the device is in it
    PRIMARY KEY (conversation, user_id, device, joined_position)
);

-- A user is in one team at most.
CREATE TABLE team_members (
    user_id BYTEA PRIMARY KEY REFERENCES users (id),
    team BYTEA NOT NULL REFERENCES teams (id),
    role TEXT COLLATE "C" NOT NULL,
    joined BIGINT NOT NULL, -- the position at which the user joined, for the order
    joined_at BIGINT NOT NULL
);

-- Each can be accepted once.
CREATE TABLE team_invitations (
    code_hash BYTEA PRIMARY KEY CHECK (length(code_hash) = 32), -- SHA-256 of the code
    team BYTEA NOT NULL REFERENCES teams (id),
    expires_at BIGINT NOT NULL
);

-- Roles that teams define for their conversations.
CREATE TABLE team_roles (
    team BYTEA NOT NULL REFERENCES teams (id),
    name TEXT COLLATE "C" NOT NULL,
    actions BIGINT NOT NULL, -- bit n stands for the nth action of the domain
    PRIMARY KEY (team, name)
);

CREATE TABLE join_links (
    conversation BYTEA PRIMARY KEY REFERENCES conversations (id),
    code_hash BYTEA NOT NULL UNIQUE CHECK (length(code_hash) = 32), -- SHA-256 of the code
    public_key BYTEA NOT NULL CHECK (length(public_key) = 32),
    password TEXT COLLATE "C", -- hash of the password, a PHC string; absent without one
    expires_at BIGINT NOT NULL
);

-- Users whom the hub has found fit to come in, and whom a member has to add by a commit.
CREATE TABLE join_requests (
    conversation BYTEA NOT NULL REFERENCES conversations (id),
    user_id BYTEA NOT NULL REFERENCES users (id),
    proof BYTEA CHECK (length(proof) = 64), -- by which link; absent of who asked by the conversation's id alone
    requested_at BIGINT NOT NULL,
    PRIMARY KEY (conversation, user_id)
);

CREATE TABLE removals_due (
    conversation BYTEA PRIMARY KEY REFERENCES conversations (id)
);

-- Links that are given to the hub before the commit that puts their keys into the conversations' policies, which makes them the
-- conversations' links.
CREATE TABLE prepared_links (
    conversation BYTEA PRIMARY KEY REFERENCES conversations (id),
    code_hash BYTEA NOT NULL UNIQUE CHECK (length(code_hash) = 32),
    public_key BYTEA NOT NULL CHECK (length(public_key) = 32),
    password TEXT COLLATE "C",
    expires_at BIGINT NOT NULL
);

-- What was given out after `after` and before `until` was lost when a backup was restored. Whoever comes with a place in
-- between knows more than the hub.
CREATE TABLE restores (
    after BIGINT PRIMARY KEY, -- the position that the backup ended with
    until BIGINT NOT NULL, -- the position that the hub went on after
    at BIGINT NOT NULL
);

-- The conversations whose groups have to be begun anew after a restore, before the hub serves anybody: devices may be ahead
-- of them.
CREATE TABLE groups_to_renew (
    conversation BYTEA PRIMARY KEY REFERENCES conversations (id) ON DELETE CASCADE
);

-- Moments of the hub's life: everything up to `position` was stored before `at`.
CREATE TABLE moments (
    position BIGINT PRIMARY KEY,
    at BIGINT NOT NULL
);

CREATE INDEX sessions_by_user ON sessions (user_id, created_at);
CREATE INDEX key_packages_by_device ON key_packages (user_id, device, last_resort, expires_at);
CREATE INDEX spent_key_packages_by_expiry ON spent_key_packages (expires_at);
CREATE INDEX connections_by_conversation ON connections (conversation, user_id);
CREATE UNIQUE INDEX members_now ON members (conversation, user_id) WHERE left_position IS NULL;
CREATE INDEX members_by_user ON members (user_id, left_position);
CREATE INDEX log_by_conversation ON log (conversation, position);
CREATE UNIQUE INDEX log_by_digest ON log (conversation, digest) WHERE digest IS NOT NULL;
CREATE INDEX user_events_by_user ON user_events (user_id, position);
CREATE INDEX spent_key_packages_by_device ON spent_key_packages (user_id, device, claimed_by, claimed_at);
CREATE UNIQUE INDEX subconversations_by_name ON conversations (sub_of, sub_name) WHERE sub_of IS NOT NULL;
CREATE UNIQUE INDEX sub_devices_now ON sub_devices (conversation, user_id, device) WHERE left_position IS NULL;
CREATE INDEX sub_devices_by_device ON sub_devices (user_id, device, left_position);
CREATE INDEX removed_sessions_by_time ON removed_sessions (removed_at);
CREATE INDEX leaves_by_device ON leaves (user_id, device);
CREATE INDEX connections_by_other ON connections (other);
CREATE INDEX conversations_ended ON conversations (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX team_members_by_team ON team_members (team, joined);
CREATE INDEX team_invitations_by_team ON team_invitations (team, expires_at);
CREATE INDEX conversations_by_team ON conversations (team) WHERE team IS NOT NULL;
CREATE INDEX join_requests_by_user ON join_requests (user_id);
CREATE INDEX users_by_expiry ON users (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX log_of_handshakes ON log (conversation, position) WHERE kind IN ('commit', 'proposal');
CREATE UNIQUE INDEX sessions_by_next ON sessions (next_hash) WHERE next_hash IS NOT NULL;
CREATE INDEX conversations_by_creator ON conversations (creator);

-- Schema version 4: pairwise messages, a Double Ratchet for each pair of devices.

-- How the messages of a conversation are encrypted.
ALTER TABLE conversations ADD COLUMN protocol TEXT NOT NULL DEFAULT 'mls';

-- What a device has published, so that others can begin sessions with it. Goes with the device.
CREATE TABLE pairwise_devices (
    user               BLOB    NOT NULL,
    device             INTEGER NOT NULL,
    incarnation        INTEGER NOT NULL, -- of the device's state; keys of another one are void
    last_key           INTEGER NOT NULL, -- the largest number of a one-time key that was uploaded; -1 before the first
    identity_key       BLOB    NOT NULL CHECK (length(identity_key) = 32),
    fallback_key       BLOB    NOT NULL CHECK (length(fallback_key) = 32),
    fallback_signature BLOB    NOT NULL CHECK (length(fallback_signature) = 64),
    PRIMARY KEY (user, device),
    FOREIGN KEY (user, device) REFERENCES devices (user, device) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- One-time keys that were not handed out yet.
CREATE TABLE pairwise_keys (
    user      BLOB    NOT NULL,
    device    INTEGER NOT NULL,
    id        INTEGER NOT NULL, -- the device's number for it
    key       BLOB    NOT NULL CHECK (length(key) = 32),
    signature BLOB    NOT NULL CHECK (length(signature) = 64),
    PRIMARY KEY (user, device, id),
    FOREIGN KEY (user, device) REFERENCES pairwise_devices (user, device) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- The ciphertexts of pairwise messages, by the position of the entry in the log. A device reads its own.
CREATE TABLE pairwise_ciphertexts (
    position   INTEGER NOT NULL REFERENCES log (position) ON DELETE CASCADE,
    user       BLOB    NOT NULL,
    device     INTEGER NOT NULL,
    ciphertext BLOB    NOT NULL,
    PRIMARY KEY (position, user, device)
) STRICT;

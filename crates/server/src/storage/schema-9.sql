-- Schema version 9: channels, whose names the whole team sees; guests and services; and the owner of a device is told when
-- its keys for pairwise sessions run low. Conversations whose commits are encrypted.

-- Of a channel; of everything else the hub has no name.
ALTER TABLE conversations ADD COLUMN name TEXT;

-- What an account is; and of a guest, when it ends.
ALTER TABLE users ADD COLUMN kind       TEXT NOT NULL DEFAULT 'person';
ALTER TABLE users ADD COLUMN expires_at INTEGER; -- absent once it has ended
CREATE INDEX users_by_expiry ON users (expires_at) WHERE expires_at IS NOT NULL;

-- Whether the device has had enough one-time keys since its owner was last told that it has few.
ALTER TABLE pairwise_devices ADD COLUMN supplied INTEGER NOT NULL DEFAULT 0;
UPDATE pairwise_devices SET supplied = 1 WHERE 20 <= (
    SELECT count(*) FROM pairwise_keys k WHERE k.user = pairwise_devices.user AND k.device = pairwise_devices.device);

-- Whether its commits and proposals are encrypted. Subconversations do as their parents.
ALTER TABLE conversations ADD COLUMN handshake TEXT NOT NULL DEFAULT 'plaintext';

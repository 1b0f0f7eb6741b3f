-- Schema version 5: a conversation's MLS group can be begun anew, devices have subconversations, and the owner of a device
-- is told when its key packages run low.

-- How often the conversation was reset. The id of its present group has the number in it.
ALTER TABLE conversations ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
-- The policy of the group before the last reset, which its successor begins with.
ALTER TABLE conversations ADD COLUMN last_policy BLOB;

-- Of a subconversation, the conversation that it belongs to, and its name. Its members are the parent's.
ALTER TABLE conversations ADD COLUMN sub_of   BLOB REFERENCES conversations (id);
ALTER TABLE conversations ADD COLUMN sub_name TEXT;
CREATE UNIQUE INDEX subconversations_by_name ON conversations (sub_of, sub_name) WHERE sub_of IS NOT NULL;

-- One row for each time that a device was in a subconversation, as `members` has for users and conversations.
CREATE TABLE sub_devices (
    conversation    BLOB    NOT NULL REFERENCES conversations (id),
    user            BLOB    NOT NULL,
    device          INTEGER NOT NULL,
    joined_position INTEGER NOT NULL,
    left_position   INTEGER, -- absent while the device is in it
    PRIMARY KEY (conversation, user, device, joined_position)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX sub_devices_now ON sub_devices (conversation, user, device) WHERE left_position IS NULL;
CREATE INDEX sub_devices_by_device ON sub_devices (user, device, left_position);

-- Whether the device has had enough key packages since its owner was last told that it has few.
ALTER TABLE devices ADD COLUMN supplied INTEGER NOT NULL DEFAULT 0;
UPDATE devices SET supplied = 1 WHERE 20 <= (
    SELECT count(*) FROM key_packages k
    WHERE k.user = devices.user AND k.device = devices.device AND NOT k.last_resort);

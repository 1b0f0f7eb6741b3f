-- Schema version 2: to whom a key package was given and when, so that a device counts as one that can be added while it
-- has key packages or has just given its last one, and no longer because it once had some.

ALTER TABLE devices DROP COLUMN published;

-- Absent for those that were handed out under version 1.
ALTER TABLE spent_key_packages ADD COLUMN user       BLOB;
ALTER TABLE spent_key_packages ADD COLUMN device     INTEGER;
ALTER TABLE spent_key_packages ADD COLUMN claimed_by BLOB; -- the user who asked for it
ALTER TABLE spent_key_packages ADD COLUMN claimed_at INTEGER;
CREATE INDEX spent_key_packages_by_device ON spent_key_packages (user, device, claimed_by, claimed_at);

-- Schema version 8: what is set for all members of a conversation, and what it was made under.

ALTER TABLE conversations ADD COLUMN message_timer  INTEGER; -- milliseconds that messages stay once they were read
ALTER TABLE conversations ADD COLUMN receipt_mode   TEXT NOT NULL DEFAULT 'off';
-- Who may add members. Once there is an MLS group this follows the policy in its context, which is what counts.
ALTER TABLE conversations ADD COLUMN add_permission TEXT NOT NULL DEFAULT 'admins';
-- Of which conversation it is a child. That one may end and be gone; so it is no reference.
ALTER TABLE conversations ADD COLUMN parent         BLOB;

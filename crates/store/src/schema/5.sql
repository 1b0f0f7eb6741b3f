-- A conversation's MLS group can be begun anew, and there are subconversations.

-- How often the conversation was reset, which is part of its group's id, and of how many of these the user has been told.
ALTER TABLE conversations ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN told_generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN reset_by BLOB; -- the user who asked for the last reset

-- Of a subconversation, the conversation that it belongs to, and its name there. It is active while this device is in it.
ALTER TABLE conversations ADD COLUMN sub_of BLOB;
ALTER TABLE conversations ADD COLUMN sub_name TEXT;

-- Schema version 10: what those who come later may read of the messages from before.

ALTER TABLE conversations ADD COLUMN history       TEXT NOT NULL DEFAULT 'none';
-- The entry of the log that began to share it; what stands before, nobody who comes later reads. Absent while nothing is shared.
ALTER TABLE conversations ADD COLUMN history_since INTEGER;

-- Commits and proposals are read without the messages between them that nobody may have.
CREATE INDEX log_of_handshakes ON log (conversation, position) WHERE kind IN ('commit', 'proposal');

-- Schema version 14: what has been kept for long enough is cut out of the logs, and it is known of each log how far.

-- Moments of the hub's life: everything up to `position` was stored before `at`, in milliseconds since 1970. Few are kept.
CREATE TABLE moments (
    position INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL
) STRICT;

-- The last entry that was cut out of a conversation's log, 0 before the first; and the epoch that the group had come to with it.
ALTER TABLE conversations ADD COLUMN cut_position INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN cut_sequence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN cut_epoch    INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN cut_at       INTEGER NOT NULL DEFAULT 0; -- when the entry was accepted

-- The last of the user's own events that was cut.
ALTER TABLE users ADD COLUMN cut_position INTEGER NOT NULL DEFAULT 0;

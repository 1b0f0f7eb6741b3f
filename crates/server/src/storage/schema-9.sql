-- Schema version 9: the names of channels, which the whole team sees.

-- Of a channel; of everything else the hub has no name.
ALTER TABLE conversations ADD COLUMN name TEXT;

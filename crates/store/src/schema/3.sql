-- What a device knows of a conversation by its MLS group, whatever the hub says: who may do what in it, as all its members
-- have it, and the epoch with which this device came in.
ALTER TABLE conversations ADD COLUMN policy BLOB;
ALTER TABLE conversations ADD COLUMN since_epoch INTEGER NOT NULL DEFAULT 0;

-- Whether this device keeps out of the group, since the hub has let something pass that the group's rules forbid.
ALTER TABLE conversations ADD COLUMN distrusted INTEGER NOT NULL DEFAULT 0;

-- What looked as if the hub did not do as it should, for people to see.
CREATE TABLE suspicions (
    id           INTEGER PRIMARY KEY,
    conversation BLOB    NOT NULL,
    noticed_at   INTEGER NOT NULL, -- milliseconds since 1970
    what         TEXT    NOT NULL  -- JSON
);

-- Version 12 of the store: conversations that go on in others, and whose envelopes wait for a later version.

-- The conversation that shows what is said in this one, which goes on with it.
ALTER TABLE enveloped ADD COLUMN continues BLOB;

CREATE INDEX enveloped_by_continued ON enveloped (continues) WHERE continues IS NOT NULL;

-- The conversation that it is of by its hint; none of what version 11 has kept.
ALTER TABLE unsupported_envelopes ADD COLUMN conversation BLOB;

-- A number of the newest version that could not read it.
ALTER TABLE unsupported_envelopes ADD COLUMN unread_by INTEGER NOT NULL DEFAULT 0;

-- How many were dropped because others came.
CREATE TABLE unsupported_dropped (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    count INTEGER NOT NULL
);

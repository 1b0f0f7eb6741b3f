-- The schema of a relay that is no hub, version 1: what the writer counts with. What follows is `schema-17.sql` of a hub.

CREATE TABLE hub (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    position INTEGER NOT NULL -- the last one given out
) STRICT;
INSERT INTO hub (id, position) VALUES (1, 0);

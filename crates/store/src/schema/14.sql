-- Version 14 of the store: what is asked of invitations without opening them stands before what they are to, so that it is read without it.

CREATE TABLE invitations_14 (
    conversation BLOB    PRIMARY KEY,
    user         BLOB    NOT NULL,
    received_at  INTEGER NOT NULL, -- milliseconds since 1970
    expires      INTEGER NOT NULL, -- until when it can be accepted, seconds since 1970
    pending      INTEGER NOT NULL, -- whether it waits for an answer: it was neither ignored nor blocked
    to_group     INTEGER NOT NULL, -- whether it is to a group
    content      BLOB    NOT NULL  -- what it is to; opaque bytes of the SDK's making
);

-- Version 13 had all of it in the content, which was JSON.
INSERT INTO invitations_14 (conversation, user, received_at, expires, pending, to_group, content)
    SELECT conversation, user, received_at,
           coalesce(json_extract(CAST(content AS TEXT), '$.expires'), 0),
           NOT coalesce(json_extract(CAST(content AS TEXT), '$.ignored'), 0)
               AND (json_extract(CAST(content AS TEXT), '$.group') IS NOT NULL
                   OR user NOT IN (SELECT user FROM connections WHERE status IN ('ignored', 'blocked'))),
           json_extract(CAST(content AS TEXT), '$.group') IS NOT NULL,
           content
    FROM invitations WHERE json_valid(CAST(content AS TEXT));

DROP TABLE invitations;
ALTER TABLE invitations_14 RENAME TO invitations;
CREATE INDEX invitations_by_user ON invitations (user);

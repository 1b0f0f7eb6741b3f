-- Version 13 of the store: types of applications.

-- Of which type of an application's own a conversation is.
CREATE TABLE own_types (
    conversation    BLOB    PRIMARY KEY,
    type            INTEGER NOT NULL,
    creation_secret BLOB    NOT NULL -- what its id comes from, with the type
) WITHOUT ROWID;

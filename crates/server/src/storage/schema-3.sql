-- Schema version 3: what the roles in a conversation allow that are not predefined, as its policy says.

CREATE TABLE conversation_roles (
    conversation BLOB    NOT NULL REFERENCES conversations (id),
    name         TEXT    NOT NULL,
    actions      INTEGER NOT NULL, -- bit n stands for the nth action of the domain
    PRIMARY KEY (conversation, name)
) STRICT, WITHOUT ROWID;

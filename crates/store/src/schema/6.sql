-- People come into conversations without being invited.

-- The join links that were made with this home. The hub does not have them, and no other device of the user.
CREATE TABLE own_links (
    conversation BLOB PRIMARY KEY,
    link         TEXT NOT NULL
) STRICT;

-- The conversations that the user waits to be let into.
CREATE TABLE joins (
    conversation BLOB    PRIMARY KEY,
    asked_at     INTEGER NOT NULL
) STRICT;

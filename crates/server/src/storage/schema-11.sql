-- Schema version 11: the MLS groups in which the hub has yet to propose removals, because a user or a device is gone that was in
-- many.

CREATE TABLE removals_due (
    conversation BLOB PRIMARY KEY REFERENCES conversations (id)
) STRICT, WITHOUT ROWID;

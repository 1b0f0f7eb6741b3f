-- Version 10 of the store: who made a conversation, as the hub says.

ALTER TABLE conversations ADD COLUMN creator BLOB;

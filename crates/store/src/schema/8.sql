-- Version 8 of the store: what the accounts of others are.

ALTER TABLE users ADD COLUMN kind TEXT NOT NULL DEFAULT 'person';

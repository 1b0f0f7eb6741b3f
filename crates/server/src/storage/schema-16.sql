-- Schema version 16: until when the key package of a proposed device is good, in milliseconds since 1970. What was pending before
-- has none, and is gone with its epoch.

ALTER TABLE proposals ADD COLUMN expires_at INTEGER;
CREATE INDEX proposals_by_expiry ON proposals (expires_at) WHERE expires_at IS NOT NULL;

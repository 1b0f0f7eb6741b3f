-- Schema version 13: `user` is a word of its own to PostgreSQL, which is asked the same statements.

ALTER TABLE connections          RENAME COLUMN user TO user_id;
ALTER TABLE devices              RENAME COLUMN user TO user_id;
ALTER TABLE sessions             RENAME COLUMN user TO user_id;
ALTER TABLE key_packages         RENAME COLUMN user TO user_id;
ALTER TABLE spent_key_packages   RENAME COLUMN user TO user_id;
ALTER TABLE members              RENAME COLUMN user TO user_id;
ALTER TABLE leaves               RENAME COLUMN user TO user_id;
ALTER TABLE user_events          RENAME COLUMN user TO user_id;
ALTER TABLE pairwise_devices     RENAME COLUMN user TO user_id;
ALTER TABLE pairwise_keys        RENAME COLUMN user TO user_id;
ALTER TABLE pairwise_ciphertexts RENAME COLUMN user TO user_id;
ALTER TABLE sub_devices          RENAME COLUMN user TO user_id;
ALTER TABLE removed_devices      RENAME COLUMN user TO user_id;
ALTER TABLE team_members         RENAME COLUMN user TO user_id;
ALTER TABLE join_requests        RENAME COLUMN user TO user_id;

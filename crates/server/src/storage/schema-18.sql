-- Schema version 18: key packages count as what their user stores.

UPDATE users SET stored_bytes = stored_bytes + coalesce(
    (SELECT sum(length(k.key_package)) FROM key_packages k WHERE k.user_id = users.id), 0);

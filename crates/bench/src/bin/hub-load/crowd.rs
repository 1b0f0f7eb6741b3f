//! Many more members than can be signed up in reasonable time: rows as the hub itself would have written them, put into the
//! database of a hub that is not running.
//!
//! The hub's own record of the MLS group, with which it checks commits, does not have them; nothing that is measured here reads
//! it. Everything that a message or an event stream asks the database is there.

use crate::Outcome;
use rusqlite::{Connection, params};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use tertulia_domain::{ConversationId, UserId};

/// Fills the group up to so many members, each with a device and a session whose token is returned.
pub(crate) fn fill(database: &Path, group: ConversationId, members: u32) -> Outcome<Vec<String>> {
    let mut database = Connection::open(database)?;
    let tx = database.transaction()?;
    let position: i64 = tx.query_row("SELECT position FROM hub", (), |row| row.get(0))?;
    let conversation = group.as_bytes().as_slice();
    let count = |sql: &str| -> rusqlite::Result<u32> { tx.query_row(sql, [conversation], |row| row.get(0)) };
    let present = count("SELECT count(*) FROM members WHERE conversation = ?1 AND left_position IS NULL")?;
    let leaves = count("SELECT max(leaf_index) + 1 FROM leaves WHERE conversation = ?1")?;
    let mut tokens = Vec::new();
    for number in present..members {
        let user = UserId::random();
        let user = user.as_bytes().as_slice();
        let token = hex::encode(rand::random::<[u8; 32]>());
        tx.prepare_cached("INSERT INTO users (id, handle, password, created_at) VALUES (?1, ?2, '', 0)")?
            .execute(params![user, format!("crowd-{number}")])?;
        tx.prepare_cached(
            "INSERT INTO devices (user_id, device, label, signature_key, created_at, registered, acknowledged)
             VALUES (?1, 1, 'a device', randomblob(32), 0, ?2, ?2)",
        )?
        .execute(params![user, position])?;
        tx.prepare_cached(
            "INSERT INTO sessions (token_hash, user_id, device, created_at, used_at)
             VALUES (?1, ?2, 1, unixepoch() * 1000, unixepoch() * 1000)",
        )?
        .execute(params![Sha256::digest(&token).as_slice(), user])?;
        tx.prepare_cached(
            "INSERT INTO members (conversation, user_id, role, joined_position) VALUES (?1, ?2, 'member', ?3)",
        )?
        .execute(params![conversation, user, position])?;
        tx.prepare_cached(
            "INSERT INTO leaves (conversation, leaf_index, user_id, device) VALUES (?1, ?2, ?3, 1)",
        )?
        .execute(params![conversation, leaves + number - present, user])?;
        tokens.push(token);
    }
    tx.commit()?;
    Ok(tokens)
}

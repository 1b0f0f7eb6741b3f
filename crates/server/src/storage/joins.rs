//! Who is admitted to a conversation, its join link, and who waits to come in.

use super::sql::{self, Connection, OptionalExtension as _, Row, params};
use super::{RowExt as _, Sql, StorageError, WriteTx, events::append_user_event};
use crate::error::ApiError;
use rusqlite::types::FromSqlError;
use tertulia_api::event::EventBody;
use tertulia_domain::{
    ConversationId, ConversationType, Protocol, UserId,
    access::{Access, AccessMode},
    policy::{JoinProof, LinkKey},
};

/// A conversation as who is not in it may come in.
#[derive(Debug, Clone)]
pub(crate) struct Entrance {
    pub(crate) kind: ConversationType,
    pub(crate) protocol: Protocol,
    pub(crate) access: Access,
}

/// A join link.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StoredLink {
    pub(crate) conversation: ConversationId,
    pub(crate) public_key: LinkKey,
    /// A PHC string.
    pub(crate) password: Option<String>,
    /// Milliseconds since 1970.
    pub(crate) expires_at: i64,
}

/// Somebody who waits to come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) user: UserId,
    /// That they have the link; none if they asked by the conversation's id alone.
    pub(crate) proof: Option<JoinProof>,
}

impl Request {
    /// The way in which they come.
    pub(crate) const fn mode(&self) -> AccessMode {
        if self.proof.is_some() { AccessMode::Code } else { AccessMode::Link }
    }
}

/// How one comes into a conversation, if there is one that has not ended.
pub(crate) fn entrance(connection: &Connection, id: ConversationId) -> Result<Option<Entrance>, ApiError> {
    let found = connection
        .prepare_cached(
            "SELECT type, protocol, access, access_roles FROM conversations WHERE id = ?1 AND ended_at IS NULL",
        )?
        .query_row([Sql(id)], |row| {
            Ok(Entrance { kind: row.domain(0)?, protocol: row.domain(1)?, access: read_access(row, 2)? })
        })
        .optional()?;
    Ok(found)
}

/// Who is admitted to a conversation that is there.
pub(crate) fn access(connection: &Connection, id: ConversationId) -> Result<Access, ApiError> {
    let found = entrance(connection, id)?;
    found
        .map(|entrance| entrance.access)
        .ok_or_else(|| StorageError::Damaged("a conversation that somebody is in has ended").into())
}

/// From two columns, modes and roles.
pub(super) fn read_access(row: &Row<'_>, column: usize) -> sql::Result<Access> {
    let bits = (row.get(column)?, row.get(column + 1)?);
    Access::from_bits(bits).ok_or(FromSqlError::OutOfRange(bits.0.into()).into())
}

/// Changes who is admitted.
pub(crate) fn set_access(tx: &WriteTx<'_>, id: ConversationId, access: &Access) -> Result<(), ApiError> {
    let (modes, roles) = access.bits();
    tx.prepare_cached("UPDATE conversations SET access = ?2, access_roles = ?3 WHERE id = ?1")?
        .execute(params![Sql(id), modes, roles])?;
    Ok(())
}

/// Stores a conversation's link in the place of the one that it has.
pub(crate) fn put_link(tx: &WriteTx<'_>, code_hash: [u8; 32], link: &StoredLink) -> Result<(), ApiError> {
    delete_link(tx, link.conversation)?;
    insert_link(tx, "join_links", code_hash, link)
}

/// Stores a link that is to take the place of the conversation's, in the place of another such.
pub(crate) fn prepare_link(tx: &WriteTx<'_>, code_hash: [u8; 32], link: &StoredLink) -> Result<(), ApiError> {
    tx.prepare_cached("DELETE FROM prepared_links WHERE conversation = ?1")?
        .execute([Sql(link.conversation)])?;
    insert_link(tx, "prepared_links", code_hash, link)
}

/// Makes the prepared link of this key that of the conversation, which has none. Nothing happens if there is no such.
pub(crate) fn use_prepared_link(tx: &WriteTx<'_>, id: ConversationId, key: LinkKey) -> Result<(), ApiError> {
    tx.prepare_cached(
        "INSERT INTO join_links (conversation, code_hash, public_key, password, expires_at)
         SELECT conversation, code_hash, public_key, password, expires_at FROM prepared_links
         WHERE conversation = ?1 AND public_key = ?2",
    )?
    .execute(params![Sql(id), key])?;
    tx.prepare_cached("DELETE FROM prepared_links WHERE conversation = ?1 AND public_key = ?2")?
        .execute(params![Sql(id), key])?;
    Ok(())
}

fn insert_link(
    tx: &WriteTx<'_>,
    table: &'static str,
    code_hash: [u8; 32],
    link: &StoredLink,
) -> Result<(), ApiError> {
    tx.prepare_cached(&format!(
        "INSERT INTO {table} (conversation, code_hash, public_key, password, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5)"
    ))?
    .execute(params![
        Sql(link.conversation),
        code_hash,
        link.public_key,
        link.password,
        link.expires_at
    ])?;
    Ok(())
}

/// Whether another conversation has a link with this code.
pub(crate) fn is_code_taken(
    connection: &Connection,
    code_hash: [u8; 32],
    by_other_than: ConversationId,
) -> Result<bool, ApiError> {
    Ok(connection
        .prepare_cached(
            "SELECT 1 FROM join_links WHERE code_hash = ?1 AND conversation <> ?2
             UNION ALL SELECT 1 FROM prepared_links WHERE code_hash = ?1 AND conversation <> ?2",
        )?
        .exists(params![code_hash, Sql(by_other_than)])?)
}

const LINK: &str = "SELECT conversation, public_key, password, expires_at FROM join_links";

/// A conversation's link, if it has one that is valid at `now`.
pub(crate) fn link_of(
    connection: &Connection,
    id: ConversationId,
    now: i64,
) -> Result<Option<StoredLink>, ApiError> {
    let found = connection
        .prepare_cached(&format!("{LINK} WHERE conversation = ?1 AND expires_at > ?2"))?
        .query_row(params![Sql(id), now], link)
        .optional()?;
    Ok(found)
}

/// The key of a conversation's link, be it valid or expired.
pub(crate) fn link_key(connection: &Connection, id: ConversationId) -> Result<Option<LinkKey>, ApiError> {
    let found = connection
        .prepare_cached("SELECT public_key FROM join_links WHERE conversation = ?1")?
        .query_row([Sql(id)], |row| row.get(0))
        .optional()?;
    Ok(found)
}

/// The link with this code, if there is one that is valid at `now`.
pub(crate) fn link_by_code(
    connection: &Connection,
    code_hash: [u8; 32],
    now: i64,
) -> Result<Option<StoredLink>, ApiError> {
    let found = connection
        .prepare_cached(&format!("{LINK} WHERE code_hash = ?1 AND expires_at > ?2"))?
        .query_row(params![code_hash, now], link)
        .optional()?;
    Ok(found)
}

fn link(row: &Row<'_>) -> sql::Result<StoredLink> {
    Ok(StoredLink {
        conversation: row.domain(0)?,
        public_key: row.get(1)?,
        password: row.get(2)?,
        expires_at: row.get(3)?,
    })
}

/// Takes a conversation's link back, and what is prepared. Nothing happens if there is neither.
pub(crate) fn revoke_links(tx: &WriteTx<'_>, id: ConversationId) -> Result<(), ApiError> {
    tx.prepare_cached("DELETE FROM prepared_links WHERE conversation = ?1")?.execute([Sql(id)])?;
    delete_link(tx, id)
}

/// Takes a conversation's link back. Nothing happens if it has none.
pub(crate) fn delete_link(tx: &WriteTx<'_>, id: ConversationId) -> Result<(), ApiError> {
    tx.prepare_cached("DELETE FROM join_links WHERE conversation = ?1")?.execute([Sql(id)])?;
    Ok(())
}

/// Notes that a user waits to come in. `false` if the same is noted already.
pub(crate) fn insert_request(
    tx: &WriteTx<'_>,
    id: ConversationId,
    Request { user, proof }: Request,
    now: i64,
) -> Result<bool, ApiError> {
    let changed = tx
        .prepare_cached(
            "INSERT INTO join_requests (conversation, user_id, proof, requested_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (conversation, user_id) DO UPDATE SET proof = excluded.proof, requested_at = excluded.requested_at
                 WHERE join_requests.proof IS DISTINCT FROM excluded.proof",
        )?
        .execute(params![Sql(id), Sql(user), proof, now])?;
    Ok(changed == 1)
}

/// The request of a user who waits to come in.
pub(crate) fn request(
    connection: &Connection,
    id: ConversationId,
    user: UserId,
) -> Result<Option<Request>, ApiError> {
    let found = connection
        .prepare_cached("SELECT user_id, proof FROM join_requests WHERE conversation = ?1 AND user_id = ?2")?
        .query_row(params![Sql(id), Sql(user)], request_of)
        .optional()?;
    Ok(found)
}

/// All who wait to come in.
pub(crate) fn requests(connection: &Connection, id: ConversationId) -> Result<Vec<Request>, ApiError> {
    let mut statement =
        connection.prepare_cached("SELECT user_id, proof FROM join_requests WHERE conversation = ?1")?;
    let found = statement.query_map([Sql(id)], request_of)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// What a user waits to come into.
pub(crate) fn requests_of(
    connection: &Connection,
    user: UserId,
) -> Result<Vec<(ConversationId, Request)>, ApiError> {
    let mut statement = connection
        .prepare_cached("SELECT user_id, proof, conversation FROM join_requests WHERE user_id = ?1")?;
    let found = statement.query_map([Sql(user)], |row| Ok((row.domain(2)?, request_of(row)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn request_of(row: &Row<'_>) -> sql::Result<Request> {
    Ok(Request { user: row.domain(0)?, proof: row.get(1)? })
}

/// Takes a request back, tells the user's devices, and says whether there was one.
pub(crate) fn end_request(tx: &WriteTx<'_>, id: ConversationId, user: UserId) -> Result<bool, ApiError> {
    let is_ended = forget_request(tx, id, user)?;
    if is_ended {
        append_user_event(tx, user, &EventBody::JoinEnded { conversation: id })?;
    }
    Ok(is_ended)
}

/// Forgets the request of a user who is a member now. Whether there was one.
pub(super) fn forget_request(tx: &WriteTx<'_>, id: ConversationId, user: UserId) -> Result<bool, ApiError> {
    let deleted = tx
        .prepare_cached("DELETE FROM join_requests WHERE conversation = ?1 AND user_id = ?2")?
        .execute(params![Sql(id), Sql(user)])?;
    Ok(deleted == 1)
}

/// Forgets the requests of a user who is no more.
pub(crate) fn forget_requests_of(tx: &WriteTx<'_>, user: UserId) -> Result<(), ApiError> {
    tx.prepare_cached("DELETE FROM join_requests WHERE user_id = ?1")?.execute([Sql(user)])?;
    Ok(())
}

/// Whether the user waits to come into a conversation that the member is in.
pub(crate) fn asks(connection: &Connection, user: UserId, member: UserId) -> Result<bool, ApiError> {
    Ok(connection
        .prepare_cached(
            "SELECT 1 FROM join_requests r
             JOIN members m ON m.conversation = r.conversation AND m.user_id = ?2 AND m.left_position IS NULL
             WHERE r.user_id = ?1",
        )?
        .exists(params![Sql(user), Sql(member)])?)
}

/// Takes the link of a conversation in which nobody is any more, and what requests there are.
pub(super) fn end_all(tx: &WriteTx<'_>, id: ConversationId) -> Result<(), ApiError> {
    revoke_links(tx, id)?;
    for Request { user, .. } in requests(tx, id)? {
        end_request(tx, id, user)?;
    }
    Ok(())
}

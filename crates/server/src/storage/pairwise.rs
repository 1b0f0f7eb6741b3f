//! Keys for pairwise sessions, and the ciphertexts of pairwise messages.

use super::sql::{Connection, OptionalExtension as _, params};
use super::{Position, RowExt as _, Sql, WriteTx, events::append_user_event};
use crate::error::ApiError;
use std::collections::BTreeSet;
use tertulia_api::{
    Code, UserDevice,
    event::EventBody,
    pairwise::{ClaimedPairwiseKey, PairwiseCiphertext, SignedPairwiseKey},
};
use tertulia_domain::{ConversationId, UserId, pairwise::Recipient};

/// A key with its signature, which was verified.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ValidKey {
    pub(crate) key: [u8; 32],
    pub(crate) signature: [u8; 64],
}

/// What a device uploads.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) incarnation: u64,
    pub(crate) identity_key: [u8; 32],
    /// With the device's numbers for them.
    pub(crate) one_time_keys: Vec<(u64, ValidKey)>,
    pub(crate) fallback: Option<ValidKey>,
}

/// Stores keys of a device. Those that it uploaded before are passed over, be they handed out by now or not.
/// `pairwise-key-limit` if there were more than `most` afterwards.
pub(crate) fn store(
    tx: &WriteTx<'_>,
    device: UserDevice,
    upload: &Upload,
    most: usize,
) -> Result<(), ApiError> {
    let Some(last_key) = begin_incarnation(tx, device, upload)? else { return Ok(()) };
    let UserDevice { user, device: id } = device;
    if let Some(ValidKey { key, signature }) = upload.fallback {
        tx.prepare_cached(
            "UPDATE pairwise_devices SET fallback_key = ?3, fallback_signature = ?4 WHERE user_id = ?1 AND device = ?2",
        )?
        .execute(params![Sql(user), Sql(id), key, signature])?;
    }
    let mut newest = last_key;
    for &(number, ValidKey { key, signature }) in &upload.one_time_keys {
        let number = number.cast_signed();
        if number <= last_key {
            continue;
        }
        newest = newest.max(number);
        tx.prepare_cached(
            "INSERT INTO pairwise_keys (user_id, device, id, key, signature) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![Sql(user), Sql(id), number, key, signature])?;
    }
    tx.prepare_cached("UPDATE pairwise_devices SET last_key = ?3 WHERE user_id = ?1 AND device = ?2")?
        .execute(params![Sql(user), Sql(id), newest])?;
    if count(tx, device)? as usize > most {
        let detail = format!("The hub keeps at most {most} one-time keys for a device.");
        return Err(ApiError::new(Code::PairwiseKeyLimit, detail));
    }
    Ok(())
}

/// The number of the last one-time key that was uploaded before; none if the upload is of an earlier incarnation than the
/// device's, and is to be passed over. With a new incarnation everything of the former is gone.
fn begin_incarnation(
    tx: &WriteTx<'_>,
    UserDevice { user, device }: UserDevice,
    upload: &Upload,
) -> Result<Option<i64>, ApiError> {
    let incarnation = upload.incarnation.cast_signed();
    let known: Option<(i64, i64, [u8; 32])> = tx
        .prepare_cached(
            "SELECT incarnation, last_key, identity_key FROM pairwise_devices WHERE user_id = ?1 AND device = ?2",
        )?
        .query_row(params![Sql(user), Sql(device)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    if let Some((known, last_key, identity_key)) = known {
        if identity_key != upload.identity_key {
            return Err(ApiError::new(Code::InvalidPairwiseKey, "The device has another identity key."));
        }
        if incarnation < known {
            return Ok(None);
        }
        if incarnation == known {
            return Ok(Some(last_key));
        }
    }
    let Some(fallback) = upload.fallback else {
        let detail = "The first upload of an incarnation has a fallback key.";
        return Err(ApiError::new(Code::BadRequest, detail));
    };
    tx.prepare_cached("DELETE FROM pairwise_keys WHERE user_id = ?1 AND device = ?2")?
        .execute(params![Sql(user), Sql(device)])?;
    tx.prepare_cached(
        "INSERT INTO pairwise_devices
             (user_id, device, incarnation, last_key, identity_key, fallback_key, fallback_signature)
         VALUES (?1, ?2, ?3, -1, ?4, ?5, ?6)
         ON CONFLICT (user_id, device) DO UPDATE SET incarnation = excluded.incarnation, last_key = -1",
    )?
    .execute(params![
        Sql(user),
        Sql(device),
        incarnation,
        upload.identity_key,
        fallback.key,
        fallback.signature
    ])?;
    Ok(Some(-1))
}

/// How many one-time keys of a device can be handed out.
pub(crate) fn count(
    connection: &Connection,
    UserDevice { user, device }: UserDevice,
) -> Result<u32, ApiError> {
    let count = connection
        .prepare_cached("SELECT count(*) FROM pairwise_keys WHERE user_id = ?1 AND device = ?2")?
        .query_row(params![Sql(user), Sql(device)], |row| row.get(0))?;
    Ok(count)
}

/// Notes after an upload whether the device has as many as it should have.
pub(crate) fn note_supply(tx: &WriteTx<'_>, address: UserDevice, low: u32) -> Result<(), ApiError> {
    let enough = count(tx, address)? >= low;
    tx.prepare_cached(
        "UPDATE pairwise_devices SET supplied = supplied OR ?3 WHERE user_id = ?1 AND device = ?2",
    )?
    .execute(params![Sql(address.user), Sql(address.device), enough])?;
    Ok(())
}

/// Tells the owner, once, that a device that had enough one-time keys has few.
fn warn(tx: &WriteTx<'_>, address: UserDevice, low: u32) -> Result<(), ApiError> {
    let count = count(tx, address)?;
    if count >= low {
        return Ok(());
    }
    let had_enough = tx
        .prepare_cached(
            "UPDATE pairwise_devices SET supplied = FALSE WHERE user_id = ?1 AND device = ?2 AND supplied",
        )?
        .execute(params![Sql(address.user), Sql(address.device)])?;
    if had_enough == 1 {
        let low = EventBody::PairwiseKeysLow { device: address.device, count };
        append_user_event(tx, address.user, &low)?;
    }
    Ok(())
}

/// Takes a one-time key of a device, the oldest first. Without one it is the fallback key, which stays. None if the device has
/// published nothing. The owner of a device that is left with fewer than `low` is told.
pub(crate) fn claim(
    tx: &WriteTx<'_>,
    address: UserDevice,
    low: u32,
) -> Result<Option<ClaimedPairwiseKey>, ApiError> {
    let UserDevice { user, device } = address;
    let published = tx
        .prepare_cached(
            "SELECT d.signature_key, p.identity_key, p.fallback_key, p.fallback_signature
             FROM pairwise_devices p JOIN devices d ON d.user_id = p.user_id AND d.device = p.device
             WHERE p.user_id = ?1 AND p.device = ?2",
        )?
        .query_row(params![Sql(user), Sql(device)], |row| {
            let fallback = signed_key(row.get(2)?, row.get(3)?);
            Ok((row.get::<Vec<u8>>(0)?, row.get::<Vec<u8>>(1)?, fallback))
        })
        .optional()?;
    let Some((signature_key, identity_key, fallback)) = published else { return Ok(None) };
    let once = tx
        .prepare_cached(
            "DELETE FROM pairwise_keys WHERE user_id = ?1 AND device = ?2 AND id = (
                 SELECT min(id) FROM pairwise_keys WHERE user_id = ?1 AND device = ?2)
             RETURNING key, signature",
        )?
        .query_row(params![Sql(user), Sql(device)], |row| Ok(signed_key(row.get(0)?, row.get(1)?)))
        .optional()?;
    let is_fallback = once.is_none();
    warn(tx, address, low)?;
    Ok(Some(ClaimedPairwiseKey {
        user,
        device,
        signature_key: signature_key.into(),
        identity_key: identity_key.into(),
        key: once.unwrap_or(fallback),
        fallback: is_fallback,
    }))
}

fn signed_key(key: Vec<u8>, signature: Vec<u8>) -> SignedPairwiseKey {
    SignedPairwiseKey { key: key.into(), signature: signature.into() }
}

/// The devices of these users that have published keys: those that a message to them must be for.
pub(crate) fn devices_of(
    connection: &Connection,
    users: &BTreeSet<UserId>,
) -> Result<BTreeSet<Recipient>, ApiError> {
    let mut statement =
        connection.prepare_cached("SELECT device FROM pairwise_devices WHERE user_id = ?1")?;
    let mut devices = BTreeSet::new();
    for &user in users {
        for device in statement.query_map([Sql(user)], |row| row.domain(0))? {
            devices.insert((user, device?));
        }
    }
    Ok(devices)
}

/// The devices of these users that are not in the conversation's group, whatever they have published. In order.
pub(crate) fn devices_outside_group(
    connection: &Connection,
    conversation: ConversationId,
    users: &BTreeSet<UserId>,
) -> Result<Vec<UserDevice>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT d.device FROM devices d WHERE d.user_id = ?2 AND NOT EXISTS (
             SELECT 1 FROM leaves l WHERE l.conversation = ?1 AND l.user_id = d.user_id AND l.device = d.device)
         ORDER BY d.device",
    )?;
    let mut outside = Vec::new();
    for &user in users {
        for device in statement.query_map(params![Sql(conversation), Sql(user)], |row| row.domain(0))? {
            outside.push(UserDevice { user, device: device? });
        }
    }
    Ok(outside)
}

/// Stores a ciphertext of the message at this position.
pub(crate) fn insert_ciphertext(
    tx: &WriteTx<'_>,
    position: Position,
    PairwiseCiphertext { user, device, ciphertext }: &PairwiseCiphertext,
) -> Result<(), ApiError> {
    tx.prepare_cached(
        "INSERT INTO pairwise_ciphertexts (position, user_id, device, ciphertext) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![position, Sql(*user), Sql(*device), ciphertext.as_ref()])?;
    Ok(())
}

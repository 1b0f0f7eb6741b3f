//! Devices of users.

use super::sql::{Connection, OptionalExtension as _, params};
use super::{
    RowExt as _, Sql, WriteTx,
    accounts::{self, TokenHash},
    events::append_user_event,
    key_packages,
};
use crate::error::ApiError;
use tertulia_api::{Code, UserDevice, account::Device, event::EventBody};
use tertulia_domain::{DeviceId, UserId};

/// A device to be registered.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) address: UserDevice,
    pub(crate) label: String,
    pub(crate) signature_key: [u8; 32],
}

/// Registers a device and gives it to the session of `token`. Its stream of events begins here, and the user's other
/// devices are told. The same device with the same key can be registered again, by another session too: nothing changes
/// then but the session.
pub(crate) fn register(
    tx: &WriteTx<'_>,
    token: &TokenHash,
    new: &Registration,
    most: usize,
    now: i64,
) -> Result<Device, ApiError> {
    let UserDevice { user, device } = new.address;
    bind(tx, token, device)?;
    if let Some((known, key)) = find(tx, new.address)? {
        if key != new.signature_key {
            return Err(ApiError::new(
                Code::BadRequest,
                "You have a device of this id with another key; choose another id.",
            ));
        }
        give_to_session(tx, token, device)?;
        return Ok(known);
    }

    if was_removed(tx, new.address)? {
        return Err(Code::DeviceRemoved.into());
    }
    let others: usize = tx
        .prepare_cached("SELECT count(*) FROM devices WHERE user_id = ?1")?
        .query_row([Sql(user)], |row| row.get::<i64>(0))?
        .try_into()
        .unwrap_or(usize::MAX);
    if others >= most {
        let detail = format!("You have {others} devices, the most that this hub allows.");
        return Err(ApiError::new(Code::DeviceLimit, detail));
    }
    if others > 0 {
        append_user_event(tx, user, &EventBody::DeviceAdded { device, label: new.label.clone() })?;
    }
    tx.prepare_cached(
        "INSERT INTO devices (user_id, device, label, signature_key, created_at, registered, acknowledged)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
    )?
    .execute(params![Sql(user), Sql(device), new.label, new.signature_key, now, tx.last_position()])?;
    give_to_session(tx, token, device)?;
    Ok(Device { device, label: new.label.clone(), created_at: now })
}

/// Checks that the session has no other device.
fn bind(tx: &WriteTx<'_>, token: &TokenHash, device: DeviceId) -> Result<(), ApiError> {
    let bound = tx
        .prepare_cached("SELECT device FROM sessions WHERE token_hash = ?1")?
        .query_row([token], |row| row.optional::<DeviceId>(0))
        .optional()?
        .ok_or(Code::Unauthenticated)?; // logged out meanwhile
    match bound {
        Some(bound) if bound != device => {
            Err(ApiError::new(Code::BadRequest, "This session is that of another device; log in anew."))
        }
        _ => Ok(()),
    }
}

fn give_to_session(tx: &WriteTx<'_>, token: &TokenHash, device: DeviceId) -> Result<(), ApiError> {
    tx.prepare_cached("UPDATE sessions SET device = ?2 WHERE token_hash = ?1")?
        .execute(params![token, Sql(device)])?;
    Ok(())
}

/// Removes a device with its sessions and key packages, and tells the user's other devices. `false` if there is none of this
/// id. What it has in groups stays until others remove it.
pub(crate) fn remove(tx: &WriteTx<'_>, address: UserDevice, now: i64) -> Result<bool, ApiError> {
    let UserDevice { user, device } = address;
    if find(tx, address)?.is_none() {
        return Ok(false);
    }
    accounts::close_sessions_of(tx, address, now)?;
    key_packages::delete_all(tx, address)?;
    tx.prepare_cached("DELETE FROM devices WHERE user_id = ?1 AND device = ?2")?
        .execute(params![Sql(user), Sql(device)])?;
    tx.prepare_cached("INSERT INTO removed_devices (user_id, device, removed_at) VALUES (?1, ?2, ?3)")?
        .execute(params![Sql(user), Sql(device), now])?;
    append_user_event(tx, user, &EventBody::DeviceRemoved { device })?;
    Ok(true)
}

/// Removes all devices of a user, with their sessions and key packages.
pub(crate) fn remove_all(tx: &WriteTx<'_>, user: UserId, now: i64) -> Result<Vec<UserDevice>, ApiError> {
    let devices: Vec<_> =
        list(tx, user)?.into_iter().map(|known| UserDevice { user, device: known.device }).collect();
    for device in &devices {
        accounts::close_sessions_of(tx, *device, now)?;
        key_packages::delete_all(tx, *device)?;
    }
    accounts::close_all_sessions(tx, user)?;
    tx.prepare_cached("DELETE FROM devices WHERE user_id = ?1")?.execute([Sql(user)])?;
    Ok(devices)
}

fn was_removed(connection: &Connection, address: UserDevice) -> Result<bool, ApiError> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM removed_devices WHERE user_id = ?1 AND device = ?2")?
        .exists(params![Sql(address.user), Sql(address.device)])?)
}

/// A device and its signature key.
fn find(connection: &Connection, address: UserDevice) -> Result<Option<(Device, Vec<u8>)>, ApiError> {
    let found = connection
        .prepare_cached(
            "SELECT label, created_at, signature_key FROM devices WHERE user_id = ?1 AND device = ?2",
        )?
        .query_row(params![Sql(address.user), Sql(address.device)], |row| {
            let device = Device { device: address.device, label: row.get(0)?, created_at: row.get(1)? };
            Ok((device, row.get(2)?))
        })
        .optional()?;
    Ok(found)
}

/// The signature key that a device registered.
pub(crate) fn signature_key(
    connection: &Connection,
    address: UserDevice,
) -> Result<Option<Vec<u8>>, ApiError> {
    Ok(find(connection, address)?.map(|(_, key)| key))
}

/// The devices of a user, oldest first.
pub(crate) fn list(connection: &Connection, user: UserId) -> Result<Vec<Device>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT device, label, created_at FROM devices WHERE user_id = ?1 ORDER BY created_at, registered, device",
    )?;
    let devices = statement.query_map([Sql(user)], |row| {
        Ok(Device { device: row.domain(0)?, label: row.get(1)?, created_at: row.get(2)? })
    })?;
    Ok(devices.collect::<Result<_, _>>()?)
}

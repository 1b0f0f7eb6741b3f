//! Key packages: each is handed out once, but for the last-resort one. As long as they are here, their bytes count as those of their
//! user.

use super::sql::{Connection, OptionalExtension as _, Params, params};
use super::{RowExt as _, Sql, WriteTx, events::append_user_event, quotas};
use crate::{error::ApiError, mls::key_package::ValidKeyPackage};
use tertulia_api::{Code, UserDevice, account::ClaimedKeyPackage, event::EventBody};
use tertulia_domain::{DeviceId, UserId};

/// For so long, in milliseconds, a key package that was given out counts as one for a change that is under way.
const FOR_THIS_CHANGE: i64 = 60 * 60 * 1000;

/// What a device uploads.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    pub(crate) key_packages: Vec<ValidKeyPackage>,
    pub(crate) last_resort: Option<ValidKeyPackage>,
}

impl Upload {
    fn is_empty(&self) -> bool {
        self.key_packages.is_empty() && self.last_resort.is_none()
    }
}

/// Stores key packages of a device. Those that it uploaded before are passed over, be they handed out by now or not.
/// `key-package-limit` if there were more than `most` afterwards, the last-resort one not counted.
pub(crate) fn store(
    tx: &WriteTx<'_>,
    device: UserDevice,
    upload: &Upload,
    most: usize,
    now: i64,
) -> Result<(), ApiError> {
    if upload.is_empty() {
        return Ok(());
    }
    prepare_last_resort(tx, device, upload)?;
    forget_expired(tx, device, now)?;
    let mut bytes = 0;
    for key_package in &upload.key_packages {
        bytes += insert(tx, device, key_package, false)?;
    }
    if let Some(key_package) = &upload.last_resort {
        let present = "user_id = ?1 AND device = ?2 AND last_resort = TRUE";
        delete(tx, present, params![Sql(device.user), Sql(device.device)])?;
        bytes += insert(tx, device, key_package, true)?;
    }
    quotas::note_stored(tx, [(device.user, bytes)])?;
    if count(tx, device, now)? as usize > most {
        let detail = format!("The hub keeps at most {most} key packages for a device.");
        return Err(ApiError::new(Code::KeyPackageLimit, detail));
    }
    Ok(())
}

/// Looks whether the last-resort key package of an upload can be one, before it takes the place of the present one: a key package is
/// either handed out once or as often as needed. The present one is remembered as handed out, so that it does not come back
/// as one for once.
fn prepare_last_resort(tx: &WriteTx<'_>, device: UserDevice, upload: &Upload) -> Result<(), ApiError> {
    let Some(ValidKeyPackage { hash, .. }) = &upload.last_resort else { return Ok(()) };
    let is_for_once = tx
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM key_packages WHERE hash = ?1 AND last_resort = FALSE)
                 OR EXISTS (SELECT 1 FROM spent_key_packages WHERE hash = ?1)",
        )?
        .query_row([hash], |row| row.get::<bool>(0))?;
    if is_for_once || upload.key_packages.iter().any(|key_package| key_package.hash == *hash) {
        let detail =
            "The last-resort key package is, or was, among those that are handed out once; make another one.";
        return Err(ApiError::new(Code::InvalidKeyPackage, detail));
    }
    tx.prepare_cached(
        "INSERT INTO spent_key_packages (hash, expires_at, user_id, device)
         SELECT hash, expires_at, user_id, device FROM key_packages
         WHERE user_id = ?1 AND device = ?2 AND last_resort = TRUE AND hash <> ?3 ON CONFLICT (hash) DO NOTHING",
    )?
    .execute(params![Sql(device.user), Sql(device.device), hash])?;
    Ok(())
}

/// Stores key packages of a device in place of those that it had and that were not handed out. Its last-resort one stays
/// unless another comes.
pub(crate) fn replace(
    tx: &WriteTx<'_>,
    device: UserDevice,
    upload: &Upload,
    most: usize,
    now: i64,
) -> Result<(), ApiError> {
    for (hash, _) in stored(tx, device)? {
        if !upload.key_packages.iter().any(|kept| kept.hash == hash) {
            withdraw(tx, hash)?;
        }
    }
    store(tx, device, upload, most, now)
}

/// The hash of a key package, and its bytes.
pub(crate) type Stored = ([u8; 32], Vec<u8>);

/// The device's key packages with their hashes, the last-resort one aside.
pub(crate) fn stored(connection: &Connection, device: UserDevice) -> Result<Vec<Stored>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT hash, key_package FROM key_packages WHERE user_id = ?1 AND device = ?2 AND last_resort = FALSE",
    )?;
    let found = statement
        .query_map(params![Sql(device.user), Sql(device.device)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Takes a key package back. It is remembered like those that were handed out, so that an upload that is repeated does not
/// bring it again.
pub(crate) fn withdraw(tx: &WriteTx<'_>, hash: [u8; 32]) -> Result<(), ApiError> {
    tx.prepare_cached(
        "INSERT INTO spent_key_packages (hash, expires_at, user_id, device)
         SELECT hash, expires_at, user_id, device FROM key_packages WHERE hash = ?1 ON CONFLICT (hash) DO NOTHING",
    )?
    .execute([hash])?;
    delete(tx, "hash = ?1", [hash])?;
    Ok(())
}

/// Deletes the key packages of which this holds. How many there were.
fn delete(tx: &Connection, which: &str, params: impl Params) -> Result<u64, ApiError> {
    let sql = format!("DELETE FROM key_packages WHERE {which} RETURNING user_id, length(key_package)");
    let mut statement = tx.prepare_cached(&sql)?;
    let deleted = statement.query_map(params, |row| Ok((row.domain::<UserId>(0)?, -row.get::<i64>(1)?)))?;
    let deleted: Vec<_> = deleted.collect::<Result<_, _>>()?;
    let count = deleted.len() as u64;
    quotas::note_stored(tx, deleted)?;
    Ok(count)
}

/// Deletes those that have expired, and the memory of such that were handed out. How many there were.
pub(super) fn forget_all_expired(tx: &WriteTx<'_>, now: i64) -> Result<u64, ApiError> {
    let spent = tx.prepare_cached("DELETE FROM spent_key_packages WHERE expires_at <= ?1")?.execute([now])?;
    Ok(delete(tx, "expires_at <= ?1", [now])? + spent as u64)
}

/// Notes after an upload whether the device has as many as it should have.
pub(crate) fn note_supply(tx: &WriteTx<'_>, device: UserDevice, low: u32, now: i64) -> Result<(), ApiError> {
    let enough = count(tx, device, now)? >= low;
    tx.prepare_cached("UPDATE devices SET supplied = supplied OR ?3 WHERE user_id = ?1 AND device = ?2")?
        .execute(params![Sql(device.user), Sql(device.device), enough])?;
    Ok(())
}

/// Tells the owner, once, that a device that had enough key packages has few.
fn warn(tx: &WriteTx<'_>, address: UserDevice, low: u32, now: i64) -> Result<(), ApiError> {
    let count = count(tx, address, now)?;
    if count >= low {
        return Ok(());
    }
    let had_enough = tx
        .prepare_cached(
            "UPDATE devices SET supplied = FALSE WHERE user_id = ?1 AND device = ?2 AND supplied",
        )?
        .execute(params![Sql(address.user), Sql(address.device)])?;
    if had_enough == 1 {
        let low = EventBody::KeyPackagesLow { device: address.device, count };
        append_user_event(tx, address.user, &low)?;
    }
    Ok(())
}

/// How many bytes it takes that were not here before.
fn insert(
    tx: &WriteTx<'_>,
    device: UserDevice,
    key_package: &ValidKeyPackage,
    last_resort: bool,
) -> Result<i64, ApiError> {
    let inserted = tx
        .prepare_cached(
            "INSERT INTO key_packages (hash, user_id, device, last_resort, expires_at, key_package)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS (SELECT 1 FROM spent_key_packages WHERE hash = ?1)
         ON CONFLICT (hash) DO NOTHING",
        )?
        .execute(params![
            key_package.hash,
            Sql(device.user),
            Sql(device.device),
            last_resort,
            key_package.expires_at,
            key_package.bytes,
        ])?;
    Ok(if inserted == 1 { i64::try_from(key_package.bytes.len()).unwrap_or(i64::MAX) } else { 0 })
}

/// Deletes all key packages of a device, and that some were handed out.
pub(crate) fn delete_all(tx: &WriteTx<'_>, device: UserDevice) -> Result<(), ApiError> {
    delete(tx, "user_id = ?1 AND device = ?2", params![Sql(device.user), Sql(device.device)])?;
    tx.prepare_cached("DELETE FROM spent_key_packages WHERE user_id = ?1 AND device = ?2")?
        .execute(params![Sql(device.user), Sql(device.device)])?;
    Ok(())
}

/// Expired key packages of the device, and the memory of any that were handed out and have expired.
fn forget_expired(tx: &WriteTx<'_>, device: UserDevice, now: i64) -> Result<(), ApiError> {
    let expired = "user_id = ?1 AND device = ?2 AND expires_at <= ?3";
    delete(tx, expired, params![Sql(device.user), Sql(device.device), now])?;
    tx.prepare_cached("DELETE FROM spent_key_packages WHERE expires_at <= ?1")?.execute([now])?;
    Ok(())
}

/// How many key packages of a device can be handed out, the last-resort one not counted.
pub(crate) fn count(connection: &Connection, device: UserDevice, now: i64) -> Result<u32, ApiError> {
    let count = connection
        .prepare_cached(
            "SELECT count(*) FROM key_packages
             WHERE user_id = ?1 AND device = ?2 AND last_resort = FALSE AND expires_at > ?3",
        )?
        .query_row(params![Sql(device.user), Sql(device.device), now], |row| row.get(0))?;
    Ok(count)
}

/// The devices of `user` that `adder` can add to groups: those with a key package, and those whose last one `adder` was
/// given a short time ago, to add them. A device that was not seen for so long that its key packages have expired keeps
/// nobody from adding its user; nor does one whose last key package somebody else has taken.
pub(crate) fn devices_to_add(
    connection: &Connection,
    user: UserId,
    adder: UserId,
    now: i64,
) -> Result<Vec<DeviceId>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT device FROM devices d WHERE user_id = ?1 AND (
             EXISTS (SELECT 1 FROM key_packages k
                     WHERE k.user_id = d.user_id AND k.device = d.device AND k.expires_at > ?3)
             OR EXISTS (SELECT 1 FROM spent_key_packages s
                        WHERE s.user_id = d.user_id AND s.device = d.device AND s.claimed_by = ?2 AND s.claimed_at > ?4))",
    )?;
    let claimed_after = now.saturating_sub(FOR_THIS_CHANGE);
    let devices =
        statement.query_map(params![Sql(user), Sql(adder), now, claimed_after], |row| row.domain(0))?;
    Ok(devices.collect::<Result<_, _>>()?)
}

/// Takes one key package of each device of `user` for the device `claimer`, which is itself passed over. Owners of devices
/// that have fewer than `low` then are told.
pub(crate) fn claim(
    tx: &WriteTx<'_>,
    user: UserId,
    claimer: UserDevice,
    low: u32,
    now: i64,
) -> Result<Vec<ClaimedKeyPackage>, ApiError> {
    let devices: Vec<DeviceId> = tx
        .prepare_cached("SELECT device FROM devices WHERE user_id = ?1 ORDER BY registered, device")?
        .query_map([Sql(user)], |row| row.domain(0))?
        .collect::<Result<_, _>>()?;
    let mut claimed = Vec::with_capacity(devices.len());
    for device in devices {
        let address = UserDevice { user, device };
        if address == claimer {
            continue;
        }
        if let Some(key_package) = claim_one(tx, address, claimer.user, now)? {
            claimed.push(ClaimedKeyPackage { user, device, key_package: key_package.into() });
        }
        // Also where all have expired and there was none to give: nothing else would tell the owner.
        warn(tx, address, low, now)?;
    }
    Ok(claimed)
}

fn claim_one(
    tx: &WriteTx<'_>,
    device: UserDevice,
    claimed_by: UserId,
    now: i64,
) -> Result<Option<Vec<u8>>, ApiError> {
    // The one that expires first is taken first.
    let taken = tx
        .prepare_cached(
            "DELETE FROM key_packages WHERE hash = (
                 SELECT hash FROM key_packages
                 WHERE user_id = ?1 AND device = ?2 AND last_resort = FALSE AND expires_at > ?3
                 ORDER BY expires_at LIMIT 1)
             RETURNING hash, expires_at, key_package",
        )?
        .query_row(params![Sql(device.user), Sql(device.device), now], |row| {
            Ok((row.get::<[u8; 32]>(0)?, row.get::<i64>(1)?, row.get::<Vec<u8>>(2)?))
        })
        .optional()?;
    if let Some((hash, expires_at, key_package)) = taken {
        tx.prepare_cached(
            "INSERT INTO spent_key_packages (hash, expires_at, user_id, device, claimed_by, claimed_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            hash,
            expires_at,
            Sql(device.user),
            Sql(device.device),
            Sql(claimed_by),
            now
        ])?;
        quotas::note_stored(tx, [(device.user, -i64::try_from(key_package.len()).unwrap_or(i64::MAX))])?;
        return Ok(Some(key_package));
    }
    let last_resort = tx
        .prepare_cached(
            "SELECT key_package FROM key_packages
             WHERE user_id = ?1 AND device = ?2 AND last_resort = TRUE AND expires_at > ?3",
        )?
        .query_row(params![Sql(device.user), Sql(device.device), now], |row| row.get(0))
        .optional()?;
    Ok(last_resort)
}

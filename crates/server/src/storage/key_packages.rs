//! Key packages: each is handed out once, but for the last-resort one.

use super::{RowExt as _, Sql, WriteTx};
use crate::{error::ApiError, mls::key_package::ValidKeyPackage};
use rusqlite::{Connection, OptionalExtension as _, params};
use tertulia_api::{Code, UserDevice, account::ClaimedKeyPackage};
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
    forget_expired(tx, device, now)?;
    for key_package in &upload.key_packages {
        insert(tx, device, key_package, false)?;
    }
    if let Some(key_package) = &upload.last_resort {
        tx.prepare_cached("DELETE FROM key_packages WHERE user = ?1 AND device = ?2 AND last_resort")?
            .execute(params![Sql(device.user), Sql(device.device)])?;
        insert(tx, device, key_package, true)?;
    }
    if count(tx, device, now)? as usize > most {
        let detail = format!("The hub keeps at most {most} key packages for a device.");
        return Err(ApiError::new(Code::KeyPackageLimit, detail));
    }
    Ok(())
}

fn insert(
    tx: &WriteTx<'_>,
    device: UserDevice,
    key_package: &ValidKeyPackage,
    last_resort: bool,
) -> Result<(), ApiError> {
    tx.prepare_cached(
        "INSERT INTO key_packages (hash, user, device, last_resort, expires_at, key_package)
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
    Ok(())
}

/// Deletes all key packages of a device, and that some were handed out.
pub(crate) fn delete_all(tx: &WriteTx<'_>, device: UserDevice) -> Result<(), ApiError> {
    for table in ["key_packages", "spent_key_packages"] {
        tx.prepare_cached(&format!("DELETE FROM {table} WHERE user = ?1 AND device = ?2"))?
            .execute(params![Sql(device.user), Sql(device.device)])?;
    }
    Ok(())
}

/// Expired key packages of the device, and the memory of any that were handed out and have expired.
fn forget_expired(tx: &WriteTx<'_>, device: UserDevice, now: i64) -> Result<(), ApiError> {
    tx.prepare_cached("DELETE FROM key_packages WHERE user = ?1 AND device = ?2 AND expires_at <= ?3")?
        .execute(params![Sql(device.user), Sql(device.device), now])?;
    tx.prepare_cached("DELETE FROM spent_key_packages WHERE expires_at <= ?1")?.execute([now])?;
    Ok(())
}

/// How many key packages of a device can be handed out, the last-resort one not counted.
pub(crate) fn count(connection: &Connection, device: UserDevice, now: i64) -> Result<u32, ApiError> {
    let count = connection
        .prepare_cached(
            "SELECT count(*) FROM key_packages
             WHERE user = ?1 AND device = ?2 AND NOT last_resort AND expires_at > ?3",
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
        "SELECT device FROM devices d WHERE user = ?1 AND (
             EXISTS (SELECT 1 FROM key_packages k
                     WHERE k.user = d.user AND k.device = d.device AND k.expires_at > ?3)
             OR EXISTS (SELECT 1 FROM spent_key_packages s
                        WHERE s.user = d.user AND s.device = d.device AND s.claimed_by = ?2 AND s.claimed_at > ?4))",
    )?;
    let claimed_after = now.saturating_sub(FOR_THIS_CHANGE);
    let devices =
        statement.query_map(params![Sql(user), Sql(adder), now, claimed_after], |row| row.domain(0))?;
    Ok(devices.collect::<Result<_, _>>()?)
}

/// Takes one key package of each device of `user` for the device `claimer`, which is itself passed over.
pub(crate) fn claim(
    tx: &WriteTx<'_>,
    user: UserId,
    claimer: UserDevice,
    now: i64,
) -> Result<Vec<ClaimedKeyPackage>, ApiError> {
    let devices: Vec<DeviceId> = tx
        .prepare_cached("SELECT device FROM devices WHERE user = ?1 ORDER BY registered, device")?
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
                 WHERE user = ?1 AND device = ?2 AND last_resort = 0 AND expires_at > ?3
                 ORDER BY expires_at LIMIT 1)
             RETURNING hash, expires_at, key_package",
        )?
        .query_row(params![Sql(device.user), Sql(device.device), now], |row| {
            Ok((row.get::<_, [u8; 32]>(0)?, row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(2)?))
        })
        .optional()?;
    if let Some((hash, expires_at, key_package)) = taken {
        tx.prepare_cached(
            "INSERT INTO spent_key_packages (hash, expires_at, user, device, claimed_by, claimed_at)
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
        return Ok(Some(key_package));
    }
    let last_resort = tx
        .prepare_cached(
            "SELECT key_package FROM key_packages
             WHERE user = ?1 AND device = ?2 AND last_resort = 1 AND expires_at > ?3",
        )?
        .query_row(params![Sql(device.user), Sql(device.device), now], |row| row.get(0))
        .optional()?;
    Ok(last_resort)
}

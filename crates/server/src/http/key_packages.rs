//! Key packages, and the hub's own key.

use super::{auth::AuthenticatedDevice, extract::Json};
use crate::storage::Connection;
use crate::{
    delivery::accounts::check_seen,
    error::ApiError,
    mls::key_package::{self, Expected, ValidKeyPackage},
    state::{AppState, now_ms},
    storage::{
        WriteTx, connections, conversations, devices, joins,
        key_packages::{self, Upload},
        profiles, quotas, teams,
    },
};
use axum::extract::State;
use std::collections::BTreeSet;
use tertulia_api::{
    Base64, Code, UserDevice,
    account::{
        ClaimedKeyPackages, HubKeys, KeyPackageClaim, KeyPackageCount, KeyPackageDeletion, KeyPackageUpload,
    },
};
use tertulia_domain::{DeviceAddress, UserId, connection::Status};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(upload, replace, delete))
        .routes(routes!(count))
        .routes(routes!(claim))
        .routes(routes!(hub_keys))
}

/// Upload key packages
///
/// Stores key packages of the calling device (RFC 9420 section 10). Uploading one again changes nothing, also after it
/// was handed out.
#[utoipa::path(post, path = "/v1/key-packages", tag = "devices", request_body = KeyPackageUpload,
    responses((status = 200, description = "How many can be handed out now", body = KeyPackageCount)),
    extensions(("x-problems" = json!(["no-device", "invalid-key-package", "key-package-limit", "quota-exceeded"]))))]
async fn upload(
    State(state): State<AppState>,
    caller: AuthenticatedDevice,
    Json(upload): Json<KeyPackageUpload>,
) -> Result<Json<KeyPackageCount>, ApiError> {
    take(&state, caller.address(), upload, key_packages::store).await
}

/// Replace my key packages
///
/// Stores key packages of the calling device in place of those that were not handed out yet. The last-resort one stays
/// unless another comes with them.
#[utoipa::path(put, path = "/v1/key-packages", tag = "devices", request_body = KeyPackageUpload,
    responses((status = 200, description = "How many can be handed out now", body = KeyPackageCount)),
    extensions(("x-problems" = json!(["no-device", "invalid-key-package", "key-package-limit", "quota-exceeded"]))))]
async fn replace(
    State(state): State<AppState>,
    caller: AuthenticatedDevice,
    Json(upload): Json<KeyPackageUpload>,
) -> Result<Json<KeyPackageCount>, ApiError> {
    take(&state, caller.address(), upload, key_packages::replace).await
}

/// How key packages that passed the checks are stored.
type Store = fn(&WriteTx<'_>, UserDevice, &Upload, usize, i64) -> Result<(), ApiError>;

async fn take(
    state: &AppState,
    device: UserDevice,
    upload: KeyPackageUpload,
    store: Store,
) -> Result<Json<KeyPackageCount>, ApiError> {
    let signature_key = state.storage.read(move |db| devices::signature_key(db, device)).await?;
    let signature_key = signature_key.ok_or(Code::DeviceRemoved)?;
    let upload = checked(state, device, &signature_key, upload.key_packages, upload.last_resort).await?;
    let (most, low) = (state.limits.key_packages_per_device, state.limits.key_packages_low);
    let most_bytes = state.limits.bytes_per_user;
    let stored = state
        .storage
        .write(move |tx| {
            let now = now_ms();
            // The device may have been removed since.
            devices::signature_key(tx, device)?.ok_or(Code::DeviceRemoved)?;
            store(tx, device, &upload, most, now)?;
            quotas::check_key_packages(tx, device.user, most_bytes)?;
            key_packages::note_supply(tx, device, low, now)?;
            key_packages::count(tx, device, now)
        })
        .await;
    let count = stored.inspect_err(|error| state.count_quota(error))?;
    Ok(Json(KeyPackageCount { count }))
}

/// Delete key packages
///
/// Those of the calling device with these references that were not handed out yet; others are passed over. They are not
/// taken again.
#[utoipa::path(delete, path = "/v1/key-packages", tag = "devices", request_body = KeyPackageDeletion,
    responses((status = 200, description = "How many can be handed out now", body = KeyPackageCount)),
    extensions(("x-problems" = json!(["no-device"]))))]
async fn delete(
    State(state): State<AppState>,
    caller: AuthenticatedDevice,
    Json(KeyPackageDeletion { references }): Json<KeyPackageDeletion>,
) -> Result<Json<KeyPackageCount>, ApiError> {
    let device = caller.address();
    let references: BTreeSet<Vec<u8>> = references.into_iter().map(|reference| reference.0).collect();
    let stored = state.storage.read(move |db| key_packages::stored(db, device)).await?;
    let named = tokio::task::spawn_blocking(move || {
        let is_named = |bytes: &[u8]| {
            key_package::reference(bytes).is_some_and(|reference| references.contains(&reference))
        };
        stored.into_iter().filter(|(_, bytes)| is_named(bytes)).map(|(hash, _)| hash).collect::<Vec<_>>()
    });
    let named = named.await.map_err(ApiError::internal)?;
    let count = state
        .storage
        .write(move |tx| {
            for hash in named {
                key_packages::withdraw(tx, hash)?;
            }
            key_packages::count(tx, device, now_ms())
        })
        .await?;
    Ok(Json(KeyPackageCount { count }))
}

/// Checks the key packages of a device, on a thread for blocking work.
pub(super) async fn checked(
    state: &AppState,
    device: UserDevice,
    signature_key: &[u8],
    key_packages: Vec<Base64>,
    last_resort: Option<Base64>,
) -> Result<Upload, ApiError> {
    let most = state.limits.key_packages_per_device;
    if key_packages.len() > most {
        let detail = format!("The hub keeps at most {most} key packages for a device.");
        return Err(ApiError::new(Code::KeyPackageLimit, detail));
    }
    let expected = Expected {
        device: DeviceAddress::new(device.user, device.device, state.domain.clone()),
        signature_key: signature_key.to_vec(),
        lifetime: state.limits.key_package_lifetime,
        now: now_ms(),
    };
    let task = tokio::task::spawn_blocking(move || {
        let last =
            last_resort.map(|bytes| check(bytes, &expected, "The last-resort key package")).transpose()?;
        let key_packages = key_packages
            .into_iter()
            .enumerate()
            .map(|(index, bytes)| check(bytes, &expected, &format!("Key package {index}")));
        Ok(Upload { key_packages: key_packages.collect::<Result<_, ApiError>>()?, last_resort: last })
    });
    task.await.map_err(ApiError::internal)?
}

fn check(bytes: Base64, expected: &Expected, which: &str) -> Result<ValidKeyPackage, ApiError> {
    key_package::check(bytes.0, expected)
        .map_err(|error| ApiError::new(Code::InvalidKeyPackage, format!("{which}: {error}.")))
}

/// Count my key packages
///
/// How many of the calling device's can still be handed out, the last-resort one not counted.
#[utoipa::path(get, path = "/v1/key-packages/count", tag = "devices",
    responses((status = 200, description = "How many are left", body = KeyPackageCount)),
    extensions(("x-problems" = json!(["no-device"]))))]
async fn count(
    State(state): State<AppState>,
    caller: AuthenticatedDevice,
) -> Result<Json<KeyPackageCount>, ApiError> {
    let count = state.storage.read(move |db| key_packages::count(db, caller.address(), now_ms())).await?;
    Ok(Json(KeyPackageCount { count }))
}

/// Claim key packages
///
/// Takes one key package of each device of the users, the calling device aside. Each is given to nobody else; a device
/// that has no other gives its last-resort one.
#[utoipa::path(post, path = "/v1/key-packages/claims", tag = "devices", request_body = KeyPackageClaim,
    responses((status = 200, description = "One for each device that has one", body = ClaimedKeyPackages)),
    extensions(("x-problems" = json!(["no-device", "unknown-user", "not-connected"]))))]
async fn claim(
    State(state): State<AppState>,
    caller: AuthenticatedDevice,
    Json(claim): Json<KeyPackageClaim>,
) -> Result<Json<ClaimedKeyPackages>, ApiError> {
    let users: BTreeSet<UserId> = claim.users.into_iter().collect();
    let (most, low) = (state.limits.users_per_request, state.limits.key_packages_low);
    if users.len() > most {
        return Err(ApiError::new(Code::BadRequest, format!("A claim names at most {most} users.")));
    }
    let key_packages = state
        .storage
        .write(move |tx| {
            let now = now_ms();
            for user in &users {
                check_claim(tx, caller.user, *user)?;
            }
            let mut claimed = Vec::new();
            for user in users {
                claimed.append(&mut key_packages::claim(tx, user, caller.address(), low, now)?);
            }
            Ok(claimed)
        })
        .await?;
    Ok(Json(ClaimedKeyPackages { key_packages }))
}

/// Whose key packages one may claim: one's own, and those of users one is connected or in a conversation with, or
/// who ask to come into one. Of a connection only the caller's own side is asked, so that the answer does not tell who has blocked
/// the caller. A guest elsewhere is nobody, and to a guest everybody is.
pub(super) fn check_claim(db: &Connection, caller: UserId, user: UserId) -> Result<(), ApiError> {
    let known = profiles::user(db, user)?.ok_or(Code::UnknownUser)?;
    let allowed = user == caller
        || teams::same(db, caller, user)?
        || connections::status(db, caller, user)? == Some(Status::Accepted)
        || conversations::share_one(db, caller, user)?
        || joins::asks(db, user, caller)?;
    if allowed {
        return Ok(());
    }
    check_seen(db, caller, &known)?;
    Err(ApiError::new(Code::NotConnected, format!("You are not connected with {}.", known.handle)))
}

/// The hub's keys
#[utoipa::path(get, path = "/v1/mls/keys", tag = "devices",
    responses((status = 200, description = "What groups put into their external_senders extension", body = HubKeys)))]
async fn hub_keys(State(state): State<AppState>, _caller: super::auth::Authenticated) -> Json<HubKeys> {
    Json(HubKeys { external_sender: state.observer.public_key().to_vec().into() })
}

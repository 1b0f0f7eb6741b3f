//! Devices of the caller.

use super::{
    auth::Authenticated,
    extract::{ClientAddress, Json, Path},
    key_packages::checked,
    password,
};
use crate::{
    delivery,
    error::ApiError,
    removals,
    state::{AppState, now_ms},
    storage::{
        devices::{self, Registration},
        key_packages, quotas,
    },
};
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use std::sync::Arc;
use tertulia_api::{
    Code, UserDevice,
    account::{Device, NewDevice, PasswordProof},
};
use tertulia_domain::DeviceId;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Longest label of a device, in characters.
const MAX_LABEL_CHARS: usize = 64;

/// All devices of the caller.
#[derive(Serialize, ToSchema)]
struct Devices {
    /// Oldest first.
    devices: Vec<Device>,
}

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(register, list)).routes(routes!(remove))
}

/// Register a device
///
/// Makes the session that of a device, from here on in the user's stream of events. The user's other devices are told.
/// A device that logged in anew registers again, with the same id and key; its place in the stream stays.
#[utoipa::path(post, path = "/v1/devices", tag = "devices", request_body = NewDevice,
    responses((status = 201, description = "The device", body = Device)),
    extensions(("x-problems" = json!([
        "device-limit", "device-removed", "invalid-key-package", "key-package-limit", "quota-exceeded"
    ]))))]
async fn register(
    State(state): State<AppState>,
    caller: Authenticated,
    Json(new): Json<NewDevice>,
) -> Result<(StatusCode, Json<Device>), ApiError> {
    let address = UserDevice { user: caller.user, device: new.device };
    let signature_key: [u8; 32] = new.signature_key.as_ref().try_into().map_err(|_| {
        let detail =
            format!("The signature key has {} bytes instead of 32.", new.signature_key.as_ref().len());
        ApiError::new(Code::BadRequest, detail)
    })?;
    let upload = checked(&state, address, &signature_key, new.key_packages, new.last_resort).await?;
    let registration = Registration { address, label: label(&new.label)?, signature_key };
    let (most, most_key_packages) = (state.limits.devices_per_user, state.limits.key_packages_per_device);
    let (low, most_bytes) = (state.limits.key_packages_low, state.limits.bytes_per_user);
    let registered = state
        .storage
        .write(move |tx| {
            let now = now_ms();
            let device = devices::register(tx, &caller.token, &registration, most, now)?;
            key_packages::store(tx, address, &upload, most_key_packages, now)?;
            quotas::check_key_packages(tx, address.user, most_bytes)?;
            key_packages::note_supply(tx, address, low, now)?;
            Ok(device)
        })
        .await;
    let device = registered.inspect_err(|error| state.count_quota(error))?;
    Ok((StatusCode::CREATED, Json(device)))
}

fn label(text: &str) -> Result<String, ApiError> {
    let label = text.trim();
    let length = label.chars().count();
    if (1..=MAX_LABEL_CHARS).contains(&length) && !label.chars().any(char::is_control) {
        return Ok(label.to_owned());
    }
    let detail = format!("A device's label has 1 to {MAX_LABEL_CHARS} characters and no control characters.");
    Err(ApiError::new(Code::BadRequest, detail))
}

/// List my devices
#[utoipa::path(get, path = "/v1/devices", tag = "devices",
    responses((status = 200, description = "The caller's devices, oldest first", body = Devices)))]
async fn list(State(state): State<AppState>, caller: Authenticated) -> Result<Json<Devices>, ApiError> {
    let devices = state.storage.read(move |db| devices::list(db, caller.user)).await?;
    Ok(Json(Devices { devices }))
}

/// Remove a device
///
/// Ends the device's sessions, also what it has open, and deletes its key packages. Nothing is delivered to it any more. The
/// hub proposes to remove it from every MLS group that it is in. Its id is not used again.
#[utoipa::path(post, path = "/v1/devices/{device}/remove", tag = "devices", request_body = PasswordProof,
    params(("device" = String, Path, description = "The device, one of the caller's")),
    responses((status = 204, description = "The device is no longer one of the caller's")),
    extensions(("x-problems" = json!(["guest-denied", "invalid-credentials", "not-found", "rate-limited"]))))]
async fn remove(
    State(state): State<AppState>,
    caller: Authenticated,
    address: ClientAddress,
    Path(device): Path<DeviceId>,
    Json(proof): Json<PasswordProof>,
) -> Result<StatusCode, ApiError> {
    let proven = password::prove(&state, &caller, &address, proof.password).await?;
    let (observer, removed) = (Arc::clone(&state.observer), UserDevice { user: caller.user, device });
    state
        .storage
        .write(move |tx| {
            proven.check(tx)?;
            if delivery::devices::remove(tx, &observer, removed, now_ms())? {
                Ok(())
            } else {
                Err(ApiError::new(Code::NotFound, "You have no device of this id."))
            }
        })
        .await?;
    removals::carry_out(&state).await;
    tracing::info!(user = caller.user.short(), "a device was removed");
    Ok(StatusCode::NO_CONTENT)
}

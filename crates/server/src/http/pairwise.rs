//! Pairwise messages, and the keys that devices publish for them.

use super::{
    auth::AuthenticatedDevice,
    extract::{Json, JsonBytes, Path},
    key_packages::check_claim,
};
use crate::{
    delivery::pairwise::{self as delivery, Sent},
    error::ApiError,
    mls,
    state::{AppState, now_ms},
    storage::{
        devices,
        log::{Digest, Kind},
        pairwise::{self, Upload, ValidKey},
        quotas,
    },
};
use axum::extract::State;
use http::StatusCode;
use std::collections::BTreeSet;
use tertulia_api::{
    Base64, Code, Problem, UserDevice,
    pairwise::{
        ClaimedPairwiseKeys, PairwiseAccepted, PairwiseKeyClaim, PairwiseKeyCount, PairwiseKeyUpload,
        PairwiseMessage, ProtocolUpdate, SignedPairwiseKey,
    },
};
use tertulia_domain::{
    ConversationId, DeviceAddress, UserId,
    limits::{MAX_PAIRWISE_CIPHERTEXT_BYTES, MAX_PAIRWISE_RECIPIENTS},
    pairwise::{SignedKey, signed_bytes},
};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Keys, and what else is small.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(upload))
        .routes(routes!(count))
        .routes(routes!(claim))
        .routes(routes!(change_protocol))
}

/// Messages.
pub(crate) fn messages() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(send))
}

/// Upload keys for pairwise sessions
///
/// Each is signed by the calling device's signature key. Uploading one again changes nothing, also after it was handed out. A
/// device that has uploaded keys is one for which every pairwise message must have a ciphertext.
#[utoipa::path(post, path = "/v1/pairwise-keys", tag = "devices", request_body = PairwiseKeyUpload,
    responses((status = 200, description = "How many one-time keys can be handed out now", body = PairwiseKeyCount)),
    extensions(("x-problems" = json!(["no-device", "invalid-pairwise-key", "pairwise-key-limit"]))))]
async fn upload(
    State(state): State<AppState>,
    caller: AuthenticatedDevice,
    Json(upload): Json<PairwiseKeyUpload>,
) -> Result<Json<PairwiseKeyCount>, ApiError> {
    let (most, low) = (state.limits.one_time_keys_per_device, state.limits.one_time_keys_low);
    if upload.one_time_keys.len() > most {
        let detail = format!("The hub keeps at most {most} one-time keys for a device.");
        return Err(ApiError::new(Code::PairwiseKeyLimit, detail));
    }
    let device = caller.address();
    let signature_key = state.storage.read(move |db| devices::signature_key(db, device)).await?;
    let signature_key = signature_key.ok_or(Code::NoDevice)?;
    let owner = DeviceAddress::new(device.user, device.device, state.domain.clone());
    let task = tokio::task::spawn_blocking(move || checked(&upload, &owner, &signature_key));
    let upload = task.await.map_err(ApiError::internal)??;
    let count = state
        .storage
        .write(move |tx| {
            pairwise::store(tx, device, &upload, most)?;
            pairwise::note_supply(tx, device, low)?;
            pairwise::count(tx, device)
        })
        .await?;
    Ok(Json(PairwiseKeyCount { count }))
}

/// Checks sizes, numbers and signatures.
fn checked(
    upload: &PairwiseKeyUpload,
    owner: &DeviceAddress,
    signature_key: &[u8],
) -> Result<Upload, ApiError> {
    let identity_key = array(&upload.identity_key, "The identity key")?;
    let valid = |signed: &SignedPairwiseKey, which: &str, of: fn([u8; 32]) -> SignedKey| {
        let key = array(&signed.key, which)?;
        let signature: [u8; 64] = array(&signed.signature, which)?;
        let bytes = signed_bytes(owner, &identity_key, of(key));
        if mls::verify_signature(signature_key, &bytes, &signature) {
            Ok(ValidKey { key, signature })
        } else {
            let detail = format!("{which} is not signed by the calling device.");
            Err(ApiError::new(Code::InvalidPairwiseKey, detail))
        }
    };
    let number = |number: u64| match i64::try_from(number) {
        Ok(_) => Ok(number),
        Err(_) => Err(ApiError::new(Code::BadRequest, "A number is larger than 2^63 - 1.")),
    };
    let mut one_time_keys = Vec::with_capacity(upload.one_time_keys.len());
    for key in &upload.one_time_keys {
        let which = format!("One-time key {}", key.id);
        one_time_keys.push((number(key.id)?, valid(&key.key, &which, SignedKey::OneTime)?));
    }
    let fallback = upload
        .fallback
        .as_ref()
        .map(|key| valid(key, "The fallback key", SignedKey::Fallback))
        .transpose()?;
    Ok(Upload { incarnation: number(upload.incarnation)?, identity_key, one_time_keys, fallback })
}

fn array<const N: usize>(bytes: &Base64, which: &str) -> Result<[u8; N], ApiError> {
    bytes.as_ref().try_into().map_err(|_| {
        let detail = format!("{which} or its signature has not the documented length.");
        ApiError::new(Code::InvalidPairwiseKey, detail)
    })
}

/// Count my one-time keys
///
/// How many of the calling device's can still be handed out, the fallback key not counted.
#[utoipa::path(get, path = "/v1/pairwise-keys/count", tag = "devices",
    responses((status = 200, description = "How many are left", body = PairwiseKeyCount)),
    extensions(("x-problems" = json!(["no-device"]))))]
async fn count(
    State(state): State<AppState>,
    caller: AuthenticatedDevice,
) -> Result<Json<PairwiseKeyCount>, ApiError> {
    let count = state.storage.read(move |db| pairwise::count(db, caller.address())).await?;
    Ok(Json(PairwiseKeyCount { count }))
}

/// Claim keys for pairwise sessions
///
/// Takes one key of each device. A one-time key is given to nobody else; a device that has none left gives its fallback key,
/// which is never used up. Owners of devices that are left with few are told. Devices that there are not, or that have published nothing, are left out.
#[utoipa::path(post, path = "/v1/pairwise-keys/claims", tag = "devices", request_body = PairwiseKeyClaim,
    responses((status = 200, description = "One for each device that has published keys", body = ClaimedPairwiseKeys)),
    extensions(("x-problems" = json!(["no-device", "unknown-user", "not-connected"]))))]
async fn claim(
    State(state): State<AppState>,
    caller: AuthenticatedDevice,
    Json(claim): Json<PairwiseKeyClaim>,
) -> Result<Json<ClaimedPairwiseKeys>, ApiError> {
    let devices: BTreeSet<UserDevice> = claim.devices.into_iter().collect();
    let (most, low) = (state.limits.users_per_request, state.limits.one_time_keys_low);
    if devices.len() > most {
        return Err(ApiError::new(Code::BadRequest, format!("A claim names at most {most} devices.")));
    }
    let keys = state
        .storage
        .write(move |tx| {
            let users: BTreeSet<UserId> = devices.iter().map(|device| device.user).collect();
            for user in users {
                check_claim(tx, caller.user, user)?;
            }
            let mut keys = Vec::with_capacity(devices.len());
            for device in devices.into_iter().filter(|&device| device != caller.address()) {
                keys.extend(pairwise::claim(tx, device, low)?);
            }
            Ok(keys)
        })
        .await?;
    Ok(Json(ClaimedPairwiseKeys { keys }))
}

/// Send a pairwise message
///
/// One ciphertext for each device of every member that has published keys, other than the sending device. If some are missing
/// and not to be ignored, nothing is sent, and the answer says which. Redundant and deleted ones are dropped and told of.
/// Sending the same bytes again stores nothing and gives the same answer.
#[utoipa::path(
    post, path = "/v1/conversations/{conversation}/pairwise-messages", tag = "messages",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    request_body = PairwiseMessage,
    responses(
        (status = 201, description = "Where it stands in the log.", body = PairwiseAccepted),
        (status = 412, description = "- `device-mismatch`: Devices are missing; nothing was sent.",
            body = Problem, content_type = "application/problem+json"),
    ),
    extensions(("x-problems" = json!([
        "action-denied", "invalid-operation", "not-connected", "no-device", "no-conversation", "wrong-protocol", "quota-exceeded"
    ]))),
)]
async fn send(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
    JsonBytes { value: message, bytes }: JsonBytes<PairwiseMessage>,
) -> Result<(StatusCode, Json<PairwiseAccepted>), ApiError> {
    check_sizes(&message)?;
    let digest = Digest::of(Kind::Pairwise, &bytes);
    let (sender, most) = (auth.address(), state.limits.bytes_per_user);
    let sent = Sent { conversation, sender, message, digest, now: now_ms() };
    let write = state.storage.write(move |tx| {
        let accepted = delivery::accept(tx, &sent)?;
        quotas::check_stored(tx, sender.user, most)?;
        Ok(accepted)
    });
    let accepted = write.await.inspect_err(|error| state.count_quota(error))?;
    state.metrics.message_accepted();
    Ok((StatusCode::CREATED, Json(accepted)))
}

fn check_sizes(message: &PairwiseMessage) -> Result<(), ApiError> {
    let refused = |detail: String| Err(ApiError::new(Code::BadRequest, detail));
    if message.ciphertexts.len() > MAX_PAIRWISE_RECIPIENTS {
        return refused(format!("A message is for at most {MAX_PAIRWISE_RECIPIENTS} devices."));
    }
    let mut devices = BTreeSet::new();
    for one in &message.ciphertexts {
        let size = one.ciphertext.as_ref().len();
        if !(1..=MAX_PAIRWISE_CIPHERTEXT_BYTES).contains(&size) {
            return refused(format!(
                "A ciphertext has 1 to {MAX_PAIRWISE_CIPHERTEXT_BYTES} bytes, not {size}."
            ));
        }
        if !devices.insert((one.user, one.device)) {
            return refused("There are two ciphertexts for one device.".to_owned());
        }
    }
    Ok(())
}

/// Change the protocol of a conversation
///
/// From pairwise over mixed to mls, one step at a time and never back. The last step asks that every device of every member is
/// in the MLS group. Only an admin may. Doing so again changes nothing.
///
/// A 1:1 is on MLS unless one of the two chooses `pairwise` before its first commit. In a 1:1 either takes all the steps.
#[utoipa::path(
    put, path = "/v1/conversations/{conversation}/protocol", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    request_body = ProtocolUpdate,
    responses(
        (status = 204, description = "The conversation has the protocol."),
    ),
    extensions(("x-problems" = json!([
        "action-denied", "invalid-operation", "invalid-protocol-transition", "not-connected", "device-mismatch", "no-device", "no-conversation"
    ]))),
)]
async fn change_protocol(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
    Json(ProtocolUpdate { protocol }): Json<ProtocolUpdate>,
) -> Result<StatusCode, ApiError> {
    let (actor, domain) = (auth.address(), state.domain.clone());
    state
        .storage
        .write(move |tx| delivery::change_protocol(tx, &domain, conversation, actor, protocol, now_ms()))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

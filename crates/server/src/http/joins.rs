//! Who is admitted to a conversation, its join link, and coming in by it.

use super::{
    auth::AuthenticatedDevice,
    extract::{ClientAddress, Json, Path},
};
use crate::{
    delivery::{
        admission,
        joins::{self, ByLink},
    },
    error::{ApiError, sentence},
    state::{AppState, now_ms},
    storage::joins::{StoredLink, link_by_code},
};
use axum::extract::State;
use http::StatusCode;
use std::{sync::Arc, time::Duration};
use tertulia_api::{
    Base64, Code,
    join::{AccessUpdate, JoinByLink, Joining, Link, LinkCode, LinkPreview, NewLink},
    join_link::hash_of_code,
};
use tertulia_domain::{ConversationId, access::Access};
use utoipa_axum::{router::OpenApiRouter, routes};
use zeroize::Zeroizing;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(set_access))
        .routes(routes!(put_link, show_link, revoke_link))
        .routes(routes!(preview))
        .routes(routes!(join_by_link))
        .routes(routes!(join_by_id, cancel))
}

/// Change who is admitted
///
/// Members who are no longer admitted are removed, but for the caller; the join link goes with the mode `code`. The mode `link`
/// is what the policy of the MLS group says, where there is one, and is changed by a commit. Doing it again changes nothing.
#[utoipa::path(
    put, path = "/v1/conversations/{conversation}/access", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    request_body = AccessUpdate,
    responses((status = 204, description = "So it is.")),
    extensions(("x-problems" = json!([
        "action-denied", "guest-denied", "invalid-operation", "last-admin", "no-device", "no-conversation"
    ]))),
)]
async fn set_access(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
    Json(AccessUpdate { access, access_roles }): Json<AccessUpdate>,
) -> Result<StatusCode, ApiError> {
    let wanted = Access::new(access, access_roles)
        .map_err(|error| ApiError::new(Code::BadRequest, sentence(&error)))?;
    let (actor, observer) = (auth.address(), Arc::clone(&state.observer));
    state
        .storage
        .write(move |tx| admission::change_access(tx, &observer, conversation, actor, &wanted, now_ms()))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a conversation a join link
///
/// In the place of the one that it has. The hub is given what identifies the link, and not the link. Where there is an MLS group,
/// it is the conversation's link from the commit on that puts the link's key into the policy; until then the one that there is
/// stays.
#[utoipa::path(
    put, path = "/v1/conversations/{conversation}/link", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    request_body = NewLink,
    responses((status = 200, description = "The link, as the hub knows it.", body = Link)),
    extensions(("x-problems" = json!([
        "action-denied", "guest-denied", "invalid-operation", "not-admitted", "invalid-password", "no-device", "no-conversation", "rate-limited"
    ]))),
)]
async fn put_link(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
    Json(new): Json<NewLink>,
) -> Result<Json<Link>, ApiError> {
    let now = now_ms();
    let password = new.password.map(Zeroizing::new);
    let code_hash = bytes(&new.code_hash, "The hash of the code")?;
    let public_key = bytes(&new.public_key, "The public key")?;
    let longest = state.limits.longest_link_validity;
    let valid_for = new.valid_for.map_or(state.limits.link_validity, Duration::from_secs);
    if valid_for.is_zero() || valid_for > longest {
        let detail = format!("A join link is valid for 1 to {} seconds.", longest.as_secs());
        return Err(ApiError::new(Code::BadRequest, detail));
    }
    let expires_at = now.saturating_add(i64::try_from(valid_for.as_millis()).unwrap_or(i64::MAX));
    let user = auth.user;
    state.storage.read(move |db| joins::check_may_link(db, conversation, user)).await?;
    let password = match password {
        Some(password) => {
            state.limiters.joins.take(&user)?;
            Some(state.passwords.hash(password).await?)
        }
        None => None,
    };
    let link = StoredLink { conversation, public_key, password, expires_at };
    let (actor, observer) = (auth.address(), Arc::clone(&state.observer));
    let shown =
        state.storage.write(move |tx| joins::put_link(tx, &observer, actor, code_hash, &link)).await?;
    Ok(Json(shown))
}

/// Look at a conversation's join link
///
/// For who may change it. The link itself is not known to the hub.
#[utoipa::path(
    get, path = "/v1/conversations/{conversation}/link", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    responses((status = 200, description = "The link, as the hub knows it.", body = Link)),
    extensions(("x-problems" = json!([
        "action-denied", "invalid-operation", "no-conversation-code", "no-device", "no-conversation"
    ]))),
)]
async fn show_link(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
) -> Result<Json<Link>, ApiError> {
    let shown = state.storage.read(move |db| joins::show_link(db, conversation, auth.user, now_ms()));
    Ok(Json(shown.await?))
}

/// Take a conversation's join link back
///
/// And with it the requests of those who came by it and wait. Doing it again changes nothing.
#[utoipa::path(
    delete, path = "/v1/conversations/{conversation}/link", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    responses((status = 204, description = "There is none.")),
    extensions(("x-problems" = json!([
        "action-denied", "invalid-operation", "no-device", "no-conversation"
    ]))),
)]
async fn revoke_link(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
) -> Result<StatusCode, ApiError> {
    state.storage.write(move |tx| joins::revoke_link(tx, conversation, auth.user)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Look where a join link leads
#[utoipa::path(post, path = "/v1/join/preview", tag = "conversations", request_body = LinkCode,
    responses((status = 200, description = "What who has the link may know.", body = LinkPreview)),
    extensions(("x-problems" = json!(["no-conversation-code", "no-device", "rate-limited"]))))]
async fn preview(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Json(LinkCode { code }): Json<LinkCode>,
) -> Result<Json<LinkPreview>, ApiError> {
    state.limiters.joins.take(&auth.user)?;
    let code_hash = hash_of_code(&Zeroizing::new(code.0));
    let preview = state.storage.read(move |db| {
        let link = link_by_code(db, code_hash, now_ms())?.ok_or(Code::NoConversationCode)?;
        joins::preview(db, &link)
    });
    Ok(Json(preview.await?))
}

/// Come in by a join link
///
/// Into a conversation without an MLS group at once. Otherwise the members are told, and one of them adds the caller. A code that
/// is unknown, has expired or was taken back is answered alike. Doing it again gives the same answer.
#[utoipa::path(post, path = "/v1/join", tag = "conversations", request_body = JoinByLink,
    responses((status = 200, description = "Whether the caller is in, or waits.", body = Joining)),
    extensions(("x-problems" = json!([
        "no-conversation-code", "invalid-conversation-password", "invalid-join-proof", "not-admitted", "member-limit", "no-device",
        "rate-limited"
    ]))))]
async fn join_by_link(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    ClientAddress(address): ClientAddress,
    Json(JoinByLink { code, password, proof }): Json<JoinByLink>,
) -> Result<Json<Joining>, ApiError> {
    let password = password.map(Zeroizing::new);
    state.limiters.joins.take(&auth.user)?;
    let code_hash = hash_of_code(&Zeroizing::new(code.0));
    let proof = bytes(&proof, "The proof")?;
    let now = now_ms();
    let found = state.storage.read(move |db| link_by_code(db, code_hash, now)).await?;
    let link = found.ok_or(Code::NoConversationCode)?;
    if let Some(hash) = &link.password {
        // Each guess costs the time and memory of a password hash, as a log-in does.
        state.limiters.log_ins_per_address.take_noted(&address)?;
        let is_right = match password {
            Some(password) => state.passwords.verify(password, Some(hash.clone())).await?,
            None => false,
        };
        if !is_right {
            return Err(Code::InvalidConversationPassword.into());
        }
    }
    let by = ByLink { user: auth.user, code_hash, link, proof, now };
    let domain = state.domain.clone();
    Ok(Json(state.storage.write(move |tx| joins::join_by_link(tx, &domain, &by)).await?))
}

/// Ask to come into a conversation
///
/// By its id alone, where it admits the caller so: the mode `link`. For all others there is no such conversation. Doing it again
/// gives the same answer.
#[utoipa::path(
    post, path = "/v1/conversations/{conversation}/join", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    responses((status = 200, description = "Whether the caller is in, or waits.", body = Joining)),
    extensions(("x-problems" = json!(["no-conversation", "member-limit", "no-device", "rate-limited"]))),
)]
async fn join_by_id(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
) -> Result<Json<Joining>, ApiError> {
    state.limiters.joins.take(&auth.user)?;
    let now = now_ms();
    Ok(Json(state.storage.write(move |tx| joins::join_by_id(tx, conversation, auth.user, now)).await?))
}

/// Take back that I asked to come into a conversation
///
/// Whether or not there is one, or a request: the answer is the same.
#[utoipa::path(
    delete, path = "/v1/conversations/{conversation}/join", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    responses((status = 204, description = "The caller does not wait to come in.")),
    extensions(("x-problems" = json!(["no-device"]))),
)]
async fn cancel(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
) -> Result<StatusCode, ApiError> {
    state.storage.write(move |tx| joins::cancel(tx, conversation, auth.user, now_ms())).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn bytes<const N: usize>(bytes: &Base64, which: &str) -> Result<[u8; N], ApiError> {
    let wrong = |_| ApiError::new(Code::BadRequest, format!("{which} has {N} bytes."));
    bytes.as_ref().try_into().map_err(wrong)
}

//! Accounts and sessions.

use super::{
    auth::{Authenticated, new_secret},
    extract::{ClientAddress, Json},
    password,
};
use crate::{
    delivery,
    error::{ApiError, sentence},
    state::{AppState, now_ms},
    storage::{accounts, profiles},
};
use axum::extract::State;
use http::StatusCode;
use std::sync::Arc;
use tertulia_api::{
    Code,
    account::{Credentials, Me, PasswordProof, Session},
};
use tertulia_domain::{Handle, UserId};
use utoipa_axum::{router::OpenApiRouter, routes};
use zeroize::Zeroizing;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(sign_up))
        .routes(routes!(log_in))
        .routes(routes!(log_out))
        .routes(routes!(show_self))
        .routes(routes!(delete))
}

/// Sign up
///
/// Creates an account and opens a session for it.
#[utoipa::path(post, path = "/v1/accounts", tag = "accounts", request_body = Credentials, security(()),
    responses((status = 201, description = "The account's first session", body = Session)),
    extensions(("x-problems" = json!(["invalid-handle", "invalid-password", "handle-taken", "rate-limited"]))))]
async fn sign_up(
    State(state): State<AppState>,
    ClientAddress(address): ClientAddress,
    Json(credentials): Json<Credentials>,
) -> Result<(StatusCode, Json<Session>), ApiError> {
    let password = Zeroizing::new(credentials.password);
    let handle: Handle =
        credentials.handle.parse().map_err(|error| ApiError::new(Code::InvalidHandle, sentence(&error)))?;
    state.limiters.sign_ups.take(&address)?;
    let wanted = handle.clone();
    // Asked before the password is hashed, which is the costly part, and decided by the insertion after it.
    if state.storage.read(move |db| profiles::user_by_handle(db, &wanted)).await?.is_some() {
        return Err(Code::HandleTaken.into());
    }
    let hash = state.passwords.hash(password).await?;
    let (user, (token, token_hash)) = (UserId::random(), new_secret());
    let new = handle.clone();
    state
        .storage
        .write(move |tx| {
            accounts::create(tx, user, &new, &hash, now_ms())?;
            accounts::open_session(tx, &token_hash, user, now_ms())
        })
        .await?;
    tracing::info!(user = user.short(), "signed up");
    Ok((StatusCode::CREATED, Json(session(&state, token, user, &handle))))
}

/// Log in
///
/// Opens a session. Its device is registered next, or again.
#[utoipa::path(post, path = "/v1/sessions", tag = "accounts", request_body = Credentials, security(()),
    responses((status = 201, description = "The session", body = Session)),
    extensions(("x-problems" = json!(["invalid-credentials", "rate-limited"]))))]
async fn log_in(
    State(state): State<AppState>,
    ClientAddress(address): ClientAddress,
    Json(credentials): Json<Credentials>,
) -> Result<(StatusCode, Json<Session>), ApiError> {
    let password = Zeroizing::new(credentials.password);
    let handle: Handle = credentials.handle.parse().map_err(|_| Code::InvalidCredentials)?;
    // In this order, so that what is refused for its handle does not count against others at the same address.
    state.limiters.log_ins.take(&(handle.clone(), address))?;
    state.limiters.log_ins_per_address.take(&address)?;
    let wanted = handle.clone();
    let found = state.storage.read(move |db| accounts::credentials(db, &wanted)).await?;
    let (user, hash) = found.unzip();
    let valid = state.passwords.verify(password, hash.clone()).await?;
    let (user, hash) = user.zip(hash).filter(|_| valid).ok_or(Code::InvalidCredentials)?;
    let (token, token_hash) = new_secret();
    state
        .storage
        .write(move |tx| {
            // A password that was changed meanwhile opens nothing any more.
            accounts::check_password_is(tx, user, &hash)?;
            accounts::open_session(tx, &token_hash, user, now_ms())
        })
        .await?;
    Ok((StatusCode::CREATED, Json(session(&state, token, user, &handle))))
}

fn session(state: &AppState, token: String, user: UserId, handle: &Handle) -> Session {
    Session { token, user, handle: handle.to_string(), domain: state.domain.to_string() }
}

/// Log out
///
/// Ends the session. Its device stays registered.
#[utoipa::path(delete, path = "/v1/sessions/current", tag = "accounts",
    responses((status = 204, description = "The token is no longer valid")))]
async fn log_out(State(state): State<AppState>, caller: Authenticated) -> Result<StatusCode, ApiError> {
    state.storage.write(move |tx| accounts::close_session(tx, &caller.token, caller.user)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who am I
#[utoipa::path(get, path = "/v1/self", tag = "accounts",
    responses((status = 200, description = "The session's user and device", body = Me)))]
async fn show_self(State(state): State<AppState>, caller: Authenticated) -> Result<Json<Me>, ApiError> {
    let user = caller.user;
    let profile = state.storage.read(move |db| profiles::user(db, user)).await?;
    let profile = profile.ok_or(Code::DeviceRemoved)?; // since the request was authenticated
    Ok(Json(Me {
        user,
        handle: profile.handle,
        domain: state.domain.to_string(),
        device: caller.device,
        name: profile.name,
        locale: profile.locale,
    }))
}

/// Delete my account
///
/// For good: the handle is given to nobody any more. Sessions, devices and key packages go, the user leaves all conversations,
/// the 1:1s end, and who was connected gets the event `user.deleted`.
#[utoipa::path(post, path = "/v1/self/delete", tag = "accounts", request_body = PasswordProof,
    responses((status = 204, description = "The account is no more")),
    extensions(("x-problems" = json!(["invalid-credentials", "rate-limited"]))))]
async fn delete(
    State(state): State<AppState>,
    caller: Authenticated,
    address: ClientAddress,
    Json(proof): Json<PasswordProof>,
) -> Result<StatusCode, ApiError> {
    let proven = password::prove(&state, &caller, &address, proof.password).await?;
    let observer = Arc::clone(&state.observer);
    state
        .storage
        .write(move |tx| {
            proven.check(tx)?;
            delivery::accounts::delete(tx, &observer, caller.user, now_ms())
        })
        .await?;
    tracing::info!(user = caller.user.short(), "an account was deleted");
    Ok(StatusCode::NO_CONTENT)
}

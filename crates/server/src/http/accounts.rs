//! Accounts and sessions.

use super::{
    auth::{Authenticated, new_secret},
    extract::{ClientAddress, Json},
    password,
};
use crate::{
    delivery,
    error::{ApiError, sentence},
    removals,
    state::{AppState, now_ms},
    storage::{WriteTx, accounts, profiles, retention},
};
use axum::extract::State;
use http::StatusCode;
use std::sync::Arc;
use tertulia_api::{
    Code,
    account::{Credentials, Me, NewAccount, NewGuest, PasswordProof, Session},
};
use tertulia_domain::{AccountKind, DisplayName, Handle, UserId, limits::MAX_GUEST_LIFETIME};
use utoipa_axum::{router::OpenApiRouter, routes};
use zeroize::Zeroizing;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(sign_up))
        .routes(routes!(let_in))
        .routes(routes!(log_in))
        .routes(routes!(log_out))
        .routes(routes!(show_self))
        .routes(routes!(delete))
}

/// Sign up
///
/// Creates an account and opens a session for it.
#[utoipa::path(post, path = "/v1/accounts", tag = "accounts", request_body = NewAccount, security(()),
    responses((status = 201, description = "The account's first session", body = Session)),
    extensions(("x-problems" = json!(["invalid-handle", "invalid-password", "handle-taken", "rate-limited"]))))]
async fn sign_up(
    State(state): State<AppState>,
    ClientAddress(address): ClientAddress,
    Json(NewAccount { handle, password, kind }): Json<NewAccount>,
) -> Result<(StatusCode, Json<Session>), ApiError> {
    let password = Zeroizing::new(password);
    let handle: Handle =
        handle.parse().map_err(|error| ApiError::new(Code::InvalidHandle, sentence(&error)))?;
    if handle.is_for_guests() {
        let detail = "Handles that begin with guest- are for guests; choose another.";
        return Err(ApiError::new(Code::InvalidHandle, detail));
    }
    if kind.is_guest() {
        return Err(ApiError::new(
            Code::BadRequest,
            "Guests have no password; they come by POST /v1/guests.",
        ));
    }
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
            accounts::create(tx, user, (&new, kind), &hash, now_ms())?;
            accounts::open_session(tx, &token_hash, user, now_ms())
        })
        .await?;
    tracing::info!(user = user.short(), %kind, "signed up");
    Ok((StatusCode::CREATED, Json(session(&state, token, (user, kind), &handle))))
}

/// Come in as a guest
///
/// Makes an account without a password that ends by itself, after a day unless the hub is configured otherwise, and opens its
/// only session. A guest is in conversations that admit guests, and can neither search, connect, make anything, nor add others.
#[utoipa::path(post, path = "/v1/guests", tag = "accounts", request_body = NewGuest, security(()),
    responses((status = 201, description = "The guest's session", body = Session)),
    extensions(("x-problems" = json!(["guests-off", "invalid-profile", "rate-limited"]))))]
async fn let_in(
    State(state): State<AppState>,
    ClientAddress(address): ClientAddress,
    Json(NewGuest { name }): Json<NewGuest>,
) -> Result<(StatusCode, Json<Session>), ApiError> {
    let lifetime = state.guest_lifetime.ok_or(Code::GuestsOff)?.min(MAX_GUEST_LIFETIME);
    let name: DisplayName =
        name.parse().map_err(|error| ApiError::new(Code::InvalidProfile, sentence(&error)))?;
    state.limiters.sign_ups.take(&address)?;
    let (user, handle) = (UserId::random(), Handle::of_guest(rand::random()));
    let (token, token_hash) = new_secret();
    let lifetime = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
    let new = handle.clone();
    let come_in = move |tx: &WriteTx<'_>| {
        let now = retention::not_before_latest(tx, now_ms())?;
        let expires_at = now.saturating_add(lifetime);
        accounts::create_guest(tx, user, (&new, &name), expires_at, now)?;
        accounts::open_session(tx, &token_hash, user, now)?;
        Ok(expires_at)
    };
    let expires_at = state.storage.write(come_in).await?;
    tracing::info!(user = user.short(), "a guest came in");
    let session = session(&state, token, (user, AccountKind::Guest), &handle);
    Ok((StatusCode::CREATED, Json(Session { expires_at: Some(expires_at), ..session })))
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
    state.limiters.log_in(&handle, address)?;
    let wanted = handle.clone();
    let found = state.storage.read(move |db| accounts::credentials(db, &wanted)).await?;
    let hash = found.as_ref().map(|(_, hash, _)| hash.clone());
    let valid = state.passwords.verify(password, hash).await?;
    let (user, hash, kind) = found.filter(|_| valid).ok_or(Code::InvalidCredentials)?;
    let (token, token_hash) = new_secret();
    state
        .storage
        .write(move |tx| {
            // A password that was changed meanwhile opens nothing any more.
            accounts::check_password_is(tx, user, &hash)?;
            accounts::open_session(tx, &token_hash, user, now_ms())
        })
        .await?;
    Ok((StatusCode::CREATED, Json(session(&state, token, (user, kind), &handle))))
}

fn session(state: &AppState, token: String, (user, kind): (UserId, AccountKind), handle: &Handle) -> Session {
    let (handle, domain) = (handle.to_string(), state.domain.to_string());
    Session { token, user, handle, domain, kind, expires_at: None }
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
    let found = state.storage.read(move |db| Ok((profiles::user(db, user)?, accounts::expiry(db, user)?)));
    let (profile, expires_at) = found.await?;
    let profile = profile.ok_or(Code::DeviceRemoved)?; // since the request was authenticated
    Ok(Json(Me {
        user,
        handle: profile.handle,
        domain: state.domain.to_string(),
        device: caller.device,
        name: profile.name,
        locale: profile.locale,
        kind: profile.kind,
        expires_at,
    }))
}

/// Delete my account
///
/// For good: the handle is given to nobody any more. Sessions, devices and key packages go, the user leaves all conversations,
/// the 1:1s end, and who was connected gets the event `user.deleted`. A guest has no password, and none is asked for.
#[utoipa::path(post, path = "/v1/self/delete", tag = "accounts", request_body = PasswordProof,
    responses((status = 204, description = "The account is no more")),
    extensions(("x-problems" = json!(["invalid-credentials", "rate-limited"]))))]
async fn delete(
    State(state): State<AppState>,
    caller: Authenticated,
    address: ClientAddress,
    Json(proof): Json<PasswordProof>,
) -> Result<StatusCode, ApiError> {
    let proven = match caller.kind {
        AccountKind::Guest => None,
        _ => Some(password::prove(&state, &caller, &address, proof.password).await?),
    };
    let observer = Arc::clone(&state.observer);
    state
        .storage
        .write(move |tx| {
            if let Some(proven) = proven {
                proven.check(tx)?;
            }
            delivery::accounts::delete(tx, &observer, caller.user, now_ms())
        })
        .await?;
    removals::carry_out(&state).await;
    tracing::info!(user = caller.user.short(), "an account was deleted");
    Ok(StatusCode::NO_CONTENT)
}

//! Who sends a request: the session's user and device.

use super::extract::ClientAddress;
use crate::{
    answers::Asker,
    error::ApiError,
    state::{AppState, now_ms},
    storage::accounts::{self, TokenHash},
};
use axum::extract::FromRequestParts;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{header, request::Parts};
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use tertulia_api::{Code, UserDevice};
use tertulia_domain::{AccountKind, DeviceId, Handle, UserId};

/// Bytes of a session token, and of the code of an invitation.
const TOKEN_BYTES: usize = 32;

/// How exactly it is known when a session was used, in milliseconds.
const DAY: i64 = 24 * 60 * 60 * 1000;

/// The user of the request's session.
#[derive(Debug, Clone)]
pub(crate) struct Authenticated {
    pub(crate) user: UserId,
    pub(crate) handle: Handle,
    /// The session's device, once it has registered one.
    pub(crate) device: Option<DeviceId>,
    /// What the account is.
    pub(crate) kind: AccountKind,
    /// What the session is stored under.
    pub(crate) token: TokenHash,
}

/// The user of the request's session, whose token may be too old for anything but being exchanged.
#[derive(Debug, Clone)]
pub(crate) struct Renewing(pub(crate) Authenticated);

/// The user and the device of the request's session.
#[derive(Debug, Clone)]
pub(crate) struct AuthenticatedDevice {
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
    /// What the session is stored under.
    pub(crate) token: TokenHash,
}

impl AuthenticatedDevice {
    /// The device with its user.
    pub(crate) const fn address(&self) -> UserDevice {
        UserDevice { user: self.user, device: self.device }
    }
}

impl FromRequestParts<AppState> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let Caller { known: caller, token_at } = authenticate(parts, state).await?;
        if token_at < oldest_token(state) { Err(Code::TokenExpired.into()) } else { Ok(caller) }
    }
}

impl FromRequestParts<AppState> for Renewing {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        Ok(Self(authenticate(parts, state).await?.known))
    }
}

/// Who sends a request.
struct Caller {
    known: Authenticated,
    /// Since when the token is used, in milliseconds since 1970.
    token_at: i64,
}

async fn authenticate(parts: &Parts, state: &AppState) -> Result<Caller, ApiError> {
    let token = bearer_token(parts).ok_or(Code::Unauthenticated)?;
    let ClientAddress(address) = ClientAddress::of(parts, state);
    // Whose token was good before is not kept out by what neighbours make up.
    if !state.sessions.knows(&token) {
        state.limiters.look_up(address)?;
    }
    let session = state.storage.read(move |connection| accounts::authenticate(connection, &token)).await;
    if matches!(&session, Err(ApiError::Refused(problem)) if problem.code == Code::Unauthenticated.as_str()) {
        state.limiters.was_unknown(address);
    }
    let session = session?;
    // After the look-up, so that made-up tokens do not weigh on anybody's cell.
    state.limiters.requests.take(&token)?;
    let accounts::Session { user, handle, device, kind, used_at, mut token_at, mut is_next } = session;
    note_use(state, token, user, used_at).await?;
    Asker::note(parts, user, device);
    if is_next {
        let now = now_ms();
        let taken = state.storage.write(move |tx| accounts::take_next_token(tx, &token, user, now)).await;
        match taken {
            Ok(()) => (token_at, is_next) = (now, false),
            // A full disk keeps nobody from reading. Until then both are good.
            Err(error) => tracing::debug!(%error, "the first use of a token was not noted"),
        }
    }
    // What takes another's place takes it with the next request, if it could not with this one.
    if let Some(device) = device
        && !is_next
    {
        state.sessions.note(token, UserDevice { user, device }, token_at);
    }
    Ok(Caller { known: Authenticated { user, handle, device, kind, token }, token_at })
}

/// Tokens that are used since before this time, in milliseconds since 1970, are too old.
fn oldest_token(state: &AppState) -> i64 {
    now_ms().saturating_sub(millis(state.limits.token_lifetime))
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl FromRequestParts<AppState> for AuthenticatedDevice {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let session = Authenticated::from_request_parts(parts, state).await?;
        let device = session.device.ok_or(Code::NoDevice)?;
        Ok(Self { user: session.user, device, token: session.token })
    }
}

/// The device that the request's session had when it was last looked up, lately. What is done for it looks the session up once
/// more, in the transaction in which it is done: a session that has ended does nothing.
#[derive(Debug, Clone)]
pub(crate) struct LikelyDevice {
    pub(crate) device: UserDevice,
    /// What the session is stored under.
    pub(crate) token: TokenHash,
}

impl FromRequestParts<AppState> for LikelyDevice {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let token = bearer_token(parts).ok_or(Code::Unauthenticated)?;
        let oldest = oldest_token(state);
        if let Some(device) = state.sessions.lately(&token, oldest) {
            state.limiters.requests.take(&token)?;
            Asker::note(parts, device.user, Some(device.device));
            return Ok(Self { device, token });
        }
        let Caller { known: caller, token_at } = authenticate(parts, state).await?;
        if token_at < oldest {
            return Err(Code::TokenExpired.into());
        }
        let device = UserDevice { user: caller.user, device: caller.device.ok_or(Code::NoDevice)? };
        Ok(Self { device, token })
    }
}

/// Notes once a day that the session is used, and ends one that was not for too long.
async fn note_use(
    state: &AppState,
    token: TokenHash,
    user: UserId,
    used_at: Option<i64>,
) -> Result<(), Code> {
    let now = now_ms();
    let unused = used_at.map_or(i64::MAX, |used_at| now.saturating_sub(used_at));
    let longest = millis(state.limits.session_idle);
    if used_at.is_some() && unused > longest {
        // It is over whether or not that can be stored.
        let _ = state.storage.write(move |tx| accounts::close_session(tx, &token, user)).await;
        return Err(Code::Unauthenticated);
    }
    if unused > DAY
        && let Err(error) = state.storage.write(move |tx| accounts::note_use(tx, &token, now)).await
    {
        // A full disk keeps nobody from reading. The next request tries it again.
        tracing::debug!(%error, "the use of a session was not noted");
    }
    Ok(())
}

/// The hash of the token in `Authorization: Bearer <token>` (RFC 6750 section 2.1).
fn bearer_token(parts: &Parts) -> Option<TokenHash> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| hash(token.trim()))
}

/// A new token or code, and what it is stored under.
pub(super) fn new_secret() -> (String, TokenHash) {
    let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN_BYTES]>());
    let hash = hash(&token);
    (token, hash)
}

/// A token or code has 256 random bits, so a plain hash is as good as a slow one; and who steals the database cannot log in.
pub(super) fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

//! The account's password: asked once more before what cannot be taken back, and changed.

use super::{
    auth::Authenticated,
    extract::{ClientAddress, Json},
};
use crate::{
    error::ApiError,
    state::AppState,
    storage::{WriteTx, accounts},
};
use axum::extract::State;
use http::StatusCode;
use tertulia_api::{Code, account::PasswordChange};
use tertulia_domain::{UserId, account::AccountAction};
use utoipa_axum::{router::OpenApiRouter, routes};
use zeroize::Zeroizing;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(change))
}

/// That the caller knew the password a moment ago. The transaction that relies on it has to [`check`](Self::check) it.
pub(super) struct Proven {
    user: UserId,
    hash: String,
}

impl Proven {
    /// Whether the password is still the one that was proven; `invalid-credentials` if not.
    pub(super) fn check(&self, tx: &WriteTx<'_>) -> Result<(), ApiError> {
        accounts::check_password_is(tx, self.user, &self.hash)
    }
}

/// Verifies the caller's password, at the rate of log-ins: a session must not be a place to guess it at.
pub(super) async fn prove(
    state: &AppState,
    caller: &Authenticated,
    &ClientAddress(address): &ClientAddress,
    password: String,
) -> Result<Proven, ApiError> {
    caller.kind.check(AccountAction::UsePassword)?;
    let password = Zeroizing::new(password);
    state.limiters.log_in(&caller.handle, address)?;
    let user = caller.user;
    let hash = state.storage.read(move |db| accounts::password(db, user)).await?;
    match hash {
        Some(hash) if state.passwords.verify(password, Some(hash.clone())).await? => {
            Ok(Proven { user, hash })
        }
        _ => Err(ApiError::new(Code::InvalidCredentials, "The password is wrong.")),
    }
}

/// Change my password
///
/// Ends all other sessions of the user, also what they have open. Their devices stay, and go on after a new log-in.
#[utoipa::path(put, path = "/v1/self/password", tag = "accounts", request_body = PasswordChange,
    responses((status = 204, description = "The account has the new password")),
    extensions(("x-problems" = json!(["guest-denied", "invalid-credentials", "invalid-password", "rate-limited"]))))]
async fn change(
    State(state): State<AppState>,
    caller: Authenticated,
    address: ClientAddress,
    Json(change): Json<PasswordChange>,
) -> Result<StatusCode, ApiError> {
    let new = Zeroizing::new(change.new_password);
    let proven = prove(&state, &caller, &address, change.password).await?;
    let hash = state.passwords.hash(new).await?;
    state
        .storage
        .write(move |tx| {
            proven.check(tx)?;
            accounts::change_password(tx, caller.user, &hash, &caller.token)
        })
        .await?;
    tracing::info!(user = caller.user.short(), "the password was changed");
    Ok(StatusCode::NO_CONTENT)
}

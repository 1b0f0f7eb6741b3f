//! The sessions of the caller's account: exchanging a token, seeing which there are, and ending them.

use super::{
    auth::{Authenticated, Renewing, new_secret},
    extract::{Json, Path},
};
use crate::{
    error::ApiError,
    state::AppState,
    storage::{accounts, operator},
};
use axum::extract::State;
use http::StatusCode;
use tertulia_api::{
    Code,
    account::{NewToken, OpenSession, OpenSessions, SessionsEnded},
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(renew)).routes(routes!(list, end_others)).routes(routes!(end))
}

/// Exchange the token
///
/// Gives the session another token, without the password. The present one is good until the new one is first used: who never
/// gets this answer asks again with the one that they have, and gets yet another. A token that has become too old is good for this
/// alone.
#[utoipa::path(post, path = "/v1/sessions/current/token", tag = "accounts",
    responses((status = 201, description = "The token", body = NewToken)))]
async fn renew(
    State(state): State<AppState>,
    Renewing(caller): Renewing,
) -> Result<(StatusCode, Json<NewToken>), ApiError> {
    let (token, next) = new_secret();
    state.storage.write(move |tx| accounts::give_next_token(tx, &caller.token, &next)).await?;
    Ok((StatusCode::CREATED, Json(NewToken { token })))
}

/// List my sessions
#[utoipa::path(get, path = "/v1/sessions", tag = "accounts",
    responses((status = 200, description = "The sessions of the account, oldest first", body = OpenSessions)))]
async fn list(State(state): State<AppState>, caller: Authenticated) -> Result<Json<OpenSessions>, ApiError> {
    let found = state.storage.read(move |db| operator::sessions(db, caller.user)).await?;
    let current = operator::name(&caller.token);
    let sessions = found.into_iter().map(|found| OpenSession {
        current: found.session == current,
        session: found.session,
        device: found.device,
        created_at: found.created_at,
        used_at: found.used_at,
    });
    Ok(Json(OpenSessions { sessions: sessions.collect() }))
}

/// End my other sessions
///
/// All but the one that asks. Their devices stay, and go on after a log-in.
#[utoipa::path(delete, path = "/v1/sessions", tag = "accounts",
    responses((status = 200, description = "How many there were", body = SessionsEnded)))]
async fn end_others(
    State(state): State<AppState>,
    caller: Authenticated,
) -> Result<Json<SessionsEnded>, ApiError> {
    let end = state.storage.write(move |tx| accounts::close_other_sessions(tx, caller.user, &caller.token));
    Ok(Json(SessionsEnded { ended: end.await? as u64 }))
}

/// End a session of mine
///
/// Its device stays, and goes on after a log-in.
#[utoipa::path(delete, path = "/v1/sessions/{session}", tag = "accounts",
    params(("session" = String, Path, description = "The session, as the list names it")),
    responses((status = 204, description = "It has ended")),
    extensions(("x-problems" = json!(["not-found"]))))]
async fn end(
    State(state): State<AppState>,
    caller: Authenticated,
    Path(session): Path<String>,
) -> Result<StatusCode, ApiError> {
    let end = state.storage.write(move |tx| operator::end_sessions(tx, caller.user, Some(&session)));
    match end.await? {
        0 => Err(ApiError::new(Code::NotFound, "You have no session of this name.")),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

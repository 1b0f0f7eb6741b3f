//! Users as others see them, and what they say of themselves.

use super::{
    auth::Authenticated,
    extract::{Json, Path, Query},
};
use crate::storage::Connection;
use crate::{
    delivery::accounts::check_seen,
    error::{ApiError, sentence},
    state::AppState,
    storage::{connections, conversations, profiles, teams},
};
use axum::extract::State;
use http::StatusCode;
use tertulia_api::{
    Code,
    account::{Profile, User, Users},
};
use tertulia_domain::{
    ConversationId, DisplayName, Domain, Handle, Locale, UserId,
    account::AccountAction,
    limits::MAX_FOUND,
    profile::{Acquaintance, sees_locale},
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(show))
        .routes(routes!(find))
        .routes(routes!(search))
        .routes(routes!(set_profile))
}

/// A user
#[utoipa::path(get, path = "/v1/users/{user}", tag = "accounts",
    params(("user" = String, Path, format = Uuid, description = "The user")),
    responses((status = 200, description = "The user", body = User)),
    extensions(("x-problems" = json!(["unknown-user"]))))]
async fn show(
    State(state): State<AppState>,
    caller: Authenticated,
    Path(user): Path<UserId>,
) -> Result<Json<User>, ApiError> {
    let domain = state.domain.clone();
    let found = state.storage.read(move |db| seen(db, &domain, caller.user, profiles::user(db, user)?));
    Ok(Json(found.await?))
}

/// What to find a user by.
#[derive(serde::Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct UserQuery {
    /// The handle, in full.
    handle: String,
}

/// Find a user
///
/// By the whole handle.
#[utoipa::path(get, path = "/v1/users", tag = "accounts", params(UserQuery),
    responses((status = 200, description = "The user of this handle", body = User)),
    extensions(("x-problems" = json!(["invalid-handle", "unknown-user", "rate-limited"]))))]
async fn find(
    State(state): State<AppState>,
    caller: Authenticated,
    Query(query): Query<UserQuery>,
) -> Result<Json<User>, ApiError> {
    let (handle, domain) = (handle(&query.handle)?, state.domain.clone());
    state.limiters.look_ups.take(&caller.user)?;
    let found =
        state.storage.read(move |db| seen(db, &domain, caller.user, profiles::user_by_handle(db, &handle)?));
    Ok(Json(found.await?))
}

fn handle(text: &str) -> Result<Handle, ApiError> {
    text.parse().map_err(|error| ApiError::new(Code::InvalidHandle, sentence(&error)))
}

/// A user as `viewer` sees them.
fn seen(db: &Connection, domain: &Domain, viewer: UserId, found: Option<User>) -> Result<User, ApiError> {
    let mut user = found.ok_or(Code::UnknownUser)?;
    check_seen(db, viewer, &user)?;
    let one_to_one = ConversationId::one_to_one((&viewer, domain), (&user.user, domain)).id;
    let acquaintance = Acquaintance {
        same_user: viewer == user.user,
        same_team: teams::same(db, viewer, user.user)?,
        mine: connections::status(db, viewer, user.user)?,
        other_was_in_one_to_one: conversations::was_in(db, one_to_one, user.user)?,
    };
    if !sees_locale(acquaintance) {
        user.locale = None;
    }
    Ok(user)
}

/// What to search users by.
#[derive(serde::Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SearchQuery {
    /// How their handles begin, at least two characters.
    beginning: String,
}

/// Search users
///
/// By the beginning of their handles: the first twenty, in alphabetical order.
#[utoipa::path(get, path = "/v1/search/users", tag = "accounts", params(SearchQuery),
    responses((status = 200, description = "Those who were found, without their locales", body = Users)),
    extensions(("x-problems" = json!(["guest-denied", "invalid-handle", "rate-limited"]))))]
async fn search(
    State(state): State<AppState>,
    caller: Authenticated,
    Query(query): Query<SearchQuery>,
) -> Result<Json<Users>, ApiError> {
    caller.kind.check(AccountAction::Search)?;
    // What begins a handle and has as many characters as the shortest is one.
    let beginning = handle(&query.beginning)?;
    state.limiters.searches.take(&caller.user)?;
    let users = state.storage.read(move |db| profiles::search(db, &beginning, MAX_FOUND)).await?;
    Ok(Json(Users { users }))
}

/// Say something of myself
///
/// Replaces display name and locale. Everybody sees the display name; who is connected sees the locale.
#[utoipa::path(put, path = "/v1/self/profile", tag = "accounts", request_body = Profile,
    responses((status = 204, description = "It is what others see from now on")),
    extensions(("x-problems" = json!(["invalid-profile"]))))]
async fn set_profile(
    State(state): State<AppState>,
    caller: Authenticated,
    Json(profile): Json<Profile>,
) -> Result<StatusCode, ApiError> {
    let name: Option<DisplayName> = parsed(profile.name.as_deref())?;
    let locale: Option<Locale> = parsed(profile.locale.as_deref())?;
    state.storage.write(move |tx| profiles::set(tx, caller.user, name.as_ref(), locale.as_ref())).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn parsed<T>(text: Option<&str>) -> Result<Option<T>, ApiError>
where
    T: std::str::FromStr<Err: std::error::Error>,
{
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|error| ApiError::new(Code::InvalidProfile, sentence(&error)))
}

//! Connections. What changes is decided by [`tertulia_domain::connection`], and done in one transaction.

use super::{
    auth::Authenticated,
    extract::{Json, Path},
};
use crate::{
    delivery::subconversations,
    error::{ApiError, sentence},
    state::{AppState, now_ms},
    storage::{
        WriteTx, accounts, connections, conversations, events::append_user_event, last_request, profiles,
        teams,
    },
};
use axum::extract::State;
use std::sync::Arc;
use tertulia_api::{
    Code,
    connection::{ConnectRequest, Connection, ConnectionUpdate, Connections},
    event::EventBody,
};
use tertulia_domain::{
    ConversationId, ConversationType, Domain, Handle, RoleName, UserId,
    account::AccountAction,
    connection::{
        Action, Effects, OneToOneEffect, Presence, check_limit, check_request, check_update, transition,
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, connect)).routes(routes!(update))
}

/// List my connections
#[utoipa::path(get, path = "/v1/connections", tag = "connections",
    responses((status = 200, description = "The caller's side of every connection", body = Connections)))]
async fn list(State(state): State<AppState>, caller: Authenticated) -> Result<Json<Connections>, ApiError> {
    let connections = state.storage.read(move |db| connections::list(db, caller.user)).await?;
    Ok(Json(Connections { connections }))
}

/// Connect
///
/// Asks somebody to connect, or accepts their request. Asking again is allowed. The answer is the caller's side, which
/// is the same whether the other has not answered yet, ignores the request, or blocks the caller.
#[utoipa::path(post, path = "/v1/connections", tag = "connections", request_body = ConnectRequest,
    responses((status = 200, description = "The caller's side", body = Connection)),
    extensions(("x-problems" = json!(["invalid-handle", "invalid-user", "same-team", "bad-connection-update", "connection-limit", "guest-denied", "rate-limited"]))))]
async fn connect(
    State(state): State<AppState>,
    caller: Authenticated,
    Json(request): Json<ConnectRequest>,
) -> Result<Json<Connection>, ApiError> {
    caller.kind.check(AccountAction::Connect)?;
    let handle: Handle =
        request.handle.parse().map_err(|error| ApiError::new(Code::InvalidHandle, sentence(&error)))?;
    // The answer tells whether there is such a user, as that to a look-up does.
    state.limiters.look_ups.take(&caller.user)?;
    let (domain, most) = (state.domain.clone(), state.limits.connections_per_user);
    let connection = state
        .storage
        .write(move |tx| {
            // To who asks for a connection, a guest is nobody.
            let found = profiles::user_by_handle(tx, &handle)?;
            let other = found.filter(|user| user.kind.is_found()).map(|user| user.user);
            let same_team = match other {
                Some(other) => teams::same(tx, caller.user, other)?,
                None => false,
            };
            check_request(caller.user, other.unwrap_or(caller.user), other.is_some(), same_team)?;
            let pair = Pair { me: caller.user, other: other.unwrap_or(caller.user) };
            act(tx, &pair, &domain, Action::Connect, most)
        })
        .await?;
    Ok(Json(connection))
}

/// Change a connection
///
/// Accepts, ignores, blocks, unblocks (`accepted`) or cancels, on the caller's side.
#[utoipa::path(put, path = "/v1/connections/{user}", tag = "connections", request_body = ConnectionUpdate,
    params(("user" = String, Path, format = Uuid, description = "The other user")),
    responses((status = 200, description = "The caller's side", body = Connection)),
    extensions(("x-problems" = json!(["invalid-user", "same-team", "not-connected", "bad-connection-update", "connection-limit", "guest-denied"]))))]
async fn update(
    State(state): State<AppState>,
    caller: Authenticated,
    Path(other): Path<UserId>,
    Json(update): Json<ConnectionUpdate>,
) -> Result<Json<Connection>, ApiError> {
    caller.kind.check(AccountAction::Connect)?;
    let (domain, most) = (state.domain.clone(), state.limits.connections_per_user);
    let observer = Arc::clone(&state.observer);
    let connection = state
        .storage
        .write(move |tx| {
            let is_nobody = accounts::is_deleted(tx, other)? || !accounts::kind(tx, other)?.is_found();
            check_update(is_nobody, teams::same(tx, caller.user, other)?)?;
            let pair = Pair { me: caller.user, other };
            let changed = act(tx, &pair, &domain, Action::Set(update.status), most)?;
            // Who has left the 1:1 has left its subconversations, which looks like hanging up.
            subconversations::follow_parent(tx, &observer, changed.conversation, now_ms())?;
            Ok(changed)
        })
        .await?;
    Ok(Json(connection))
}

/// Who acts, and on whom.
struct Pair {
    me: UserId,
    other: UserId,
}

/// Applies the domain's decision. The writer runs one transaction at a time, so actions on one pair are serialised.
fn act(
    tx: &WriteTx<'_>,
    pair: &Pair,
    domain: &Domain,
    action: Action,
    most: usize,
) -> Result<Connection, ApiError> {
    let &Pair { me, other } = pair;
    let mine = connections::status(tx, me, other)?;
    let theirs = connections::status(tx, other, me)?;
    let one_to_one = ConversationId::one_to_one((&me, domain), (&other, domain)).id;
    let last = last_request::of(tx, one_to_one, (me, other))?;
    let change = transition(action, mine, theirs, last)?;
    if change.newly_counted {
        check_limit(&change, connections::counted(tx, me)?, most)?;
    }

    let now = now_ms();
    if mine != Some(change.mine) {
        connections::set_status(tx, me, other, change.mine, one_to_one, now)?;
    }
    if theirs != Some(change.theirs) {
        connections::set_status(tx, other, me, change.theirs, one_to_one, now)?;
    }
    apply(tx, pair, one_to_one, change.effects, now)?;
    show(tx, me, other)
}

fn apply(
    tx: &WriteTx<'_>,
    &Pair { me, other }: &Pair,
    one_to_one: ConversationId,
    effects: Effects,
    now: i64,
) -> Result<(), ApiError> {
    // The row changes before the conversation, and so do the events: who reads of the conversation knows whose it is.
    for (user, from, told) in [(me, other, effects.event_to_me), (other, me, effects.event_to_them)] {
        if told {
            let connection = show(tx, user, from)?;
            append_user_event(tx, user, &EventBody::ConnectionUpdated { connection })?;
        }
    }
    match effects.one_to_one {
        OneToOneEffect::Unchanged => {}
        OneToOneEffect::Pending => {
            conversations::create_one_to_one(tx, one_to_one, me, now)?;
            conversations::set_type(tx, one_to_one, ConversationType::Connection)?;
        }
        OneToOneEffect::Open => {
            conversations::create_one_to_one(tx, one_to_one, me, now)?;
            conversations::set_type(tx, one_to_one, ConversationType::OneToOne)?;
        }
        OneToOneEffect::Ended => {
            conversations::leave_silently(tx, one_to_one, me)?;
            conversations::leave_silently(tx, one_to_one, other)?;
        }
    }
    for (user, presence) in [(me, effects.me), (other, effects.them)] {
        match presence {
            Presence::Unchanged => {}
            // Both are admins: what a 1:1 cannot do is refused for its type, not for their role.
            Presence::Joins => conversations::join(tx, one_to_one, user, &RoleName::ADMIN, now)?,
            Presence::Leaves => conversations::leave_silently(tx, one_to_one, user)?,
        }
    }
    Ok(())
}

fn show(tx: &WriteTx<'_>, user: UserId, other: UserId) -> Result<Connection, ApiError> {
    let shown = connections::show(tx, user, other)?;
    shown.ok_or_else(|| ApiError::internal("a connection that was just stored is not there"))
}

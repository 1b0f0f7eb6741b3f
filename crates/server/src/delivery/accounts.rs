//! Accounts that are deleted, and those that are not seen.

use super::membership::{self, Proposing};
use crate::storage::Connection;
use crate::{
    error::ApiError,
    mls::Observer,
    storage::{
        WriteTx, accounts, connections, conversations, devices, ended, events::append_user_event, joins,
        teams,
    },
};
use tertulia_api::{Code, account::User, event::EventBody};
use tertulia_domain::{
    ConversationId, UserId,
    connection::{Status, Told, after_deletion},
};

/// Guests and others see each other where they meet: in a conversation that both are in. Elsewhere they are nobody to each other.
pub(crate) fn check_seen(db: &Connection, viewer: UserId, user: &User) -> Result<(), ApiError> {
    let with_guest = !user.kind.is_found() || !accounts::kind(db, viewer)?.is_found();
    if with_guest && viewer != user.user && !conversations::share_one(db, viewer, user.user)? {
        return Err(Code::UnknownUser.into());
    }
    Ok(())
}

/// Deletes an account with everything that follows, in one transaction but for the [removals](crate::removals) of its devices: sessions, devices and key packages go; the user
/// leaves all conversations, with an heir where they were the last admin; the 1:1s end; and who was connected is told.
pub(crate) fn delete(tx: &WriteTx<'_>, observer: &Observer, user: UserId, now: i64) -> Result<(), ApiError> {
    devices::remove_all(tx, user, now)?;
    joins::forget_requests_of(tx, user)?;
    leave_team(tx, observer, user, now)?;
    for (conversation, kind, epoch) in conversations::of_user(tx, user)? {
        if kind.is_managed() {
            membership::take_out(tx, observer, (conversation, kind, epoch), user, Proposing::Later, now)?;
        } else {
            conversations::leave_silently(tx, conversation, user)?;
        }
    }
    for (other, row, one_to_one) in connections::pairs(tx, user)? {
        let deletion = after_deletion(row);
        if deletion.status != row {
            connections::set_status(tx, other, user, deletion.status, one_to_one, now)?;
        }
        connections::set_status(tx, user, other, Status::Cancelled, one_to_one, now)?;
        match deletion.told {
            Told::Nothing => {}
            Told::Row => {
                if let Some(connection) = connections::show(tx, other, user)? {
                    append_user_event(tx, other, &EventBody::ConnectionUpdated { connection })?;
                }
            }
            Told::Deletion => {
                append_user_event(tx, other, &EventBody::UserDeleted { user })?;
            }
        }
        conversations::leave_silently(tx, one_to_one, other)?;
    }
    let mut ended = conversations::one_to_ones_of(tx, user)?;
    ended.push(ConversationId::self_of(user));
    ended::end_all(tx, ended, now)?;
    accounts::delete(tx, user, now)
}

/// Members of one team are connected, so they are told as well.
fn leave_team(tx: &WriteTx<'_>, observer: &Observer, user: UserId, now: i64) -> Result<(), ApiError> {
    let Some((team, _)) = teams::of(tx, user)? else { return Ok(()) };
    let mates = teams::members(tx, team)?;
    super::team::depart(tx, observer, user, now)?;
    for mate in mates.into_iter().filter(|mate| mate.user != user) {
        append_user_event(tx, mate.user, &EventBody::UserDeleted { user })?;
    }
    Ok(())
}

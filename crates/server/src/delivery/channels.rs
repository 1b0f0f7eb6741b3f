//! Channels: groups whose name and existence the whole team sees. Everything else is as in a group.

use super::{access, membership};
use crate::storage::Connection;
use crate::{
    error::ApiError,
    storage::{
        WriteTx, channels,
        log::{self, Entry, Extra, Kind},
        teams,
    },
};
use tertulia_api::{Code, UserDevice, team::Channel};
use tertulia_domain::{
    ConversationId, ConversationName, ConversationType, Handshake, Protocol, TeamId, UserId,
    limits::MAX_TEAM_CHANNELS,
    permission::{self, PermissionError},
    team::{self, TeamAction, TeamError, TeamRole},
};

/// Makes a channel of the creator's team, of which the creator is the admin. Doing so again changes nothing.
pub(crate) fn create(
    tx: &WriteTx<'_>,
    (team, creator): (TeamId, UserId),
    channel: ConversationId,
    name: &ConversationName,
    (protocol, handshake): (Protocol, Handshake),
    now: i64,
) -> Result<(), ApiError> {
    let role = role_in(tx, team, creator)?;
    team::authorise(Some(role), TeamAction::CreateChannel)?;
    let kind = (ConversationType::Channel, protocol, handshake);
    if !membership::create_managed(tx, channel, kind, creator, Some(team), now)? {
        return Ok(());
    }
    if channels::count(tx, team)? > MAX_TEAM_CHANNELS {
        return Err(TeamError::Limit { what: "channels", max: MAX_TEAM_CHANNELS }.into());
    }
    channels::set_name(tx, channel, name)
}

/// The channels of a team, for whoever is in the team.
pub(crate) fn list(connection: &Connection, team: TeamId, user: UserId) -> Result<Vec<Channel>, ApiError> {
    role_in(connection, team, user)?;
    channels::list(connection, team)
}

/// The role in this very team. To who is not in it, it is as one that does not exist.
fn role_in(connection: &Connection, team: TeamId, user: UserId) -> Result<TeamRole, ApiError> {
    match teams::of(connection, user)? {
        Some((own, role)) if own == team => Ok(role),
        _ => Err(ApiError::new(Code::NoTeam, "There is no such team, or you are not in it.")),
    }
}

/// Gives a channel another name, and tells its members. Doing so again changes nothing.
pub(crate) fn rename(
    tx: &WriteTx<'_>,
    channel: ConversationId,
    actor: UserDevice,
    name: &ConversationName,
    now: i64,
) -> Result<(), ApiError> {
    let access = access(tx, channel, actor.user)?;
    permission::check_rename(Some(&access.membership()))?;
    if !access.kind.has_public_name() {
        return Err(PermissionError::InvalidOperation { conversation_type: access.kind }.into());
    }
    if channels::name(tx, channel)?.as_deref() == Some(name.as_str()) {
        return Ok(());
    }
    channels::set_name(tx, channel, name)?;
    let extra = Some(Extra::Renamed { name: name.to_string() });
    let entry = Entry { sender: Some(actor), sent_at: now, extra, ..Entry::default() };
    log::append(tx, channel, Kind::Renamed, &entry).map(|_| ())
}

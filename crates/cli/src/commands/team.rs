//! `team`, `role`.

use std::time::Duration;

use super::Session;
use crate::{
    args::{RoleCommand, TeamCommand, team_role},
    error::CliError,
    output::view,
    progress::watched,
};

const DAY: Duration = Duration::from_hours(24);

pub(super) async fn team(session: &mut Session<'_>, command: &TeamCommand) -> Result<(), CliError> {
    let client = session.open_current(false).await?;
    match command {
        TeamCommand::Create { name } => {
            watched("Making the team", client.create_team(name)).await?;
        }
        TeamCommand::Invite { days } => {
            let valid_for = DAY.saturating_mul(u32::try_from(*days).unwrap_or(u32::MAX));
            let inviting = client.invite_to_team(Some(valid_for));
            let invitation = watched("Making the invitation", inviting).await?;
            return session.output.invitation(&invitation.into());
        }
        TeamCommand::Join { code } => {
            watched("Joining the team", client.join_team(code)).await?;
        }
        TeamCommand::Role { handle, role } => {
            watched("Changing the role", client.set_team_role(handle, team_role(role))).await?;
        }
        TeamCommand::Remove { handle } => {
            watched("Removing", client.remove_from_team(handle)).await?;
        }
        TeamCommand::Leave => {
            watched("Leaving the team", client.leave_team()).await?;
        }
        TeamCommand::Show | TeamCommand::Members => {}
    }
    let team = watched("Asking the hub", client.team()).await?;
    match (command, team) {
        (TeamCommand::Members | TeamCommand::Role { .. } | TeamCommand::Remove { .. }, _) => {
            let members = watched("Asking the hub", client.team_members()).await?;
            session.output.team_members(&members.into_iter().map(view::TeamMember::from).collect::<Vec<_>>())
        }
        (_, team) => session.output.teams(&team.into_iter().map(view::Team::from).collect::<Vec<_>>()),
    }
}

pub(super) async fn role(session: &mut Session<'_>, command: &RoleCommand) -> Result<(), CliError> {
    let client = session.open().await?;
    match command {
        RoleCommand::Create { name, actions } => {
            let actions = actions.iter().copied().collect();
            watched("Defining the role", client.define_role(name, actions)).await?;
        }
        RoleCommand::Delete { name } => watched("Deleting the role", client.delete_role(name)).await?,
        RoleCommand::List => {}
    }
    let roles = watched("Asking the hub", client.team_roles()).await?;
    session.output.roles(&roles.into_iter().map(view::Role::from).collect::<Vec<_>>())
}

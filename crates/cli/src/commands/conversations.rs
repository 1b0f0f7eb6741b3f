//! `list` and `group`.

use tertulia::{Client, ConversationId, GroupOptions};

use super::Session;
use crate::{
    args::{ConversationArg, GroupCommand, OfflineArg},
    error::CliError,
    output::view,
    progress::watched,
};

pub(super) async fn list(session: &mut Session<'_>, args: &OfflineArg) -> Result<(), CliError> {
    let client = session.open_current(args.offline).await?;
    let conversations = client.conversations().await?;
    session.output.conversations(&conversations.into_iter().map(view::Conversation::from).collect::<Vec<_>>())
}

pub(super) async fn group(session: &mut Session<'_>, command: &GroupCommand) -> Result<(), CliError> {
    let changed = match command {
        GroupCommand::Create { name, members, protocol, handshake, team, offline } => {
            let client = session.open_current(offline.offline).await?;
            let mut options = GroupOptions::default();
            options.protocol = (*protocol).into();
            options.handshake = (*handshake).into();
            options.team = *team;
            let making = client.create_group_as(name, members, options);
            watched("Making the group", making).await?
        }
        GroupCommand::Migrate { conversation, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Taking the group to MLS", client.migrate(id)).await?
        }
        GroupCommand::Add { conversation, members, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Adding", client.add_members(id, members)).await?
        }
        GroupCommand::Remove { conversation, members, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Removing", client.remove_members(id, members)).await?
        }
        GroupCommand::Leave { conversation, successor, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Leaving", client.leave(id, successor.as_ref())).await?;
            client.conversation(id).await?
        }
        GroupCommand::Rename { conversation, name, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Renaming", client.rename(id, name)).await?
        }
        GroupCommand::Role { conversation, handle, role, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Changing the role", client.set_role(id, handle, role.as_str())).await?
        }
        GroupCommand::Reset { conversation, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Beginning the group anew", client.reset_group(id)).await?
        }
        GroupCommand::Adders { conversation, who, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Changing who may add people", client.set_add_permission(id, *who)).await?
        }
        GroupCommand::Access { conversation, access, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            return super::link::access(session, &client, id, access).await;
        }
        GroupCommand::Trust { conversation, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Joining again", client.trust(id)).await?;
            client.conversation(id).await?
        }
        GroupCommand::Members { conversation, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            let members = client.conversation(id).await?.members;
            return session.output.members(&members.into_iter().map(view::Member::from).collect::<Vec<_>>());
        }
    };
    session.output.conversation(&changed.into())
}

/// The conversation that is meant, in a home that is up to date.
async fn find(
    session: &mut Session<'_>,
    conversation: &ConversationArg,
    offline: &OfflineArg,
) -> Result<(Client, ConversationId), CliError> {
    let client = session.open_current(offline.offline).await?;
    let id = client.find(&conversation.target).await?;
    Ok((client, id))
}

//! `list`, `group` and `direct`.

use tertulia::{Client, Conversation, ConversationId, GroupOptions, OwnSetting};

use super::Session;
use crate::{
    args::{ConversationArg, DirectCommand, GroupCommand, ListArgs, OfflineArg, OwnSettingArgs},
    error::CliError,
    output::view,
    progress::watched,
};

pub(super) async fn list(session: &mut Session<'_>, args: &ListArgs) -> Result<(), CliError> {
    let client = session.open_current(args.offline.offline).await?;
    let all = client.all_conversations().await?;
    let is_listed = |conversation: &Conversation| {
        args.all || conversation.hidden.is_none() && conversation.archived.is_some() == args.archived
    };
    let has_any = !all.is_empty();
    let listed: Vec<_> = all.into_iter().filter(is_listed).map(view::Conversation::from).collect();
    session.output.conversations(&listed, has_any)
}

/// `mute`, `archive`, `hide`.
pub(super) async fn set_own(
    session: &mut Session<'_>,
    args: &OwnSettingArgs,
    setting: OwnSetting,
) -> Result<(), CliError> {
    let client = session.open_current(args.offline.offline).await?;
    let id = client.find(&args.target).await?;
    if args.offline.offline {
        client.set_own_offline(id, setting, !args.off, args.reference.as_deref()).await?;
    } else {
        let setting = client.set_own(id, setting, !args.off, args.reference.as_deref());
        watched("Telling your other devices", setting).await?;
    }
    session.output.own_settings(&client.conversation(id).await?.into())
}

pub(super) async fn group(session: &mut Session<'_>, command: &GroupCommand) -> Result<(), CliError> {
    let changed = match command {
        GroupCommand::Create { name, members, protocol, handshake, team, parent, offline } => {
            let client = session.open_current(offline.offline).await?;
            let mut options = GroupOptions::default();
            options.protocol = (*protocol).into();
            options.handshake = (*handshake).into();
            options.team = *team;
            if let Some(parent) = parent {
                options.parent = Some(client.find(parent).await?);
            }
            let making = client.create_group_as(name, members, options);
            watched("Making the group", making).await?
        }
        GroupCommand::Migrate { conversation, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Taking the group to MLS", client.migrate(id)).await?
        }
        GroupCommand::Add { conversation, members, role, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Adding", client.add_members_as(id, members, role.as_str())).await?
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
        // `--yes` is required, so that nobody does it by a slip.
        GroupCommand::Delete { conversation, offline, .. } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Deleting the group", client.delete_group(id)).await?;
            client.conversation(id).await?
        }
        GroupCommand::Rename { conversation, name, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Renaming", client.rename(id, name)).await?
        }
        GroupCommand::Role { conversation, handle, role, successor, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            let changing = client.set_role_naming(id, handle, role.as_str(), successor.as_ref());
            watched("Changing the role", changing).await?
        }
        GroupCommand::Reset { conversation, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Beginning the group anew", client.reset_group(id)).await?
        }
        GroupCommand::Adders { conversation, who, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Changing who may add people", client.set_add_permission(id, *who)).await?
        }
        GroupCommand::Timer { conversation, timer, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Setting the timer", client.set_message_timer(id, timer.0)).await?
        }
        GroupCommand::Receipts { conversation, mode, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Changing the receipts", client.set_receipt_mode(id, *mode)).await?
        }
        GroupCommand::History { conversation, history, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Changing what newcomers read", client.set_history(id, history.0)).await?
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

/// `direct`: how the messages of a 1:1 are encrypted.
pub(super) async fn direct(session: &mut Session<'_>, command: &DirectCommand) -> Result<(), CliError> {
    let changed = match command {
        DirectCommand::Pairwise { conversation, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Choosing pairwise messages", client.choose_pairwise(id)).await?
        }
        DirectCommand::Migrate { conversation, offline } => {
            let (client, id) = find(session, conversation, offline).await?;
            watched("Taking the conversation to MLS", client.migrate(id)).await?
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

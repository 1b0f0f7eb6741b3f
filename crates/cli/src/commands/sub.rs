//! `sub`: taking part in something within a conversation.

use tertulia::SubConversation;

use super::Session;
use crate::{
    args::{SubArgs, SubCommand},
    error::CliError,
    output::view,
    progress::watched,
};

pub(super) async fn sub(session: &mut Session<'_>, command: &SubCommand) -> Result<(), CliError> {
    match command {
        SubCommand::Join(args) => {
            let sub = find(session, args).await?;
            watched("Joining", sub.join()).await?;
            session.output.sub_conversation(&joined(&sub)?)
        }
        SubCommand::Leave(args) => {
            let sub = find(session, args).await?;
            watched("Leaving", sub.leave()).await?;
            session.output.sub_conversation(&view::SubConversation::new(&sub, false, Vec::new()))
        }
        SubCommand::Delete(args) => {
            let sub = find(session, args).await?;
            watched("Ending it", sub.delete()).await?;
            session.output.sub_conversation(&view::SubConversation::new(&sub, false, Vec::new()))
        }
        SubCommand::List { target, offline } => {
            let client = session.open_current(offline.offline).await?;
            let parent = client.find(target).await?;
            let mut views = Vec::new();
            for listed in watched("Asking", client.sub_conversations(parent)).await? {
                let sub = &listed.sub_conversation;
                views.push(if sub.is_joined()? {
                    joined(sub)?
                } else {
                    view::SubConversation::new(sub, false, listed.devices)
                });
            }
            session.output.sub_conversations(&views)
        }
        SubCommand::Key { sub: args, length } => {
            let sub = find(session, args).await?;
            let secret = sub.export_secret(usize::from(*length))?;
            let secret = view::Secret::new(&sub, sub.epoch()?, &secret);
            session.output.secret(&secret)
        }
    }
}

/// The subconversation as a device in it knows it.
fn joined(sub: &SubConversation) -> Result<view::SubConversation, CliError> {
    Ok(view::SubConversation::new(sub, true, sub.members()?))
}

/// The subconversation that is meant, in a home that is up to date.
async fn find(session: &mut Session<'_>, args: &SubArgs) -> Result<SubConversation, CliError> {
    let client = session.open_current(args.offline.offline).await?;
    let parent = client.find(&args.target).await?;
    Ok(client.sub_conversation(parent, args.name.as_str())?)
}

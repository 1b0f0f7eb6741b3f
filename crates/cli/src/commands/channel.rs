//! `channel`.

use tertulia::GroupOptions;

use super::Session;
use crate::{args::ChannelCommand, error::CliError, output::view, progress::watched};

pub(super) async fn channel(session: &mut Session<'_>, command: &ChannelCommand) -> Result<(), CliError> {
    match command {
        ChannelCommand::Create { name, members, protocol, handshake, offline } => {
            let client = session.open_current(offline.offline).await?;
            let mut options = GroupOptions::default();
            options.protocol = (*protocol).into();
            options.handshake = (*handshake).into();
            let making = client.create_channel(name, members, options);
            let made = watched("Making the channel", making).await?;
            session.output.conversation(&made.into())
        }
        ChannelCommand::List => {
            let client = session.open_current(false).await?;
            let channels = watched("Asking the hub", client.channels()).await?;
            session.output.channels(&channels.into_iter().map(view::Channel::from).collect::<Vec<_>>())
        }
    }
}

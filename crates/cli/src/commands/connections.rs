//! `connect`, `accept`, `ignore`, `block`, `unblock`, `cancel`, `connections`.

use super::Session;
use tertulia::ConnectionStatus;

use crate::{
    args::{ConnectionArgs, OfflineArg},
    error::CliError,
    output::view,
    progress::watched,
};

/// What to do about one's side of a connection.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Connect,
    Block,
    Unblock,
    Cancel,
}

pub(super) async fn change(
    session: &mut Session<'_>,
    args: &ConnectionArgs,
    change: Change,
) -> Result<(), CliError> {
    let client = session.open_current(false).await?;
    let other = &args.handle;
    let changing = async {
        match change {
            Change::Connect => client.connect(other).await,
            Change::Block => client.block(other).await,
            Change::Unblock => client.unblock(other).await,
            Change::Cancel => client.cancel(other).await,
        }
    };
    let connection = watched("Telling the hub", changing).await?;
    session.output.connection(&connection.into())
}

/// `accept`: all that somebody has asked, which may be to come into groups.
pub(super) async fn accept(session: &mut Session<'_>, args: &ConnectionArgs) -> Result<(), CliError> {
    let client = session.open_current(false).await?;
    let accepted = watched("Accepting", client.accept_request(&args.handle)).await?;
    if let Some(connection) = accepted.connection {
        return session.output.connection(&connection.into());
    }
    accepted.groups.into_iter().try_for_each(|group| session.output.conversation(&group.into()))
}

/// `ignore`: all that somebody has asked.
pub(super) async fn ignore(session: &mut Session<'_>, args: &ConnectionArgs) -> Result<(), CliError> {
    let client = session.open_current(false).await?;
    if let Some(connection) = watched("Ignoring", client.ignore_request(&args.handle)).await? {
        return session.output.connection(&connection.into());
    }
    let (handle, status) = (args.handle.clone(), ConnectionStatus::Ignored);
    session.output.ignored(&view::Ignored { handle, status })
}

pub(super) async fn list(session: &mut Session<'_>, args: &OfflineArg) -> Result<(), CliError> {
    let client = session.open_current(args.offline).await?;
    let connections = client.connections().await?;
    session.output.connections(&connections.into_iter().map(view::Connection::from).collect::<Vec<_>>())
}

//! `connect`, `accept`, `ignore`, `block`, `unblock`, `cancel`, `connections`.

use super::Session;
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
    Accept,
    Ignore,
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
            Change::Accept => client.accept(other).await,
            Change::Ignore => client.ignore(other).await,
            Change::Block => client.block(other).await,
            Change::Unblock => client.unblock(other).await,
            Change::Cancel => client.cancel(other).await,
        }
    };
    let connection = watched("Telling the hub", changing).await?;
    session.output.connection(&connection.into())
}

pub(super) async fn list(session: &mut Session<'_>, args: &OfflineArg) -> Result<(), CliError> {
    let client = session.open_current(args.offline).await?;
    let connections = client.connections().await?;
    session.output.connections(&connections.into_iter().map(view::Connection::from).collect::<Vec<_>>())
}

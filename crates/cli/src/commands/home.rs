//! `home export`, `home rekey`.

use tertulia::HomeKey;

use super::Session;
use crate::{
    args::{ExportArgs, HomeCommand, RekeyArgs},
    error::CliError,
    output::view,
    progress::watched,
};

pub(super) async fn home(session: &mut Session<'_>, command: &HomeCommand) -> Result<(), CliError> {
    match command {
        HomeCommand::Export(args) => export(session, args).await,
        HomeCommand::Rekey(args) => rekey(session, args).await,
    }
}

async fn export(session: &mut Session<'_>, args: &ExportArgs) -> Result<(), CliError> {
    let builder = session.builder(false)?;
    let key = key(session, args.new_passphrase_stdin)?;
    let answer = view::Exported { home: args.destination.display().to_string(), key: view::Key::from(&key) };
    let client = builder.open().await?;
    watched("Copying this home", client.export(&args.destination, key, |_| {})).await?;
    session.output.exported(&answer)
}

async fn rekey(session: &mut Session<'_>, args: &RekeyArgs) -> Result<(), CliError> {
    let builder = session.builder(false)?;
    let key = key(session, args.new_passphrase_stdin)?;
    let answer = view::Rekeyed { key: view::Key::from(&key) };
    let client = builder.open().await?;
    watched("Encrypting this home anew", client.rekey(key)).await?;
    session.output.rekeyed(&answer)
}

/// The new key. Standard input has the passphrase of this home before it.
fn key(session: &mut Session<'_>, passphrase: bool) -> Result<HomeKey, CliError> {
    Ok(if passphrase { HomeKey::Passphrase(session.input.new_passphrase()?) } else { HomeKey::File })
}

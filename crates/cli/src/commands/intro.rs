//! `init`, `intro`, `meet`, `requests`.

use std::fs;

use tertulia::QrCode;

use super::Session;
use crate::{
    args::{InitArgs, IntroArgs, MeetArgs, OfflineArg},
    error::CliError,
    output::view,
    progress::watched,
};

pub(super) async fn init(session: &mut Session<'_>, args: &InitArgs) -> Result<(), CliError> {
    let builder = session.builder(true)?;
    let builder = match &args.label {
        Some(label) => builder.device_label(label),
        None => builder,
    };
    let client = builder.init(&args.relays).await?;
    session.output.me(&view::Me::from(client.me()))
}

pub(super) async fn intro(session: &mut Session<'_>, args: &IntroArgs) -> Result<(), CliError> {
    let client = session.open().await?;
    let bundle = if args.once { client.intro_for_one().await? } else { client.intro().await? };
    let code = || QrCode::of(&bundle).map_err(tertulia::Error::from);
    if let Some(path) = &args.qr {
        fs::write(path, code()?.to_png()).map_err(|cause| CliError::Write { path: path.clone(), cause })?;
    }
    let drawn = if args.draw { Some(code()?.to_text(false)) } else { None };
    session.output.intro(&view::Intro::new(&bundle), drawn.as_deref())
}

pub(super) async fn meet(session: &mut Session<'_>, args: &MeetArgs) -> Result<(), CliError> {
    let client = session.open().await?;
    let connection = watched("Asking", client.meet(&args.bundle, args.name.as_ref())).await?;
    session.output.connection(&connection.into())
}

pub(super) async fn requests(session: &mut Session<'_>, args: &OfflineArg) -> Result<(), CliError> {
    let client = session.open_current(args.offline).await?;
    let requests = client.requests().await?;
    session.output.requests(&requests.into_iter().map(view::Request::from).collect::<Vec<_>>())
}

//! `profile`, `search`.

use super::Session;
use crate::{
    args::{ProfileArgs, SearchArgs},
    error::CliError,
    output::view,
    progress::watched,
};

pub(super) async fn profile(session: &mut Session<'_>, args: &ProfileArgs) -> Result<(), CliError> {
    let client = session.open().await?;
    if let Some(handle) = &args.handle {
        let profile = watched("Asking the hub", client.profile_of(handle)).await?;
        return session.output.profile(&profile.into());
    }
    let mut profile = watched("Asking the hub", client.profile()).await?;
    if args.no_name || args.name.is_some() {
        profile.name.clone_from(&args.name);
    }
    if args.no_locale || args.locale.is_some() {
        profile.locale.clone_from(&args.locale);
    }
    if args.no_name || args.name.is_some() || args.no_locale || args.locale.is_some() {
        let setting = client.set_profile(profile.name.as_ref(), profile.locale.as_ref());
        watched("Telling the hub", setting).await?;
    }
    session.output.profile(&profile.into())
}

pub(super) async fn search(session: &mut Session<'_>, args: &SearchArgs) -> Result<(), CliError> {
    let client = session.open().await?;
    let found = watched("Searching", client.search(&args.beginning)).await?;
    session.output.people(&found.into_iter().map(view::Profile::from).collect::<Vec<_>>())
}

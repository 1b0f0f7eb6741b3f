//! `link`, `join`, `group access`.

use tertulia::{Access, Client, ConversationId, Joined, LinkOptions};
use zeroize::Zeroizing;

use super::Session;
use crate::{
    args::{AccessArgs, JoinArgs, JoinTarget, LinkCommand, LinkPasswordArgs},
    error::CliError,
    output::view,
    progress::watched,
    secret_input::link_password_from_environment_or_terminal,
};

pub(super) async fn link(session: &mut Session<'_>, command: &LinkCommand) -> Result<(), CliError> {
    match command {
        LinkCommand::Create { conversation, password, expires, offline } => {
            let (builder, password) = (session.builder(false)?, session.link_password(password, true)?);
            let client = session.current(builder, offline.offline).await?;
            let id = client.find(&conversation.target).await?;
            let options = LinkOptions { password, valid_for: *expires };
            let made = watched("Making the link", client.create_link(id, &options)).await?;
            session.output.links(&[view::Link::new(id, made)])
        }
        LinkCommand::Show { conversation } => {
            let client = session.open_current(false).await?;
            let id = client.find(&conversation.target).await?;
            let link = watched("Asking the hub", client.link(id)).await?;
            let links: Vec<_> = link.into_iter().map(|link| view::Link::new(id, link)).collect();
            session.output.links(&links)
        }
        LinkCommand::Revoke { conversation } => {
            // To bring the home up to date would let in who waits.
            let client = session.open().await?;
            let id = client.find(&conversation.target).await?;
            watched("Taking the link back", client.revoke_link(id)).await?;
            session.output.links(&[])
        }
    }
}

pub(super) async fn join(session: &mut Session<'_>, args: &JoinArgs) -> Result<(), CliError> {
    if args.preview {
        return preview(session, args).await;
    }
    let (builder, password) = (session.builder(false)?, session.link_password(&args.password, false)?);
    let client = session.current(builder, false).await?;
    let Some(target) = &args.target else {
        let waiting = client.join_requests().await?;
        return session.output.joinings(&waiting.into_iter().map(view::Joining::from).collect::<Vec<_>>());
    };
    if args.cancel {
        watched("Taking it back", client.cancel_join(target.conversation())).await?;
        return session.output.joinings(&[]);
    }
    let joined = match target {
        JoinTarget::Link(link) => {
            watched("Asking to come in", client.join(link, password.as_deref().map(String::as_str))).await?
        }
        JoinTarget::Id(id) => watched("Asking to come in", client.ask_to_join(*id)).await?,
    };
    if let Joined::Already(id) = joined {
        return session.output.conversation(&client.conversation(id).await?.into());
    }
    let waiting = client.join_requests().await?;
    let this = waiting.into_iter().filter(|request| request.conversation == target.conversation());
    session.output.joinings(&this.map(view::Joining::from).collect::<Vec<_>>())
}

/// Shows where a link leads, without its password and without anything else being done.
async fn preview(session: &mut Session<'_>, args: &JoinArgs) -> Result<(), CliError> {
    let Some(JoinTarget::Link(link)) = &args.target else { return Err(CliError::NoLink) };
    let client = session.open().await?;
    let preview = watched("Asking the hub", client.preview_link(link)).await?;
    session.output.link_preview(&preview.into())
}

/// Changes what is given, and shows how it is then.
pub(super) async fn access(
    session: &Session<'_>,
    client: &Client,
    id: ConversationId,
    args: &AccessArgs,
) -> Result<(), CliError> {
    let mut access = watched("Asking the hub", client.access(id)).await?;
    if !args.modes.is_empty() || !args.roles.is_empty() {
        let modes =
            if args.modes.is_empty() { access.modes().clone() } else { args.modes.iter().copied().collect() };
        let roles =
            if args.roles.is_empty() { access.roles().clone() } else { args.roles.iter().copied().collect() };
        let wanted = Access::new(modes, roles)?;
        access = watched("Changing who is admitted", client.set_access(id, &wanted)).await?;
    }
    session.output.access(&view::Access::new(id, &access))
}

impl Session<'_> {
    /// The link's password, if it has one. Standard input has the passphrase before it. `new`: it is being chosen.
    fn link_password(
        &mut self,
        args: &LinkPasswordArgs,
        new: bool,
    ) -> Result<Option<Zeroizing<String>>, CliError> {
        if args.password_stdin {
            self.input.password(new).map(Some)
        } else if args.password {
            link_password_from_environment_or_terminal(new).map(Some)
        } else {
            Ok(None)
        }
    }
}

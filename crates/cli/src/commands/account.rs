//! `signup`, `guest`, `login`, `whoami`, `device`, `password`, `account`, `sync`.

use tertulia::{AccountKind, ClientBuilder};
use zeroize::Zeroizing;

use super::Session;
use crate::{
    args::{
        AccountCommand, ChangePasswordArgs, DeviceCommand, GuestArgs, LogInArgs, OfflineArg, PasswordArgs,
        ProofArgs, SessionCommand, SignUpArgs,
    },
    error::CliError,
    output::{operator, view},
    progress::watched,
    secret_input::{new_password_from_environment_or_terminal, password_from_environment_or_terminal},
};

pub(super) async fn sign_up(session: &mut Session<'_>, args: &SignUpArgs) -> Result<(), CliError> {
    let (builder, password) = prepare(session, &args.password, true)?;
    let (hub, handle) = (args.password.hub.as_str(), args.handle.as_str());
    let signing_up = async {
        if args.service {
            builder.sign_up_service(hub, handle, &password).await
        } else {
            builder.sign_up(hub, handle, &password).await
        }
    };
    let client = watched("Making the account", signing_up).await?;
    session.output.me(&view::Me::from(client.me()))
}

pub(super) async fn guest(session: &mut Session<'_>, args: &GuestArgs) -> Result<(), CliError> {
    let coming_in = session.builder(true)?.sign_up_guest(args.hub.address.as_str(), &args.name);
    let client = watched("Coming in", coming_in).await?;
    session.output.me(&view::Me::from(client.me()))
}

pub(super) async fn log_in(session: &mut Session<'_>, args: &LogInArgs) -> Result<(), CliError> {
    let (builder, password) = prepare(session, &args.password, false)?;
    let logging_in = builder.log_in(args.password.hub.as_str(), args.handle.as_str(), &password);
    let client = watched("Adding this device", logging_in).await?;
    session.output.me(&view::Me::from(client.me()))
}

pub(super) async fn whoami(session: &mut Session<'_>) -> Result<(), CliError> {
    let client = session.open().await?;
    session.output.me(&view::Me::from(client.me()))
}

pub(super) async fn device(session: &mut Session<'_>, command: &DeviceCommand) -> Result<(), CliError> {
    match command {
        DeviceCommand::List => {
            let client = session.open().await?;
            let devices = watched("Asking the hub", client.devices()).await?;
            session.output.devices(&devices.into_iter().map(view::Device::from).collect::<Vec<_>>())
        }
        DeviceCommand::Remove { device, proof } => {
            let builder = session.builder(false)?;
            let password = session.proof(proof)?;
            let client = builder.open().await?;
            watched("Removing the device", client.remove_device(*device, &password)).await?;
            session.output.removed_device(&view::RemovedDevice { device: *device })
        }
    }
}

pub(super) async fn sessions(session: &mut Session<'_>, command: &SessionCommand) -> Result<(), CliError> {
    let client = session.open().await?;
    match command {
        SessionCommand::List => {
            let sessions = watched("Asking the hub", client.sessions()).await?;
            session.output.sessions(&sessions.into_iter().map(operator::Session::from).collect::<Vec<_>>())
        }
        SessionCommand::End { session: Some(name), .. } => {
            watched("Ending the session", client.end_session(name)).await?;
            session.output.sessions_ended(&operator::SessionsEnded { ended: 1 })
        }
        SessionCommand::End { session: None, .. } => {
            let ended = watched("Ending the sessions", client.end_other_sessions()).await?;
            session.output.sessions_ended(&operator::SessionsEnded { ended })
        }
    }
}

pub(super) async fn password(session: &mut Session<'_>, args: &ChangePasswordArgs) -> Result<(), CliError> {
    let builder = session.builder(false)?;
    let present = session.proof(&ProofArgs { password_stdin: args.password_stdin })?;
    let new = if args.password_stdin {
        session.input.new_password()?
    } else {
        new_password_from_environment_or_terminal()?
    };
    let client = builder.open().await?;
    watched("Changing the password", client.change_password(&present, &new)).await?;
    let me = view::Me::from(client.me());
    session
        .output
        .changed_password(&view::ChangedPassword { handle: me.handle, hub: me.hub.unwrap_or_default() })
}

pub(super) async fn account(session: &mut Session<'_>, command: &AccountCommand) -> Result<(), CliError> {
    let AccountCommand::Delete { proof } = command;
    let client = session.builder(false)?.open().await?;
    let password = match client.me().kind {
        AccountKind::Guest => Zeroizing::default(),
        _ => session.proof(proof)?,
    };
    watched("Deleting the account", client.delete_account(&password)).await?;
    session.output.deleted_account(&view::DeletedAccount { handle: client.me().handle.clone() })
}

pub(super) async fn sync(session: &mut Session<'_>) -> Result<(), CliError> {
    let client = session.open().await?;
    let report = watched("Bringing this home up to date", client.sync()).await?;
    session.output.report(&report.into())
}

pub(super) async fn warnings(session: &mut Session<'_>, args: &OfflineArg) -> Result<(), CliError> {
    let client = session.open_current(args.offline).await?;
    let mut warnings = Vec::new();
    for noticed in client.suspicions().await? {
        let conversation = client.conversation(noticed.conversation).await.ok();
        warnings.push(view::Warning::new(noticed, conversation));
    }
    session.output.warnings(&warnings)
}

/// The new home, and the password. Standard input has the passphrase before it.
fn prepare(
    session: &mut Session<'_>,
    args: &PasswordArgs,
    new_password: bool,
) -> Result<(ClientBuilder, Zeroizing<String>), CliError> {
    let builder = session.builder(true)?;
    let password = if args.password_stdin {
        session.input.password(new_password)?
    } else {
        password_from_environment_or_terminal(new_password)?
    };
    let builder = match &args.label {
        Some(label) => builder.device_label(label),
        None => builder,
    };
    Ok((builder, password))
}

impl Session<'_> {
    /// The account's password, which proves that it is its user who asks. Standard input has the passphrase before it.
    pub(super) fn proof(&mut self, args: &ProofArgs) -> Result<Zeroizing<String>, CliError> {
        if args.password_stdin {
            self.input.password(false)
        } else {
            password_from_environment_or_terminal(false)
        }
    }
}

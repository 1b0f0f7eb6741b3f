//! `admin`.

use std::path::Path;

use tertulia_server::{
    AdminError, Answer, CopyProgress, Task, administer, after_database_restore, back_up, copy_database,
    restore,
};
use tokio::sync::watch;

use super::{Session, data_directory};
use crate::{
    args::{AdminArgs, AdminCommand, DevicesCommand, SessionsCommand, UsersCommand},
    error::CliError,
    output::operator as view,
    progress::watched_as,
};

pub(super) async fn admin(session: &mut Session<'_>, args: &AdminArgs) -> Result<(), CliError> {
    let data = match &args.data {
        Some(data) => data.clone(),
        None => data_directory()?.join("hub"),
    };
    let (data, output) = (data.as_path(), session.output);
    let task = match &args.command {
        AdminCommand::Users(UsersCommand::List) => return list(session, data).await,
        AdminCommand::Users(UsersCommand::Show { handle }) => Task::Account { handle: handle.clone() },
        AdminCommand::Users(UsersCommand::Lock { handle }) => Task::Lock { handle: handle.clone() },
        AdminCommand::Users(UsersCommand::Unlock { handle }) => Task::Unlock { handle: handle.clone() },
        AdminCommand::Users(UsersCommand::Delete { handle, .. }) => Task::Delete { handle: handle.clone() },
        AdminCommand::Devices(DevicesCommand::List { handle }) => Task::Devices { handle: handle.clone() },
        AdminCommand::Devices(DevicesCommand::Remove { handle, device }) => {
            Task::RemoveDevice { handle: handle.clone(), device: *device }
        }
        AdminCommand::Sessions(SessionsCommand::List { handle }) => Task::Sessions { handle: handle.clone() },
        AdminCommand::Sessions(SessionsCommand::End { handle, session, .. }) => {
            Task::EndSessions { handle: handle.clone(), session: session.clone() }
        }
        AdminCommand::Statistics => Task::Numbers,
        AdminCommand::Prune { events_older_than } => Task::Prune { events_older_than: *events_older_than },
        AdminCommand::Backup { destination } => {
            let (data, to) = (data.to_owned(), destination.clone());
            let made = blocking("Copying the hub's data", move || back_up(&data, &to)).await?;
            return output.backup(&made.into());
        }
        AdminCommand::CopyDatabase { to } => {
            let (data, to) = (data.to_owned(), to.clone());
            let (come, seen) = watch::channel(None::<CopyProgress>);
            let copy = move || {
                copy_database(&data, &to, |progress| {
                    let CopyProgress { table, table_rows: rows, .. } = progress;
                    if progress.is_table_done {
                        tracing::info!(table, rows, "a table was copied");
                    }
                    come.send_replace(Some(progress));
                })
            };
            let told = move || match *seen.borrow() {
                Some(CopyProgress { rows, all_rows, .. }) if rows < all_rows => {
                    format!("Moving the hub's data: {rows} of {all_rows} rows")
                }
                Some(_) => "Comparing what was moved".to_owned(),
                None => "Moving the hub's data".to_owned(),
            };
            let made = blocking_as(told, copy).await?;
            return output.moved(&made.into());
        }
        AdminCommand::AfterRestore { database } => {
            let database = database.clone();
            let noted =
                blocking("Passing over what was given out since", move || after_database_restore(&database));
            return output.restored_database(&noted.await?);
        }
        AdminCommand::Restore { source, replace } => {
            let (from, data, replace) = (source.clone(), data.to_owned(), *replace);
            let made = blocking("Restoring the hub's data", move || restore(&from, &data, replace)).await?;
            return output.restored(&made.into());
        }
    };
    match administer(data, task).await? {
        Answer::Account(account) => output.account(&account.into()),
        Answer::Devices(devices) => {
            output.account_devices(&devices.into_iter().map(view::Device::from).collect::<Vec<_>>())
        }
        Answer::DeviceRemoved(device) => output.account_device_removed(&view::DeviceRemoved { device }),
        Answer::Sessions(sessions) => {
            output.sessions(&sessions.into_iter().map(view::Session::from).collect::<Vec<_>>())
        }
        Answer::SessionsEnded(ended) => output.sessions_ended(&view::SessionsEnded { ended }),
        Answer::Numbers(numbers) => output.numbers(&numbers),
        Answer::Pruned(pruned) => output.pruned(&pruned),
        _ => Err(AdminError::UnexpectedAnswer.into()),
    }
}

/// All accounts, a portion at a time.
async fn list(session: &Session<'_>, data: &Path) -> Result<(), CliError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let Answer::Accounts(accounts) = administer(data, Task::Accounts { after }).await? else {
            return Err(AdminError::UnexpectedAnswer.into());
        };
        let Some(last) = accounts.last() else { break };
        after = Some(last.handle.clone());
        all.extend(accounts.into_iter().map(view::Account::from));
    }
    session.output.accounts(&all)
}

/// Does what blocks on a thread of its own.
async fn blocking<T, E>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, CliError>
where
    T: Send + 'static,
    E: Into<CliError> + Send + 'static,
{
    blocking_as(move || what.to_owned(), work).await
}

/// The same with words that say how far it has come.
async fn blocking_as<T, E>(
    what: impl Fn() -> String,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, CliError>
where
    T: Send + 'static,
    E: Into<CliError> + Send + 'static,
{
    let task = tokio::task::spawn_blocking(work);
    let done = watched_as(what, async { task.await.map_err(std::io::Error::other) }).await;
    done.map_err(CliError::Process)?.map_err(Into::into)
}

//! Doing the tasks.

use super::{AccountInfo, Answer, DeviceInfo, Numbers, Pruned, Task};
use crate::{
    delivery, ended,
    error::ApiError,
    mls::Observer,
    retention::{Spans, cut, warn_of},
    state::now_ms,
    storage::{Storage, WriteTx, devices, operator, retention},
};
use std::{sync::Arc, time::Duration};
use tertulia_api::{Code, UserDevice, account::Device};
use tertulia_domain::{Handle, UserId};

/// Accounts in one answer.
const MOST: usize = 1000;

/// Does a task. `spans` are for how long the hub is to keep things, as far as that is known.
pub(crate) async fn perform(
    storage: &Storage,
    observer: &Arc<Observer>,
    spans: Spans,
    task: Task,
) -> Result<Answer, ApiError> {
    match task {
        Task::Accounts { after } => {
            let read = storage.read(move |db| operator::accounts(db, after.as_ref(), MOST));
            Ok(Answer::Accounts(read.await?))
        }
        Task::Account { handle } => account(storage, handle).await,
        Task::Lock { handle } => {
            change(storage, &handle, |tx, user| {
                operator::set_locked(tx, user, Some(now_ms()))?;
                operator::end_sessions(tx, user, None).map(drop)
            })
            .await?;
            account(storage, handle).await
        }
        Task::Unlock { handle } => {
            change(storage, &handle, |tx, user| operator::set_locked(tx, user, None)).await?;
            account(storage, handle).await
        }
        Task::Delete { handle } => {
            let observer = Arc::clone(observer);
            let delete = move |tx: &WriteTx<'_>, user| {
                operator::set_locked(tx, user, None)?;
                delivery::accounts::delete(tx, &observer, user, now_ms())
            };
            change(storage, &handle, delete).await?;
            account(storage, handle).await
        }
        Task::Devices { handle } => {
            let user = present(storage, &handle).await?.user;
            let devices = storage.read(move |db| devices::list(db, user)).await?.into_iter();
            let info = |Device { device, label, created_at }| DeviceInfo { device, label, created_at };
            Ok(Answer::Devices(devices.map(info).collect()))
        }
        Task::RemoveDevice { handle, device } => {
            let observer = Arc::clone(observer);
            let remove = move |tx: &WriteTx<'_>, user| {
                if delivery::devices::remove(tx, &observer, UserDevice { user, device }, now_ms())? {
                    Ok(())
                } else {
                    Err(ApiError::new(Code::NotFound, "The account has no device of this id."))
                }
            };
            change(storage, &handle, remove).await?;
            Ok(Answer::DeviceRemoved(device))
        }
        Task::Sessions { handle } => {
            let user = present(storage, &handle).await?.user;
            Ok(Answer::Sessions(storage.read(move |db| operator::sessions(db, user)).await?))
        }
        Task::EndSessions { handle, session } => {
            let end =
                move |tx: &WriteTx<'_>, user| match operator::end_sessions(tx, user, session.as_deref())? {
                    0 if session.is_some() => {
                        Err(ApiError::new(Code::NotFound, "The account has no session of this name."))
                    }
                    ended => Ok(ended),
                };
            Ok(Answer::SessionsEnded(change(storage, &handle, end).await?))
        }
        Task::Numbers => {
            let bytes = storage.bytes().await?;
            let numbers = storage.read(operator::numbers).await?;
            Ok(Answer::Numbers(Numbers { bytes, ..numbers }))
        }
        Task::Prune { events_older_than } => prune(storage, spans, events_older_than).await,
    }
}

async fn prune(
    storage: &Storage,
    spans: Spans,
    events_older_than: Option<Duration>,
) -> Result<Answer, ApiError> {
    let now = spans.now(false);
    let run_out =
        move |tx: &WriteTx<'_>| Ok((retention::note_moment(tx, now)?, operator::prune(tx, now.at)?));
    let (clock, pruned) = storage.write(run_out).await?;
    warn_of(clock);
    let pruned = Pruned { conversations: ended::delete_read(storage).await?, ..pruned };
    let Some(age) = events_older_than.or(spans.events) else { return Ok(Answer::Pruned(pruned)) };
    let cut = cut(storage, age, now.at).await?;
    let conversations = pruned.conversations + cut.conversations;
    Ok(Answer::Pruned(Pruned { log_entries: cut.entries, events: cut.events, conversations, ..pruned }))
}

async fn account(storage: &Storage, handle: Handle) -> Result<Answer, ApiError> {
    let found = storage.read(move |db| operator::account_of(db, &handle)).await?;
    found.map(Answer::Account).ok_or_else(nobody)
}

/// The account, if it is there and not deleted.
async fn present(storage: &Storage, handle: &Handle) -> Result<AccountInfo, ApiError> {
    let handle = handle.clone();
    let found = storage.read(move |db| operator::account_of(db, &handle)).await?;
    found.filter(|account| account.deleted_at.is_none()).ok_or_else(nobody)
}

/// Changes something of an account that is there and not deleted.
async fn change<T: Send + 'static>(
    storage: &Storage,
    handle: &Handle,
    work: impl FnOnce(&WriteTx<'_>, UserId) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let handle = handle.clone();
    let write = storage.write(move |tx| {
        let account = operator::account_of(tx, &handle)?.filter(|account| account.deleted_at.is_none());
        let user = account.ok_or_else(nobody)?.user;
        let done = work(tx, user)?;
        tracing::info!(user = user.short(), "an operator changed an account");
        Ok(done)
    });
    write.await
}

fn nobody() -> ApiError {
    ApiError::new(Code::UnknownUser, "There is no account of this handle.")
}

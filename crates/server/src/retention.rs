//! Cuts out of the logs what was kept for long enough, while the hub runs: a little every hour, in small steps, so that who wants
//! something written comes in between. What was not come to is cut the next time.

use crate::{
    error::ApiError,
    state::{AppState, now_ms},
    storage::{Storage, conversations, retention},
};
use std::time::Duration;
use tokio::time::sleep;

/// How often it is looked what has become old, and noted which position the hub has come to.
const EVERY: Duration = Duration::from_hours(1);

/// What was cut.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Cut {
    /// Entries of the logs of conversations.
    pub(crate) entries: u64,
    /// Events of users that are in no conversation's log.
    pub(crate) events: u64,
    /// Conversations that have ended.
    pub(crate) conversations: u64,
}

/// Keeps the logs as long as they are to be kept, until the hub is to stop.
pub(crate) async fn see_to(state: AppState) {
    loop {
        let kept = tokio::select! {
            kept = keep(&state) => kept,
            () = state.shutdown.requested() => return,
        };
        if let Err(error) = kept {
            tracing::error!(%error, "what was kept for long enough was not cut out");
        }
        tokio::select! {
            () = sleep(EVERY) => {}
            () = state.shutdown.requested() => return,
        }
    }
}

async fn keep(state: &AppState) -> Result<(), ApiError> {
    // Also where everything is kept: it may be set otherwise one day.
    state.storage.write(|tx| retention::note_moment(tx, now_ms())).await?;
    let Some(age) = state.limits.event_retention else { return Ok(()) };
    let Cut { entries, events, conversations } = cut(&state.storage, age).await?;
    if entries + events + conversations > 0 {
        state.metrics.entries_cut(entries + events);
        tracing::info!(entries, events, conversations, "what was kept for long enough was cut out");
    }
    Ok(())
}

/// Cuts what is older than that.
pub(crate) async fn cut(storage: &Storage, age: Duration) -> Result<Cut, ApiError> {
    let now = now_ms();
    let before = now.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    let mut cut = Cut::default();
    let Some(horizon) = storage.write(move |tx| retention::horizon(tx, before)).await? else {
        return Ok(cut);
    };
    let mut after = None;
    loop {
        let (due, last) = storage.read(move |db| retention::next_logs(db, after, horizon)).await?;
        for conversation in due {
            loop {
                let step =
                    storage.write(move |tx| retention::cut_log(tx, conversation, horizon, now)).await?;
                cut.entries += step as u64;
                if step == 0 {
                    break;
                }
            }
        }
        after = last;
        if after.is_none() {
            break;
        }
    }
    loop {
        let step = storage.write(move |tx| retention::cut_user_events(tx, horizon)).await?;
        cut.events += step as u64;
        if step == 0 {
            break;
        }
    }
    while let Some(gone) = storage.write(move |tx| conversations::delete_next_ended(tx, before)).await? {
        cut.conversations += u64::from(gone);
    }
    Ok(cut)
}

//! Ends the accounts of guests whose time is over, at the start of the hub and while it runs.

use crate::{
    delivery,
    error::ApiError,
    mls::Observer,
    removals, retention,
    state::{AppState, now_ms},
    storage::{WriteTx, accounts},
};
use std::{sync::Arc, time::Duration};
use tertulia_domain::UserId;
use tokio::time::sleep;

/// Guests that are looked up at once. Each ends in a transaction of its own, so that requests come in between.
const STEP: usize = 64;

/// Longest time until it is looked again: clocks are set, and what failed is tried anew.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Sees guests out until the hub is to stop.
pub(crate) async fn see_out(state: AppState) {
    loop {
        let wait = match step(&state).await {
            Ok(wait) => wait.min(LONGEST_WAIT),
            Err(error) => {
                tracing::error!(%error, "guests whose time is over were not seen out");
                LONGEST_WAIT
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = state.shutdown.requested() => return,
        }
    }
}

/// Ends the accounts that are due, at most so many, and says how long there is nothing to do.
async fn step(state: &AppState) -> Result<Duration, ApiError> {
    let expired = || state.storage.read(|db| accounts::expired(db, now_ms(), STEP));
    let mut due = expired().await?;
    if !due.is_empty() {
        // The clock may have been set since it was looked at, and nobody goes for that.
        retention::look(&state.storage, state.spans.now(false)).await?;
        due = expired().await?;
    }
    let (found, mut failed) = (due.len(), false);
    for guest in due {
        let observer = Arc::clone(&state.observer);
        let ended = state.storage.write(move |tx| end(tx, &observer, guest));
        match ended.await {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(user = guest.short(), "a guest's time is over");
                removals::carry_out(state).await;
            }
            Err(error) => {
                failed = true;
                tracing::error!(user = guest.short(), %error, "a guest was not seen out");
            }
        }
    }
    if failed {
        return Ok(LONGEST_WAIT);
    }
    if found == STEP {
        return Ok(Duration::ZERO);
    }
    let next = state.storage.read(accounts::next_expiry).await?;
    let lifetime = state.guest_lifetime.unwrap_or(LONGEST_WAIT);
    // A guest who comes in meanwhile is due after a whole lifetime.
    Ok(next.map_or(lifetime, |at| Duration::from_millis(at.saturating_sub(now_ms()).max(0).cast_unsigned())))
}

/// Whether there was something to end: another node may have seen to it.
fn end(tx: &WriteTx<'_>, observer: &Observer, guest: UserId) -> Result<bool, ApiError> {
    let now = now_ms();
    let is_due = accounts::expiry(tx, guest)?.is_some_and(|at| at <= now);
    if is_due {
        delivery::accounts::delete(tx, observer, guest, now)?;
    }
    Ok(is_due)
}

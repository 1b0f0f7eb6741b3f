//! Proposes to remove devices that are gone from the groups that they were in, and withdraws proposals to add such devices: a few
//! groups at a time, so that who is in hundreds does not hold up everybody who wants something written meanwhile.
//!
//! In which groups it is to be done stands in the database, from the transaction on in which the devices went. So it outlives the
//! process, and is gone on with when the hub starts. Until then nothing is delivered to the devices, and whatever commit comes first
//! in a group, still with those who are gone in its policy, has the removals proposed as well.

use crate::{
    delivery::membership,
    ended,
    error::ApiError,
    state::{AppState, now_ms},
    storage::{groups, removals},
};
use futures::future::join_all;
use std::{sync::Arc, time::Duration};
use tertulia_domain::ConversationId;
use tokio::time::sleep;

/// Groups that the writer is given at once. Each is a job of its own, so that others come in between, and what waits together is
/// made durable together.
const STEP: usize = 16;

/// Groups in which proposals have expired that are looked at at once.
const EXPIRED: usize = 256;

/// How long after it was looked for what a request has left over, whose caller did not wait for the answer; and what failed.
const PAUSE: Duration = Duration::from_secs(30);

/// Proposes what an earlier run of the hub did not come to, and what is left over, until the hub is to stop.
pub(crate) async fn see_to(state: AppState) {
    loop {
        carry_out(&state).await;
        tokio::select! {
            () = delete_ended(&state) => {}
            () = state.shutdown.requested() => return,
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = state.shutdown.requested() => return,
        }
    }
}

/// Deletes what is left of conversations that have ended and been read to their end, a step at a time.
async fn delete_ended(state: &AppState) {
    if let Err(error) = ended::delete_read(&state.storage).await {
        tracing::error!(%error, "ended conversations were not deleted");
    }
}

/// Proposes all removals that are due, unless the hub is to stop before.
pub(crate) async fn carry_out(state: &AppState) {
    tokio::select! {
        () = all(state) => {}
        () = state.shutdown.requested() => {}
    }
}

async fn all(state: &AppState) {
    if let Err(error) = note_expired(state).await {
        tracing::error!(%error, "which proposals have expired was not found out");
    }
    let mut after = None;
    loop {
        match step(state, after).await {
            Ok(None) => return,
            Ok(last) => after = last,
            Err(error) => {
                tracing::error!(%error, "which removals are due was not found out");
                return;
            }
        }
    }
}

/// Notes the groups in which the key package of a proposed device has expired: nobody can commit that any more.
async fn note_expired(state: &AppState) -> Result<(), ApiError> {
    let expired = state.storage.read(|db| groups::with_expired(db, now_ms(), EXPIRED)).await?;
    if expired.is_empty() {
        return Ok(());
    }
    state.storage.write(move |tx| expired.into_iter().try_for_each(|group| removals::insert(tx, group))).await
}

/// Proposes the next removals, and says which group was the last; none if nothing was due. What fails stays due: it does not
/// stop the others, and is tried again the next time.
async fn step(state: &AppState, after: Option<ConversationId>) -> Result<Option<ConversationId>, ApiError> {
    let due = state.storage.read(move |db| removals::due(db, after, STEP)).await?;
    let last = due.last().copied();
    join_all(due.into_iter().map(|conversation| propose(state, conversation))).await;
    Ok(last)
}

async fn propose(state: &AppState, conversation: ConversationId) {
    let observer = Arc::clone(&state.observer);
    let proposed =
        state.storage.write(move |tx| membership::propose_due(tx, &observer, conversation, now_ms()));
    if let Err(error) = proposed.await {
        tracing::error!(conversation = %conversation.short(), %error, "removals were not proposed");
    }
}

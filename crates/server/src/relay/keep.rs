//! Cuts what a relay has kept for long enough, or has too much of, while it runs: in small steps, so that who posts comes in between.

use super::{
    RelayState,
    rules::{Cutting, Room},
};
use crate::{error::ApiError, retention, state::now_ms, storage::relay as kept};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::sleep;

/// How often it is looked what is due.
const EVERY: Duration = Duration::from_mins(10);

/// Keeps envelopes as long as they are to be kept, until the relay is to stop.
pub(crate) async fn see_to(relay: RelayState) {
    loop {
        let kept = tokio::select! {
            kept = keep(&relay) => kept,
            () = relay.shutdown.requested() => return,
        };
        match kept {
            Ok(0) => {}
            Ok(envelopes) => {
                relay.metrics.envelopes_cut(envelopes);
                tracing::info!(envelopes, "what the relay had kept for long enough was cut out");
            }
            Err(error) => tracing::error!(%error, "what the relay had kept for long enough was not cut out"),
        }
        tokio::select! {
            () = sleep(EVERY) => {}
            () = relay.shutdown.requested() => return,
        }
    }
}

/// How many envelopes were cut.
async fn keep(relay: &RelayState) -> Result<u64, ApiError> {
    if let Some(spans) = relay.spans {
        retention::look(&relay.storage, spans.now(false)).await?;
    }
    let topics: Vec<_> = relay.storage.read(|db| Ok(kept::extents(db)?)).await?.into_iter().collect();
    let excess: BTreeMap<_, _> = Room::of(&relay.limits).excess(&topics).into_iter().collect();
    let now = now_ms();
    let mut count = 0;
    for (topic, _) in topics {
        let mut cutting = Cutting::at(now, &relay.limits, excess.get(&topic).copied().unwrap_or(0));
        loop {
            let (step, bytes) = relay.storage.write(move |tx| kept::cut(tx, topic, cutting)).await?;
            if step == 0 {
                break;
            }
            count += step as u64;
            cutting.excess -= bytes;
        }
    }
    Ok(count)
}

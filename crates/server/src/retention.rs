//! Cuts out of the logs what was kept for long enough, while the hub runs: a little every hour, in small steps, so that who wants
//! something written comes in between. What was not come to is cut the next time.

use crate::{
    config::{RelayLimits, ServerConfig},
    error::ApiError,
    state::{AppState, now_ms},
    storage::{
        Storage, ended,
        retention::{self, Clock, Now, Old, Pauses},
    },
};
use std::time::Duration;
use tertulia_domain::limits::{GUEST_LIFETIME, MAX_GUEST_LIFETIME};
use tokio::time::sleep;

/// How often it is looked what has become old, and noted which position the hub has come to.
const EVERY: Duration = Duration::from_hours(1);

/// For how long a hub may be off, at most, so that its clock is believed afterwards; a quarter of the time for which things are kept,
/// if that is shorter.
const LONGEST_PAUSE: Duration = Duration::from_hours(7 * 24);

/// It is longer than between two looks in any case.
const SHORTEST_PAUSE: Duration = Duration::from_hours(3);

/// For how long a hub keeps what it does not keep for ever.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans {
    /// Events; for ever without it.
    pub(crate) events: Option<Duration>,
    /// The accounts of guests.
    guests: Duration,
    /// The relay's envelopes.
    envelopes: Duration,
}

impl Spans {
    pub(crate) fn of(config: &ServerConfig) -> Self {
        let other = Self::default();
        Self {
            events: config.limits.event_retention,
            guests: config.guest_lifetime.unwrap_or(other.guests).min(MAX_GUEST_LIFETIME),
            envelopes: config.relay.as_ref().map_or(other.envelopes, |relay| relay.retention),
        }
    }

    /// The present time.
    pub(crate) fn now(&self, is_settled: bool) -> Now {
        let pause = |age: Duration| millis((age / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
        let longest = Pauses {
            logs: self.events.map_or(millis(LONGEST_PAUSE), pause),
            guests: pause(self.guests),
            envelopes: pause(self.envelopes),
        };
        Now { at: now_ms(), longest, guests_stay: millis(self.guests), is_settled }
    }
}

impl Default for Spans {
    /// Those of a hub of which nothing is known: it keeps events for ever, and all else as by default.
    fn default() -> Self {
        Self { events: None, guests: GUEST_LIFETIME, envelopes: RelayLimits::default().retention }
    }
}

/// Notes what the clock says, before anything goes for it.
pub(crate) async fn look(storage: &Storage, now: Now) -> Result<Clock, ApiError> {
    let clock = storage.write(move |tx| retention::note_moment(tx, now)).await?;
    warn_of(clock);
    Ok(clock)
}

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
    let mut is_settled = false;
    loop {
        let kept = tokio::select! {
            kept = keep(&state, is_settled) => kept,
            () = state.shutdown.requested() => return,
        };
        if let Err(error) = kept {
            tracing::error!(%error, "what was kept for long enough was not cut out");
        }
        tokio::select! {
            () = sleep(EVERY) => is_settled = true,
            () = state.shutdown.requested() => return,
        }
    }
}

async fn keep(state: &AppState, is_settled: bool) -> Result<(), ApiError> {
    let now = state.spans.now(is_settled);
    // Also where everything is kept: it may be set otherwise one day.
    let clock = look(&state.storage, now).await?;
    let Some(age) = state.spans.events.filter(|_| clock != Clock::Ahead) else { return Ok(()) };
    let Cut { entries, events, conversations } = cut(&state.storage, age, now.at).await?;
    if entries + events + conversations > 0 {
        state.metrics.entries_cut(entries + events);
        tracing::info!(entries, events, conversations, "what was kept for long enough was cut out");
    }
    Ok(())
}

/// Says what is strange about the clock.
pub(crate) fn warn_of(clock: Clock) {
    match clock {
        Clock::Steady => {}
        Clock::Behind => tracing::warn!("the clock is behind what it was: nothing is cut out early for it"),
        Clock::Ahead => tracing::warn!(
            "the clock is far ahead of what it was, or the hub was off for long: that time does not count for what it keeps"
        ),
    }
}

/// Cuts what is older than that at this time, in milliseconds since 1970.
pub(crate) async fn cut(storage: &Storage, age: Duration, now: i64) -> Result<Cut, ApiError> {
    let before = now.saturating_sub(millis(age));
    let mut cut = Cut::default();
    let Some(horizon) = storage.write(move |tx| retention::horizon(tx, before)).await? else {
        return Ok(cut);
    };
    let old = Old { horizon, before, now };
    let mut after = None;
    loop {
        let (due, last) = storage.read(move |db| retention::next_logs(db, after, horizon)).await?;
        for conversation in due {
            loop {
                let step = storage.write(move |tx| retention::cut_log(tx, conversation, old)).await?;
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
    let mut from = None;
    while let Some((last, gone)) =
        storage.write(move |tx| ended::delete_next(tx, from, (before, horizon))).await?
    {
        cut.conversations += u64::from(gone);
        from = Some(last);
    }
    Ok(cut)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

//! Cutting out what was kept for long enough, a few entries at a time.
//!
//! How old something is follows from its position and from *moments*, notes of which position the hub had come to at what time:
//! not everything in the logs has a time of its own. What is needed to go on is not in the logs: the groups, the members, the
//! proposals that are pending. Of the logs themselves stay
//!
//! - commits and proposals of conversations that share history, since sharing began: without them nothing later can be read;
//! - their messages, as far back as they share them.

use super::sql::{Connection, OptionalExtension as _, params};
use super::{Position, RowExt as _, Sql, WriteTx, accounts, log::Kind, quotas, relay};
use crate::error::ApiError;
use std::collections::BTreeMap;
use tertulia_domain::{ConversationId, History, UserId};

/// Entries that are cut in one transaction at most: few, so that nobody waits long for the writer.
const STEP: i64 = 200;

/// Conversations that are looked at in one reading.
const LOOKED_AT: i64 = 256;

/// Stands for no position: its moment says when it was noted last, also where nothing has been stored since.
const LOOKED: Position = -1;

/// What the clock has done since the last moment was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// It went on.
    Steady,
    /// It is behind the last moment.
    Behind,
    /// It is further ahead than any pause explains: it was wrong before, or is now. The time between does not count: everything is as
    /// old as it was when the last moment was noted.
    Ahead,
}

/// The longest times for which no moment was noted, in milliseconds, that are believed. What is kept for another time has another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pauses {
    /// Of the logs.
    pub(crate) logs: i64,
    /// Of the accounts of guests.
    pub(crate) guests: i64,
    /// Of the relay's envelopes.
    pub(crate) envelopes: i64,
}

/// What the time is taken for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// By the clock, in milliseconds since 1970.
    pub(crate) at: i64,
    pub(crate) longest: Pauses,
    /// For how long guests are let in, in milliseconds.
    pub(crate) guests_stay: i64,
    /// Whether the clock has had time to be set since the machine started. Until then moments never go back; after it, those that are
    /// yet to come are taken back, since it was wrong when they were noted. If it is wrong now, it will be [ahead](Clock::Ahead) then.
    pub(crate) is_settled: bool,
}

/// Clocks of nodes differ, and are set, by less than that, in milliseconds. What the hub has the times of itself is not moved for it.
const TOLERATED: i64 = 60 * 60 * 1000;

/// By how much the clocks of nodes may differ without being remarked upon, in milliseconds. Moments do not go back for it.
const SKEW: i64 = 5 * 60 * 1000;

/// When the last moment was noted, if any was. Looking for it costs the same however many there are.
fn latest(connection: &Connection) -> Result<Option<i64>, ApiError> {
    Ok(connection
        .prepare_cached(
            "SELECT coalesce((SELECT at FROM moments WHERE position = ?1), (SELECT max(at) FROM moments))",
        )?
        .query_row([LOOKED], |row| row.get(0))?)
}

/// This time, or that of the last moment if the clock is behind it: what is stored now is kept from then on.
pub(crate) fn not_before_latest(connection: &Connection, at: i64) -> Result<i64, ApiError> {
    Ok(latest(connection)?.map_or(at, |latest| latest.max(at)))
}

/// Moves the times of what has one of its own, and no position, as the moments are moved: what is kept by a relay, and guests.
fn move_times(tx: &WriteTx<'_>, latest: i64, now: Now) -> Result<(), ApiError> {
    let ahead = now.at.saturating_sub(latest);
    let longest_stay = now.at.saturating_add(now.guests_stay);
    if ahead > now.longest.guests {
        accounts::put_off(tx, ahead, longest_stay)?;
        tracing::info!(milliseconds = ahead, "guests stay longer by the time for which no moment was noted");
    }
    if ahead > now.longest.envelopes {
        relay::put_off(tx, ahead, now.at)?;
        tracing::info!(
            milliseconds = ahead,
            "envelopes stay longer by the time for which no moment was noted"
        );
    }
    if ahead < -TOLERATED && now.is_settled {
        accounts::bring_forward(tx, longest_stay)?;
        relay::bring_forward(tx, now.at)?;
    }
    Ok(())
}

/// Notes that everything that there is was stored before now. What the clock says is believed only as far as nothing is cut too early
/// if it is wrong.
pub(crate) fn note_moment(tx: &WriteTx<'_>, now: Now) -> Result<Clock, ApiError> {
    let latest = latest(tx)?;
    if let Some(latest) = latest {
        move_times(tx, latest, now)?;
    }
    let (clock, at) = match latest {
        Some(latest) if now.at.saturating_sub(latest) > now.longest.logs => {
            tx.prepare_cached("UPDATE moments SET at = at + ?1")?.execute([now.at.saturating_sub(latest)])?;
            (Clock::Ahead, now.at)
        }
        Some(latest) if now.at < latest && latest.saturating_sub(now.at) <= SKEW => (Clock::Steady, latest),
        Some(latest) if now.at < latest && !now.is_settled => (Clock::Behind, latest),
        Some(latest) if now.at < latest => {
            tx.prepare_cached("UPDATE moments SET at = ?1 WHERE at > ?1")?.execute([now.at])?;
            (Clock::Behind, now.at)
        }
        _ => (Clock::Steady, now.at),
    };
    tx.prepare_cached(
        "INSERT INTO moments (position, at) SELECT position, ?1 FROM hub WHERE TRUE ON CONFLICT (position) DO NOTHING",
    )?
    .execute([at])?;
    tx.prepare_cached(
        "INSERT INTO moments (position, at) VALUES (?1, ?2) ON CONFLICT (position) DO UPDATE SET at = excluded.at",
    )?
    .execute([LOOKED, at])?;
    Ok(clock)
}

/// The last position that is known to be from before `at`, if any is. Earlier moments tell no more, and are forgotten.
pub(crate) fn horizon(tx: &WriteTx<'_>, at: i64) -> Result<Option<Position>, ApiError> {
    let horizon: Option<Position> = tx
        .prepare_cached("SELECT max(position) FROM moments WHERE at <= ?1 AND position > ?2")?
        .query_row([at, LOOKED], |row| row.get(0))?;
    if let Some(horizon) = horizon {
        tx.prepare_cached("DELETE FROM moments WHERE position < ?1 AND position > ?2")?
            .execute([horizon, LOOKED])?;
    }
    Ok(horizon)
}

/// Of the conversations after this one in the order of their ids, the next in whose logs there may be something to be cut; with
/// the last that was looked at, none at the end.
pub(crate) fn next_logs(
    connection: &Connection,
    after: Option<ConversationId>,
    horizon: Position,
) -> Result<(Vec<ConversationId>, Option<ConversationId>), ApiError> {
    let after = after.unwrap_or_else(|| ConversationId::from_bytes([0; 16]));
    let mut statement = connection.prepare_cached(
        "SELECT c.id, EXISTS (
             SELECT 1 FROM log l WHERE l.conversation = c.id
             AND l.position <= CASE WHEN c.history = 'unlimited' AND c.history_since < ?2 THEN c.history_since - 1 ELSE ?2 END
             AND (c.history_since IS NULL OR l.position < c.history_since OR l.kind IN ('message', 'name')))
         FROM conversations c WHERE c.id > ?1 ORDER BY c.id LIMIT ?3",
    )?;
    let (mut found, mut last, mut count) = (Vec::new(), None, 0);
    let rows = statement.query_map(params![Sql(after), horizon, LOOKED_AT], |row| {
        Ok((row.domain::<ConversationId>(0)?, row.get::<bool>(1)?))
    })?;
    for row in rows {
        let (conversation, is_due) = row?;
        count += 1;
        last = Some(conversation);
        if is_due {
            found.push(conversation);
        }
    }
    Ok((found, last.filter(|_| count == LOOKED_AT)))
}

/// An entry that is cut.
struct Cut {
    position: Position,
    sequence: i64,
    /// Of what begins an epoch, which.
    epoch: Option<i64>,
    sent_at: i64,
    sender: Option<UserId>,
    bytes: i64,
}

/// What is old enough to be cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Old {
    /// The last position that may be.
    pub(crate) horizon: Position,
    /// What is from this time, in milliseconds since 1970, or before it.
    pub(crate) before: i64,
    /// The present time.
    pub(crate) now: i64,
}

/// Cuts the next old entries out of a conversation's log. How many; 0 when there are no more.
pub(crate) fn cut_log(tx: &WriteTx<'_>, conversation: ConversationId, old: Old) -> Result<usize, ApiError> {
    let shared = tx
        .prepare_cached("SELECT history, history_since FROM conversations WHERE id = ?1")?
        .query_row([Sql(conversation)], |row| {
            Ok((row.domain::<History>(0)?, row.get::<Option<Position>>(1)?))
        })
        .optional()?;
    let Some((history, since)) = shared else { return Ok(0) }; // it is gone meanwhile
    let Old { horizon, now, .. } = old;
    let unshared = horizon.min(since.map_or(horizon, |since| since - 1));
    let mut cut = due(tx, conversation, Old { horizon: unshared, ..old })?;
    if let (true, Some(since), Some(reach)) = (cut.is_empty(), since, history.reach(now)) {
        cut = due_messages(tx, conversation, (since, horizon), reach)?;
    }
    let Some(last) = cut.last() else { return Ok(0) };
    let mut delete = tx.prepare_cached("DELETE FROM log WHERE position = ?1")?;
    for entry in &cut {
        delete.execute([entry.position])?;
    }
    quotas::note_stored(tx, cut.iter().filter_map(|entry| Some((entry.sender?, -entry.bytes))))?;
    let epoch = cut.iter().rev().find_map(|entry| entry.epoch);
    tx.prepare_cached(
        "UPDATE conversations SET cut_position = ?2, cut_sequence = ?3, cut_at = ?4, cut_epoch = coalesce(?5, cut_epoch)
         WHERE id = ?1 AND cut_position < ?2",
    )?
    .execute(params![Sql(conversation), last.position, last.sequence, last.sent_at, epoch])?;
    Ok(cut.len())
}

/// The first old entries. Their own times have to say so too, but for those that are yet to come: the clock was wrong then.
fn due(connection: &Connection, conversation: ConversationId, old: Old) -> Result<Vec<Cut>, ApiError> {
    let Old { horizon, before, now } = old;
    let mut statement = connection.prepare_cached(
        "SELECT position, sequence, kind, epoch, sent_at, sender_user, counted FROM log
         WHERE conversation = ?1 AND position <= ?2 AND (sent_at <= ?3 OR sent_at > ?4) ORDER BY position LIMIT ?5",
    )?;
    let found = statement.query_map(params![Sql(conversation), horizon, before, now, STEP], |row| {
        let kind = Kind::parse(row.get_ref(2)?.as_str()?);
        let epoch = match kind {
            Some(Kind::Commit) => row.get(3)?,
            Some(Kind::Reset) => Some(0), // the next group begins
            _ => None,
        };
        Ok(Cut {
            position: row.get(0)?,
            sequence: row.get(1)?,
            epoch,
            sent_at: row.get(4)?,
            sender: row.optional(5)?,
            bytes: row.get(6)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The first messages after a position and up to another that nobody who comes from now on may read.
fn due_messages(
    connection: &Connection,
    conversation: ConversationId,
    (after, to): (Position, Position),
    reach: i64,
) -> Result<Vec<Cut>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT position, sequence, sent_at, sender_user, counted FROM log
         WHERE conversation = ?1 AND position > ?2 AND position <= ?3
         AND kind IN ('message', 'name') AND sent_at < ?4 ORDER BY position LIMIT ?5",
    )?;
    let found = statement.query_map(params![Sql(conversation), after, to, reach, STEP], |row| {
        Ok(Cut {
            position: row.get(0)?,
            sequence: row.get(1)?,
            epoch: None,
            sent_at: row.get(2)?,
            sender: row.optional(3)?,
            bytes: row.get(4)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Cuts the next of all users' own events that are not after the horizon. How many; 0 when there are no more.
pub(crate) fn cut_user_events(tx: &WriteTx<'_>, horizon: Position) -> Result<usize, ApiError> {
    let mut statement = tx.prepare_cached(
        "SELECT position, user_id FROM user_events WHERE position <= ?1 ORDER BY position LIMIT ?2",
    )?;
    let found = statement.query_map([horizon, STEP], |row| Ok((row.get::<Position>(0)?, row.domain(1)?)))?;
    let events: Vec<(Position, UserId)> = found.collect::<Result<_, _>>()?;
    let mut delete = tx.prepare_cached("DELETE FROM user_events WHERE position = ?1")?;
    let mut last = BTreeMap::new();
    for &(position, user) in &events {
        delete.execute([position])?;
        last.insert(user, position); // they rise
    }
    let mut note =
        tx.prepare_cached("UPDATE users SET cut_position = ?2 WHERE id = ?1 AND cut_position < ?2")?;
    for (user, position) in last {
        note.execute(params![Sql(user), position])?;
    }
    Ok(events.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        relay::rules::{Cutting, Room},
        storage::{Storage, relay::Posted, testing},
        wake::Wake,
    };
    use bytes::Bytes;
    use tertulia_conversation::topic::ContentTopic;
    use tertulia_domain::Handle;

    const HOUR: i64 = 60 * 60 * 1000;
    const DAY: i64 = 24 * HOUR;
    /// For how long something is kept.
    const KEPT: i64 = 28 * DAY;
    /// Some day.
    const TODAY: i64 = 20_000 * DAY;
    /// What a machine without a clock begins with.
    const LONG_AGO: i64 = DAY;
    const LATE: i64 = 50_000 * DAY;

    struct Fixture {
        _dir: tempfile::TempDir,
        storage: Storage,
    }

    impl Fixture {
        fn open() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let storage = testing::open(&testing::location(dir.path()), Wake::default(), |_| ());
            Self { _dir: dir, storage }
        }

        /// Stores something. Where it is.
        async fn store(&self) -> Position {
            self.storage.write(|tx| Ok(tx.next_position())).await.unwrap()
        }

        /// What the hub does every hour, or at its start.
        async fn look(&self, at: i64, is_settled: bool) -> (Clock, Option<Position>) {
            let look = move |tx: &WriteTx<'_>| {
                let longest = Pauses { logs: KEPT / 4, guests: 6 * HOUR, envelopes: KEPT / 8 };
                let clock = note_moment(tx, Now { at, longest, guests_stay: DAY, is_settled })?;
                Ok((clock, horizon(tx, at - KEPT)?))
            };
            self.storage.write(look).await.unwrap()
        }

        /// The same every hour, when the clock goes on.
        async fn look_from_to(&self, from: i64, to: i64) {
            let mut at = from;
            while at < to {
                self.look(at, true).await;
                at += HOUR;
            }
            self.look(to, true).await;
        }

        /// A guest comes in for a day, and an envelope that is kept for [`KEPT`].
        async fn guest_and_envelope(&self, at: i64) {
            let come_in = move |tx: &WriteTx<'_>| {
                let (now, handle) = (not_before_latest(tx, at)?, Handle::of_guest(rand::random()));
                accounts::create_guest(
                    tx,
                    UserId::random(),
                    (&handle, &"Ana".parse().unwrap()),
                    now + DAY,
                    now,
                )
            };
            self.storage.write(come_in).await.unwrap();
            let posted = Posted {
                topic: topic(),
                hash: rand::random(),
                envelope: Bytes::from_static(b"envelope"),
                room: Room { topic: 1 << 20, all: 1 << 20 },
                now: at,
                in_hub: true,
            };
            self.storage.write_together(posted).await.unwrap();
        }

        /// Ends and cuts what is due at this time. How many guests, and how many envelopes.
        async fn end(&self, at: i64) -> (usize, usize) {
            let end = move |tx: &WriteTx<'_>| {
                let guests = accounts::expired(tx, at, 1000)?;
                for guest in &guests {
                    accounts::delete(tx, *guest, at)?;
                }
                let cutting = Cutting { before: at - KEPT, excess: 0, spare_after: at };
                Ok((guests.len(), relay::cut(tx, topic(), cutting)?.0))
            };
            self.storage.write(end).await.unwrap()
        }
    }

    fn topic() -> ContentTopic {
        ContentTopic::all().next().unwrap()
    }

    #[tokio::test]
    async fn who_comes_in_while_the_clock_is_behind_stays_for_their_time() {
        let hub = Fixture::open();
        hub.guest_and_envelope(TODAY).await;
        hub.look(TODAY, true).await;
        // The machine starts without knowing the time.
        hub.look(LONG_AGO, false).await;
        hub.guest_and_envelope(LONG_AGO).await;
        hub.look(TODAY + HOUR, false).await;
        assert_eq!(hub.end(TODAY + HOUR).await, (0, 0));
        hub.look_from_to(TODAY + HOUR, TODAY + DAY).await;
        assert_eq!(hub.end(TODAY + DAY).await, (2, 0));
        hub.look_from_to(TODAY + DAY, TODAY + KEPT).await;
        assert_eq!(hub.end(TODAY + KEPT - HOUR).await, (0, 0));
        assert_eq!(hub.end(TODAY + KEPT + 1).await, (0, 2));
    }

    #[tokio::test]
    async fn a_clock_that_was_behind_for_hours_or_from_the_beginning_ends_nobodys_time_early() {
        let hub = Fixture::open();
        hub.look(LONG_AGO, false).await;
        hub.guest_and_envelope(LONG_AGO).await;
        // It is set.
        hub.look(TODAY, true).await;
        assert_eq!(hub.end(TODAY).await, (0, 0));
        hub.guest_and_envelope(TODAY).await;
        // It is wrong again, for so long that the hub takes it for right, and set again.
        hub.look(LONG_AGO, false).await;
        hub.look(LONG_AGO + HOUR, true).await;
        hub.guest_and_envelope(LONG_AGO + HOUR).await;
        assert_eq!(hub.end(LONG_AGO + HOUR).await, (0, 0));
        hub.look(TODAY + HOUR, true).await;
        assert_eq!(hub.end(TODAY + HOUR).await, (0, 0));
        hub.look_from_to(TODAY + HOUR, TODAY + HOUR + KEPT).await;
        assert_eq!(hub.end(TODAY + HOUR + DAY).await, (3, 0));
        assert_eq!(hub.end(TODAY + HOUR + KEPT + 1).await, (0, 3));
    }

    #[tokio::test]
    async fn a_clock_that_is_ahead_ends_nobodys_time_early_and_when_it_is_right_again_nobody_stays_longer() {
        let hub = Fixture::open();
        hub.look(TODAY, true).await;
        hub.guest_and_envelope(TODAY).await;
        hub.look(LATE, false).await;
        assert_eq!(hub.end(LATE).await, (0, 0));
        hub.guest_and_envelope(LATE).await;
        hub.look(LATE + HOUR, true).await;
        assert_eq!(hub.end(LATE + HOUR).await, (0, 0));
        // The clock is set right.
        hub.look(TODAY + 2 * HOUR, false).await;
        hub.guest_and_envelope(TODAY + 2 * HOUR).await;
        hub.look(TODAY + 3 * HOUR, true).await;
        assert_eq!(hub.end(TODAY + 3 * HOUR).await, (0, 0));
        hub.look_from_to(TODAY + 3 * HOUR, TODAY + 3 * HOUR + KEPT).await;
        assert_eq!(hub.end(TODAY + 3 * HOUR + DAY).await, (3, 0));
        assert_eq!(hub.end(TODAY + 3 * HOUR + KEPT + 1).await, (0, 3));
    }

    #[tokio::test]
    async fn a_hub_that_was_off_for_hours_believes_the_clock_and_after_a_day_adds_it_for_guests_alone() {
        let hub = Fixture::open();
        hub.look(TODAY, true).await;
        hub.guest_and_envelope(TODAY).await;
        hub.look(TODAY + 5 * HOUR, false).await;
        hub.look(TODAY + 2 * DAY, false).await;
        // The guest has been there for five hours, the envelope for two days.
        assert_eq!(hub.end(TODAY + 2 * DAY + 18 * HOUR).await, (0, 0));
        assert_eq!(hub.end(TODAY + 2 * DAY + 19 * HOUR).await, (1, 0));
        hub.look_from_to(TODAY + 2 * DAY, TODAY + KEPT).await;
        assert_eq!(hub.end(TODAY + KEPT + 1).await, (0, 1));
    }

    #[tokio::test]
    async fn what_is_stored_while_the_clock_is_behind_is_kept_for_its_time() {
        let hub = Fixture::open();
        hub.store().await;
        assert_eq!(hub.look(TODAY, true).await, (Clock::Steady, None));
        // The machine starts without knowing the time.
        let stored = hub.store().await;
        assert_eq!(hub.look(LONG_AGO, false).await, (Clock::Behind, None));
        assert_eq!(hub.look(TODAY + HOUR, true).await, (Clock::Steady, None));
        hub.store().await;
        for day in 1..28 {
            assert_eq!(hub.look(TODAY + day * DAY, true).await, (Clock::Steady, None));
        }
        let (clock, horizon) = hub.look(TODAY + HOUR + KEPT, true).await;
        assert_eq!((clock, horizon), (Clock::Steady, Some(stored)));
    }

    #[tokio::test]
    async fn what_is_stored_while_the_clock_is_behind_for_hours_is_kept_for_its_time() {
        let hub = Fixture::open();
        hub.store().await;
        hub.look(TODAY, true).await;
        hub.store().await;
        hub.look(LONG_AGO, false).await;
        assert_eq!(hub.look(LONG_AGO + HOUR, true).await, (Clock::Behind, None));
        let stored = hub.store().await;
        assert_eq!(hub.look(TODAY + HOUR, true).await, (Clock::Ahead, None));
        for day in 1..28 {
            assert_eq!(hub.look(TODAY + day * DAY, true).await, (Clock::Steady, None));
        }
        assert_eq!(hub.look(TODAY + HOUR + KEPT, true).await, (Clock::Steady, Some(stored)));
    }

    #[tokio::test]
    async fn a_hub_that_begins_with_a_clock_that_is_behind_cuts_nothing_early() {
        let hub = Fixture::open();
        let stored = hub.store().await;
        assert_eq!(hub.look(LONG_AGO, false).await, (Clock::Steady, None));
        for hour in 1..10 {
            let (_, horizon) = hub.look(TODAY + hour * HOUR, true).await;
            assert_eq!(horizon, None);
        }
        for day in 1..28 {
            hub.look(TODAY + day * DAY, true).await;
        }
        assert_eq!(hub.look(TODAY + HOUR + KEPT, true).await, (Clock::Steady, Some(stored)));
    }

    #[tokio::test]
    async fn what_is_stored_before_and_while_the_clock_is_ahead_is_kept_for_its_time_and_no_longer() {
        let hub = Fixture::open();
        hub.store().await;
        hub.look(TODAY, true).await;
        hub.store().await;
        assert_eq!(hub.look(LATE, true).await, (Clock::Ahead, None));
        let stored = hub.store().await;
        assert_eq!(hub.look(LATE + HOUR, true).await, (Clock::Steady, None));
        // The clock is set right, while the hub runs or before its next start.
        assert_eq!(hub.look(TODAY + 2 * HOUR, false).await, (Clock::Behind, None));
        assert_eq!(hub.look(TODAY + 3 * HOUR, true).await, (Clock::Behind, None));
        for day in 1..28 {
            assert_eq!(hub.look(TODAY + day * DAY, true).await, (Clock::Steady, None));
        }
        assert_eq!(hub.look(TODAY + 3 * HOUR + KEPT, true).await, (Clock::Steady, Some(stored)));
    }

    #[tokio::test]
    async fn a_hub_that_is_off_for_long_again_and_again_cuts_what_is_old_by_the_time_that_it_ran() {
        let hub = Fixture::open();
        let stored = hub.store().await;
        for cycle in 0..30 {
            let begun = TODAY + cycle * 9 * DAY;
            let (clock, _) = hub.look(begun, false).await;
            assert_eq!(clock, if cycle == 0 { Clock::Steady } else { Clock::Ahead });
            let (_, horizon) = hub.look(begun + DAY, true).await;
            assert_eq!(horizon, (cycle >= 27).then_some(stored), "after {} days of running", cycle + 1);
        }
    }

    #[tokio::test]
    async fn nodes_whose_clocks_differ_a_little_are_not_remarked_upon_and_cut_nothing_early() {
        let fixture = Fixture::open();
        let first = fixture.store().await;
        assert_eq!(fixture.look(TODAY, true).await, (Clock::Steady, None));
        assert_eq!(fixture.look(TODAY - SKEW, true).await, (Clock::Steady, None));
        assert_eq!(fixture.look(TODAY + HOUR - 200, true).await, (Clock::Steady, None));
        fixture.look_from_to(TODAY, TODAY + KEPT - 1).await;
        assert_eq!(fixture.look(TODAY + KEPT - 1, true).await.1, None);
        assert_eq!(fixture.look(TODAY + KEPT, true).await.1, Some(first));
    }

    #[tokio::test]
    async fn where_nothing_is_said_for_weeks_the_clock_is_believed_all_the_same() {
        let hub = Fixture::open();
        let stored = hub.store().await;
        for day in 0..28 {
            assert_eq!(hub.look(TODAY + day * DAY, true).await, (Clock::Steady, None));
        }
        assert_eq!(hub.look(TODAY + KEPT, true).await, (Clock::Steady, Some(stored)));
        assert_eq!(hub.look(TODAY + KEPT + HOUR, true).await, (Clock::Steady, Some(stored)));
    }
}

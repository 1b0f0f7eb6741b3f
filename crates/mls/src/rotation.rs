//! Automatic key rotation: each device gives its leaf new keys once in a while, so that stolen ones do not last.
//!
//! The engine remembers per conversation when this device last committed a path (RFC 9420, section 7.5) or joined, which
//! both give it fresh keys, and when the next one is due: at a random moment in the last quarter of the conversation's
//! [`key_rotation_span`](crate::MlsCustomConfiguration::key_rotation_span), so that devices that came together do not
//! commit together. The engine has no clock of its own: the application asks what is due, and has it done.

use std::time::{Duration, SystemTime};

use mls_rs::{
    CipherSuiteProvider,
    mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize},
    time::MlsTime,
};

use tertulia_store::RecordKey;
use zeroize::Zeroizing;

use crate::{
    Ciphersuite, CommitOptions, CommitSummary, ConversationGuard, ConversationId, Result, Session,
    overlay::{Overlay, RecordKind},
    provider,
    record::{GroupMeta, decode, encode, known_version},
};

const VERSION: u16 = 1;
const WHAT: &str = "key rotation";

/// Shortest span, in seconds. A shorter one counts as this.
const MIN_SPAN: u64 = 60;

/// When the own leaf of a conversation got new keys, and when it is to get the next ones. Seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
struct RotationRecord {
    version: u16,
    span: u64,
    committed_at: u64,
    due_at: u64,
}

impl RotationRecord {
    /// Keys that are new at `now`. `random` is uniform.
    fn new(span: u64, now: u64, random: u64) -> Self {
        let span = span.max(MIN_SPAN);
        let due_at = now.saturating_add(span - span / 4).saturating_add(random % (span / 4 + 1));
        Self { version: VERSION, span, committed_at: now, due_at }
    }

    /// Also when the clock was set back, since nobody knows then how old the keys are.
    fn is_due(&self, now: u64) -> bool {
        now >= self.due_at || now.saturating_add(self.span) < self.due_at
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let record: Self = decode(bytes, WHAT)?;
        known_version(record.version, VERSION, WHAT)?;
        Ok(record)
    }
}

/// Where the record of a conversation is. All of them have one owner, to be read at once.
pub(crate) fn key(id: &ConversationId) -> RecordKey {
    RecordKind::Rotation.of(b"", id.as_bytes())
}

/// This device has got new keys in the conversation just now, by a path or by joining.
pub(crate) fn note_new_keys(overlay: &Overlay, id: &ConversationId, meta: &GroupMeta) {
    note_new_keys_at(overlay, id, meta, MlsTime::now().seconds_since_epoch());
}

fn note_new_keys_at(overlay: &Overlay, id: &ConversationId, meta: &GroupMeta, now: u64) {
    let Some(span) = meta.key_rotation_seconds() else { return };
    match encode(&RotationRecord::new(span, now, random()), WHAT) {
        Ok(bytes) => overlay.put_record(key(id), bytes),
        // Four numbers always have a place. Were it otherwise, the old date would stand.
        Err(error) => tracing::warn!(conversation = %id, %error, "the next key rotation is not noted"),
    }
}

/// Forgets when a conversation's keys are due.
pub(crate) fn wipe(overlay: &Overlay, id: &ConversationId) {
    overlay.delete_record(key(id));
}

/// When keys are due, by the record.
pub(crate) fn due_at(record: Option<Zeroizing<Vec<u8>>>) -> Result<Option<SystemTime>> {
    let record = record.map(|bytes| RotationRecord::from_bytes(&bytes)).transpose()?;
    Ok(record.map(|record| SystemTime::UNIX_EPOCH + Duration::from_secs(record.due_at.min(LATEST))))
}

/// The last second that every platform's clock can show: the end of the year 9999.
const LATEST: u64 = 253_402_300_799;

fn record(overlay: &Overlay, id: &ConversationId) -> Result<Option<RotationRecord>> {
    let bytes = overlay.record(&key(id))?;
    bytes.map(|bytes| RotationRecord::from_bytes(&bytes)).transpose()
}

/// From the library's random number generator. Without one, which is not to be expected, there is no jitter.
fn random() -> u64 {
    let mut bytes = [0; 8];
    if let Ok(suite) = provider::cipher_suite_provider(Ciphersuite::default()) {
        let _ = suite.random_bytes(&mut bytes);
    }
    u64::from_ne_bytes(bytes)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Session {
    /// The conversations in which this device is to rotate its keys, the longest overdue first. Those with a pending commit
    /// are left out: settle that first.
    ///
    /// It reads one small record per conversation that rotates, and no group. Have each done by
    /// [`rotate_key_material_if_due`](ConversationGuard::rotate_key_material_if_due).
    pub fn key_rotations_due(&self, now: SystemTime) -> Result<Vec<ConversationId>> {
        let now = seconds(now);
        let overlay = Overlay::new(self.store().clone());
        let pending = overlay.pending_ids()?;
        let mut due = Vec::new();
        for (id, bytes) in overlay.records(RecordKind::Rotation, b"")? {
            let record = RotationRecord::from_bytes(&bytes)?;
            let id = ConversationId::from(id);
            if record.is_due(now) && !pending.contains(&id) {
                due.push((record.due_at, id));
            }
        }
        due.sort();
        Ok(due.into_iter().map(|(_, id)| id).collect())
    }
}

impl ConversationGuard<'_> {
    /// Gives the own leaf new keys, if the conversation has a `key_rotation_span` and they are due at `now`. None when they
    /// are not. Pending proposals go with the commit.
    ///
    /// Without a record of when they are due, which is what an older version leaves, a date within the span is set.
    pub async fn rotate_key_material_if_due(&mut self, now: SystemTime) -> Result<Option<CommitSummary>> {
        let now = seconds(now);
        let meta = self.loaded()?.meta.clone();
        let Some(span) = meta.key_rotation_seconds() else { return Ok(None) };
        match record(self.overlay()?, &self.id)? {
            None => {
                // As if the keys were of some moment within the span before now.
                let age = random() % span.max(MIN_SPAN);
                note_new_keys_at(self.overlay()?, &self.id, &meta, now.saturating_sub(age));
                return Ok(None);
            }
            Some(record) if !record.is_due(now) => return Ok(None),
            Some(_) => {}
        }
        let summary = self.update_key_material_with(CommitOptions::default()).await?;
        // Merging has noted the time of the system's clock; the caller's counts. What was buffered may have removed this device.
        if self.is_joined()? {
            note_new_keys_at(self.overlay()?, &self.id, &meta, now);
        }
        Ok(Some(summary))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_format_of_a_rotation_is_the_released_one() {
        let record = RotationRecord { version: VERSION, span: 1, committed_at: 2, due_at: 3 };
        let bytes = encode(&record, WHAT).unwrap();
        let expected = "0001000000000000000100000000000000020000000000000003";
        assert_eq!(hex::encode(&bytes[..]), expected);
        assert_eq!(RotationRecord::from_bytes(&bytes).unwrap(), record);
    }

    #[test]
    fn keys_are_due_in_the_last_quarter_of_the_span() {
        for random in [0, 1, 24, 25, 26, 1_000_003, u64::MAX] {
            let record = RotationRecord::new(100, 1000, random);
            assert!((1075..=1100).contains(&record.due_at), "{record:?}");
        }
        assert_eq!(RotationRecord::new(100, 1000, 0).due_at, 1075);
        assert_eq!(RotationRecord::new(100, 1000, 25).due_at, 1100);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_keys_due() {
        let record = RotationRecord::new(100, 10_000, 0);
        assert!(!record.is_due(10_000));
        assert!(!record.is_due(9_980));
        assert!(record.is_due(9_000));
        assert!(record.is_due(10_075));
    }

    #[test]
    fn spans_and_times_at_the_ends_of_their_range_do_not_overflow() {
        assert_eq!(RotationRecord::new(0, 0, u64::MAX).span, MIN_SPAN);
        assert!(RotationRecord::new(u64::MAX, u64::MAX, u64::MAX).is_due(u64::MAX));
        assert_eq!(seconds(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), 0);
    }
}

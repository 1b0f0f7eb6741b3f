//! A group that is loaded in a transaction, and how it is restored after an error.
//!
//! The library may leave a group half changed when it refuses a message: the key of a corrupted ciphertext is consumed,
//! and the genuine one could not be read any more. A copy of the group for each message would cost O(group). Instead,
//! each small step since the last snapshot is noted, and after an error the group is loaded from the snapshot and the
//! steps are done again. So the price is paid by the errors.

use mls_rs::{MlsMessage, group::ReceivedMessage};

use crate::{
    ClientId, EngineError, Result, SessionConfig,
    error::Opaque,
    identity::client_id_of,
    key_package::MAX_LIFETIME,
    overlay::Overlay,
    provider::{self, MlsGroup},
    record::GroupMeta,
};

/// How many steps, and how many bytes of messages, may pile up before a snapshot is taken.
const MAX_STEPS: usize = 256;
const MAX_STEP_BYTES: usize = 4 * 1024 * 1024;

/// A group and what happened to it since its snapshot in the overlay.
pub(crate) struct Loaded {
    pub(crate) group: MlsGroup,
    pub(crate) meta: GroupMeta,
    steps: Vec<Step>,
    step_bytes: usize,
}

/// A change to a group that can be repeated.
enum Step {
    /// This application message was decrypted.
    Received(Vec<u8>),
    /// An application message was encrypted.
    Sent,
}

impl Loaded {
    /// Loads a conversation, if there is one with this id.
    pub(crate) fn load(id: &[u8], overlay: &Overlay, config: &SessionConfig) -> Result<Option<Self>> {
        let Some((meta, _)) = overlay.group(id)? else { return Ok(None) };
        let client = provider::client(overlay, config, &meta, None, MAX_LIFETIME);
        let group = client.load_group(id).map_err(|error| match overlay.take_failure() {
            Some(failure) => failure,
            None => damaged(Some(Box::new(error))),
        })?;
        Ok(Some(Self { group, meta, steps: Vec::new(), step_bytes: 0 }))
    }

    /// A new group, which is not in the overlay yet.
    pub(crate) fn new(group: MlsGroup, meta: GroupMeta) -> Self {
        Self { group, meta, steps: Vec::new(), step_bytes: 0 }
    }

    /// A second copy of the group, to try something out on. Writing it would fork the state: drop it.
    pub(crate) fn throw_away_copy(&mut self, overlay: &Overlay, config: &SessionConfig) -> Result<MlsGroup> {
        self.flush(overlay)?;
        let id = self.group.group_id().to_vec();
        Self::load(&id, overlay, config)?.map(|loaded| loaded.group).ok_or_else(|| damaged(None))
    }

    /// Notes that this application message was decrypted.
    pub(crate) fn note_received(&mut self, message: &[u8], overlay: &Overlay) -> Result<()> {
        self.step_bytes += message.len();
        self.steps.push(Step::Received(message.to_vec()));
        self.bound_steps(overlay)
    }

    /// Notes that an application message was encrypted.
    pub(crate) fn note_sent(&mut self, overlay: &Overlay) -> Result<()> {
        self.steps.push(Step::Sent);
        self.bound_steps(overlay)
    }

    fn bound_steps(&mut self, overlay: &Overlay) -> Result<()> {
        if self.steps.len() >= MAX_STEPS || self.step_bytes >= MAX_STEP_BYTES {
            self.snapshot(overlay)?;
        }
        Ok(())
    }

    /// Writes the group into the overlay, if it has changed since.
    pub(crate) fn flush(&mut self, overlay: &Overlay) -> Result<()> {
        if self.steps.is_empty() { Ok(()) } else { self.snapshot(overlay) }
    }

    /// Writes the group into the overlay.
    pub(crate) fn snapshot(&mut self, overlay: &Overlay) -> Result<()> {
        self.group.write_to_storage().map_err(|error| match overlay.take_failure() {
            Some(failure) => failure,
            None => EngineError::Library(Box::new(error)),
        })?;
        overlay.set_meta(self.group.group_id(), self.meta.clone());
        self.steps.clear();
        self.step_bytes = 0;
        Ok(())
    }

    /// The group as it was before an operation that failed.
    pub(crate) fn restored(self, overlay: &Overlay, config: &SessionConfig) -> Result<Self> {
        let id = self.group.group_id().to_vec();
        let mut fresh = Self::load(&id, overlay, config)?.ok_or_else(|| damaged(None))?;
        let again = |error: mls_rs::error::MlsError| damaged(Some(Box::new(error)));
        for step in &self.steps {
            match step {
                Step::Received(bytes) => {
                    let message = MlsMessage::from_bytes(bytes).map_err(again)?;
                    fresh.group.process_incoming_message(message).map_err(again)?;
                }
                Step::Sent => {
                    fresh.group.next_encryption_key().map_err(again)?;
                }
            }
        }
        if !self.steps.is_empty() {
            fresh.snapshot(overlay)?;
        }
        Ok(fresh)
    }

    /// Decrypts or applies a message. After an error the group must be replaced by [`Self::restored`].
    pub(crate) fn process(
        &mut self,
        message: MlsMessage,
    ) -> Result<ReceivedMessage, mls_rs::error::MlsError> {
        self.group.process_incoming_message(message)
    }

    /// The members, in the order of their leaves.
    pub(crate) fn client_ids(&self) -> Result<Vec<ClientId>> {
        let roster = self.group.roster();
        roster
            .members_iter()
            .map(|member| client_id_of(&member.signing_identity).map_err(EngineError::InvalidClientId))
            .collect()
    }

    /// This device's identity in the group.
    pub(crate) fn own_client_id(&self) -> Result<ClientId> {
        let identity =
            self.group.current_member_signing_identity().map_err(|error| damaged(Some(Box::new(error))))?;
        client_id_of(identity).map_err(EngineError::InvalidClientId)
    }

    /// Seconds that this device waits before it commits pending proposals.
    pub(crate) fn commit_delay(&self) -> u64 {
        let members = self.group.roster().members_iter().count() as u64;
        delay(u64::from(self.group.current_member_index()), self.group.current_epoch(), members)
    }
}

/// The wait of the member with leaf `index` among `members` in `epoch`, in seconds: one after the other, ever longer, and
/// another one first in each epoch.
fn delay(index: u64, epoch: u64, members: u64) -> u64 {
    let members = members.max(1);
    match (epoch % members + index % members) % members + 1 {
        1 => 0,
        2 => 15,
        3 => 30,
        position => {
            #[allow(clippy::cast_precision_loss)] // a group has less than 2^24 members
            let wait = (position as f64).ln() * 120.0;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at least 166, at most 1997
            let wait = wait as u64;
            wait.saturating_sub(106)
        }
    }
}

fn damaged(source: Option<Opaque>) -> EngineError {
    EngineError::DamagedState { what: "conversation", source }
}

#[cfg(test)]
mod tests {
    use super::delay;

    #[test]
    fn members_wait_one_after_the_other() {
        let waits: Vec<u64> = (0..6).map(|index| delay(index, 0, 6)).collect();
        assert_eq!(waits, [0, 15, 30, 60, 87, 109]);
        assert_eq!(delay(2, 4, 6), 0, "another member is first in another epoch");
        assert_eq!(delay(0, 0, 0), 0);
        assert_eq!(delay(99, 0, 100), 446);
    }
}

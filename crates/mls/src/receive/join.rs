//! Another's commit for the epoch in which this device wants to join.
//!
//! The device has no state of that epoch, so it cannot process the commit. But it has the group info that it joins with,
//! which the members of that epoch are in, with their keys. That is enough to verify who has signed a commit, if it is not
//! encrypted. One that is verified and comes out of the hub's log was taken instead of the join. Of any other nothing is
//! believed: the join stays pending.

use mls_rs::{
    MlsMessage,
    error::MlsError,
    external_client::{ExternalClient, ExternalReceivedMessage},
    group::ContentType,
    mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize},
};
use tertulia_store::RecordKey;

use super::Header;
use crate::{
    CertificatePolicy, ConversationGuard, ConversationId, MlsConversationDecryptMessage, Outcome, Result,
    SessionConfig,
    crypto::EngineCrypto,
    identity::PolicyIdentityProvider,
    overlay::{Overlay, RecordKind},
    provider,
    record::{PendingHead, decode, encode, known_version},
    wire,
};

const VERSION: u16 = 1;
const WHAT: &str = "pending join";

/// What a pending join was made with.
#[derive(Debug, Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
struct JoinRecord {
    version: u16,
    /// The group info, an `MLSMessage`.
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    group_info: Vec<u8>,
}

impl JoinRecord {
    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let record: Self = decode(bytes, WHAT)?;
        known_version(record.version, VERSION, WHAT)?;
        Ok(record)
    }
}

fn key(id: &ConversationId) -> RecordKey {
    RecordKind::PendingJoin.of(id.as_bytes(), b"")
}

/// Keeps what a join is made with, as long as it is pending.
pub(crate) fn keep_with_pending(overlay: &Overlay, id: &ConversationId, group_info: Vec<u8>) -> Result<()> {
    let record = JoinRecord { version: VERSION, group_info };
    overlay.put_record(key(id), encode(&record, WHAT)?);
    Ok(())
}

impl ConversationGuard<'_> {
    /// What it means that this message comes while a join is pending. None if the message is no commit for the epoch of the
    /// join, or there is an old state that can tell.
    pub(super) fn competes_with_join(
        &mut self,
        pending: &PendingHead,
        header: &Header,
        message: &MlsMessage,
    ) -> Result<Option<MlsConversationDecryptMessage>> {
        if header.content != ContentType::Commit || header.epoch != pending.epoch {
            return Ok(None);
        }
        if self.loaded_if_joined()?.is_some_and(|loaded| loaded.group.current_epoch() == header.epoch) {
            return Ok(None);
        }
        let config = self.config();
        let overlay = self.overlay()?;
        // A join of an earlier version did not keep it.
        let kept = overlay.record(&key(&self.id))?.map(|bytes| JoinRecord::from_bytes(&bytes)).transpose()?;
        let is_of_the_group =
            kept.is_some_and(|kept| is_of_the_group(overlay, &config, &kept.group_info, message.clone()));
        if !is_of_the_group {
            tracing::warn!(conversation = %self.id, "a commit against a pending join cannot be verified");
            return Ok(Some(MlsConversationDecryptMessage::new(
                Outcome::PendingJoinContested,
                pending.epoch,
            )));
        }
        overlay.delete_pending(self.id.as_bytes());
        let mut result = MlsConversationDecryptMessage::new(Outcome::PendingJoinDropped, pending.epoch);
        result.dropped_pending = true;
        Ok(Some(result))
    }
}

/// Whether a commit was signed by a member that is in this group info, or by somebody who joins. What it changes is not judged.
fn is_of_the_group(overlay: &Overlay, config: &SessionConfig, group_info: &[u8], commit: MlsMessage) -> bool {
    let Ok(group_info) = wire::group_info(group_info) else { return false };
    let observer = ExternalClient::builder()
        .crypto_provider(EngineCrypto(provider::crypto_provider()))
        .identity_provider(PolicyIdentityProvider {
            clients: config.client_id_policy.clone(),
            certificates: CertificatePolicy::Report,
            trust: overlay.trust().for_reading(),
        })
        .build();
    let processed = observer
        .observe_group(group_info, None, None)
        .and_then(|mut group| group.process_incoming_message(commit));
    match processed {
        Ok(ExternalReceivedMessage::Commit(_)) => true,
        // The library looks for the proposals that a commit refers to when it has verified the signature. They were sent to
        // the members of that epoch.
        Err(MlsError::ProposalNotFound) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_format_of_what_a_join_was_made_with_is_the_released_one() {
        let record = JoinRecord { version: VERSION, group_info: vec![1, 2, 3] };
        let bytes = encode(&record, WHAT).unwrap();
        assert_eq!(hex::encode(&bytes[..]), "000103010203");
        assert_eq!(JoinRecord::from_bytes(&bytes).unwrap(), record);
    }
}

//! What a device has itself seen of history clients: the ground on which it checks what others tell.
//!
//! One small record per history client: the epoch in which it was first seen, with the epoch authenticator (RFC 9420,
//! section 8.7), which no two groups have in common, and the epoch in which it was last a member. A device that was a member
//! when the client came has so the beginning of its span. One that came later has not, but knows from which epoch on
//! nothing escaped it.

use mls_rs::{
    group::{CommitEffect, CommitMessageDescription, proposal::Proposal},
    identity::SigningIdentity,
    mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize},
};

use crate::{
    ClientId, ConversationId, EngineError, Result,
    identity::client_id_of,
    overlay::{Overlay, RecordKind},
    provider::MlsGroup,
    record::{decode, encode, known_version, sha256},
};

const VERSION: u16 = 1;
const WHAT: &str = "history clients that were seen";

/// Most history clients that are remembered per conversation. The oldest that have left are forgotten first.
const MAX_SEEN: usize = 256;

/// Keeps the digest apart from all other uses of SHA-256.
const DIGEST_LABEL: &[u8] = b"tertulia history client 1";

/// What a history client is known by: its name with its signature key.
pub(super) type ClientDigest = [u8; 16];

pub(super) fn digest(identity: &SigningIdentity) -> Result<ClientDigest> {
    let bytes = identity.mls_encode_to_vec().map_err(|error| EngineError::Library(Box::new(error)))?;
    let sum = sha256(&[&sha256(DIGEST_LABEL)[..], &bytes].concat());
    Ok(*sum.first_chunk().expect("a SHA-256 has more than 16 bytes"))
}

/// A history client in the store. Of a conversation, by the epoch and the digest.
#[derive(Debug, Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
struct SeenRecord {
    version: u16,
    last_epoch: Option<u64>,
    is_stale: bool,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    authenticator: Vec<u8>,
}

/// Since when all were seen. Of a conversation, by nothing.
#[derive(MlsSize, MlsEncode, MlsDecode)]
struct SinceRecord {
    version: u16,
    epoch: u64,
}

/// A history client that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeenClient {
    first_epoch: u64,
    client: ClientDigest,
    /// Of the first epoch.
    pub(super) authenticator: Vec<u8>,
    /// None while it is a member.
    pub(super) last_epoch: Option<u64>,
    /// Somebody was removed, and this client was not: who is gone holds its secret.
    is_stale: bool,
}

/// What this device knows about the beginning of a span.
pub(super) enum Beginning<'a> {
    /// It was there.
    Seen(&'a SeenClient),
    /// It was there, and there was no such client.
    Impossible,
    /// It came later, and found the client there.
    Earlier(&'a SeenClient),
    /// It came later, in this epoch, and did not find the client there.
    EndedBefore(u64),
    /// Nothing. Only in conversations of a store that did not remember history clients yet.
    Unknown,
}

/// The history clients of a conversation that were seen, the oldest first.
#[derive(Default)]
pub(super) struct Seen {
    /// From this epoch on all were seen.
    since: Option<u64>,
    clients: Vec<SeenClient>,
}

impl Seen {
    /// What cannot be read counts as not seen: it must not keep the conversation from going on.
    pub(super) fn load(overlay: &Overlay, id: &ConversationId) -> Result<Self> {
        let mut seen = Self::default();
        for (key, bytes) in overlay.records(RecordKind::HistorySeen, id.as_bytes())? {
            let read = if key.is_empty() {
                decode::<SinceRecord>(&bytes, WHAT).and_then(|record| {
                    known_version(record.version, VERSION, WHAT)?;
                    seen.since = Some(record.epoch);
                    Ok(())
                })
            } else {
                SeenClient::from_record(&key, &bytes).map(|client| seen.clients.push(client))
            };
            if let Err(error) = read {
                tracing::warn!(conversation = %id, %error, "it counts as not seen");
            }
        }
        Ok(seen)
    }

    /// What is known about a span that is said to begin with `epoch`.
    pub(super) fn beginning(&self, epoch: u64, client: &ClientDigest) -> Beginning<'_> {
        let mut same = self.clients.iter().filter(|seen| seen.client == *client);
        if let Some(seen) = same.clone().find(|seen| seen.first_epoch == epoch) {
            return Beginning::Seen(seen);
        }
        let Some(since) = self.since else { return Beginning::Unknown };
        if epoch >= since {
            return Beginning::Impossible;
        }
        match same.find(|seen| seen.first_epoch >= since) {
            Some(seen) => Beginning::Earlier(seen),
            None => Beginning::EndedBefore(since),
        }
    }

    /// Whether a member is gone and a history client of then is still there.
    pub(super) fn is_stale(&self) -> bool {
        self.clients.iter().any(|seen| seen.last_epoch.is_none() && seen.is_stale)
    }

    fn is_anybody_here(&self) -> bool {
        self.clients.iter().any(|seen| seen.last_epoch.is_none())
    }

    /// Takes note of what a commit did, in the epoch that it began.
    fn follow(
        &mut self,
        overlay: &Overlay,
        id: &ConversationId,
        group: &MlsGroup,
        commit: &Effect,
    ) -> Result<()> {
        let epoch = group.current_epoch();
        let here = here(group)?;
        for seen in self.clients.iter_mut().filter(|seen| seen.last_epoch.is_none()) {
            if !here.contains(&seen.client) {
                seen.last_epoch = Some(epoch.saturating_sub(1).max(seen.first_epoch));
                seen.put(overlay, id)?;
            }
        }
        for client in here {
            let known = self.clients.iter().any(|seen| seen.client == client);
            let is_added = commit.added.contains(&client);
            if is_added || !known {
                self.note(overlay, id, group, client)?;
            }
            // One that comes a second time has the keys that whoever is gone knows.
            if commit.somebody_left && (known || !is_added) {
                for seen in self.clients.iter_mut().filter(|seen| seen.client == client) {
                    seen.is_stale |= seen.last_epoch.is_none();
                    seen.put(overlay, id)?;
                }
            }
        }
        if self.since.is_none() {
            self.set_since(overlay, id, epoch)?;
        }
        self.forget_the_oldest(overlay, id)
    }

    /// Notes a history client that is a member now.
    fn note(
        &mut self,
        overlay: &Overlay,
        id: &ConversationId,
        group: &MlsGroup,
        client: ClientDigest,
    ) -> Result<()> {
        let authenticator =
            group.epoch_authenticator().map_err(|error| EngineError::Library(Box::new(error)))?;
        let first_epoch = group.current_epoch();
        let authenticator = authenticator.as_bytes().to_vec();
        let seen = SeenClient { first_epoch, client, authenticator, last_epoch: None, is_stale: false };
        seen.put(overlay, id)?;
        self.clients.push(seen);
        Ok(())
    }

    fn set_since(&mut self, overlay: &Overlay, id: &ConversationId, epoch: u64) -> Result<()> {
        let bytes = encode(&SinceRecord { version: VERSION, epoch }, WHAT)?;
        overlay.put_record(RecordKind::HistorySeen.of(id.as_bytes(), b""), bytes);
        self.since = Some(epoch);
        Ok(())
    }

    fn forget_the_oldest(&mut self, overlay: &Overlay, id: &ConversationId) -> Result<()> {
        while self.clients.len() > MAX_SEEN {
            let gone = self.clients.iter().position(|seen| seen.last_epoch.is_some()).unwrap_or(0);
            let seen = self.clients.remove(gone);
            overlay.delete_record(RecordKind::HistorySeen.of(id.as_bytes(), &seen.key()));
            self.set_since(overlay, id, self.since.unwrap_or(0).max(seen.first_epoch + 1))?;
        }
        Ok(())
    }
}

impl SeenClient {
    fn key(&self) -> Vec<u8> {
        [&self.first_epoch.to_be_bytes()[..], &self.client].concat()
    }

    fn from_record(key: &[u8], bytes: &[u8]) -> Result<Self> {
        let damaged = || EngineError::DamagedState { what: WHAT, source: None };
        let (epoch, client) = key.split_first_chunk().ok_or_else(damaged)?;
        let SeenRecord { version, last_epoch, is_stale, authenticator } = decode(bytes, WHAT)?;
        known_version(version, VERSION, WHAT)?;
        let client = ClientDigest::try_from(client).map_err(|_| damaged())?;
        Ok(Self { first_epoch: u64::from_be_bytes(*epoch), client, authenticator, last_epoch, is_stale })
    }

    fn put(&self, overlay: &Overlay, id: &ConversationId) -> Result<()> {
        let record = SeenRecord {
            version: VERSION,
            last_epoch: self.last_epoch,
            is_stale: self.is_stale,
            authenticator: self.authenticator.clone(),
        };
        let bytes = encode(&record, WHAT)?;
        overlay.put_record(RecordKind::HistorySeen.of(id.as_bytes(), &self.key()), bytes);
        Ok(())
    }
}

/// What a commit did to history clients.
struct Effect {
    added: Vec<ClientDigest>,
    /// Whether it removed one.
    ended: bool,
    /// Whether it removed somebody else, who did not come back with it.
    somebody_left: bool,
}

impl Effect {
    fn of(commit: &CommitMessageDescription, removed: &[ClientId]) -> Result<Self> {
        let somebody_left = removed.iter().any(|client| !client.is_history_client());
        let mut effect = Self { added: Vec::new(), ended: false, somebody_left };
        let CommitEffect::NewEpoch(new_epoch) = &commit.effect else { return Ok(effect) };
        for info in new_epoch.applied_proposals() {
            match &info.proposal {
                Proposal::Add(add) if is_history_client(add.signing_identity()) => {
                    effect.added.push(digest(add.signing_identity())?);
                }
                Proposal::Remove(remove) => {
                    let member = new_epoch.prior_state().member_at_index(remove.to_remove());
                    effect.ended |= member.is_some_and(|member| is_history_client(&member.signing_identity));
                }
                _ => {}
            }
        }
        Ok(effect)
    }
}

/// Begins to watch the history clients of a conversation that this device is a member of from now on.
pub(crate) fn joined(overlay: &Overlay, id: &ConversationId, group: &MlsGroup) -> Result<()> {
    // What was seen before this device was out may be of a branch that the others have left.
    overlay.delete_records(RecordKind::HistorySeen, id.as_bytes())?;
    let mut seen = Seen::default();
    for client in here(group)? {
        seen.note(overlay, id, group, client)?;
    }
    seen.set_since(overlay, id, group.current_epoch())
}

/// Takes note of a commit, given the group after it. Says whether history clients came or went by it.
pub(super) fn follow(
    overlay: &Overlay,
    id: &ConversationId,
    group: &MlsGroup,
    commit: &CommitMessageDescription,
    removed: &[ClientId],
) -> Result<bool> {
    let effect = Effect::of(commit, removed)?;
    let touched = effect.ended || !effect.added.is_empty();
    if !touched && !effect.somebody_left {
        return Ok(false);
    }
    let mut seen = Seen::load(overlay, id)?;
    // Looking through the members of a large group takes its time.
    if touched || effect.somebody_left && (seen.since.is_none() || seen.is_anybody_here()) {
        seen.follow(overlay, id, group, &effect)?;
    }
    Ok(touched)
}

/// The history clients that are members.
pub(super) fn here(group: &MlsGroup) -> Result<Vec<ClientDigest>> {
    let roster = group.roster();
    roster
        .members_iter()
        .filter(|member| is_history_client(&member.signing_identity))
        .map(|member| digest(&member.signing_identity))
        .collect()
}

fn is_history_client(identity: &SigningIdentity) -> bool {
    client_id_of(identity).is_ok_and(|client| client.is_history_client())
}

#[cfg(test)]
mod tests;

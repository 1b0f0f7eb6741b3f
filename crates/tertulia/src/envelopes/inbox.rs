//! First contact on its way in: what knocks at the inbox, and what becomes of it.

use super::{
    Work, future::READS, intro::is_new, mls::take_group_invitation, people, private, requests, taking::count,
};
use crate::{Client, Error, Result, SyncReport, apply::Applied};
use std::sync::atomic::Ordering;
use tertulia_conversation::{
    conversation_id,
    inbox::{Inbox, InboxKey, Invitation, InvitesTo, Replays},
    types::{ConversationType as _, PrivateV1},
    wire::{EncryptedBytes, Envelope, Outcome},
};
use tertulia_domain::{ConversationId, connection::Status};
use tertulia_store::{ConnectionRecord, InboxKeyRecord, StoreError, UnsupportedEnvelope};

/// Most requests that are kept. Of those the oldest that were ignored or blocked make room for a new one; if all wait for an answer, new ones are passed over until some
/// are answered or have expired.
pub(crate) const MOST_REQUESTS: usize = 1000;
/// Most bytes that they take in all, as they are stored.
pub(crate) const MOST_REQUEST_BYTES: u64 = 32 << 20;
/// Most bytes of one that asks to talk, as it is stored. What this program sends has some 5 KiB; a bundle of eight devices with all their one-time keys fits in.
pub(crate) const MOST_BYTES_TO_TALK: usize = 64 << 10;
/// Most groups into which one person can ask before they are answered.
pub(crate) const MOST_GROUPS_OF_ONE: usize = 8;

impl Client {
    /// Takes an envelope that a key of this home's inbox opens, and that may be an invitation.
    pub(crate) async fn take_knock(&self, envelope: &Envelope) -> Result<Applied> {
        Ok(self.answer_knock(envelope).await?.0)
    }

    /// The same, and says whether it is kept to be looked at again.
    async fn answer_knock(&self, envelope: &Envelope) -> Result<(Applied, bool)> {
        let other = || Applied { others: 1, ..Applied::default() };
        let Some(inbox) = &self.inner().inbox else { return Ok((other(), false)) };
        let invalid = || (Applied { invalid: 1, ..Applied::default() }, false);
        let mut work = Work::begin(self).await?;
        let (record, keys) = self.inner().store.read(|r| {
            Ok::<_, StoreError>((
                r.identity()?.ok_or(StoreError::Damaged { what: "the identity" })?,
                r.inbox_keys()?,
            ))
        })?;
        let replays = Replays::decode(&record.replays).ok_or(StoreError::Damaged { what: "the inbox" })?;
        let mut opened = Inbox::new(&inbox.identity_key, secrets(&keys), replays);
        let now = work.now_in_seconds();
        let invitation = match opened.look_at(envelope, now) {
            Outcome::Decoded(Ok(invitation)) => invitation,
            Outcome::Decoded(Err(reason)) => {
                tracing::info!(%reason, "an invitation was refused");
                return Ok(invalid());
            }
            Outcome::NotForUs => return Ok((other(), false)),
            Outcome::Unsupported(_) | Outcome::Invalid(_) => return Ok(invalid()),
        };
        if self.is_of_a_type_to_come(&invitation)? {
            return self.keep_invitation(work, &invitation, envelope).await;
        }
        work.applied.events += 1;
        let user = people::user_of(&invitation.sender.bundle);
        let mine = self.inner().store.read(|r| r.connection(user))?;
        let is_taken = match &invitation.invites_to {
            InvitesTo::Private { creation_secret, .. } => {
                let id = conversation_id(PrivateV1::DESCRIPTOR.id, creation_secret);
                let own = own_keys(&work, keys)?;
                let own = Inbox::new(&inbox.identity_key, secrets(&own), Replays::default());
                let is_own = matches!(own.look_at(envelope, now), Outcome::Decoded(Ok(_)));
                self.take_request(&mut work, mine, id, &invitation, is_own)?
            }
            _ => match take_group_invitation(&mut work, &invitation).await {
                Ok(is_taken) => is_taken,
                Err(error @ Error::Store(_)) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "an invitation to a group cannot be used");
                    Taken::Refused
                }
            },
        };
        match is_taken {
            Taken::Effect => {}
            // Whatever comes without an effect costs no write, and keeps nothing out that comes later.
            Taken::Nothing => return Ok((Applied { events: 1, ..Applied::default() }, false)),
            Taken::Refused => return Ok(invalid()),
        }
        let is_known = mine.is_some_and(|mine| matches!(mine.status, Status::Accepted | Status::Sent));
        opened.note(&invitation, is_known, now);
        let replays = opened.replays().encode();
        work.write(move |w| w.set_replays(&replays))?;
        let applied = work.finish().await?;
        self.listen_anew();
        Ok((applied, false))
    }

    /// Whether an invitation is by somebody with whom the user is connected, to a conversation of a type that the application does not know. What others
    /// invite to is a request, whatever its type.
    fn is_of_a_type_to_come(&self, invitation: &Invitation) -> Result<bool> {
        let InvitesTo::Group { conversation_type, creation_secret, .. } = &invitation.invites_to else {
            return Ok(false);
        };
        let user = people::user_of(&invitation.sender.bundle);
        let mine = self.inner().store.read(|r| r.connection(user))?;
        Ok(self.types().is_to_come(*conversation_type)
            && mine.is_some_and(|mine| mine.status == Status::Accepted)
            && !self.is_enveloped(conversation_id(*conversation_type, creation_secret))?)
    }

    /// Keeps an invitation to a conversation of a type that is not known here, as it came, until the application knows the type. Nobody is told. It is not
    /// noted as seen, for it will be looked at again.
    async fn keep_invitation(
        &self,
        mut work: Work<'_>,
        invitation: &Invitation,
        envelope: &Envelope,
    ) -> Result<(Applied, bool)> {
        let (kept, now) = (UnsupportedEnvelope { bytes: envelope.encode(), conversation: None }, work.now);
        if !self.inner().store.read(|r| r.unread_before(u32::MAX))?.contains(&kept) {
            let user = people::user_of(&invitation.sender.bundle);
            tracing::info!(user = %user.short(), "an invitation to a type that is not known here is kept");
            work.applied.unsupported += 1;
        }
        work.write(move |w| w.keep_unsupported(&kept, READS, now))?;
        Ok((work.finish().await?, true))
    }

    /// Looks again, once for each time that the home is opened, at the invitations that are kept: the application may know their types now.
    pub(crate) async fn look_at_kept(&self, report: &mut SyncReport) -> Result<()> {
        if self.inner().kept_was_looked_at.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        for UnsupportedEnvelope { bytes, .. } in self.inner().store.read(|r| r.unread_before(u32::MAX))? {
            let Outcome::Decoded(envelope) = Envelope::decode(&bytes) else { continue };
            if !matches!(envelope.body, EncryptedBytes::Hpke { .. }) {
                continue;
            }
            let (applied, is_kept) = self.answer_knock(&envelope).await?;
            count(report, &applied);
            if is_kept {
                continue;
            }
            let mut tx = self.inner().session.new_transaction().await?;
            tx.store_write(move |w| w.remove_unsupported(&bytes))?;
            tx.finish().await?;
        }
        Ok(())
    }

    /// Takes an invitation to a private conversation. What becomes of it depends on this side of the connection alone, and nothing of that is told.
    fn take_request(
        &self,
        work: &mut Work<'_>,
        mine: Option<ConnectionRecord>,
        id: ConversationId,
        invitation: &Invitation,
        is_own: bool,
    ) -> Result<Taken> {
        let user = people::user_of(&invitation.sender.bundle);
        // One's own, or one that was accepted and sent again before that was heard of.
        if user == self.me().user || self.is_enveloped(id)? {
            return Ok(Taken::Nothing);
        }
        match mine {
            // Nobody learns that.
            Some(mine) if mine.status == Status::Blocked => Ok(Taken::Nothing),
            Some(mine) if matches!(mine.status, Status::Sent | Status::Accepted) => {
                match private::accept_beside(work, &mine, id, invitation, is_own) {
                    Ok(()) => Ok(Taken::Effect),
                    Err(Error::Ratchet(error)) => {
                        tracing::warn!(%error, "an invitation cannot be read");
                        Ok(Taken::Refused)
                    }
                    Err(error) => Err(error),
                }
            }
            _ if requests::note_request(work, user, id, invitation, is_own)? => Ok(Taken::Effect),
            _ => Ok(Taken::Refused),
        }
    }
}

/// What became of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Something that is to be written, and not to be done again.
    Effect,
    /// Nothing, which is in order.
    Nothing,
    /// Nothing, for it cannot be used or there is no room for it.
    Refused,
}

fn secrets(keys: &[InboxKeyRecord]) -> Vec<InboxKey> {
    keys.iter().map(|key| InboxKey::from_secret(*key.secret)).collect()
}

/// Those of these keys that were made since the store was last restored or copied: nobody else reads what comes to them.
fn own_keys(work: &Work<'_>, keys: Vec<InboxKeyRecord>) -> Result<Vec<InboxKeyRecord>> {
    let mut own = Vec::new();
    for key in keys {
        if is_new(work, &key)? {
            own.push(key);
        }
    }
    Ok(own)
}

//! First contact on its way in: what knocks at the inbox, and what becomes of it.

use super::{Work, mls::take_group_invitation, people, private};
use crate::{Client, Error, Result, apply::Applied};
use tertulia_conversation::{
    conversation_id,
    inbox::{Inbox, InboxKey, Invitation, InvitesTo, Replays},
    types::{ConversationType as _, PrivateV1},
    wire::{Envelope, Outcome},
};
use tertulia_domain::connection::Status;
use tertulia_store::StoreError;

/// Most requests that wait for an answer. Beyond that new ones are passed over until some are answered or have expired.
pub(crate) const MOST_REQUESTS: u32 = 1000;

impl Client {
    /// Takes an envelope that a key of this home's inbox opens, and that may be an invitation.
    pub(crate) async fn take_knock(&self, envelope: &Envelope) -> Result<Applied> {
        let other = || Applied { others: 1, ..Applied::default() };
        let Some(inbox) = &self.inner().inbox else { return Ok(other()) };
        let mut work = Work::begin(self).await?;
        let (record, keys) = self.inner().store.read(|r| {
            Ok::<_, StoreError>((
                r.identity()?.ok_or(StoreError::Damaged { what: "the identity" })?,
                r.inbox_keys()?,
            ))
        })?;
        let replays = Replays::decode(&record.replays).ok_or(StoreError::Damaged { what: "the inbox" })?;
        let keys = keys.iter().map(|key| InboxKey::from_secret(*key.secret)).collect();
        let mut opened = Inbox::new(&inbox.identity_key, keys, replays);
        let invitation = match opened.open(envelope, work.now_in_seconds()) {
            Outcome::Decoded(Ok(invitation)) => invitation,
            Outcome::Decoded(Err(reason)) => {
                tracing::info!(%reason, "an invitation was refused");
                return Ok(Applied { invalid: 1, ..Applied::default() });
            }
            Outcome::NotForUs => return Ok(other()),
            Outcome::Unsupported(_) | Outcome::Invalid(_) => {
                return Ok(Applied { invalid: 1, ..Applied::default() });
            }
        };
        let replays = opened.replays().encode();
        work.write(move |w| w.set_replays(&replays))?;
        work.applied.events += 1;
        match &invitation.invites_to {
            InvitesTo::Private { creation_secret, .. } => {
                let id = conversation_id(PrivateV1::DESCRIPTOR.id, creation_secret);
                self.take_request(&mut work, id, &invitation)?;
            }
            _ => match take_group_invitation(&mut work, &invitation).await {
                Ok(true) => {}
                Ok(false) => work.applied.invalid += 1,
                Err(error @ Error::Store(_)) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "an invitation to a group cannot be used");
                    return Ok(Applied { invalid: 1, ..Applied::default() });
                }
            },
        }
        let applied = work.finish().await?;
        self.listen_anew();
        Ok(applied)
    }

    /// Takes an invitation to a private conversation. What becomes of it depends on this side of the connection alone, and nothing of that is told.
    fn take_request(
        &self,
        work: &mut Work<'_>,
        id: tertulia_domain::ConversationId,
        invitation: &Invitation,
    ) -> Result<()> {
        let user = people::user_of(&invitation.sender.bundle);
        // One's own, or one that was accepted and sent again before that was heard of.
        if user == self.me().user || self.is_enveloped(id)? {
            return Ok(());
        }
        let mine = self.inner().store.read(|r| r.connection(user))?;
        match mine.map(|mine| (mine.status, mine.conversation)) {
            // Nobody learns that.
            Some((Status::Blocked, _)) => Ok(()),
            // Both have asked: both know both conversations, and take the one with the smaller id.
            Some((Status::Sent, own)) if own < id => {
                private::set_accepted(work, own)?;
                people::connected(work, user, own)
            }
            Some((Status::Sent, own)) => {
                if Self::enter_invited(work, id, invitation)? {
                    work.forget_conversation(own)?;
                    work.write(move |w| w.remove_or_end(own))?;
                }
                Ok(())
            }
            // They have lost what they had, and begin anew.
            Some((Status::Accepted, old)) => {
                if Self::enter_invited(work, id, invitation)? {
                    work.forget_conversation(old)?;
                    work.write(move |w| w.remove_or_end(old))?;
                }
                Ok(())
            }
            known => {
                if known.is_none() && self.inner().store.read(|r| r.invitation_count())? >= MOST_REQUESTS {
                    tracing::warn!("a request is passed over, for too many wait for an answer");
                    work.applied.invalid += 1;
                    return Ok(());
                }
                people::note_request(work, user, id, invitation)
            }
        }
    }

    /// Enters a conversation to which an invitation has just come. Where its first message cannot be read, it is passed over.
    fn enter_invited(
        work: &mut Work<'_>,
        id: tertulia_domain::ConversationId,
        invitation: &Invitation,
    ) -> Result<bool> {
        match private::accept(work, id, invitation) {
            Ok(()) => Ok(true),
            Err(Error::Ratchet(error)) => {
                tracing::warn!(%error, "an invitation cannot be read");
                work.applied.invalid += 1;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

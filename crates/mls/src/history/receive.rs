//! What a device takes of the history that others send.
//!
//! A member can send anything. So what costs little comes first: what is more than a message may have, known, impossible, or
//! without a place is dropped before anything is decrypted. Only then the secret is opened, which costs as much as joining the
//! conversation did; and the first one that does not open ends the examination of its message.

use super::{
    HistoryClient, HistorySecret,
    frame::SharedSpan,
    keep::{self, Held, Spans},
    seen::{self, Beginning, Seen},
};
use crate::{ClientId, ConversationGuard, EngineError, Result, events::Event};
use mls_rs::group::CommitMessageDescription;

/// What is left to be compared when the secret is open.
enum Check {
    /// The epoch authenticator of its first epoch is known.
    Authenticator(Vec<u8>),
    /// Nothing is known that it could be compared with.
    Impossible,
}

impl ConversationGuard<'_> {
    /// After an own commit is merged: follows what it did to history, and keeps the secret that it begins. To be called
    /// before what is pending is deleted.
    pub(crate) fn merge_history(
        &mut self,
        commit: &CommitMessageDescription,
        removed: &[ClientId],
    ) -> Result<()> {
        self.follow_history(commit, removed)?;
        let overlay = self.overlay()?.clone();
        if let Some(secret) = keep::pending(&overlay, &self.id)? {
            let id = self.id.clone();
            if Spans::readable(&overlay, &id)?.keep_verified(Held::new(secret.clone(), None)?)? {
                self.tell_history(&secret)?;
            }
        }
        Ok(())
    }

    /// After a commit is applied: takes note of the history clients that came and went, and ends the spans of those that
    /// went.
    pub(crate) fn follow_history(
        &mut self,
        commit: &CommitMessageDescription,
        removed: &[ClientId],
    ) -> Result<()> {
        let (overlay, id) = (self.overlay()?.clone(), self.id.clone());
        let touched = seen::follow(&overlay, &id, &self.loaded()?.group, commit, removed)?;
        if touched { self.close_history() } else { Ok(()) }
    }

    /// After this device has joined from outside: begins anew to watch the history clients, and ends the spans of those that
    /// are not there any more.
    pub(crate) fn rejoin_history(&mut self) -> Result<()> {
        let (overlay, id) = (self.overlay()?.clone(), self.id.clone());
        seen::joined(&overlay, &id, &self.loaded()?.group)?;
        self.close_history()
    }

    fn close_history(&mut self) -> Result<()> {
        let (overlay, id) = (self.overlay()?.clone(), self.id.clone());
        let mut spans = Spans::readable(&overlay, &id)?;
        if spans.iter().all(|held| held.last_epoch.is_some()) {
            return Ok(());
        }
        let group = &self.loaded()?.group;
        spans.close(&seen::here(group)?, group.current_epoch().saturating_sub(1))
    }

    /// Keeps what is new, and as far as this device can know true, of the spans that came in a message of `epoch`. What is
    /// not is dropped: the message may be a member's bad joke.
    pub(crate) fn receive_history(
        &mut self,
        epoch: u64,
        sender: Option<&ClientId>,
        shared: Vec<SharedSpan>,
    ) -> Result<()> {
        if shared.is_empty() {
            return Ok(());
        }
        let (overlay, id, config) = (self.overlay()?.clone(), self.id.clone(), self.config());
        let seen = Seen::load(&overlay, &id)?;
        let mut spans = Spans::readable(&overlay, &id)?;
        for span in shared {
            let dropped = |error: EngineError| {
                tracing::warn!(conversation = %id, %error, "a history secret was dropped");
            };
            let looked_at = HistorySecret::from_secret(span.secret).and_then(|secret| {
                self.look_at(epoch, sender, &secret, span.last_epoch, &seen, &spans).map(|new| (secret, new))
            });
            let (secret, (held, check)) = match looked_at {
                Ok((secret, Some(new))) => (secret, new),
                Ok((_, None)) => continue,
                Err(error) => {
                    dropped(error);
                    continue;
                }
            };
            let opened =
                HistoryClient::open(&secret, &config).and_then(|client| client.epoch_authenticator());
            let kept = match (opened, check) {
                (Ok(found), Check::Authenticator(own)) if found == own => spans.keep_verified(held)?,
                (Ok(_), Check::Impossible) => {
                    spans.keep_unverified(held)?;
                    true
                }
                (opened, _) => {
                    dropped(opened.err().unwrap_or(EngineError::InvalidHistorySecret(None)));
                    break;
                }
            };
            if kept {
                self.tell_history(&secret)?;
            }
        }
        Ok(())
    }

    /// What can be known of a received span without opening it. None when it need not be opened.
    fn look_at(
        &mut self,
        epoch: u64,
        sender: Option<&ClientId>,
        secret: &HistorySecret,
        last_epoch: Option<u64>,
        seen: &Seen,
        spans: &Spans<'_>,
    ) -> Result<Option<(Held, Check)>> {
        let refused = || EngineError::InvalidHistorySecret(None);
        let first_epoch = secret.first_epoch();
        let checksum = secret.checksum()?;
        let rivals = || spans.iter().filter(|held| held.first_epoch == first_epoch);
        if rivals().any(|held| held.is_verified) {
            return Ok(None);
        }
        let is_ours = secret.client_id().is_history_client() && *secret.conversation_id() == self.id;
        let ends_before = |last: u64| first_epoch <= last && last < epoch;
        if !is_ours || first_epoch > epoch || last_epoch.is_some_and(|last| !ends_before(last)) {
            return Err(refused());
        }
        let mut held = Held::new(secret.clone(), last_epoch)?;
        let beginning = seen.beginning(first_epoch, &held.client);
        if !matches!(beginning, Beginning::Seen(_))
            && (rivals().any(|held| held.checksum == checksum) || !spans.has_place(first_epoch, sender))
        {
            return Ok(None);
        }
        let check = match beginning {
            Beginning::Seen(seen) => {
                held.last_epoch = seen.last_epoch;
                Check::Authenticator(seen.authenticator.clone())
            }
            Beginning::Impossible => return Err(refused()),
            Beginning::Earlier(seen) => {
                held.last_epoch = seen.last_epoch;
                Check::Impossible
            }
            Beginning::EndedBefore(since) => {
                if last_epoch.is_none_or(|last| last >= since) {
                    return Err(refused());
                }
                Check::Impossible
            }
            Beginning::Unknown => {
                let group = &self.loaded()?.group;
                let current = group.current_epoch();
                held.last_epoch = match last_epoch {
                    Some(last) => Some(last),
                    None if seen::here(group)?.contains(&held.client) => None,
                    // It came late: the span has ended meanwhile, at the latest with the epoch before this one.
                    None if epoch < current => Some(current - 1),
                    None => return Err(refused()),
                };
                Check::Impossible
            }
        };
        held.shared_by = sender.cloned();
        Ok(Some((held, check)))
    }

    /// Lets the observers know of a secret, once it is on disk.
    pub(super) fn tell_history(&mut self, secret: &HistorySecret) -> Result<()> {
        tracing::debug!(conversation = %self.id, epoch = secret.first_epoch(), "a history secret is held");
        let event = Event::HistoryClientCreated { conversation: self.id.clone(), secret: secret.clone() };
        self.tx.writing_mut()?.note(event);
        Ok(())
    }
}

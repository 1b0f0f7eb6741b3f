//! What envelopes are by their bytes and the keys of the inbox alone: said of a whole page at once, before anything of it is taken, and without the
//! store's writer or the table of hints. So whatever somebody floods a topic with is sorted out beside the fetching of the next page, on all cores.

use crate::{Client, Result, client::now};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use tertulia_conversation::{
    hint::{Hint, Salt},
    inbox::{Inbox, InboxKey, Replays},
    wire::{EncryptedBytes, Envelope, Outcome},
};
use tertulia_transport::Position;

/// So few are looked at where one is; more on a thread for it.
const FEW: usize = 16;

/// An envelope of a page, and what it is.
pub(super) struct Scanned {
    pub(super) position: Position,
    pub(super) bytes: Vec<u8>,
    pub(super) first: First,
}

/// What an envelope is at first sight.
pub(super) enum First {
    /// First contact that is for this home, genuine and in time. It may have come before.
    Knock(Envelope),
    /// Of a conversation, whosever that is.
    Sealed(Envelope),
    /// First contact for somebody else.
    Others,
    /// Of a shape that only a later version knows.
    Future,
    /// Wrong, or with the hint of this home's inbox and no invitation to it.
    Invalid,
}

impl Client {
    /// Looks at the envelopes of a page.
    pub(super) async fn scan(&self, envelopes: Vec<(Position, Vec<u8>)>) -> Result<Vec<Scanned>> {
        if envelopes.len() <= FEW {
            return self.scan_here(envelopes);
        }
        let client = self.clone();
        let scanned = tokio::task::spawn_blocking(move || client.scan_here(envelopes)).await;
        scanned.expect("looking at envelopes neither panics nor is cancelled")
    }

    fn scan_here(&self, envelopes: Vec<(Position, Vec<u8>)>) -> Result<Vec<Scanned>> {
        let mut scanned: Vec<Scanned> = envelopes
            .into_iter()
            .map(|(position, bytes)| Scanned { position, first: self.first_sight(&bytes), bytes })
            .collect();
        // Who has this home's intro can make the hint of its inbox, and encrypt what they like to its key. Each of these costs a Diffie-Hellman for every
        // key and perhaps two signatures, and nothing is written for it.
        let aimed: Vec<(usize, &Envelope)> = scanned
            .iter()
            .enumerate()
            .filter_map(|(index, one)| match &one.first {
                First::Knock(envelope) => Some((index, envelope)),
                _ => None,
            })
            .collect();
        if aimed.is_empty() {
            return Ok(scanned);
        }
        let Some(inbox) = &self.inner().inbox else { return Ok(scanned) };
        // As of now: the envelopes were fetched before, so whoever made them had an older intro.
        let keys = self.inner().store.read(|r| r.inbox_keys())?;
        let keys = keys.iter().map(|key| InboxKey::from_secret(*key.secret)).collect();
        let inbox = Inbox::new(&inbox.identity_key, keys, Replays::default());
        let now = u64::try_from(now() / 1000).unwrap_or_default();
        let refused: Vec<usize> = aimed
            .into_par_iter()
            .filter_map(|(index, envelope)| match inbox.look_at(envelope, now) {
                Outcome::Decoded(Ok(_)) => None,
                Outcome::Decoded(Err(reason)) => {
                    tracing::info!(%reason, "an invitation was refused");
                    Some(index)
                }
                _ => Some(index),
            })
            .collect();
        for index in refused {
            scanned[index].first = First::Invalid;
        }
        Ok(scanned)
    }

    /// What the bytes and one hash tell.
    fn first_sight(&self, bytes: &[u8]) -> First {
        let envelope = match Envelope::decode(bytes) {
            Outcome::Decoded(envelope) => envelope,
            Outcome::NotForUs => return First::Others,
            Outcome::Unsupported(_) => return First::Future,
            Outcome::Invalid(_) => return First::Invalid,
        };
        if !matches!(envelope.body, EncryptedBytes::Hpke { .. }) {
            return First::Sealed(envelope);
        }
        let is_aimed = self.inner().inbox.as_ref().is_some_and(|inbox| {
            envelope.salt != Salt::NONE && Hint::salted(&inbox.conversation, envelope.salt) == envelope.hint
        });
        if is_aimed { First::Knock(envelope) } else { First::Others }
    }
}

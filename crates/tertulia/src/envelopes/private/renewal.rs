//! New epochs of a private conversation: once a week, and by force when this device does not know which hints it has used. And cover traffic, which is due as they
//! are.

use super::{
    super::{Work, intro::own_bundle, people, types::Verdict},
    INVITER,
    choice::{self, Sign},
    encrypt, enter, epoch_of, other,
    state::{OFFERED_EVERY, Offer, READ_ON, RENEWED_EVERY, State},
    status,
};
use crate::{Client, Result, sync::tolerate};
use tertulia_conversation::{
    EpochSecrets,
    hint::{EpochStart, Kind, Origin, Place},
    inbox::Bundle,
    types::{ConversationType as _, PrivateV1},
    wire::PrivateFrame,
};
use tertulia_domain::{ConversationId, connection::Status};
use tertulia_ratchet::{Purpose, RatchetError};
use tertulia_store::EnvelopedRecord;
use zeroize::Zeroizing;

/// Takes a renewal that is genuine: 32 bytes that the next epoch comes from, and perhaps what the other shows of themselves now.
pub(super) fn take(
    work: &mut Work<'_>,
    id: ConversationId,
    state: &mut State,
    place: &Place,
    content: &[u8],
) -> Result<Verdict> {
    let Some((secret, bundle)) = content.split_first_chunk::<32>() else {
        return Ok(Verdict::Unreadable("a renewal is too short".to_owned()));
    };
    choice::heard(work, id, state, Sign::Used)?;
    if !bundle.is_empty() {
        match Bundle::decode(bundle) {
            Ok(bundle) if people::user_of(&bundle) == state.peer.user => {
                let index = (0..bundle.content().devices.len()).find(|index| {
                    people::address_of(&bundle, *index).is_ok_and(|address| address == state.peer)
                });
                if let Some(index) = index {
                    people::keep_bundle(work, state.peer.user, &bundle, index)?;
                }
            }
            _ => {
                tracing::warn!(conversation = %id.short(), "what came with a renewal is not the other's bundle");
            }
        }
    }
    let next = place.epoch.epoch.saturating_add(1);
    let counts = if place.sender.is_none() {
        // By a salted hint, which says that its sender has no other epoch, or does not hear that it came. It always counts, save when it was taken before: what is sent
        // again may come late, and would lead back to an epoch that is over.
        let epoch = epoch_of(id, next);
        work.hints().knows_epoch(&epoch, &EpochSecrets::derive(secret, &epoch)) != Some(true)
    } else {
        // Of two that are offered for one epoch that of who has invited counts.
        let is_beaten =
            state.own_sender == INVITER && state.offer.as_ref().is_some_and(|offer| offer.epoch == next);
        next > state.epoch && !is_beaten
    };
    if !counts {
        return Ok(Verdict::Genuine);
    }
    // Whatever copy of this home could read it has entered the same.
    enter(work, id, (next, secret, Origin::Follows(*place)), state.own_sender)?;
    (state.epoch, state.since, state.offer, state.forced) = (next, work.now, None, None);
    Ok(Verdict::Genuine)
}

/// Something genuine has come in the epoch of this place. If it is the one that this device has offered, it is the current one from here on; if it is the one that it
/// has begun by force, the other knows of it.
pub(super) fn heard_in(
    work: &mut Work<'_>,
    id: ConversationId,
    state: &mut State,
    place: &Place,
) -> Result<()> {
    if is_of(work, state.forced.as_ref(), place)? {
        state.forced = None;
    }
    if is_of(work, state.offer.as_ref(), place)?
        && let Some(offer) = state.offer.take()
    {
        // It is here since it was offered, with its counters.
        enter(work, id, (offer.epoch, &*offer.secret()?, Origin::Restored), state.own_sender)?;
        (state.epoch, state.since) = (offer.epoch, work.now);
    }
    Ok(())
}

/// Whether this is the epoch of a place: there can be several of one number.
fn is_of(work: &Work<'_>, offer: Option<&Offer>, place: &Place) -> Result<bool> {
    let Some(offer) = offer.filter(|offer| offer.epoch == place.epoch.epoch) else { return Ok(false) };
    Ok(work.hints().is_at(place, &EpochSecrets::derive(&*offer.secret()?, &place.epoch)))
}

/// Where the store was restored or copied, nobody knows which hints and keys of the epoch were used. A new session and a new epoch begin; what tells
/// of them has a salted hint, which uses no counter.
pub(super) fn force_if_restored(
    work: &mut Work<'_>,
    record: &EnvelopedRecord,
    state: &mut State,
) -> Result<()> {
    let id = record.conversation;
    if !work.hints().must_update(&id) {
        return Ok(());
    }
    let secret = Zeroizing::new(rand::random::<[u8; 32]>());
    // What was begun by force before, and was not heard in yet, the other may not have.
    let before = state.forced.as_ref().map(|forced| forced.epoch.saturating_sub(1));
    let before = before.filter(|before| work.hints().has_epoch(&epoch_of(id, *before)));
    let before = before.unwrap_or(state.epoch);
    post_salted(work, record, state, (before, &secret))?;
    let next = before.saturating_add(1);
    enter(work, id, (next, &secret, Origin::Own), state.own_sender)?;
    (state.epoch, state.since, state.offer) = (next, work.now, None);
    state.forced = Some(Offer::new(next, &secret, work.now));
    Ok(())
}

/// Sends a renewal by what uses no counter, in the epoch of this number.
fn post_salted(
    work: &mut Work<'_>,
    record: &EnvelopedRecord,
    state: &State,
    (epoch, secret): (u64, &[u8; 32]),
) -> Result<()> {
    let id = record.conversation;
    let message = renewal(work, id, state, secret)?;
    let envelope = work.post_frame_salted_at::<PrivateV1>(record, epoch, &PrivateFrame::Renewal(message))?;
    // By its hint it is anybody's: a carrier that gives it back would have this device read its own.
    work.await_echo(id, &envelope)
}

/// A renewal, encrypted: the secret, and what this home shows of itself now, by which the other could begin anew.
fn renewal(work: &mut Work<'_>, id: ConversationId, state: &State, secret: &[u8; 32]) -> Result<Vec<u8>> {
    let identity = work.client.identity()?;
    let bundle = own_bundle(work, &identity, 0)?;
    let content = Zeroizing::new([&secret[..], bundle.as_bytes()].concat());
    encrypt(work, id, state, Purpose::Renewal, &content)
}

/// Offers a new epoch where the current one is old, or offers it again; and sends cover traffic.
pub(super) async fn do_what_is_due(client: &Client, id: ConversationId, now: i64) -> Result<()> {
    let mut work = Work::begin(client).await?;
    let record = work.conversation(id)?;
    let mut state = State::of(&record)?;
    if let Some(since) = state.aside_since {
        if since.saturating_add(READ_ON) <= now {
            choice::forget(&mut work, id)?;
        }
        return work.finish().await.map(drop);
    }
    let is_talking = status(&work, id, state.peer.user)? == Some(Status::Accepted);
    if !is_talking {
        // Nothing goes to who is blocked. It is looked at again in a day.
        state.cover_at = None;
        state.since = state.since.max(now - RENEWED_EVERY + OFFERED_EVERY);
        state.put_off(now);
        state.write(&mut work, id)?;
        return work.finish().await.map(drop);
    }
    force_if_restored(&mut work, &record, &mut state)?;
    if let Some(forced) = state.forced.take() {
        // Before the other has that epoch, nothing that is offered in it can be heard.
        if forced.is_due(now) {
            let secret = forced.secret()?;
            post_salted(&mut work, &record, &state, (forced.epoch.saturating_sub(1), &secret))?;
            state.forced = Some(Offer::new(forced.epoch, &secret, work.now));
        } else {
            state.forced = Some(forced);
        }
    } else {
        let offered = state.offer.take();
        let is_due = match &offered {
            Some(offer) => offer.is_due(now),
            None => now >= state.since.saturating_add(RENEWED_EVERY),
        };
        state.offer =
            if is_due { Some(offer(&mut work, &record, &state, offered.as_ref())?) } else { offered };
    }
    if let Some(apart) = client.inner().cover {
        if state.cover_at.is_some_and(|at| now >= at) {
            work.post_frame::<PrivateV1>(&record, &PrivateFrame::Placeholder, None)?;
            state.cover_at = None;
        }
        state.cover_at.get_or_insert_with(|| now.saturating_add(random_time(apart)));
    } else {
        state.cover_at = None;
    }
    state.write(&mut work, id)?;
    work.finish().await.map(drop)
}

/// Sends what the next epoch comes from, and reads in it from now on; what is sent stays in the current one until the other has written in it.
fn offer(
    work: &mut Work<'_>,
    record: &EnvelopedRecord,
    state: &State,
    offered: Option<&Offer>,
) -> Result<Offer> {
    let id = record.conversation;
    let next = state.epoch.saturating_add(1);
    let (secret, origin) = match offered {
        // As for one that is heard in.
        Some(offer) => (offer.secret()?, Origin::Restored),
        None => (Zeroizing::new(rand::random()), Origin::Own),
    };
    if work.hints().is_beyond_window(&id, Kind::Handshake) {
        // Who was away until those before it were gone would not recognise it by the next hint.
        post_salted(work, record, state, (state.epoch, &secret))?;
    } else {
        let message = renewal(work, id, state, &secret)?;
        work.post_frame::<PrivateV1>(record, &PrivateFrame::Renewal(message), None)?;
    }
    let epoch = epoch_of(id, next);
    let secrets = EpochSecrets::derive(&secret, &epoch);
    let (own_sender, senders) = (state.own_sender, [other(state.own_sender)]);
    let start = EpochStart { epoch, secrets: &secrets, own_sender, senders: &senders, origin };
    work.changing_hints(id).expect_epoch(&start)?;
    Ok(Offer::new(next, &secret, work.now))
}

/// A random time with this average, in milliseconds: of the exponential distribution, so that when one has come tells nothing of when the next does.
fn random_time(average: std::time::Duration) -> i64 {
    let uniform: f64 = rand::random();
    let time = average.mul_f64(-(1.0 - uniform).ln());
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Client {
    /// Sees to private conversations that have something to do whose time nobody has set: those of a restored store, and those in which cover traffic begins.
    pub(crate) async fn look_after_private(&self, now: i64) -> Result<()> {
        let records = self.inner().store.read(|r| r.listening())?;
        for record in records {
            if record.conversation_type != PrivateV1::DESCRIPTOR.id.number() {
                continue;
            }
            let id = record.conversation;
            let state = State::of(&record)?;
            let is_restored = {
                let mut hints = self.inner().hints.lock().await;
                hints.refresh(&self.inner().store)?;
                hints.table().must_update(&id)
            };
            let begins_cover = self.inner().cover.is_some() && state.cover_at.is_none();
            if state.accepted && state.aside_since.is_none() && (is_restored || begins_cover) {
                match do_what_is_due(self, id, now).await {
                    // Until the other shows what a new session can begin with.
                    Err(crate::Error::Ratchet(RatchetError::NoSession)) => {
                        tracing::info!(conversation = %id.short(), "a restored conversation waits for the other");
                    }
                    // What somebody has shown to begin with may be of no use, which is between the two.
                    done => {
                        tolerate(done)?;
                    }
                }
            }
        }
        Ok(())
    }
}

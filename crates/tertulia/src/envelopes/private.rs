//! `PrivateV1`: two devices and a Double Ratchet between them.

mod choice;
mod renewal;
mod state;

use super::{
    Work,
    types::{At, EnvelopeType, Verdict},
};
use crate::{Client, Result, receipts::is_report};
use async_trait::async_trait;
use choice::{Sign, heard};
pub(super) use choice::{accept, accept_beside, is_used_by_other, set_aside, take_up};
use state::State;
use tertulia_conversation::{
    EpochId, EpochSecrets,
    hint::{EpochStart, Opened, Origin, Place},
    inbox::Bundle,
    types::{ConversationType as _, PrivateV1},
    wire::{Outcome, PrivateFrame},
};
use tertulia_domain::{ConversationId, DeviceAddress, UserId, connection::Status};
use tertulia_ratchet::{Context, Purpose, RatchetError, VerifiedKeys};
use tertulia_store::{ConnectionRecord, EnvelopedRecord, OutboxMessage};
use zeroize::Zeroizing;

/// The place among the senders of who has invited; the other's is 1.
const INVITER: u32 = 0;
/// That of who has accepted.
const ACCEPTER: u32 = 1;

#[async_trait]
impl EnvelopeType for PrivateV1 {
    async fn receive(&self, work: &mut Work<'_>, opened: &Opened, _: At<'_>) -> Result<Verdict> {
        let id = opened.place.epoch.conversation;
        let mut state = State::of(&work.conversation(id)?)?;
        if opened.place.sender.is_some_and(|sender| sender.sender == state.own_sender) {
            return Ok(Verdict::Refused("it has one of this device's own hints".to_owned()));
        }
        let frame = match opened.frame::<PrivateV1>() {
            Outcome::Decoded(frame) => frame,
            Outcome::Invalid(error) => return Ok(Verdict::Refused(error.to_string())),
            Outcome::Unsupported(_) => return Ok(Verdict::Unsupported),
            Outcome::NotForUs => return Ok(Verdict::Refused("it is of another conversation".to_owned())),
        };
        let verdict = match &frame {
            // It carries nothing that could be wrong: who has the epoch's key has made it.
            PrivateFrame::Placeholder => Verdict::Genuine,
            PrivateFrame::Content(message) => match decrypt(work, opened, &state, Purpose::Message, message)?
            {
                Ok(content) => take(work, id, &mut state, content)?,
                Err(refused) => refused,
            },
            PrivateFrame::Receipt(message) => match decrypt(work, opened, &state, Purpose::Receipt, message)?
            {
                Ok(content) => take_receipt(work, id, &mut state, content)?,
                Err(refused) => refused,
            },
            PrivateFrame::Renewal(message) => match decrypt(work, opened, &state, Purpose::Renewal, message)?
            {
                Ok(content) => renewal::take(work, id, &mut state, &opened.place, &content)?,
                Err(refused) => refused,
            },
            _ => Verdict::Refused("it is of a kind that this version does not know".to_owned()),
        };
        // Of a salted hint nothing is noted, so what has one is recognised as often as it comes; any other is recognised once.
        let verdict = match verdict {
            Verdict::Repeated if opened.place.sender.is_some() => {
                Verdict::Refused(RatchetError::AlreadyRead.to_string())
            }
            verdict => verdict,
        };
        if verdict == Verdict::Genuine {
            renewal::heard_in(work, id, &mut state, &opened.place)?;
            state.write(work, id)?;
        } else if let Verdict::Unreadable(_) = verdict {
            state.write(work, id)?;
        }
        Ok(verdict)
    }

    async fn seal(
        &self,
        work: &mut Work<'_>,
        record: &EnvelopedRecord,
        message: &OutboxMessage,
    ) -> Result<()> {
        let mut state = State::of(record)?;
        renewal::force_if_restored(work, record, &mut state)?;
        let is_receipt = is_report(&message.content);
        let purpose = if is_receipt { Purpose::Receipt } else { Purpose::Message };
        let sealed = encrypt(work, record.conversation, &state, purpose, &message.content)?;
        let frame = if is_receipt { PrivateFrame::Receipt(sealed) } else { PrivateFrame::Content(sealed) };
        work.post_frame::<Self>(record, &frame, Some(message.id))?;
        state.write(work, record.conversation)
    }

    async fn do_what_is_due(&self, client: &Client, conversation: ConversationId, now: i64) -> Result<()> {
        renewal::do_what_is_due(client, conversation, now).await
    }
}

/// Begins a conversation to which this device invites.
pub(super) fn begin(
    work: &mut Work<'_>,
    id: ConversationId,
    creation_secret: Zeroizing<[u8; 32]>,
    peer: DeviceAddress,
) -> Result<()> {
    put(work, id, creation_secret, (INVITER, Origin::Own), peer).map(drop)
}

/// Writes a conversation down with this device as this sender, in its first epoch.
fn put(
    work: &mut Work<'_>,
    id: ConversationId,
    creation_secret: Zeroizing<[u8; 32]>,
    (own_sender, origin): (u32, Origin),
    peer: DeviceAddress,
) -> Result<(EnvelopedRecord, State)> {
    enter(work, id, (0, &creation_secret, origin), own_sender)?;
    let state = State::new(peer, own_sender, work.now);
    let record = EnvelopedRecord {
        conversation: id,
        conversation_type: PrivateV1::DESCRIPTOR.id.number(),
        creation_secret,
        listening: true,
        carriers: Vec::new(),
        state: state.encode(),
        due_at: state.due_at(),
        continues: None,
    };
    let new = record.clone();
    work.write(move |w| w.put_enveloped(&new))?;
    Ok((record, state))
}

/// Notes that the invitation of this home was accepted, of which the other's own request tells.
pub(super) fn set_accepted(work: &mut Work<'_>, id: ConversationId) -> Result<()> {
    let mut state = State::of(&work.conversation(id)?)?;
    state.accepted = true;
    state.write(work, id)
}

/// Whether a conversation of this home was accepted by both; none if there is none, or it is not used, for its request was taken back.
pub(super) fn is_accepted(client: &Client, id: ConversationId) -> Result<Option<bool>> {
    let record = client.inner().store.read(|r| r.enveloped(id))?;
    let state = record.map(|record| State::of(&record)).transpose()?;
    Ok(state.filter(|state| state.aside_since.is_none()).map(|state| state.accepted))
}

/// Whether this home was put back to a backup, and nothing tells that the other can read what it says in the conversation since: the backup may be older than all
/// that they keep. Or it can say nothing, for the other has shown nothing that is still valid to begin with.
pub(super) fn waits_since_restored(work: &Work<'_>, mine: &ConnectionRecord) -> Result<bool> {
    let store = &work.client.inner().store;
    let Some(record) = store.read(|r| r.enveloped(mine.conversation))? else { return Ok(false) };
    if State::of(&record)?.forced.is_some() {
        return Ok(true);
    }
    if !work.hints().must_update(&mine.conversation) {
        return Ok(false);
    }
    let kept = store.read(|r| r.bundle(mine.user))?;
    let kept = kept.and_then(|kept| Bundle::decode(&kept.bundle).ok());
    Ok(kept.is_none_or(|kept| kept.is_expired(work.now_in_seconds())))
}

/// Enters an epoch of a conversation, which becomes the current one.
fn enter(
    work: &mut Work<'_>,
    id: ConversationId,
    (epoch, shared, origin): (u64, &[u8; 32], Origin),
    own_sender: u32,
) -> Result<()> {
    let epoch = epoch_of(id, epoch);
    let secrets = EpochSecrets::derive(shared, &epoch);
    let senders = &[other(own_sender)];
    work.begin_epoch(&EpochStart { epoch, secrets: &secrets, own_sender, senders, origin })
}

const fn epoch_of(conversation: ConversationId, epoch: u64) -> EpochId {
    EpochId { conversation, conversation_type: PrivateV1::DESCRIPTOR.id, epoch }
}

const fn other(sender: u32) -> u32 {
    if sender == INVITER { ACCEPTER } else { INVITER }
}

/// The content of a message of the ratchet, or why there is none. A message that no session opens is by the other all the same, who has the epoch's key:
/// the next one to them begins a new session. By a salted hint it may be this device's own, which another carrier has given back.
fn decrypt(
    work: &mut Work<'_>,
    opened: &Opened,
    state: &State,
    purpose: Purpose,
    message: &[u8],
) -> Result<Result<Vec<u8>, Verdict>> {
    let Place { epoch: EpochId { conversation, .. }, sender, .. } = opened.place;
    let ratchet = work.ratchet()?;
    match ratchet.decrypt(Context { conversation, purpose }, &state.peer, message) {
        Ok(decrypted) => Ok(Ok(decrypted.content)),
        Err(error @ (RatchetError::Store(_) | RatchetError::Damaged { .. })) => Err(error.into()),
        // Where it begins a session, it does so by the keys of this device.
        Err(RatchetError::Undecryptable | RatchetError::KeysChanged) if sender.is_none() => {
            Ok(Err(Verdict::Repeated))
        }
        Err(error) if error.calls_for_renewal() => {
            ratchet.renew(&state.peer)?;
            Ok(Err(Verdict::Unreadable(error.to_string())))
        }
        Err(RatchetError::AlreadyRead) => Ok(Err(Verdict::Repeated)),
        Err(error) => Ok(Err(Verdict::Refused(error.to_string()))),
    }
}

/// Encrypts with the session, or with a new one where there is none that may be used: by what the other has shown last.
fn encrypt(
    work: &mut Work<'_>,
    conversation: ConversationId,
    state: &State,
    purpose: Purpose,
    content: &[u8],
) -> Result<Vec<u8>> {
    if !work.ratchet()?.is_ready(&state.peer)? {
        let record = work.client.inner().store.read(|r| r.bundle(state.peer.user))?;
        let record = record.ok_or(RatchetError::NoSession)?;
        let index = usize::try_from(record.device).unwrap_or(usize::MAX);
        begin_session(work, &state.peer, &Bundle::decode(&record.bundle)?, index)?;
    }
    Ok(work.ratchet()?.encrypt(Context { conversation, purpose }, &state.peer, content)?)
}

/// Begins a session with a device of a bundle.
fn begin_session(work: &mut Work<'_>, peer: &DeviceAddress, bundle: &Bundle, device: usize) -> Result<()> {
    if bundle.is_expired(work.now_in_seconds()) {
        return Err(RatchetError::NoSession.into());
    }
    let device = bundle.content().devices.get(device).ok_or(RatchetError::NoSession)?;
    Ok(work.ratchet()?.begin_verified_session(&VerifiedKeys {
        address: peer.clone(),
        signature_key: device.signature_key,
        identity_key: device.ratchet_key,
        // A one-time key was used to begin with, if there was one.
        key: device.fallback_key.key,
    })?)
}

/// How this side of the connection stands whose conversation this is; none if it is of another conversation by now.
fn status(work: &Work<'_>, id: ConversationId, peer: UserId) -> Result<Option<Status>> {
    let mine = work.client.inner().store.read(|r| r.connection(peer))?;
    Ok(mine.filter(|mine| mine.conversation == id).map(|mine| mine.status))
}

/// Takes a content. That of who is blocked is read, so that the keys move on, and dropped.
fn take(work: &mut Work<'_>, id: ConversationId, state: &mut State, content: Vec<u8>) -> Result<Verdict> {
    if heard(work, id, state, Sign::Used)? {
        work.take_content(id, &state.peer.clone(), content)?;
    }
    Ok(Verdict::Genuine)
}

/// Takes a receipt. An empty one says that the invitation was accepted.
fn take_receipt(
    work: &mut Work<'_>,
    id: ConversationId,
    state: &mut State,
    content: Vec<u8>,
) -> Result<Verdict> {
    let is_heard = heard(work, id, state, Sign::Receipt)?;
    if content.is_empty() || !is_heard {
        return Ok(Verdict::Genuine);
    }
    if !is_report(&content) {
        return Ok(Verdict::Unreadable("a receipt tells of no messages".to_owned()));
    }
    work.take_content(id, &state.peer.clone(), content)?;
    Ok(Verdict::Genuine)
}

//! Which conversation is used of several that two people have come to have: both have asked, an invitation comes late, or one of the two has lost what they had.
//!
//! All of them are read, and one is used: the connection names it, and contents are sent in it. The rule is in `docs/spec/private-v1.md`, the reasons in decision 44.

use super::{
    super::{Work, mls::forget_continuing, people},
    ACCEPTER, INVITER, begin_session, encrypt, put, renewal,
    state::{Accepted, State},
};
use crate::{Error, Result};
use tertulia_conversation::{
    hint::Origin,
    inbox::{Bundle, Invitation, InvitesTo},
    types::{ConversationType as _, PrivateV1},
    wire::PrivateFrame,
};
use tertulia_domain::{ConversationId, UserId, connection::Status};
use tertulia_ratchet::{Context, Purpose, RatchetError};
use tertulia_store::ConnectionRecord;

/// Most conversations with one person that are read beside the one that is used. Of more, those go in which nothing has come for longest.
const MOST_ASIDE: usize = 8;

/// What something that has come says of where the other sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// The other has the conversation: a receipt goes where what it is for has come.
    Receipt,
    /// The other uses it: contents and renewals are sent nowhere else.
    Used,
}

/// Accepts an invitation: its first message is read with the key that it was written for, and a receipt tells the other. `is_own` says that it came to a key of
/// this incarnation of the store; if not, another copy may have accepted it, and a new session and a new epoch begin.
pub(in crate::envelopes) fn accept(
    work: &mut Work<'_>,
    id: ConversationId,
    invitation: &Invitation,
    is_own: bool,
) -> Result<()> {
    enter(work, id, invitation, is_own, (Accepted::First, None))?;
    people::connected(work, people::user_of(&invitation.sender.bundle), id)
}

/// Accepts an invitation by somebody whom this home has asked, or with whom it is connected. `mine` is that connection. Nothing is forgotten for it, for it may be
/// older than the conversation that is used; so if something has come in that one, it is used until something comes in the new one.
pub(in crate::envelopes) fn accept_beside(
    work: &mut Work<'_>,
    mine: &ConnectionRecord,
    id: ConversationId,
    invitation: &Invitation,
    is_own: bool,
) -> Result<()> {
    if mine.status == Status::Accepted && is_heard(work, mine.conversation)? {
        let since = work.now;
        enter(work, id, invitation, is_own, (Accepted::Beside, Some(since)))?;
    } else {
        accept(work, id, invitation, is_own)?;
        set_aside(work, mine.conversation)?;
    }
    forget_oldest(work, mine, id)
}

fn enter(
    work: &mut Work<'_>,
    id: ConversationId,
    invitation: &Invitation,
    is_own: bool,
    (how, aside_since): (Accepted, Option<i64>),
) -> Result<()> {
    let InvitesTo::Private { creation_secret, message } = &invitation.invites_to else {
        return Err(Error::damaged_request());
    };
    let bundle = &invitation.sender.bundle;
    let peer = people::address_of(bundle, invitation.sender.device)?;
    let context = Context { conversation: id, purpose: Purpose::Message };
    let ratchet = work.ratchet()?;
    ratchet.decrypt(context, &peer, message)?;
    // The session is with the device that has signed the invitation.
    let device = bundle.content().devices.get(invitation.sender.device);
    let expected = device.map(|device| (device.signature_key, device.ratchet_key));
    if ratchet.keys_of(&peer)? != expected {
        return Err(RatchetError::KeysChanged.into());
    }
    let origin = if is_own { Origin::Own } else { Origin::Restored };
    let (record, mut state) = put(work, id, creation_secret.clone(), (ACCEPTER, origin), peer.clone())?;
    (state.unheard, state.aside_since) = (Some(how), aside_since);
    if !is_own {
        begin_session(work, &peer, bundle, invitation.sender.device)?;
        renewal::force_if_restored(work, &record, &mut state)?;
    }
    state.write(work, id)?;
    let ratchet = work.ratchet()?;
    let accepted = ratchet.encrypt(Context { conversation: id, purpose: Purpose::Receipt }, &peer, b"")?;
    work.post_frame::<PrivateV1>(&record, &PrivateFrame::Receipt(accepted), None)?;
    let user = people::user_of(bundle);
    if is_newest(work, user, bundle)? {
        people::keep_bundle(work, user, bundle, invitation.sender.device)?;
    }
    Ok(())
}

/// Whether nothing is known of somebody that is valid for longer: an old invitation has an old bundle.
fn is_newest(work: &Work<'_>, user: UserId, bundle: &Bundle) -> Result<bool> {
    let kept = work.client.inner().store.read(|r| r.bundle(user))?;
    let kept = kept.and_then(|kept| Bundle::decode(&kept.bundle).ok());
    Ok(kept.is_none_or(|kept| kept.content().expires <= bundle.content().expires))
}

/// Takes note that the other has said something genuine: by the first of it they are known to be in the conversation. Says whether it may be shown.
pub(super) fn heard(work: &mut Work<'_>, id: ConversationId, state: &mut State, sign: Sign) -> Result<bool> {
    let is_first = !state.is_heard();
    let how = state.unheard.take();
    state.accepted = true;
    let user = state.peer.user;
    let mine = work.client.inner().store.read(|r| r.connection(user))?;
    let Some(mine) = mine.filter(|mine| matches!(mine.status, Status::Sent | Status::Accepted)) else {
        return Ok(false);
    };
    let used = mine.conversation;
    let is_used = if used == id {
        if mine.status == Status::Sent {
            people::connected(work, user, id)?;
        }
        true
    } else {
        sign == Sign::Used
            || is_first && (how == Some(Accepted::Beside) || id < used || !is_heard(work, used)?)
    };
    if is_used && used != id {
        use_instead(work, user, (id, state), used)?;
    } else if state.aside_since.is_some() {
        // Who says something in it may use it still.
        state.aside_since = Some(work.now);
    }
    if is_first && is_used && state.own_sender == INVITER && !may_give_way(work, user, id)? {
        confirm(work, id, state)?;
    }
    Ok(true)
}

/// Asks once more by the conversation of a request that was taken back. Says whether the other has accepted it meanwhile, who is told that it is used then.
pub(in crate::envelopes) fn take_up(work: &mut Work<'_>, id: ConversationId) -> Result<bool> {
    let Some(mut state) = state_of(work, id)? else { return Ok(false) };
    state.aside_since = None;
    state.write(work, id)?;
    if state.accepted {
        confirm(work, id, &state)?;
    }
    Ok(state.accepted)
}

/// Takes note that the other uses a conversation: by what continues it, something has come that is sent nowhere else.
pub(in crate::envelopes) fn is_used_by_other(
    work: &mut Work<'_>,
    id: ConversationId,
    user: UserId,
) -> Result<()> {
    let mine = work.client.inner().store.read(|r| r.connection(user))?;
    let Some(mine) = mine.filter(|mine| mine.status == Status::Accepted && mine.conversation != id) else {
        return Ok(());
    };
    let Some(mut state) = state_of(work, id)? else { return Ok(()) };
    (state.accepted, state.unheard) = (true, None);
    use_instead(work, user, (id, &mut state), mine.conversation)?;
    state.write(work, id)
}

/// Uses a conversation with somebody in the place of another. Its state is the caller's to write.
fn use_instead(
    work: &mut Work<'_>,
    user: UserId,
    (id, state): (ConversationId, &mut State),
    used: ConversationId,
) -> Result<()> {
    tracing::info!(conversation = %id.short(), instead_of = %used.short(), "another conversation of two is used");
    state.aside_since = None;
    people::connected(work, user, id)?;
    set_aside(work, used)
}

/// Reads a conversation on that is not used any more. To the application it has ended.
pub(in crate::envelopes) fn set_aside(work: &mut Work<'_>, id: ConversationId) -> Result<()> {
    let Some(mut state) = state_of(work, id)? else { return Ok(()) };
    (state.aside_since, state.cover_at) = (Some(work.now), None);
    state.write(work, id)?;
    work.write(move |w| w.remove_or_end(id))
}

/// Forgets a conversation that was set aside, with what continues it.
pub(super) fn forget(work: &mut Work<'_>, id: ConversationId) -> Result<()> {
    forget_continuing(work, id)?;
    work.forget_conversation(id)?;
    work.write(move |w| w.remove_or_end(id))
}

/// Keeps those of somebody within bounds that are read beside the one that is used. `entered` is not written yet.
fn forget_oldest(work: &mut Work<'_>, mine: &ConnectionRecord, entered: ConversationId) -> Result<()> {
    let mut aside = others(work, mine.user, entered)?;
    aside.sort_by_key(|(id, state)| (state.aside_since.unwrap_or(work.now), *id));
    // With the one that is used before or after this.
    let surplus = aside.len().saturating_sub(MOST_ASIDE);
    for (id, _) in aside.into_iter().filter(|(id, _)| *id != mine.conversation).take(surplus) {
        forget(work, id)?;
    }
    Ok(())
}

/// Whether another conversation may come to be used yet: its smaller id would count, if something comes in it.
fn may_give_way(work: &Work<'_>, user: UserId, id: ConversationId) -> Result<bool> {
    Ok(others(work, user, id)?.iter().any(|(other, state)| *other < id && state.unheard.is_some()))
}

/// Says that this device uses a conversation that the other has accepted. Where it cannot be said now, whatever is sent next says it.
fn confirm(work: &mut Work<'_>, id: ConversationId, state: &State) -> Result<()> {
    if work.hints().must_update(&id) {
        return Ok(());
    }
    match encrypt(work, id, state, Purpose::Receipt, b"") {
        Ok(message) => {
            let record = work.conversation(id)?;
            work.post_frame::<PrivateV1>(&record, &PrivateFrame::Receipt(message), None).map(drop)
        }
        Err(Error::Ratchet(error)) => {
            tracing::info!(conversation = %id.short(), %error, "a conversation cannot be confirmed yet");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Whether something of the other has come in a conversation.
fn is_heard(work: &Work<'_>, id: ConversationId) -> Result<bool> {
    Ok(state_of(work, id)?.is_some_and(|state| state.is_heard()))
}

/// All private conversations with somebody but this one.
fn others(work: &Work<'_>, user: UserId, but: ConversationId) -> Result<Vec<(ConversationId, State)>> {
    let mut others = Vec::new();
    for record in work.client.inner().store.read(|r| r.listening())? {
        let id = record.conversation;
        if record.conversation_type == PrivateV1::DESCRIPTOR.id.number() && id != but {
            let state = State::of(&record)?;
            others.extend((state.peer.user == user).then_some((id, state)));
        }
    }
    Ok(others)
}

/// The state of a private conversation, as it stood before this.
fn state_of(work: &Work<'_>, id: ConversationId) -> Result<Option<State>> {
    let record = work.client.inner().store.read(|r| r.enveloped(id))?;
    let record = record.filter(|record| record.conversation_type == PrivateV1::DESCRIPTOR.id.number());
    record.map(|record| State::of(&record)).transpose()
}

//! Coming into a conversation of two that the other has begun.

use super::{Direct, OfTwo, give_up, put};
use crate::{
    Error, Result, Suspicion,
    envelopes::{
        Work,
        mls::{State, epochs, invitations, outside},
        people, private,
    },
};
use tertulia_conversation::{
    inbox::{Invitation, InvitesTo},
    topic::ContentTopic,
    types::{ConversationType as _, DirectV1, PrivateV1},
    wire::DirectFrame,
};
use tertulia_domain::{ConversationId, Protocol, connection::Status, policy::Pair};
use tertulia_store::EnvelopedRecord;

/// Takes an invitation to go on over MLS with somebody. Says whether anything came of it.
pub(in crate::envelopes::mls) async fn take_invitation(
    work: &mut Work<'_>,
    id: ConversationId,
    invitation: &Invitation,
) -> Result<bool> {
    let InvitesTo::Group { creation_secret, welcome, .. } = &invitation.invites_to else { return Ok(false) };
    let client = work.client;
    let peer = people::user_of(&invitation.sender.bundle);
    let mine = client.inner().store.read(|r| r.connection(peer))?;
    // Who has asked may hear of this before they hear that they were accepted: who invites them so has.
    let Some(mine) = mine.filter(|mine| matches!(mine.status, Status::Accepted | Status::Sent)) else {
        return Ok(false);
    };
    let shown = mine.conversation;
    let first = client.inner().store.read(|r| r.enveloped(shown))?;
    let is_private =
        first.is_some_and(|record| record.conversation_type == PrivateV1::DESCRIPTOR.id.number());
    if !is_private || client.is_enveloped(id)? {
        return Ok(false);
    }
    let mut record = EnvelopedRecord {
        conversation: id,
        conversation_type: DirectV1::DESCRIPTOR.id.number(),
        creation_secret: creation_secret.clone(),
        listening: true,
        carriers: Vec::new(),
        state: zeroize::Zeroizing::default(),
        due_at: None,
        continues: Some(shown),
    };
    let (joined, policy) = invitations::open_welcome(work, id, welcome, peer).await?;
    let group = client.group_of(id)?;
    let Some(Pair { continues, times }) = policy.pair() else { return Err(Error::ForeignGroup) };
    let is_theirs = policy.has(peer) && policy.has(client.me().user);
    if continues != shown || !is_theirs {
        return Err(Error::ForeignGroup);
    }
    record.carriers = policy.carriers().to_vec();
    if client.carriers().ordering(&record).is_none() {
        // As for groups: nobody goes to a server because a message says so.
        work.tx.wipe_conversation(&group)?;
        let relay = record.carriers.first().cloned().unwrap_or_default();
        epochs::suspect(work, shown, Suspicion::UnknownRelay { relay })?;
        return Ok(true);
    }
    let of_two = OfTwo::entered(peer, times);
    let state = State { of_two: Some(of_two.clone()), ..State::default() };
    record.state = state.encode();
    let entered = Direct { record: record.clone(), state, of_two };
    let known = client.directs_of(shown)?;
    if known.iter().any(|known| known.rank() < entered.rank()) {
        // The other comes to the same.
        work.tx.wipe_conversation(&group)?;
        return Ok(true);
    }
    known.into_iter().try_for_each(|beaten| give_up(work, beaten))?;
    if mine.status == Status::Sent {
        private::set_accepted(work, shown)?;
        people::connected(work, peer, shown)?;
    }
    // What is newer can be used for longer.
    people::keep_bundle(work, peer, &invitation.sender.bundle, invitation.sender.device)?;
    put(work, &record, joined.epoch)?;
    let topic = ContentTopic::of_conversation(&id).to_string();
    work.write(move |w| {
        // What was said in the epoch may stand before the place to which the topic was read for others.
        w.reread_topic(&topic)?;
        w.advance_protocol(shown, Protocol::Mls).map(drop)
    })?;
    epochs::enter(work, &record).await?;
    if epochs::is_restored(work, id).await? {
        // Another copy of this home may have come in by the same keys. It is begun anew, by others.
        let mut state = entered.state;
        outside::lost(work, id, &mut state);
        state.write(work, id)?;
        return Ok(true);
    }
    let entered = work.tx.conversation(&group).await?.encrypt_message(b"")?;
    work.post_frame::<DirectV1>(&record, &DirectFrame::Receipt(entered), None)?;
    Ok(true)
}

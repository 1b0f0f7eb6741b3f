//! Coming into a group: by a Welcome in an invitation of a member.

use super::{State, direct, epochs, is_as_group, outside};
use crate::{
    Client, Error, Result, Suspicion,
    envelopes::{Work, inbox::Taken, intro::own_bundle, people, requests},
    own_types::own_type_of,
};
use tertulia_api::policy::decode;
use tertulia_conversation::{
    conversation_id,
    inbox::{Bundle, Invitation, InvitesTo, NewInvitation, invite},
    topic::ContentTopic,
    types::{ConversationType as _, DirectV1},
};
use tertulia_domain::{
    ConversationId, ConversationType, DeviceAddress, Protocol, UserId, connection::Status, policy::Policy,
};
use tertulia_mls::{EngineError, KeyPackage, Signer};
use tertulia_store::{ConversationRecord, EnvelopedRecord};

/// Sends a new member the Welcome.
pub(super) fn invite_member(
    work: &mut Work<'_>,
    record: &EnvelopedRecord,
    user: UserId,
    welcome: &[u8],
) -> Result<()> {
    let id = record.conversation;
    let kept = work.client.inner().store.read(|r| r.bundle(user))?;
    let Some((bundle, kept)) = kept.and_then(|kept| Some((Bundle::decode(&kept.bundle).ok()?, kept))) else {
        tracing::warn!(conversation = %id.short(), user = %user.short(), "a new member cannot be told");
        return Ok(());
    };
    let identity = work.client.identity()?;
    let own = own_bundle(work, &identity, 0)?;
    let invites_to = InvitesTo::Group {
        conversation_type: crate::envelopes::number(record),
        creation_secret: record.creation_secret.clone(),
        welcome: welcome.to_vec(),
    };
    let device = usize::try_from(kept.device).unwrap_or(usize::MAX);
    match send(work, id, (&bundle, device), &own, invites_to) {
        // The commit counts already: what cannot be sent is asked for.
        Err(Error::Invitation(error)) => {
            tracing::warn!(conversation = %id.short(), user = %user.short(), %error, "a new member cannot be told");
            Ok(())
        }
        sent => sent,
    }
}

/// Puts an invitation for a device into line.
pub(super) fn send(
    work: &mut Work<'_>,
    id: ConversationId,
    (to, device): (&Bundle, usize),
    own: &Bundle,
    invites_to: InvitesTo,
) -> Result<()> {
    let expires = own.content().expires.min(to.content().expires);
    let invitation = NewInvitation { sender: own, sender_device: 0, expires, invites_to };
    let now = work.now_in_seconds();
    let envelope = invite(to, device, invitation, &work.signer()?, now, &mut rand::rng())?;
    let carriers = work.client.carriers().ids();
    work.post_to(id, ContentTopic::of_inbox(&to.inbox_address()), carriers, envelope.encode(), None)
}

/// Takes an invitation to a conversation on MLS. Where nothing comes of it, nothing is to be written.
pub(crate) async fn take_group_invitation(work: &mut Work<'_>, invitation: &Invitation) -> Result<Taken> {
    let InvitesTo::Group { conversation_type, creation_secret, welcome } = &invitation.invites_to else {
        return Ok(Taken::Refused);
    };
    let taken = |has_effect| if has_effect { Taken::Effect } else { Taken::Refused };
    let id = conversation_id(*conversation_type, creation_secret);
    match *conversation_type {
        number if number == DirectV1::DESCRIPTOR.id => {
            return direct::take_invitation(work, id, invitation).await.map(taken);
        }
        number if is_as_group(number) => {}
        _ => return Ok(Taken::Refused),
    }
    let client = work.client;
    let known = client.inner().store.read(|r| r.enveloped(id))?;
    if let Ok(key_package) = KeyPackage::from_bytes(welcome) {
        return match known {
            Some(record) => outside::take_wish(work, &record, invitation, &key_package).map(taken),
            None => Ok(Taken::Refused),
        };
    }
    let user = people::user_of(&invitation.sender.bundle);
    let mine = client.inner().store.read(|r| r.connection(user))?.map(|mine| mine.status);
    if let Some(record) = known {
        // Who is in it, and has not asked, does not let itself be put into another state of it. A member may answer who has asked.
        let is_member = || Ok::<_, Error>(client.policy(id)?.is_some_and(|policy| policy.has(user)));
        let is_expected = State::of(&record)?.missed && (mine == Some(Status::Accepted) || is_member()?);
        return if is_expected {
            enter_group(work, invitation, false).await.map(taken)
        } else {
            Ok(Taken::Refused)
        };
    }
    match mine {
        Some(Status::Accepted) => enter_group(work, invitation, false).await.map(taken),
        // Nobody learns that.
        Some(Status::Blocked) => Ok(Taken::Nothing),
        _ if user == client.me().user => Ok(Taken::Refused),
        _ => requests::note_group_request(work, user, id, invitation).map(taken),
    }
}

/// Enters a group by an invitation. If that is late, so that the group may have gone on by commits that no carrier has any more, this device asks to be let in again.
/// An error leaves nothing of it, if the transaction is dropped.
pub(crate) async fn enter_group(work: &mut Work<'_>, invitation: &Invitation, is_late: bool) -> Result<bool> {
    let InvitesTo::Group { conversation_type, creation_secret, welcome } = &invitation.invites_to else {
        return Ok(false);
    };
    let id = conversation_id(*conversation_type, creation_secret);
    let client = work.client;
    let inviter = people::user_of(&invitation.sender.bundle);
    let before = client.known(id)?;
    let (joined, policy) = open_welcome(work, id, welcome, inviter).await?;
    if policy.pair().is_some() {
        return Err(Error::ForeignGroup);
    }
    // Hints and keys begin with the first in an epoch that is entered: nobody enters one in which they may have spoken. Of an epoch that the table of hints knows it is
    // said whether it is the same, for who has lost the thread may be on a branch of their own; of an older one nothing can be said.
    let (epoch, secrets) = epochs::secrets_of(work, id, *conversation_type).await?;
    let was_there = work.hints().knows_epoch(&epoch, &secrets);
    if was_there.unwrap_or(before.policy.is_some() && joined.epoch <= before.epoch) {
        return Err(Error::OldWelcome);
    }
    let state = State { inviter: Some(inviter), missed: is_late, ..State::default() };
    let due_at = state.due_at(work.now);
    let record = EnvelopedRecord {
        conversation: id,
        conversation_type: conversation_type.number(),
        creation_secret: creation_secret.clone(),
        listening: true,
        carriers: policy.carriers().to_vec(),
        state: state.encode(),
        due_at,
        continues: None,
    };
    if client.carriers().ordering(&record).is_none() {
        // Those who are in it speak through a relay that is not this home's. Nobody goes to a server because a message says so.
        work.tx.wipe_conversation(&client.group_of(id)?)?;
        let relay = record.carriers.first().cloned().unwrap_or_default();
        epochs::suspect(work, id, Suspicion::UnknownRelay { relay })?;
        return Ok(true);
    }
    let conversation = ConversationRecord {
        id,
        kind: ConversationType::Group,
        epoch: joined.epoch,
        protocol: Protocol::Mls,
        created_at: work.now,
    };
    let (epoch, topic) = (joined.epoch, ContentTopic::of_conversation(&id).to_string());
    let kept = record.clone();
    let own_type = own_type_of(&record);
    // What is left of an earlier time in it cannot be read any more.
    work.changing_hints(id).forget(&id);
    work.write(move |w| {
        w.put_conversation(&conversation)?;
        w.put_enveloped(&kept)?;
        own_type.iter().try_for_each(|own| w.put_own_type(own))?;
        w.set_enveloped_state(id, &kept.state, due_at)?;
        w.set_since_epoch(id, epoch)?;
        w.set_joined(id, true)?;
        w.set_active(id, true)?;
        // What was said in the epoch may stand before the place to which the topic was read for others.
        w.reread_topic(&topic)
    })?;
    epochs::enter(work, &record).await?;
    client.take_in(&mut work.tx, id, &before, Some(&joined.signed_by)).await?;
    Ok(true)
}

/// Has the engine enter the group of a conversation by a Welcome that this user has signed, and gives the group's policy.
pub(super) async fn open_welcome(
    work: &mut Work<'_>,
    id: ConversationId,
    welcome: &[u8],
    inviter: UserId,
) -> Result<(Joined, Policy)> {
    let group = work.client.group_of(id)?;
    work.tx.wipe_conversation(&group)?;
    let joined = match work.tx.process_welcome(welcome) {
        Ok(joined) => joined,
        Err(EngineError::Store(error)) => return Err(error.into()),
        Err(error) => {
            tracing::warn!(conversation = %id.short(), %error, "a Welcome could not be used");
            return Err(Error::Engine(error));
        }
    };
    let signer = DeviceAddress::from_identity(joined.signed_by.client_id.as_bytes());
    let is_by_inviter = signer.is_ok_and(|signer| signer.user == inviter);
    let data = work.tx.conversation(&joined.id).await?.group_data()?;
    match decode(data.as_deref()) {
        Ok(policy) if joined.id == group && is_by_inviter => {
            Ok((Joined { epoch: joined.epoch, signed_by: joined.signed_by }, policy))
        }
        _ => Err(Error::ForeignGroup),
    }
}

/// A group that a Welcome was to.
pub(super) struct Joined {
    pub(super) epoch: u64,
    /// Who has signed the group as it is.
    pub(super) signed_by: Signer,
}

impl Client {
    /// The key package of somebody who is to be added, from their bundle.
    pub(crate) fn key_package_of(&self, user: UserId) -> Result<KeyPackage> {
        let handle = || Ok::<_, Error>(self.inner().store.read(|r| r.handle(user))?);
        let now = u64::try_from(crate::client::now() / 1000).unwrap_or_default();
        let kept = self.inner().store.read(|r| r.bundle(user))?;
        let Some(kept) = kept else { return Err(Error::NoDevices { handle: handle()? }) };
        let bundle = Bundle::decode(&kept.bundle).ok().filter(|bundle| !bundle.is_expired(now));
        let index = usize::try_from(kept.device).unwrap_or(usize::MAX);
        let Some((bundle, device)) =
            bundle.as_ref().and_then(|bundle| Some((bundle, bundle.content().devices.get(index)?)))
        else {
            return Err(Error::NoDevices { handle: handle()? });
        };
        let address = people::address_of(bundle, index)?;
        let key_package = KeyPackage::from_bytes(&device.key_package);
        let own = |package: &KeyPackage| {
            *package.client_id() == tertulia_mls::ClientId::from(address.to_identity())
                && package.signature_key() == device.signature_key
        };
        match key_package.ok().filter(own) {
            Some(key_package) => Ok(key_package),
            None => Err(Error::NoDevices { handle: handle()? }),
        }
    }
}

#[cfg(test)]
mod tests;

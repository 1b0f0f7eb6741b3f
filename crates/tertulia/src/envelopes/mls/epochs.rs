//! Entering an epoch: what hides its envelopes follows from what the engine exports, and what this home shows of the group from its context.

use super::State;
use crate::{
    Client, Result, Suspicion,
    apply::note_policy,
    envelopes::Work,
    groups::Upkeep,
    suspicion::{further_devices, note},
};
use tertulia_api::policy::decode;
use tertulia_conversation::{
    EpochId, EpochSecrets,
    hint::{EpochStart, Origin},
    types::TypeId,
};
use tertulia_domain::{ConversationId, DeviceAddress, UserId, policy::Policy};
use tertulia_mls::{ClientId, CommitOptions};
use tertulia_store::{EnvelopedRecord, MemberRecord};

/// How many bytes the engine exports of an epoch.
const SHARED: usize = 32;

/// Enters the epoch in which the engine has the group now. Messages of this device that no carrier has yet are sealed anew, for those who are
/// members now.
pub(super) async fn enter(work: &mut Work<'_>, record: &EnvelopedRecord) -> Result<()> {
    let (id, conversation_type) = (record.conversation, crate::envelopes::number(record));
    let (epoch, secrets) = secrets_of(work, id, conversation_type).await?;
    let (number, group) = (epoch.epoch, work.client.group_of(id)?);
    let mut guard = work.tx.conversation(&group).await?;
    let (own_sender, leaves) = (guard.own_leaf()?, guard.leaves()?);
    // By the keys of a leaf another copy of the store follows the commits of others as this one does.
    let origin = if guard.is_restored()? { Origin::Restored } else { Origin::Own };
    let senders: Vec<u32> = leaves.iter().map(|(leaf, _)| *leaf).filter(|leaf| *leaf != own_sender).collect();
    work.begin_epoch(&EpochStart { epoch, secrets: &secrets, own_sender, senders: &senders, origin })?;
    note_policy(&mut work.tx, id, &group).await?;
    let policy = policy_of(work, id).await?;
    let members = policy.iter().flat_map(Policy::members);
    let members: Vec<_> = members.map(|(user, role)| MemberRecord { user, role: role.clone() }).collect();
    work.applied.changed.push(record.continues.unwrap_or(id));
    work.applied.epochs += 1;
    let receipt_mode = policy.as_ref().map(Policy::receipt_mode);
    work.write(move |w| {
        w.set_epoch(id, number)?;
        if let Some(mode) = receipt_mode {
            w.set_receipt_mode(id, mode)?;
        }
        if !members.is_empty() {
            w.replace_members(id, &members)?;
        }
        w.drop_sealed_messages(id)
    })
}

/// The epoch in which the engine has the group now, and its secrets.
pub(super) async fn secrets_of(
    work: &mut Work<'_>,
    conversation: ConversationId,
    conversation_type: TypeId,
) -> Result<(EpochId, EpochSecrets)> {
    let group = work.client.group_of(conversation)?;
    let mut guard = work.tx.conversation(&group).await?;
    let epoch = EpochId { conversation, conversation_type, epoch: guard.epoch()? };
    let exported = guard.export_secret_key(SHARED)?;
    let mut shared = zeroize::Zeroizing::new([0; SHARED]);
    shared.copy_from_slice(&exported);
    Ok((epoch, EpochSecrets::derive(&shared, &epoch)))
}

/// The policy of the group as the engine has it now.
pub(super) async fn policy_of(work: &mut Work<'_>, id: ConversationId) -> Result<Option<Policy>> {
    let group = work.client.group_of(id)?;
    let data = work.tx.conversation(&group).await?.group_data()?;
    Ok(decode(data.as_deref()).ok())
}

/// Writes down the devices that a commit has added of those who were members before.
pub(super) async fn note_further_devices(
    work: &mut Work<'_>,
    id: ConversationId,
    (added, removed): (&[ClientId], &[ClientId]),
) -> Result<()> {
    let (group, own) = (work.client.group_of(id)?, work.client.own_address());
    for suspicion in further_devices(&mut work.tx, &group, (added, removed), &own).await? {
        suspect(work, id, suspicion)?;
    }
    Ok(())
}

/// Writes down what looks as if somebody did not do as they should.
pub(super) fn suspect(work: &mut Work<'_>, id: ConversationId, suspicion: Suspicion) -> Result<()> {
    let id = work.client.inner().store.read(|r| r.shown_as(id))?;
    tracing::warn!(conversation = %id.short(), %suspicion, "noticed");
    work.applied.suspicious += 1;
    work.write(move |w| note(w, id, &suspicion))
}

/// The users of these clients.
pub(super) fn users_of<'a>(clients: impl IntoIterator<Item = &'a ClientId>) -> Vec<UserId> {
    let mut users = Vec::new();
    for client in clients {
        if let Ok(DeviceAddress { user, .. }) = DeviceAddress::from_identity(client.as_bytes())
            && !users.contains(&user)
        {
            users.push(user);
        }
    }
    users
}

/// A commit of a device whose store was restored uses no key of the group's, which another copy could have used: it is readable inside
/// the envelope, and the envelope has a salted hint.
pub(crate) fn upkeep_options(client: &Client, id: ConversationId, owed: Upkeep) -> Result<CommitOptions> {
    let options = CommitOptions::default();
    Ok(if matches!(owed, Upkeep::Keys) && client.is_enveloped(id)? { options.readable() } else { options })
}

/// Whether another copy of the store may have used the keys or the hints of the epoch, so that this device has to leave it before it sends anything else.
pub(super) async fn is_restored(work: &mut Work<'_>, id: ConversationId) -> Result<bool> {
    let group = work.client.group_of(id)?;
    Ok(work.hints().must_update(&id) || work.tx.conversation(&group).await?.is_restored()?)
}

impl Client {
    /// Notes that the proposals that waited do not any more, or that nothing came of it this time.
    pub(super) async fn proposals_seen_to(&self, id: ConversationId) -> Result<()> {
        let mut work = Work::begin(self).await?;
        let Some(record) = self.inner().store.read(|r| r.enveloped(id))? else { return Ok(()) };
        let mut state = State::of(&record)?;
        state.commit_at = None;
        state.write(&mut work, id)?;
        work.finish().await.map(drop)
    }
}

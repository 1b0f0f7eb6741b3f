//! A conversation's MLS group: beginning it, joining it, changing it, whatever others do at the same time.

mod begin;
mod claims;
mod join;
mod retries;

use self::{
    claims::Claimed,
    retries::{ATTEMPTS, Retries},
};
use crate::{
    Client, Error, Result, SyncReport,
    apply::note_policy,
    coming_in::Caution,
    envelopes::upkeep_options,
    link::conversation_of,
    suspicion::{further_devices, note, succession},
    sync::tolerate,
    todo::{Sharing, Todo},
};
use std::{collections::BTreeSet, time::SystemTime};
use tertulia_api::{
    Code,
    policy::{decode, encode},
};
use tertulia_content::MimiContent;
use tertulia_domain::{
    ConversationId, ConversationName, DeviceAddress, ReceiptMode, Role, UserId,
    policy::{AddPermission, JoinProof, LinkKey, Policy},
};
use tertulia_mls::{CommitOptions, CommitSummary, EngineError, RejectReason, TransactionContext};
use tertulia_store::ConversationRow;

/// In how many conversations keys are rotated at once, so that a synchronisation does not take long.
const ROTATIONS: usize = 8;

/// Who is to be in a group, and who is not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    pub(crate) add: Vec<UserId>,
    pub(crate) remove: Vec<UserId>,
    /// Users of whom all devices are to be in it, also of those who have some in it already.
    pub(crate) complete: Vec<UserId>,
    /// What is to be different in the policy, beside what follows from the others.
    pub(crate) policy: Option<PolicyChange>,
}

/// A change of a conversation's policy.
#[derive(Debug, Clone)]
pub(crate) enum PolicyChange {
    /// Other roles for members, in this order.
    Roles(Vec<(UserId, Role)>),
    /// The role that those get who come in with the change.
    Arrivals(Role),
    /// Another rule of who may add members.
    AddPermission(AddPermission),
    /// Another join link, or none.
    Link(Option<LinkKey>),
    /// Whether it is open to everybody who asks.
    Open(bool),
    /// Whether members tell each other what they have read, where no hub carries it.
    ReceiptMode(ReceiptMode),
    /// What proves that the users who are added have the join link.
    Admit(UserId, JoinProof),
}

impl PolicyChange {
    /// The policy with the change. Those who are arriving come in with it.
    fn of(&self, policy: Policy, arriving: &BTreeSet<UserId>) -> Policy {
        match self {
            Self::Roles(roles) => {
                roles.iter().fold(policy, |policy, (user, role)| policy.with_role(*user, role))
            }
            Self::Arrivals(role) => policy.with_members(arriving.iter().copied(), role),
            Self::AddPermission(permission) => policy.with_add_permission(*permission),
            Self::Link(link) => policy.with_link(*link),
            Self::Open(open) => policy.with_open(*open),
            Self::ReceiptMode(mode) => policy.with_receipt_mode(*mode),
            Self::Admit(user, proof) => policy.with_admitted([(*user, *proof)]),
        }
    }
}

/// What a device may owe to a group.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Upkeep {
    /// To commit the proposals that wait, which are the hub's removals of who has left.
    Proposals,
    /// To get keys of its own that no copy of the home has.
    Keys,
    /// To give history another secret, for somebody who was removed holds the old one.
    History,
    /// To share history as a user of this device has said, or no longer.
    Sharing(Sharing),
}

/// What one attempt came to.
enum Attempt {
    Done,
    /// Another device was first, or the outcome is unknown: catch up, then again.
    Again,
    /// The hub found it unfit for the group, with this answer: catch up, claim afresh, then again.
    Afresh(Error),
}

impl Client {
    /// Makes the group so that everybody in `change.add` and `change.complete` is in it with all devices, and nobody in
    /// `change.remove`. When another device commits first, it catches up and does what is still to be done.
    pub(crate) async fn change(&self, conversation: ConversationId, change: &Change) -> Result<()> {
        let mut claimed = Claimed::default();
        let mut retries = Retries::new(conversation);
        loop {
            self.ready(conversation).await?;
            let mut wanted = self.absent(conversation, &change.add)?;
            wanted.extend(&change.complete);
            self.claim(conversation, &wanted, &mut claimed).await?;
            match self.change_once(conversation, change, &claimed).await? {
                Attempt::Done => return Ok(()),
                Attempt::Again => {}
                Attempt::Afresh(misfit) => {
                    retries.misfit(misfit)?;
                    claimed = Claimed::default();
                }
            }
            retries.next(self).await?;
        }
    }

    /// Makes a commit that this device owes to the group.
    pub(crate) async fn upkeep(&self, conversation: ConversationId, owed: Upkeep) -> Result<()> {
        let group = self.group_of(conversation)?;
        let options = upkeep_options(self, conversation, owed)?;
        let mut retries = Retries::new(conversation);
        loop {
            let mut tx = self.inner().session.new_transaction().await?;
            if !tx.conversation_exists(&group)? {
                return Ok(());
            }
            let mut guard = tx.conversation(&group).await?;
            let committed = match owed {
                Upkeep::Proposals => guard.commit_pending_proposals_with(CommitOptions::default()).await,
                Upkeep::Keys => guard.update_key_material_with(options.clone()).await.map(Some),
                // Another device may have done it meanwhile.
                Upkeep::History if guard.needs_history_rotation()? => guard.rotate_history().await.map(Some),
                Upkeep::History => Ok(None),
                Upkeep::Sharing(Sharing { history, rotate }) => {
                    match (history.is_shared(), guard.is_history_enabled()?) {
                        (true, false) => guard.enable_history_sharing().await.map(Some),
                        (false, true) => guard.disable_history_sharing().await.map(Some),
                        (true, true) if rotate => guard.rotate_history().await.map(Some),
                        _ => Ok(None),
                    }
                }
            };
            match self.outcome(conversation, tx, committed).await? {
                Attempt::Done => return Ok(()),
                Attempt::Again => {}
                Attempt::Afresh(misfit) => retries.misfit(misfit)?,
            }
            retries.next(self).await?;
        }
    }

    /// Gives this device new keys in the conversations where they are due at `now`, the longest overdue first, and says in
    /// how many: at most eight. What goes wrong with one of them is left for the next time.
    ///
    /// [`sync`](Self::sync) does it with the clock's time; an application has no need to.
    pub async fn rotate_keys(&self, now: SystemTime) -> Result<usize> {
        let mut rotated = 0;
        for group in self.inner().session.key_rotations_due(now)? {
            let Some(conversation) = conversation_of(&group) else { continue };
            if tolerate(self.rotate(conversation, now).await)? == Some(true) {
                rotated += 1;
            }
            if rotated == ROTATIONS {
                break;
            }
        }
        Ok(rotated)
    }

    /// Once: whoever commits first meanwhile has this device try again at the next synchronisation.
    async fn rotate(&self, conversation: ConversationId, now: SystemTime) -> Result<bool> {
        let group = self.group_of(conversation)?;
        let mut tx = self.inner().session.new_transaction().await?;
        if !tx.conversation_exists(&group)? {
            return Ok(false);
        }
        let mut guard = tx.conversation(&group).await?;
        if guard.epoch()? == 0 && self.inner().hub.is_some() {
            // The hub has not heard of it yet.
            return Ok(false);
        }
        let rotated = guard.rotate_key_material_if_due(now).await;
        let has_rotated = matches!(rotated, Ok(Some(_)));
        self.outcome(conversation, tx, rotated).await?;
        Ok(has_rotated)
    }

    /// Sees to it that this device is in the conversation's group and can encrypt for it.
    pub(crate) async fn ready(&self, conversation: ConversationId) -> Result<()> {
        self.ready_with(conversation, Caution::Compare).await
    }

    /// The same, comparing the group with what is known of it or not.
    pub(crate) async fn ready_with(&self, conversation: ConversationId, caution: Caution) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let group = self.group_of(conversation)?;
            let row = self.inner().store.read(|r| r.conversation(conversation))?;
            match row {
                Some(row) if row.distrusted => return Err(Error::Distrusted { conversation }),
                Some(row) if row.active => {}
                _ => return Err(Error::NotAMember { conversation }),
            }
            if self.inner().session.pending_commit(&group)?.is_some() {
                self.settle(conversation, &mut SyncReport::default()).await?;
            } else if self.is_enveloped(conversation)? {
                let view = self.inner().session.conversation(&group)?;
                if view.is_restored() {
                    self.upkeep(conversation, Upkeep::Keys).await?;
                } else if view.pending_proposals() > 0 {
                    self.upkeep(conversation, Upkeep::Proposals).await?;
                } else {
                    return Ok(());
                }
            } else if !self.inner().session.conversation_exists(&group)? {
                let at_hub = self.hub()?.conversation(conversation).await?;
                if *at_hub.group_id.as_ref() != *group.as_bytes() {
                    // It was begun anew meanwhile: the events say so.
                    self.catch_up(&mut SyncReport::default()).await?;
                } else if at_hub.epoch == 0 {
                    Box::pin(self.begin(&at_hub, &[], None)).await?;
                } else {
                    // A Welcome may wait among the events. Who joins by it reads what was said since, and who joins by external
                    // commit does not.
                    Box::pin(self.catch_up(&mut SyncReport::default())).await?;
                    if !self.inner().session.conversation_exists(&group)? {
                        Box::pin(self.join_group(conversation, caution)).await?;
                    }
                }
            } else {
                let view = self.inner().session.conversation(&group)?;
                if view.epoch() == 0 {
                    let at_hub = self.hub()?.conversation(conversation).await?;
                    Box::pin(self.begin(&at_hub, &[], None)).await?;
                } else if view.is_restored() {
                    self.upkeep(conversation, Upkeep::Keys).await?;
                } else if view.pending_proposals() > 0 {
                    self.upkeep(conversation, Upkeep::Proposals).await?;
                } else {
                    return Ok(());
                }
            }
        }
        Err(Error::Contended { attempts: ATTEMPTS })
    }

    /// A subconversation goes when its parent's group does.
    async fn tie_to_parent(&self, tx: &mut TransactionContext, id: ConversationId) -> Result<()> {
        let row = self.inner().store.read(|r| r.conversation(id))?;
        if let Some((parent, _)) = row.and_then(|row| row.subconversation) {
            let (group, above) = (self.group_of(id)?, self.group_of(parent)?);
            tx.conversation(&group).await?.mark_as_child_of(&above).await?;
        }
        Ok(())
    }

    async fn change_once(
        &self,
        conversation: ConversationId,
        change: &Change,
        claimed: &Claimed,
    ) -> Result<Attempt> {
        let group = self.group_of(conversation)?;
        let mut tx = self.inner().session.new_transaction().await?;
        if !tx.conversation_exists(&group)? {
            return Ok(Attempt::Again);
        }
        let mut guard = tx.conversation(&group).await?;
        let mut add = claimed.0.clone();
        let mut remove = Vec::new();
        for client in guard.client_ids()? {
            let Ok(address) = DeviceAddress::from_identity(client.as_bytes()) else { continue };
            if change.remove.contains(&address.user) {
                remove.push(client);
                // Who is in both comes back in the place of the old leaf.
                if change.complete.contains(&address.user) {
                    continue;
                }
            }
            add.remove(&address);
        }
        let policy = match &change.policy {
            // A proof is for who comes in with the commit.
            Some(PolicyChange::Admit(..)) if add.is_empty() => None,
            Some(change) => {
                let arriving = add.keys().map(|device| device.user).collect();
                changed_policy(guard.group_data()?.as_deref(), change, &arriving)?
            }
            None => None,
        };
        if add.is_empty() && remove.is_empty() && policy.is_none() {
            return Ok(Attempt::Done);
        }
        // Who joins by Welcome cannot read what was said before, the name neither.
        let row = self.inner().store.read(|r| r.conversation(conversation))?;
        let announcement = match row.as_ref().and_then(announced_name) {
            // While the protocol is mixed, names go pairwise too.
            Some(name) if !add.is_empty() && !self.protocol(conversation)?.sends_pairwise() => {
                Some(self.reminder(conversation, &name)?)
            }
            _ => None,
        };
        let mut options = options(announcement);
        options.group_data = policy;
        let mut gives_more_later = false;
        if !add.is_empty() {
            let (sharing, is_all) = self.sharing(conversation, &guard.history_spans()?)?;
            options.history = sharing;
            gives_more_later = !is_all;
        }
        let committed = if add.is_empty() && remove.is_empty() {
            guard.update_key_material_with(options).await
        } else {
            guard.change_members(add.into_values().collect(), &remove, options).await
        }
        .map(Some);
        if gives_more_later && committed.is_ok() {
            let mut todo = Todo::of(&tx)?;
            todo.share.insert(conversation);
            todo.write(&mut tx)?;
        }
        self.outcome(conversation, tx, committed).await
    }

    /// Ends an attempt: done, to be repeated, or an error that the caller must know.
    async fn outcome(
        &self,
        conversation: ConversationId,
        mut tx: TransactionContext,
        committed: std::result::Result<Option<CommitSummary>, EngineError>,
    ) -> Result<Attempt> {
        match committed {
            Ok(summary) => {
                let group = self.group_of(conversation)?;
                if let Some(summary) = summary {
                    self.note_own_commit(&mut tx, conversation, &summary).await?;
                }
                self.note_succession(&mut tx, conversation, &group).await?;
                note_policy(&mut tx, conversation, &group).await?;
                tx.finish().await?;
                Ok(Attempt::Done)
            }
            Err(EngineError::CommitRejected(RejectReason::StaleEpoch { .. })) => {
                tx.finish().await?;
                Ok(Attempt::Again)
            }
            Err(EngineError::CommitRejected(RejectReason::Refused { code, detail })) => {
                tx.finish().await?;
                match code.parse::<Code>() {
                    Ok(
                        Code::DeviceMismatch
                        | Code::MissingProposals
                        | Code::ProposalNotFound
                        | Code::InconsistentGroupInfo
                        | Code::InvalidCommit,
                    ) => {
                        tracing::debug!(code, detail, "the hub knows the group otherwise");
                        Ok(Attempt::Afresh(Error::Refused { code, detail }))
                    }
                    Ok(Code::DeviceRemoved) => Err(Error::DeviceRemoved),
                    _ => Err(Error::Refused { code, detail }),
                }
            }
            Err(EngineError::PendingCommit { .. } | EngineError::CommitOutcomeUnknown { .. }) => {
                tx.abort();
                Ok(Attempt::Again)
            }
            // Others carry out what this device may not: its own removal.
            Err(EngineError::OwnRemovalPending) => Ok(Attempt::Done),
            Err(error) => Err(error.into()),
        }
    }

    /// A commit of this device carries out what others have proposed, too: devices that the hub alone vouches for.
    pub(crate) async fn note_own_commit(
        &self,
        tx: &mut TransactionContext,
        conversation: ConversationId,
        summary: &CommitSummary,
    ) -> Result<()> {
        let (group, own) = (self.group_of(conversation)?, self.own_address());
        let further = further_devices(tx, &group, (&summary.added, &summary.removed), &own).await?;
        Ok(tx.store_write(move |w| {
            further.iter().try_for_each(|suspicion| {
                tracing::warn!(conversation = %conversation.short(), %suspicion, "noticed");
                note(w, conversation, suspicion)
            })
        })?)
    }

    /// A commit of this device that removes the last admin, because the hub says so, makes somebody admin.
    pub(crate) async fn note_succession(
        &self,
        tx: &mut TransactionContext,
        conversation: ConversationId,
        group: &tertulia_mls::ConversationId,
    ) -> Result<()> {
        if !tx.conversation_exists(group)? {
            return Ok(());
        }
        let known = self.known(conversation)?;
        let policy = tx.conversation(group).await?.group_data()?;
        match succession(known.policy.as_deref(), policy.as_deref()) {
            Some(suspicion) => {
                tracing::warn!(conversation = %conversation.short(), %suspicion, "noticed");
                Ok(tx.store_write(move |w| note(w, conversation, &suspicion))?)
            }
            None => Ok(()),
        }
    }

    /// The message that tells those who may not know it the conversation's name.
    pub(crate) fn reminder(&self, conversation: ConversationId, name: &ConversationName) -> Result<Vec<u8>> {
        let (sender, room) = self.uris(self.me().user, conversation);
        let reminder = MimiContent::name_reminder(name.as_str()).with_origin(&sender, &room);
        Ok(self.with_own_type(conversation, reminder)?.encode()?)
    }

    /// The message that gives the conversation a name.
    pub(crate) fn announcement(
        &self,
        conversation: ConversationId,
        name: &ConversationName,
    ) -> Result<Vec<u8>> {
        let (sender, room) = self.uris(self.me().user, conversation);
        let announcement = MimiContent::name_announcement(name.as_str()).with_origin(&sender, &room);
        Ok(self.with_own_type(conversation, announcement)?.encode()?)
    }
}

/// The name that the members of a conversation tell each other. A channel's they have from the hub.
pub(crate) fn announced_name(row: &ConversationRow) -> Option<ConversationName> {
    let name = row.name.as_deref().filter(|_| !row.record.kind.has_public_name());
    name.and_then(|name| name.parse().ok())
}

/// The group data with which the policy is changed. None if it is so already.
fn changed_policy(
    data: Option<&[u8]>,
    change: &PolicyChange,
    arriving: &BTreeSet<UserId>,
) -> Result<Option<Vec<u8>>> {
    let before = decode(data)
        .map_err(|_| Error::UntrustworthyHub { what: "the group has no policy that can be read" })?;
    let after = change.of(before.clone(), arriving);
    Ok((after != before).then(|| encode(&after)))
}

fn options(announcement: Option<Vec<u8>>) -> CommitOptions {
    announcement.map(CommitOptions::with_message).unwrap_or_default()
}

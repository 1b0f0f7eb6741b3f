//! A conversation's MLS group: beginning it, joining it, changing it, whatever others do at the same time.

use crate::{
    Client, Error, Result, SyncReport, apply::note_policy, link::conversation_of, suspicion::Suspicion,
    sync::tolerate,
};
use backon::{BackoffBuilder as _, ExponentialBuilder};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};
use tertulia_api::{
    Code,
    account::ClaimedKeyPackage,
    conversation::Conversation,
    policy::{decode, encode},
};
use tertulia_content::MimiContent;
use tertulia_domain::{
    ConversationId, ConversationName, ConversationType, DeviceAddress, Role, UserId,
    policy::{AddPermission, Policy},
};
use tertulia_mls::{
    ClientId, CommitOptions, EngineError, KeyPackage, MlsConversationConfiguration, RejectReason,
    TransactionContext, VerifiableGroupInfo,
};
use tertulia_store::Setting;

/// How often a change is made anew after another device's commit came first.
const ATTEMPTS: usize = 20;
/// How often it is made anew after the hub found it unfit for the group as it is.
const MISFITS: usize = 3;
/// In how many conversations keys are rotated at once, so that a synchronisation does not take long.
const ROTATIONS: usize = 8;
/// How many users' key packages are claimed in one request.
const CLAIM: usize = 100;

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
    /// Another role for a member.
    Role { user: UserId, role: Role },
    /// Another rule of who may add members.
    AddPermission(AddPermission),
}

impl PolicyChange {
    fn of(&self, policy: Policy) -> Policy {
        match self {
            Self::Role { user, role } => policy.with_role(*user, role),
            Self::AddPermission(permission) => policy.with_add_permission(*permission),
        }
    }
}

/// Key packages that were claimed and not used yet, by device.
#[derive(Debug, Default)]
struct Claimed(BTreeMap<DeviceAddress, KeyPackage>);

/// What a device may owe to a group.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Upkeep {
    /// To commit the proposals that wait, which are the hub's removals of who has left.
    Proposals,
    /// To get keys of its own that no copy of the home has.
    Keys,
    /// To give history another secret, for somebody who was removed holds the old one.
    History,
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
            self.claim(&wanted, &mut claimed).await?;
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
        let mut retries = Retries::new(conversation);
        loop {
            let mut tx = self.inner().session.new_transaction().await?;
            if !tx.conversation_exists(&group)? {
                return Ok(());
            }
            let mut guard = tx.conversation(&group).await?;
            let committed = match owed {
                Upkeep::Proposals => guard.commit_pending_proposals().await,
                Upkeep::Keys => guard.update_key_material().await,
                // Another device may have done it meanwhile.
                Upkeep::History if guard.needs_history_rotation()? => guard.rotate_history().await.map(drop),
                Upkeep::History => Ok(()),
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
        if guard.epoch()? == 0 {
            // The hub has not heard of it yet.
            return Ok(false);
        }
        let rotated = guard.rotate_key_material_if_due(now).await;
        let has_rotated = matches!(rotated, Ok(Some(_)));
        self.outcome(conversation, tx, rotated).await?;
        Ok(has_rotated)
    }

    /// Joins the group as a further device, by external commit.
    pub(crate) async fn join(&self, conversation: ConversationId) -> Result<()> {
        let mut retries = Retries::new(conversation);
        loop {
            let group_info = match self.inner().hub.group_info(conversation).await {
                Err(error) if error.hub_code() == Some(Code::NoConversation) => {
                    return self.forget(conversation).await;
                }
                answer => answer?,
            };
            let group_info = VerifiableGroupInfo::from_bytes(&group_info)?;
            let group = self.group_of(conversation)?;
            if *group_info.conversation_id() != group {
                // Made for a group that has taken this one's place meanwhile, or by a hub that lies.
                retries.next(self).await?;
                continue;
            }
            self.check_epoch(conversation, group_info.epoch()).await?;
            let mut tx = self.inner().session.new_transaction().await?;
            let committed = if tx.conversation_exists(&group)? {
                Ok(())
            } else {
                let credential = self.own_credential(&tx)?;
                let joined = tx.join_by_external_commit(group_info, &credential).await;
                if let Ok(joined) = &joined {
                    let epoch = joined.epoch;
                    self.tie_to_parent(&mut tx, conversation).await?;
                    tx.store_write(move |w| {
                        w.set_joined(conversation, true)?;
                        w.set_since_epoch(conversation, epoch)
                    })?;
                }
                joined.map(drop)
            };
            if let Err(EngineError::AgainstTheRules(violation)) = &committed {
                // The rules are those of the group that the hub offers.
                let reason = violation.to_string();
                tx.abort();
                self.notice(conversation, Suspicion::ForbiddenGroup { reason }).await?;
                return Err(Error::UntrustworthyHub {
                    what: "the group that it offers is against its rules",
                });
            }
            match self.outcome(conversation, tx, committed).await? {
                Attempt::Done => return Ok(()),
                Attempt::Again => {}
                Attempt::Afresh(misfit) => retries.misfit(misfit)?,
            }
            retries.next(self).await?;
        }
    }

    /// Refuses to join a state of the group that is known to be over.
    async fn check_epoch(&self, conversation: ConversationId, epoch: u64) -> Result<()> {
        let row = self.inner().store.read(|r| r.conversation(conversation))?;
        let known = row.map_or(0, |row| row.record.epoch);
        if epoch >= known {
            return Ok(());
        }
        self.notice(conversation, Suspicion::OldGroupInfo { epoch, known }).await?;
        Err(Error::UntrustworthyHub { what: "it offers an old state of the group" })
    }

    /// Sees to it that this device is in the conversation's group and can encrypt for it.
    pub(crate) async fn ready(&self, conversation: ConversationId) -> Result<()> {
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
            } else if !self.inner().session.conversation_exists(&group)? {
                let at_hub = self.inner().hub.conversation(conversation).await?;
                if *at_hub.group_id.as_ref() != *group.as_bytes() {
                    // It was begun anew meanwhile: the events say so.
                    self.catch_up(&mut SyncReport::default()).await?;
                } else if at_hub.epoch == 0 {
                    self.begin(&at_hub, &[], None).await?;
                } else {
                    self.join(conversation).await?;
                }
            } else {
                let view = self.inner().session.conversation(&group)?;
                if view.epoch() == 0 {
                    let at_hub = self.inner().hub.conversation(conversation).await?;
                    self.begin(&at_hub, &[], None).await?;
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

    /// Begins the conversation's group with its members, and with `more` users. Somebody else may be quicker, which serves as
    /// well.
    pub(crate) async fn begin(
        &self,
        conversation: &Conversation,
        more: &[UserId],
        name: Option<&ConversationName>,
    ) -> Result<()> {
        let id = conversation.conversation;
        let members: Vec<UserId> =
            conversation.members.iter().map(|member| member.user).chain(more.iter().copied()).collect();
        let announcement = name.map(|name| self.announcement(id, name)).transpose()?;
        let mut claimed = Claimed::default();
        let mut retries = Retries::new(id);
        loop {
            self.claim(&members, &mut claimed).await?;
            match self.begin_once(conversation, &claimed, announcement.clone()).await? {
                Attempt::Done => return Ok(()),
                Attempt::Again => {}
                Attempt::Afresh(misfit) => {
                    retries.misfit(misfit)?;
                    claimed = Claimed::default();
                }
            }
            retries.next(self).await?;
            if self.inner().hub.conversation(id).await?.epoch > 0 {
                return Ok(());
            }
        }
    }

    async fn begin_once(
        &self,
        conversation: &Conversation,
        claimed: &Claimed,
        announcement: Option<Vec<u8>>,
    ) -> Result<Attempt> {
        let Conversation { conversation: id, kind, .. } = *conversation;
        let group = self.group_of(id)?;
        let mut tx = self.inner().session.new_transaction().await?;
        if !tx.conversation_exists(&group)? {
            let credential = self.own_credential(&tx)?;
            tx.new_conversation(&group, &credential, self.configuration(id, kind)?)?;
        } else if tx.conversation(&group).await?.epoch()? > 0 {
            return Ok(Attempt::Done);
        }
        let mut guard = tx.conversation(&group).await?;
        let mut options = options(announcement);
        options.group_data = self.policy_to_keep(conversation);
        let committed = if claimed.0.is_empty() {
            guard.update_key_material_with(options).await
        } else {
            let add = claimed.0.values().cloned().collect();
            guard.change_members(add, &[], options).await
        };
        match &committed {
            Ok(_) => {
                self.tie_to_parent(&mut tx, id).await?;
                tx.store_write(move |w| {
                    w.set_joined(id, true)?;
                    w.set_since_epoch(id, 1)
                })?;
            }
            // What was begun here is void, for the hub has another beginning, or none. Another process of this home may have
            // joined that one meanwhile.
            Err(EngineError::CommitRejected(_)) => {
                if tx.conversation_exists(&group)? && tx.conversation(&group).await?.epoch()? == 0 {
                    self.wipe(&mut tx, id)?;
                }
            }
            Err(_) => {}
        }
        self.outcome(id, tx, committed).await
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

    /// The group data in which those who are members already, while messages go pairwise, keep the roles that they have.
    fn policy_to_keep(&self, conversation: &Conversation) -> Option<Vec<u8>> {
        if !conversation.protocol.sends_pairwise() {
            return None;
        }
        let me = self.me().user;
        let policy = Policy::new(conversation.conversation, conversation.kind, me).ok()?;
        let roles: BTreeMap<UserId, Role> = conversation
            .members
            .iter()
            .map(|member| (member.user, Role::predefined(&member.role).unwrap_or(Role::MEMBER)))
            .collect();
        let add = |policy: Policy, (user, role): (UserId, Role)| policy.with_members([user], &role);
        Some(encode(&roles.into_iter().fold(policy, add)))
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
            }
            add.remove(&address);
        }
        let policy = match &change.policy {
            Some(change) => changed_policy(guard.group_data()?.as_deref(), change)?,
            None => None,
        };
        if add.is_empty() && remove.is_empty() && policy.is_none() {
            return Ok(Attempt::Done);
        }
        // Who joins by Welcome cannot read what was said before, the name neither.
        let name = self.inner().store.read(|r| r.conversation(conversation))?.and_then(|row| row.name);
        let announcement = match name.and_then(|name| name.parse().ok()) {
            // While the protocol is mixed, names go pairwise too.
            Some(name) if !add.is_empty() && !self.protocol(conversation)?.sends_pairwise() => {
                Some(self.announcement(conversation, &name)?)
            }
            _ => None,
        };
        let mut options = options(announcement);
        options.group_data = policy;
        let committed = if add.is_empty() && remove.is_empty() {
            guard.update_key_material_with(options).await
        } else {
            guard.change_members(add.into_values().collect(), &remove, options).await
        };
        self.outcome(conversation, tx, committed).await
    }

    /// Ends an attempt: done, to be repeated, or an error that the caller must know.
    async fn outcome<T>(
        &self,
        conversation: ConversationId,
        mut tx: TransactionContext,
        committed: std::result::Result<T, EngineError>,
    ) -> Result<Attempt> {
        match committed {
            Ok(_) => {
                let group = self.group_of(conversation)?;
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

    /// Those of the users who have no device in the group yet. Devices of members join by themselves.
    fn absent(&self, conversation: ConversationId, users: &[UserId]) -> Result<Vec<UserId>> {
        let view = self.inner().session.conversation(&self.group_of(conversation)?)?;
        let present: BTreeSet<UserId> = view
            .client_ids()?
            .iter()
            .filter_map(|client| DeviceAddress::from_identity(client.as_bytes()).ok())
            .map(|address| address.user)
            .collect();
        Ok(users.iter().copied().filter(|user| !present.contains(user)).collect())
    }

    /// Claims key packages of the users' devices that none was claimed of yet. Every other user has one at least.
    async fn claim(&self, users: &[UserId], claimed: &mut Claimed) -> Result<()> {
        let wanted: Vec<UserId> = users
            .iter()
            .copied()
            .filter(|user| !claimed.0.keys().any(|device| device.user == *user))
            .collect();
        for some in wanted.chunks(CLAIM) {
            for package in self.inner().hub.claim_key_packages(some.to_vec()).await?.key_packages {
                let ClaimedKeyPackage { user, device, key_package } = package;
                let address = DeviceAddress::new(user, device, self.me().domain.clone());
                let key_package = KeyPackage::from_bytes(key_package.as_ref())?;
                if *key_package.client_id() != ClientId::from(address.to_identity()) {
                    return Err(Error::UntrustworthyHub { what: "a key package is not the named device's" });
                }
                claimed.0.insert(address, key_package);
            }
        }
        let me = self.me().user;
        match wanted.iter().find(|user| **user != me && !claimed.0.keys().any(|device| device.user == **user))
        {
            None => Ok(()),
            Some(user) => Err(Error::NoDevices { handle: self.inner().store.read(|r| r.handle(*user))? }),
        }
    }

    /// How the group of a conversation is set up. That of a group or channel begins with a policy in which its creator is alone.
    fn configuration(
        &self,
        id: ConversationId,
        kind: ConversationType,
    ) -> Result<MlsConversationConfiguration> {
        let key = self.inner().store.read(|r| r.setting(Setting::HubKey))?.ok_or(Error::NotSignedIn)?;
        let key = hex::decode(key).map_err(|_| Error::NotSignedIn)?;
        let custom = self.inner().session.config().joined.clone();
        let mut configuration = MlsConversationConfiguration { custom, ..Default::default() };
        configuration.set_raw_external_senders(vec![key])?;
        // A group that is begun anew has the policy of the one before, less who has left since.
        let row = self.inner().store.read(|r| r.conversation(id))?;
        let before = row.filter(|row| row.generation > 0).and_then(|row| row.policy);
        configuration.group_data = match before {
            Some(before) => Some(before),
            None => Policy::new(id, kind, self.me().user).ok().map(|policy| encode(&policy)),
        };
        Ok(configuration)
    }

    /// The message that tells the members the conversation's name.
    pub(crate) fn announcement(
        &self,
        conversation: ConversationId,
        name: &ConversationName,
    ) -> Result<Vec<u8>> {
        let (sender, room) = self.uris(self.me().user, conversation);
        Ok(MimiContent::name_announcement(name.as_str()).with_origin(&sender, &room).encode()?)
    }
}

/// The group data with which the policy is changed. None if it is so already.
fn changed_policy(data: Option<&[u8]>, change: &PolicyChange) -> Result<Option<Vec<u8>>> {
    let before = decode(data)
        .map_err(|_| Error::UntrustworthyHub { what: "the group has no policy that can be read" })?;
    let after = change.of(before.clone());
    Ok((after != before).then(|| encode(&after)))
}

fn options(announcement: Option<Vec<u8>>) -> CommitOptions {
    announcement.map(CommitOptions::with_message).unwrap_or_default()
}

/// The pauses between attempts: short at first, with jitter, so that devices that were in each other's way part.
struct Retries {
    conversation: ConversationId,
    delays: backon::ExponentialBackoff,
    misfits: usize,
}

impl Retries {
    fn new(conversation: ConversationId) -> Self {
        let delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(10))
            .with_max_delay(Duration::from_secs(2))
            .with_max_times(ATTEMPTS)
            .with_jitter()
            .build();
        Self { conversation, delays, misfits: 0 }
    }

    /// Counts a change that the hub found unfit; after some it is the caller's to know.
    fn misfit(&mut self, misfit: Error) -> Result<()> {
        self.misfits += 1;
        if self.misfits < MISFITS { Ok(()) } else { Err(misfit) }
    }

    /// Pauses, and catches up with what the others did.
    async fn next(&mut self, client: &Client) -> Result<()> {
        let delay = self.delays.next().ok_or(Error::Contended { attempts: ATTEMPTS })?;
        tracing::debug!(conversation = %self.conversation.short(), ?delay, "another device was first, trying again");
        tokio::time::sleep(delay).await;
        if client.inner().session.pending_commit(&client.group_of(self.conversation)?)?.is_some() {
            return client.settle(self.conversation, &mut SyncReport::default()).await;
        }
        client.catch_up(&mut SyncReport::default()).await
    }
}

//! Commits in two phases: published first, applied when the hub has accepted them.
//!
//! | step | on disk | lock |
//! |---|---|---|
//! | build | | held |
//! | persist | the transaction so far, and the commit with the secrets of the state after it, as *pending* | held |
//! | send | the same | free |
//! | settle: accepted | the state after the commit, nothing pending | held |
//! | settle: rejected, when it was sent for the first time | the state before, nothing pending | held |
//! | settle: unknown, or rejected when it was sent again | the state before, the commit pending | held |
//!
//! A crash anywhere leaves one of these rows. A commit that is still pending is settled later: by its own echo or by
//! another's commit for its epoch, when it is received, or by [`ConversationGuard::settle_pending`].

mod batches;
mod join;
mod newcomers;
mod rotate;
mod settle;

use std::borrow::Borrow;

use mls_rs::{
    MlsMessage,
    error::MlsError,
    group::{CommitOutput, CommitSecrets},
    psk::ExternalPskId,
};

pub(crate) use self::settle::changes;
use self::settle::publish;
use crate::{
    ClientId, CommitIntent, CommitSummary, ConversationGuard, EngineError, HistorySharing, KeyPackage,
    KeyPackageIn, MlsCommitBundle, MlsGroupInfoBundle, NewCrlDistributionPoints, RejectReason, Result,
    Settlement,
    conversation::is_to_be_removed,
    crypto::ShareInfo,
    history::{self, HistoryChange, HistoryPlan},
    identity::Judge,
    loaded::Loaded,
    overlay::Overlay,
    record::{PendingRecord, PendingState},
    rules::{own_refusal, with_data},
    transaction::{check_group_data, failure},
};

/// What goes with a commit.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitOptions {
    /// The plaintext of an application message to the members after the commit, new ones included. It becomes
    /// [`MlsCommitBundle::encrypted_message`].
    pub encrypted_message: Option<Vec<u8>>,
    /// Which history goes to those whom the commit adds.
    pub history: HistorySharing,
    /// The ids of external pre-shared keys that are mixed into the secrets of the epoch. All members must have them, or
    /// they cannot follow.
    pub psks: Vec<Vec<u8>>,
    /// What the group data is to be: see [`GroupRules`](crate::GroupRules). None: as the rules derive it from the change.
    pub group_data: Option<Vec<u8>>,
    /// Whether the commit is sent as a `PublicMessage`, also where the group's handshake messages are encrypted. It uses no key of
    /// the epoch, so a store that was restored can make it ([`EngineError::StateRestored`]). For who sends it inside another encryption
    /// of the members, or accepts that it can be read on the way.
    pub readable: bool,
}

impl CommitOptions {
    /// Sends this application message with the commit.
    #[must_use]
    pub fn with_message(message: impl Into<Vec<u8>>) -> Self {
        Self { encrypted_message: Some(message.into()), ..Self::default() }
    }

    /// Gives those whom the commit adds this part of the history, instead of the span that is open.
    #[must_use]
    pub fn history(self, history: HistorySharing) -> Self {
        Self { history, ..self }
    }

    /// Gives the group this data, if the rules allow it.
    #[must_use]
    pub fn with_group_data(self, data: impl Into<Vec<u8>>) -> Self {
        Self { group_data: Some(data.into()), ..self }
    }

    /// Sends the commit as a `PublicMessage`: see [`readable`](Self::readable).
    #[must_use]
    pub fn readable(self) -> Self {
        Self { readable: true, ..self }
    }

    /// Mixes in the pre-shared key with this id.
    #[must_use]
    pub fn with_psk(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.psks.push(id.into());
        self
    }
}

impl std::fmt::Debug for CommitOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommitOptions")
            .field("encrypted_message", &self.encrypted_message.as_ref().map(Vec::len))
            .field("history", &self.history)
            .field("psks", &self.psks.len())
            .field("group_data", &self.group_data.as_ref().map(Vec::len))
            .field("readable", &self.readable)
            .finish()
    }
}

/// Most members added or removed at once.
const MAX_CHANGES: usize = 10_000;

impl ConversationGuard<'_> {
    /// Adds members by their key packages. Pending proposals go with it.
    ///
    /// It returns the revocation lists that the newcomers' certificates name. For more of what came of it, or to send a
    /// message along: [`change_members`](Self::change_members).
    pub async fn add_members(&mut self, key_packages: Vec<KeyPackageIn>) -> Result<NewCrlDistributionPoints> {
        let summary = self.change_members(key_packages, &[], CommitOptions::default()).await?;
        Ok(summary.crl_new_distribution_points)
    }

    /// Removes members. Pending proposals go with it.
    pub async fn remove_members(&mut self, clients: &[impl Borrow<ClientId>]) -> Result<()> {
        let clients: Vec<ClientId> = clients.iter().map(|client| client.borrow().clone()).collect();
        self.change_members(Vec::new(), &clients, CommitOptions::default()).await.map(drop)
    }

    /// Adds and removes members in one commit, with options. Pending proposals go with it.
    ///
    /// More new members than [`SessionConfig::adds_per_commit`](crate::SessionConfig::adds_per_commit) are added by several
    /// commits, one after the other. If one of them fails, [`EngineError::ChangedInPart`] tells what those before it did,
    /// which stands.
    pub async fn change_members(
        &mut self,
        add: Vec<KeyPackage>,
        remove: &[ClientId],
        options: CommitOptions,
    ) -> Result<CommitSummary> {
        let requested = add.len() + remove.len();
        if requested == 0 {
            return Err(EngineError::NothingToCommit);
        }
        if requested > MAX_CHANGES {
            return Err(EngineError::TooMany { requested, max: MAX_CHANGES });
        }
        let most = self.config().adds_per_commit.max(1);
        if add.len() > most {
            return self.change_in_batches(&add, most, remove, options).await;
        }
        let record = self.stage(&add, remove, options, HistoryChange::Keep)?;
        self.publish(record).await
    }

    /// Gives the own leaf new keys, which heals the conversation if the old ones were stolen. Pending proposals go with
    /// it.
    pub async fn update_key_material(&mut self) -> Result<()> {
        self.update_key_material_with(CommitOptions::default()).await.map(drop)
    }

    /// [`update_key_material`](Self::update_key_material) with options.
    pub async fn update_key_material_with(&mut self, options: CommitOptions) -> Result<CommitSummary> {
        let record = self.stage(&[], &[], options, HistoryChange::Keep)?;
        self.publish(record).await
    }

    /// Commits the pending proposals. Nothing is done when there are none.
    ///
    /// Those that have become invalid are left out. If one removes this device, it is for others to commit:
    /// [`EngineError::OwnRemovalPending`].
    pub async fn commit_pending_proposals(&mut self) -> Result<()> {
        self.commit_pending_proposals_with(CommitOptions::default()).await.map(drop)
    }

    /// [`commit_pending_proposals`](Self::commit_pending_proposals) with options. None when there were none.
    pub async fn commit_pending_proposals_with(
        &mut self,
        options: CommitOptions,
    ) -> Result<Option<CommitSummary>> {
        if self.pending_proposals()? == 0 {
            return Ok(None);
        }
        let record = self.stage(&[], &[], options, HistoryChange::Keep)?;
        self.publish(record.with_intent(CommitIntent::Proposals)).await.map(Some)
    }

    /// Settles a commit whose outcome is unknown, knowing that the hub is in epoch `hub_epoch`.
    ///
    /// In the commit's own epoch the hub has not taken it, so that it is sent again, byte for byte. Past it, only the
    /// hub's log can tell whose commit was taken. It is never dropped on a guess.
    pub async fn settle_pending(&mut self, hub_epoch: u64) -> Result<Settlement> {
        let Some(pending) = self.pending()? else { return Ok(Settlement::NothingPending) };
        if hub_epoch < pending.epoch {
            return Err(EngineError::HubBehind { hub: hub_epoch, local: pending.epoch });
        }
        if hub_epoch > pending.epoch {
            return Ok(Settlement::AwaitLog { epoch: pending.epoch });
        }
        let epoch = pending.epoch;
        let record = self.pending_record()?;
        match self.publish(record).await {
            Ok(summary) => Ok(Settlement::Merged(summary)),
            // The first sending may have arrived meanwhile: that the epoch is over says nothing about whose commit it was.
            Err(EngineError::CommitRejected(RejectReason::StaleEpoch { .. })) => {
                Ok(Settlement::AwaitLog { epoch })
            }
            Err(EngineError::CommitRejected(reason)) => Ok(Settlement::Refused { epoch, reason }),
            Err(error) => Err(error),
        }
    }

    /// Drops the commit whose outcome is unknown, on the caller's word that the hub has not taken it and will not. Says
    /// whether there was one. It is written with the transaction.
    ///
    /// The engine drops a commit itself only when it knows what became of it. It cannot know that if the hub refuses a commit
    /// that was sent before, since the first sending may still arrive, and if what took the epoch of a pending join cannot be
    /// verified. Then this is the way on, for who has read the hub's log to its end without finding the commit. If the hub
    /// takes it after all, its echo is [`EngineError::OwnCommitLost`], and this device has to join again.
    pub fn give_up_pending_commit(&mut self) -> Result<bool> {
        let is_pending = self.pending()?.is_some();
        if is_pending {
            self.overlay()?.delete_pending(self.id.as_bytes());
        }
        Ok(is_pending)
    }

    /// Refused if this device cannot make a commit now.
    fn refuse_to_commit(&mut self, readable: bool) -> Result<()> {
        self.refuse_while_pending()?;
        let incarnation = self.overlay()?.incarnation();
        let config = self.config();
        let loaded = self.loaded()?;
        // An encrypted commit would use a key of this epoch, perhaps a second time.
        if loaded.meta.encrypts_handshake() && !readable && loaded.meta.incarnation != Some(incarnation) {
            return Err(EngineError::StateRestored);
        }
        if is_to_be_removed(config.group_rules.as_deref(), &loaded.group) {
            return Err(EngineError::OwnRemovalPending);
        }
        Ok(())
    }

    /// Builds a commit without changing the group.
    pub(crate) fn stage(
        &mut self,
        add: &[KeyPackage],
        remove: &[ClientId],
        options: CommitOptions,
        history: HistoryChange,
    ) -> Result<PendingRecord> {
        self.refuse_to_commit(options.readable)?;
        let config = self.config();
        let overlay = self.overlay()?.clone();
        let loaded = self.loaded()?;
        let intent = match history {
            _ if !add.is_empty() || !remove.is_empty() => {
                let add = add.iter().map(|package| package.client_id().clone()).collect();
                CommitIntent::Members { add, remove: remove.to_vec() }
            }
            HistoryChange::Keep => CommitIntent::Update,
            _ => CommitIntent::History,
        };
        let mut add = newcomers::check(&config, &loaded.group, add, remove)?;
        let mut judge = Judge::new(&overlay, &config);
        for package in add.iter().filter_map(MlsMessage::as_key_package) {
            judge.key_package(package.signing_identity(), &loaded.group)?;
        }
        let refused = judge.gone_bad(&loaded.group)?;
        let mut leaves = Vec::with_capacity(remove.len());
        for client in remove {
            let canonical = config.client_id_policy.canonical(client)?;
            let member = loaded
                .group
                .member_with_identity(canonical.as_bytes())
                .map_err(|_| EngineError::NoSuchMember(client.clone()))?;
            if member.index == loaded.group.current_member_index() {
                return Err(EngineError::CannotRemoveSelf);
            }
            if !leaves.contains(&member.index) {
                leaves.push(member.index);
            }
        }
        check_group_data(options.group_data.as_deref())?;
        for id in &options.psks {
            if overlay.psk(id)?.is_none() {
                return Err(EngineError::PskNotFound);
            }
        }
        let adds = !add.is_empty();
        let plan = self.plan_history(history, &leaves, adds, &options)?;
        leaves.extend(&plan.remove);
        add.extend(plan.new.iter().map(|new| new.key_package.clone()));
        let loaded = self.loaded()?;
        let built = overlay.sending(options.readable, || {
            overlay.trust().refusing(refused, || build(loaded, add, &leaves, &options))
        });
        match built {
            Ok((bundle, secrets)) => {
                let record = self.finish_staging(bundle, secrets, options, plan);
                if record.is_err() {
                    self.restore()?;
                }
                Ok(record?.with_intent(intent))
            }
            Err(error) => {
                self.restore()?;
                Err(refused_commit(&overlay, error, adds))
            }
        }
    }

    /// Encrypts the message that goes along, and makes the record.
    fn finish_staging(
        &mut self,
        mut bundle: MlsCommitBundle,
        secrets: CommitSecrets,
        options: CommitOptions,
        plan: HistoryPlan,
    ) -> Result<PendingRecord> {
        let overlay = self.overlay()?.clone();
        let id = self.id.clone();
        let library = |error: MlsError| failure(&overlay, error);
        let loaded = self.loaded()?;
        let state = secrets.to_bytes().map_err(library)?;
        let epoch = loaded.group.current_epoch();
        let (message, history) = plan.message(&id, epoch + 1, &bundle, options.encrypted_message)?;
        if let Some(message) = message {
            // The state after the commit, on a copy. It is made again when the commit is merged, and `merge` then skips the
            // key that is used here.
            let mut after = loaded.group.clone();
            after.apply_detached_commit(secrets).map_err(library)?;
            let encrypted = after
                .encrypt_application_message(&message.payload, message.authenticated_data.to_vec())
                .map_err(library)?;
            bundle.encrypted_message = Some(encrypted.to_bytes().map_err(library)?);
        }
        // An encrypted commit has used up a key of this epoch.
        if loaded.meta.encrypts_handshake() {
            loaded.snapshot(&overlay)?;
        }
        history::keep_with_pending(&overlay, &id, history.as_ref())?;
        let state = PendingState::Commit(state.into());
        Ok(PendingRecord::new(epoch, overlay.incarnation(), bundle, state, CommitIntent::Update))
    }

    /// Sends a pending commit, and settles it by the answer.
    pub(crate) async fn publish(&mut self, record: PendingRecord) -> Result<CommitSummary> {
        let mut summary = self.publish_only(record).await?;
        summary.buffered_messages = self.replay(Vec::new())?.into_messages();
        Ok(summary)
    }

    /// The same, without processing what has waited for the new epoch: that is not written by this commit any more, but with
    /// what the application makes of it.
    async fn publish_only(&mut self, record: PendingRecord) -> Result<CommitSummary> {
        let again = self.pending()?.is_some_and(|pending| pending == record.head);
        publish(self.tx, &self.id, record, again).await
    }
}

/// A commit of `add`, `leaves` to remove, what the options say, and the pending proposals.
fn build(
    loaded: &mut Loaded,
    add: Vec<MlsMessage>,
    leaves: &[u32],
    options: &CommitOptions,
) -> Result<(MlsCommitBundle, CommitSecrets), MlsError> {
    let extensions = options
        .group_data
        .as_deref()
        .map(|data| with_data(loaded.group.context().extensions.clone(), Some(data)));
    let mut builder = loaded.group.commit_builder();
    for package in add {
        builder = builder.add_member(package)?;
    }
    for leaf in leaves {
        builder = builder.remove_member(*leaf)?;
    }
    if let Some(extensions) = extensions {
        builder = builder.set_group_context_ext(extensions)?;
    }
    for id in &options.psks {
        builder = builder.add_external_psk(ExternalPskId::new(id.clone()))?;
    }
    let sharing = ShareInfo::begin();
    let (output, secrets) = builder.build_detached()?;
    drop(sharing);
    Ok((bundle(&output)?, secrets))
}

/// What is sent of a commit.
fn bundle(output: &CommitOutput) -> Result<MlsCommitBundle, MlsError> {
    let group_info = output.external_commit_group_info.as_ref().ok_or(MlsError::InvalidGroupInfo)?;
    Ok(MlsCommitBundle {
        welcome: output.welcome_messages.first().map(MlsMessage::to_bytes).transpose()?,
        commit: output.commit_message.to_bytes()?,
        group_info: MlsGroupInfoBundle::full_plaintext(group_info.to_bytes()?),
        encrypted_message: None,
    })
}

/// Why the library would not build a commit. What comes from outside in a commit are the key packages.
fn refused_commit(overlay: &Overlay, error: MlsError, adds: bool) -> EngineError {
    if let Some(failure) = overlay.take_failure() {
        return failure;
    }
    match own_refusal(&error) {
        Some(error) => error,
        None if adds => EngineError::InvalidKeyPackage(Some(Box::new(error))),
        None => EngineError::Library(Box::new(error)),
    }
}

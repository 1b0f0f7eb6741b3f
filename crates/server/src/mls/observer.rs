//! Follows groups from commit to commit, as somebody who is not in them.

use std::collections::BTreeSet;

use mls_rs::{
    ExtensionList, MlsMessage,
    crypto::{SignaturePublicKey, SignatureSecretKey},
    extension::{ExtensionType, built_in::ExternalSendersExt},
    external_client::{
        ExternalClient, ExternalGroup, ExternalReceivedMessage, ExternalSnapshot,
        builder::{ExternalBaseConfig, WithCryptoProvider, WithIdentityProvider},
    },
    group::{
        CommitEffect, GroupContext, Member, Sender,
        proposal::{AddProposal, Proposal},
    },
    identity::SigningIdentity,
    time::MlsTime,
};
use mls_rs_crypto_awslc::AwsLcCryptoProvider;
use tertulia_api::{UserDevice, policy};
use tertulia_domain::{DeviceAddress, Domain, Handshake, UserId};

use super::{
    CIPHER_SUITE, CommitBundle, DeviceIdentityProvider, Rejection,
    checks::{
        Removing, check_references, check_welcome, described_group, reference, referred_adds, removals,
    },
    identity::is_history_client,
    key_package::expires_soon,
    message::{CommitSender, Part},
};

pub(super) type Config =
    WithIdentityProvider<DeviceIdentityProvider, WithCryptoProvider<AwsLcCryptoProvider, ExternalBaseConfig>>;
pub(super) type Group = ExternalGroup<Config>;

/// Observes the groups of one hub, and signs the hub's proposals as their external sender 0.
pub(crate) struct Observer {
    identities: DeviceIdentityProvider,
    secret: SignatureSecretKey,
    public: SignaturePublicKey,
}

/// A device in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// Its leaf's index in the tree.
    pub(crate) index: u32,
    pub(crate) device: UserDevice,
    /// The key that its leaf has.
    pub(crate) signature_key: Vec<u8>,
}

/// A commit that MLS allows, and what it does to the group. Whether its sender may do that is not known yet.
#[derive(Debug)]
pub(crate) struct ValidCommit {
    /// The epoch that it makes.
    pub(crate) epoch: u64,
    /// The group after it, as [`Observer`] loads it again.
    pub(crate) snapshot: Vec<u8>,
    /// The devices that it adds and that join by its Welcome.
    pub(crate) added: Vec<Leaf>,
    /// Those of them that were added as was proposed: by themselves, or by a member for a user who is in it.
    pub(crate) proposed: BTreeSet<UserDevice>,
    /// Whether it adds a history client, which is no device.
    pub(crate) history: bool,
    /// The leaf of its sender after it.
    pub(crate) committer: Leaf,
    /// Whether the sender was not in the tree before: it creates the group or joins by an external commit.
    pub(crate) joins: bool,
    /// Whether it is an external commit.
    pub(crate) external: bool,
    /// The references of the pending proposals that the hub knew of when it checked the commit.
    pub(crate) pending: Vec<Vec<u8>>,
    /// The devices whose leaves it removes, be it that they are added again.
    pub(crate) removed: Vec<Removed>,
    /// Who has a device in the group that was there before it and stays.
    pub(crate) kept: BTreeSet<UserId>,
    /// The group's policy before it, as its context has it. None before the first commit.
    pub(crate) policy_before: Option<Vec<u8>>,
    /// The group's policy after it.
    pub(crate) policy_after: Option<Vec<u8>>,
}

/// A leaf that a commit removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) device: UserDevice,
    /// Whose device proposed it: the committer's, another member's, or none where the hub did.
    pub(crate) by: Option<UserId>,
}

impl Observer {
    /// For the hub of this domain, with its Ed25519 key as the cryptographic library has it: 64 and 32 bytes.
    pub(crate) const fn new(domain: Domain, secret: SignatureSecretKey, public: SignaturePublicKey) -> Self {
        Self { identities: DeviceIdentityProvider::new(domain), secret, public }
    }

    /// The hub's domain.
    pub(crate) const fn domain(&self) -> &Domain {
        self.identities.domain()
    }

    /// The key that groups name as their external sender, 32 bytes.
    pub(crate) fn public_key(&self) -> &[u8] {
        &self.public
    }

    /// Checks the commit that takes a group from epoch 0 to epoch 1.
    ///
    /// The hub has seen nothing of the group so far: the tree comes from the bundle's `GroupInfo`, which the creator has
    /// signed. Every leaf but the creator's own must come from an Add of the commit.
    pub(crate) fn first_commit(
        &self,
        bundle: &CommitBundle,
        sender: UserDevice,
        now: MlsTime,
    ) -> Result<ValidCommit, Rejection> {
        if bundle.epoch != 0 || bundle.sender != CommitSender::Leaf(0) {
            return Err(Rejection::Invalid("the first commit of a group is its creator's, in epoch 0"));
        }
        if !bundle.commit.message.proposals_by_reference().is_empty() {
            return Err(Rejection::ProposalNotFound);
        }
        let info = described_group(&bundle.group_info)?;
        let context = info.group_context();
        if context.epoch() != 1 || context.group_id() != bundle.group_id || info.sender() != 0 {
            return Err(Rejection::GroupInfo("the GroupInfo is not the creator's for epoch 1 of this group"));
        }
        if context.cipher_suite() != CIPHER_SUITE {
            return Err(Rejection::Invalid("the group's cipher suite is not one of this hub"));
        }
        let group = self
            .client(None)
            .observe_group(bundle.group_info.message.clone(), None, Some(now))
            .map_err(Rejection::GroupInfoMls)?;
        self.hub_identity(group.group_context())?;
        check_handshake(group.group_context(), Handshake::Plaintext)?;

        let Added { devices: added, history } = self.added(&bundle.commit, &BTreeSet::new(), false)?;
        let leaves = self.leaves(&group)?;
        let [creator, others @ ..] = leaves.as_slice() else {
            return Err(Rejection::GroupInfo("the group has no member"));
        };
        if creator.index != 0 || creator.device != sender {
            return Err(Rejection::Invalid("the first commit is not that of the group's creator"));
        }
        if others.len() != added.len() || history_clients(&group) != history {
            return Err(Rejection::GroupInfo("the tree has other members than those that the commit adds"));
        }
        check_history(&group)?;
        check_welcome(bundle, &[], added.len() + history)?;
        Ok(ValidCommit {
            epoch: 1,
            snapshot: encode(&group)?,
            added: placed(&added, others)?,
            proposed: BTreeSet::new(),
            history: history > 0,
            committer: creator.clone(),
            joins: true,
            external: false,
            pending: Vec::new(),
            removed: Vec::new(),
            kept: BTreeSet::from([sender.user]),
            policy_before: None,
            policy_after: policy(group.group_context()),
        })
    }

    /// Checks a commit of a group that the hub follows. `stored` is the snapshot from the commit before.
    pub(crate) fn commit(
        &self,
        stored: &[u8],
        bundle: &CommitBundle,
        sender: UserDevice,
        now: MlsTime,
    ) -> Result<ValidCommit, Rejection> {
        let snapshot = ExternalSnapshot::from_bytes(stored).map_err(Rejection::Stored)?;
        let mut group = self.client(None).load_group(snapshot).map_err(Rejection::Stored)?;
        let commit = &bundle.commit;

        let external = bundle.sender == CommitSender::Joiner;
        let new_leaf = commit.message.commit_path_leaf_node();
        let new_device = new_leaf.map(|leaf| self.device(&leaf.signing_identity)).transpose()?;
        // An external commit is its joiner's by the leaf in its path, and always has one.
        let of_member = match bundle.sender {
            CommitSender::Leaf(index) => self.device_at(&group, index)? == sender,
            CommitSender::Joiner => new_device.is_some(),
            CommitSender::Hidden => false, // for `hidden_commit`
        };
        if !of_member || new_device.is_some_and(|device| device != sender) {
            return Err(Rejection::Invalid("the commit is not that of the device that sends it"));
        }

        let pending = group.get_cached_proposals();
        if !external {
            let mut gone = BTreeSet::new();
            for removing in removals(&commit.message, &pending) {
                gone.extend(self.owner_of(&group, removing.leaf)?.map(|device| device.user));
            }
            let is_gone = |add: &AddProposal| {
                self.device(add.signing_identity()).is_ok_and(|device| gone.contains(&device.user))
                    || expires_soon(add.key_package(), now)
            };
            check_references(&commit.message, bundle.sender, &pending, is_gone)?;
        }
        let proposed = referred_adds(&commit.message, &pending)
            .into_iter()
            .map(|add| self.device(add.signing_identity()))
            .collect::<Result<BTreeSet<_>, _>>()?;
        let Added { devices: added, history } = self.added(commit, &proposed, external)?;
        let mut removed = Vec::new();
        for Removing { leaf, by } in removals(&commit.message, &pending) {
            let by = match by {
                Sender::Member(index) => Some(self.device_at(&group, index)?.user),
                Sender::External(_) => None,
                _ => Some(sender.user),
            };
            match self.owner_of(&group, leaf)? {
                Some(device) => removed.push(Removed { device, by }),
                None if external => return Err(Rejection::Invalid(OWN_LEAF_ONLY)),
                None => {}
            }
        }
        if external && removed.iter().any(|removed| removed.device != sender) {
            return Err(Rejection::Invalid(OWN_LEAF_ONLY));
        }
        let before = group.group_context().clone();

        let received = group
            .process_incoming_message_with_time(commit.message.clone(), now)
            .map_err(Rejection::of_commit)?;
        let committer = match received {
            ExternalReceivedMessage::Commit(done) if matches!(done.effect, CommitEffect::NewEpoch(_)) => {
                done.committer
            }
            _ => return Err(Rejection::Invalid("the commit does not lead to a new epoch of the group")),
        };
        if described_group(&bundle.group_info)?.sender() != committer {
            return Err(Rejection::GroupInfo("the GroupInfo is not signed by the commit's sender"));
        }
        // Compares the group's context, the tree and the confirmation tag, and verifies the signature.
        group.process_incoming_message(bundle.group_info.message.clone()).map_err(Rejection::GroupInfoMls)?;
        self.hub_identity(group.group_context())?;
        if others(&before) != others(group.group_context()) {
            return Err(Rejection::Invalid("the commit changes what the group is set up with"));
        }
        check_history(&group)?;
        check_welcome(bundle, &pending, added.len() + history)?;

        let leaves = self.leaves(&group)?;
        let committer = leaves.iter().find(|leaf| leaf.index == committer).cloned();
        Ok(ValidCommit {
            epoch: group.group_context().epoch(),
            snapshot: encode(&group)?,
            added: placed(&added, &leaves)?,
            proposed,
            history: history > 0,
            committer: committer
                .ok_or(Rejection::Invalid("the sender is not in the group after its commit"))?,
            joins: external,
            external,
            pending: pending.iter().map(reference).collect(),
            removed,
            kept: kept(&leaves, &added, external.then_some(sender)),
            policy_before: policy(&before),
            policy_after: policy(group.group_context()),
        })
    }

    /// The policy in the context of a group that the hub follows.
    pub(crate) fn policy_of(&self, stored: &[u8]) -> Result<Option<Vec<u8>>, Rejection> {
        let snapshot = ExternalSnapshot::from_bytes(stored).map_err(Rejection::Stored)?;
        self.hub_identity(snapshot.context())?;
        Ok(policy(snapshot.context()))
    }

    /// The policy in the context that a `GroupInfo` describes, if it has one. Its signature is not verified.
    pub(crate) fn policy_in(&self, group_info: &[u8]) -> Result<Option<Vec<u8>>, Rejection> {
        let message = MlsMessage::from_bytes(group_info).map_err(Rejection::Stored)?;
        let info = message.as_group_info().ok_or(Rejection::GroupInfo("the GroupInfo is missing"))?;
        self.hub_identity(info.group_context())?;
        Ok(policy(info.group_context()))
    }

    /// The devices that the commit adds. Only what this hub's clients make is let through: of a proposal that the hub
    /// does not understand, it could not say what it does to the members.
    fn added(
        &self,
        commit: &Part,
        proposed: &BTreeSet<UserDevice>,
        external: bool,
    ) -> Result<Added, Rejection> {
        let mut added: Vec<_> = proposed.iter().copied().collect();
        let mut history = 0;
        for proposal in commit.message.proposals_by_value() {
            match proposal {
                Proposal::Add(add) if !external && is_history_client(add.signing_identity()) => history += 1,
                Proposal::Add(add) if !external => added.push(self.device(add.signing_identity())?),
                Proposal::Remove(_) => {}
                Proposal::GroupContextExtensions(_) if !external => {}
                Proposal::ExternalInit(_) if external => {}
                _ => {
                    return Err(Rejection::Invalid(
                        "the commit has a proposal of a kind that is not allowed in it",
                    ));
                }
            }
        }
        let distinct: BTreeSet<_> = added.iter().collect();
        if distinct.len() != added.len() {
            return Err(Rejection::Invalid("the commit adds a device twice"));
        }
        Ok(Added { devices: added, history })
    }

    /// The external senders of the group must be the hub and nobody else. How the group names the hub is left to its
    /// creator: only the key counts.
    pub(super) fn hub_identity(&self, context: &GroupContext) -> Result<SigningIdentity, Rejection> {
        let senders = context
            .extensions()
            .get_as::<ExternalSendersExt>()
            .map_err(Rejection::of_extension)?
            .map(|senders| senders.allowed_senders);
        match senders.as_deref() {
            Some([hub]) if hub.signature_key == self.public => Ok(hub.clone()),
            _ => Err(Rejection::Invalid("the group's external senders must be this hub's key and no other")),
        }
    }

    pub(super) fn leaves(&self, group: &Group) -> Result<Vec<Leaf>, Rejection> {
        let leaf = |member: Member| {
            Ok(Leaf {
                index: member.index,
                device: self.device(&member.signing_identity)?,
                signature_key: member.signing_identity.signature_key.to_vec(),
            })
        };
        let devices =
            group.roster().members_iter().filter(|member| !is_history_client(&member.signing_identity));
        devices.map(leaf).collect()
    }

    pub(super) fn device_at(&self, group: &Group, index: u32) -> Result<UserDevice, Rejection> {
        let member = group.roster().member_with_index(index);
        let member = member.map_err(|_| Rejection::Invalid("the commit names a leaf that is blank"))?;
        self.device(&member.signing_identity)
    }

    /// The device whose leaf this is; none if it is a history client's.
    fn owner_of(&self, group: &Group, index: u32) -> Result<Option<UserDevice>, Rejection> {
        let history = group.roster().member_with_index(index);
        match history {
            Ok(member) if is_history_client(&member.signing_identity) => Ok(None),
            _ => self.device_at(group, index).map(Some),
        }
    }

    pub(super) fn device(&self, identity: &SigningIdentity) -> Result<UserDevice, Rejection> {
        let DeviceAddress { user, device, .. } = self
            .identities
            .device(identity)
            .map_err(|_| Rejection::Invalid("a member's credential is not one of a device of this hub"))?;
        Ok(UserDevice { user, device })
    }

    pub(super) fn client(&self, signer: Option<SigningIdentity>) -> ExternalClient<Config> {
        let builder = ExternalClient::builder()
            .crypto_provider(AwsLcCryptoProvider::new())
            .identity_provider(self.identities.clone());
        match signer {
            Some(identity) => builder.signer(self.secret.clone(), identity).build(),
            None => builder.build(),
        }
    }
}

/// What a group has whose handshake messages are encrypted.
const ENCRYPTED_HANDSHAKE: ExtensionType = ExtensionType::new(policy::ENCRYPTED_HANDSHAKE_EXTENSION_TYPE);

/// What an external commit may remove.
const OWN_LEAF_ONLY: &str = "an external commit can remove the joiner's own earlier leaf only";

/// What a commit adds.
struct Added {
    devices: Vec<UserDevice>,
    /// How many history clients.
    history: usize,
}

fn history_clients(group: &Group) -> usize {
    group.roster().members_iter().filter(|member| is_history_client(&member.signing_identity)).count()
}

/// A group has one history client at most: a new one takes the place of the one before.
pub(super) fn check_history(group: &Group) -> Result<(), Rejection> {
    match history_clients(group) {
        0 | 1 => Ok(()),
        _ => Err(Rejection::Invalid("the group would have two history clients")),
    }
}

/// The leaves of the added devices.
fn placed(added: &[UserDevice], leaves: &[Leaf]) -> Result<Vec<Leaf>, Rejection> {
    let added: BTreeSet<_> = added.iter().collect();
    let placed: Vec<_> = leaves.iter().filter(|leaf| added.contains(&leaf.device)).cloned().collect();
    if placed.len() == added.len() {
        Ok(placed)
    } else {
        Err(Rejection::GroupInfo("the tree has other members than those that the commit adds"))
    }
}

/// Whose devices are in the tree and not new in it.
fn kept(leaves: &[Leaf], added: &[UserDevice], joiner: Option<UserDevice>) -> BTreeSet<UserId> {
    let new: BTreeSet<_> = added.iter().copied().chain(joiner).collect();
    leaves
        .iter()
        .map(|leaf| leaf.device)
        .filter(|device| !new.contains(device))
        .map(|device| device.user)
        .collect()
}

/// The group says itself whether its handshake messages are encrypted, so that all members send them alike.
pub(super) fn check_handshake(context: &GroupContext, expected: Handshake) -> Result<(), Rejection> {
    let found = if context.extensions().has_extension(ENCRYPTED_HANDSHAKE) {
        Handshake::Ciphertext
    } else {
        Handshake::Plaintext
    };
    if found == expected {
        Ok(())
    } else {
        Err(Rejection::Invalid(
            "the group does not say whether commits are encrypted as the conversation does",
        ))
    }
}

/// Whether a group's state is one that [`Observer`] can load.
pub(crate) fn is_readable(stored: &[u8]) -> bool {
    ExternalSnapshot::from_bytes(stored).is_ok()
}

/// The policy in a group's context, as it stands there.
pub(super) fn policy(context: &GroupContext) -> Option<Vec<u8>> {
    let extension = context.extensions().get(ExtensionType::new(policy::EXTENSION_TYPE))?;
    Some(extension.extension_data)
}

/// What stands beside the policy, which no commit changes.
pub(super) fn others(context: &GroupContext) -> ExtensionList {
    let mut extensions = context.extensions().clone();
    extensions.remove(ExtensionType::new(policy::EXTENSION_TYPE));
    extensions
}

/// The group as it is stored.
pub(super) fn encode(group: &Group) -> Result<Vec<u8>, Rejection> {
    group.snapshot().to_bytes().map_err(Rejection::Stored)
}

//! Proposals: those that devices send for others to commit, and the hub's own.

use std::collections::BTreeSet;

use mls_rs::{
    error::MlsError,
    external_client::{ExternalReceivedMessage, ExternalSnapshot},
    group::{CachedProposal, proposal::Proposal},
    mls_rs_codec::MlsEncode as _,
    time::MlsTime,
};
use tertulia_api::UserDevice;

use super::{
    Observer, Rejection,
    checks::{reference, removal, suite, updated},
    fitness::check_fitness,
    message::{ProposalMessage, ProposalSender},
    observer::encode,
};

/// A proposal that MLS allows, pending in the group. Whether its sender may make it is not known yet.
#[derive(Debug)]
pub(crate) struct ValidProposal {
    /// The group with it, as [`Observer`] loads it again.
    pub(crate) snapshot: Vec<u8>,
    /// The `ProposalRef` (RFC 9420 §5.2).
    pub(crate) reference: Vec<u8>,
    pub(crate) change: Change,
    /// The device that it is about, and the key that its leaf is to have.
    pub(crate) device: UserDevice,
    pub(crate) signature_key: Vec<u8>,
    /// The key package of a device that is to be added. That it fits the group was looked at; whether it is good is for
    /// [`key_package::check`](super::key_package::check) to say.
    pub(crate) key_package: Option<Vec<u8>>,
}

/// What a proposal is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Add a device, as a member wishes.
    Add,
    /// Add the device that sends it.
    AddMyself,
    /// Give the sender new keys.
    Update,
}

/// Removals that the hub proposes, and the group in which they are pending.
#[derive(Debug)]
pub(crate) struct Proposed {
    pub(crate) snapshot: Vec<u8>,
    pub(crate) proposals: Vec<Removal>,
}

/// A proposal of the hub to remove a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Removal {
    /// The `ProposalRef` (RFC 9420 §5.2).
    pub(crate) reference: Vec<u8>,
    /// The leaf.
    pub(crate) leaf: u32,
    /// The `MLSMessage`.
    pub(crate) message: Vec<u8>,
}

impl Observer {
    /// Checks a proposal for a group that the hub follows. Taken are those that are about one device and leave the users as
    /// they are: new keys of the sender's, and devices to be added. Whole users are added and removed by commits, where all
    /// their devices are looked at together.
    pub(crate) fn propose(
        &self,
        stored: &[u8],
        proposal: &ProposalMessage,
        sender: UserDevice,
        now: MlsTime,
    ) -> Result<ValidProposal, Rejection> {
        let snapshot = ExternalSnapshot::from_bytes(stored).map_err(Rejection::Stored)?;
        let mut group = self.client(None).load_group(snapshot).map_err(Rejection::Stored)?;
        if let ProposalSender::Leaf(index) = proposal.sender
            && self.device_at(&group, index)? != sender
        {
            return Err(Rejection::Invalid("the proposal is not that of the device that sends it"));
        }
        let pending = group.get_cached_proposals();
        let received = group
            .process_incoming_message_with_time(proposal.part.message.clone(), now)
            .map_err(Rejection::Mls)?;
        let ExternalReceivedMessage::Proposal(described) = received else {
            return Err(Rejection::Malformed("the message must be a PublicMessage with a proposal"));
        };
        let (change, identity) = match (&described.proposal, proposal.sender) {
            (Proposal::Add(add), ProposalSender::Leaf(_)) => (Change::Add, add.signing_identity()),
            (Proposal::Add(add), ProposalSender::Joiner) => (Change::AddMyself, add.signing_identity()),
            (Proposal::Update(update), ProposalSender::Leaf(_)) => {
                (Change::Update, update.signing_identity())
            }
            _ => {
                return Err(Rejection::Invalid(
                    "only new keys of the sender's and devices to be added can be proposed; the rest is done by commits",
                ));
            }
        };
        let device = self.device(identity)?;
        // Every commit of the epoch has to have it, so what cannot be committed beside it must not be pending.
        let impossible = match change {
            Change::Update => pending.iter().any(|cached| {
                let leaf = updated(cached).or_else(|| removal(cached.proposal()));
                leaf.is_some_and(|leaf| proposal.sender == ProposalSender::Leaf(leaf))
            }),
            Change::Add | Change::AddMyself => {
                let is_same = |identity: &_| self.device(identity).is_ok_and(|other| other == device);
                let is_pending = |cached: &CachedProposal| match cached.proposal() {
                    Proposal::Add(add) => is_same(add.signing_identity()),
                    _ => false,
                };
                pending.iter().any(is_pending)
                    || group.roster().members_iter().any(|member| is_same(&member.signing_identity))
            }
        };
        if impossible {
            return Err(Rejection::Invalid(
                "the device is in the group or proposed for it, or its leaf is changed by another proposal",
            ));
        }
        if change != Change::Add && device != sender {
            return Err(Rejection::Invalid("a device proposes for itself only"));
        }
        let key_package = match &described.proposal {
            Proposal::Add(add) => {
                let bytes = add.key_package().mls_encode_to_vec();
                Some(bytes.map_err(|error| Rejection::Mls(error.into()))?)
            }
            _ => None,
        };
        check_fitness(&group, &pending, &described.proposal, proposal.sender)?;
        let signature_key = identity.signature_key.to_vec();
        let reference =
            proposal.part.message.clone().into_proposal_reference(&suite()?).map_err(Rejection::Mls)?;
        let reference = reference.ok_or(Rejection::Stored(MlsError::UnexpectedMessageType))?;
        Ok(ValidProposal { snapshot: encode(&group)?, reference, change, device, signature_key, key_package })
    }

    /// The devices that are proposed to be added, with the references of the proposals.
    pub(crate) fn proposed_devices(&self, stored: &[u8]) -> Result<Vec<(Vec<u8>, UserDevice)>, Rejection> {
        let snapshot = ExternalSnapshot::from_bytes(stored).map_err(Rejection::Stored)?;
        let group = self.client(None).load_group(snapshot).map_err(Rejection::Stored)?;
        let mut devices = Vec::new();
        for cached in group.get_cached_proposals() {
            if let Proposal::Add(add) = cached.proposal() {
                devices.push((reference(&cached), self.device(add.signing_identity())?));
            }
        }
        Ok(devices)
    }

    /// The group without these proposals: a commit that refers to one of them is not valid.
    pub(crate) fn without_proposals(
        &self,
        stored: &[u8],
        dropped: &BTreeSet<Vec<u8>>,
    ) -> Result<Vec<u8>, Rejection> {
        let snapshot = ExternalSnapshot::from_bytes(stored).map_err(Rejection::Stored)?;
        let mut group = self.client(None).load_group(snapshot).map_err(Rejection::Stored)?;
        let pending = group.get_cached_proposals();
        group.clear_proposal_cache();
        for cached in pending {
            if !dropped.contains(&reference(&cached)) {
                group.insert_proposal(cached);
            }
        }
        encode(&group)
    }

    /// Proposes the removal of the leaf of every device that is `gone`. Those proposed already are not proposed again.
    pub(crate) fn propose_removals(
        &self,
        stored: &[u8],
        gone: impl Fn(UserDevice) -> bool,
    ) -> Result<Proposed, Rejection> {
        let snapshot = ExternalSnapshot::from_bytes(stored).map_err(Rejection::Stored)?;
        let identity = self.hub_identity(snapshot.context())?;
        let mut group = self.client(Some(identity)).load_group(snapshot).map_err(Rejection::Stored)?;
        let pending: BTreeSet<u32> =
            group.get_cached_proposals().iter().filter_map(|cached| removal(cached.proposal())).collect();
        let mut proposals = Vec::new();
        let suite = suite()?;
        for leaf in self.leaves(&group)? {
            if gone(leaf.device) && !pending.contains(&leaf.index) {
                let message = group.propose_remove(leaf.index, Vec::new()).map_err(Rejection::Stored)?;
                let bytes = message.to_bytes().map_err(Rejection::Stored)?;
                let reference = message.into_proposal_reference(&suite).map_err(Rejection::Stored)?;
                let reference = reference.ok_or(Rejection::Stored(MlsError::UnexpectedMessageType))?;
                proposals.push(Removal { reference, leaf: leaf.index, message: bytes });
            }
        }
        Ok(Proposed { snapshot: encode(&group)?, proposals })
    }
}

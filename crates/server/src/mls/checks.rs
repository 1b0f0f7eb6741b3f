//! What a bundle's parts must have to do with each other and with the pending proposals.

use std::collections::BTreeSet;

use mls_rs::{
    CipherSuiteProvider, CryptoProvider as _, MlsMessage,
    extension::built_in::{ExternalPubExt, RatchetTreeExt},
    group::{
        CachedProposal, GroupInfo, Sender,
        proposal::{AddProposal, Proposal},
    },
};
use mls_rs_crypto_awslc::AwsLcCryptoProvider;

use super::{
    CIPHER_SUITE, CommitBundle, Rejection,
    message::{CommitSender, Part},
};

/// The `GroupInfo` of a bundle, which must serve those who join later by an external commit (RFC 9420 §12.4.3.2).
pub(super) fn described_group(part: &Part) -> Result<&GroupInfo, Rejection> {
    let info = part.message.as_group_info().ok_or(Rejection::GroupInfo("the GroupInfo is missing"))?;
    let extensions = info.extensions();
    let tree = extensions.get_as::<RatchetTreeExt>().map_err(Rejection::of_extension)?;
    let external = extensions.get_as::<ExternalPubExt>().map_err(Rejection::of_extension)?;
    if tree.is_none() || external.is_none() {
        return Err(Rejection::GroupInfo(
            "the GroupInfo must have the ratchet tree and the external public key",
        ));
    }
    Ok(info)
}

/// Every reference is to a pending proposal, and every pending proposal is referred to, unless the commit does the same by
/// value or cannot have it (RFC 9420 §12.2): new keys of a leaf that it removes, or of its own sender. Nor does it have to add
/// a device whose user it removes or whose key package is about to expire, which is for `is_gone` to say.
pub(super) fn check_references(
    commit: &MlsMessage,
    sender: CommitSender,
    pending: &[CachedProposal],
    is_gone: impl Fn(&AddProposal) -> bool,
) -> Result<(), Rejection> {
    let known: BTreeSet<_> = pending.iter().map(reference).collect();
    let referred = references(commit);
    if !referred.is_subset(&known) {
        return Err(Rejection::ProposalNotFound);
    }
    let by_value: BTreeSet<_> = commit.proposals_by_value().into_iter().filter_map(removal).collect();
    let removed: BTreeSet<_> = removals(commit, pending).into_iter().map(|removing| removing.leaf).collect();
    let covered = |cached: &CachedProposal| {
        referred.contains(&reference(cached))
            || removal(cached.proposal()).is_some_and(|leaf| by_value.contains(&leaf))
            || matches!(cached.proposal(), Proposal::Add(add) if is_gone(add))
            || updated(cached)
                .is_some_and(|leaf| removed.contains(&leaf) || sender == CommitSender::Leaf(leaf))
    };
    if pending.iter().all(covered) { Ok(()) } else { Err(Rejection::MissingProposals) }
}

/// A leaf that a commit removes.
pub(super) struct Removing {
    pub(super) leaf: u32,
    /// Who proposed it; for what the commit has by value, [`Sender::NewMemberCommit`] stands for the committer.
    pub(super) by: Sender,
}

/// The leaves that the commit removes, by value and by reference.
pub(super) fn removals(commit: &MlsMessage, pending: &[CachedProposal]) -> Vec<Removing> {
    let referred = references(commit);
    let cached = pending.iter().filter(|cached| referred.contains(&reference(cached)));
    let by_reference = cached
        .filter_map(|cached| removal(cached.proposal()).map(|leaf| Removing { leaf, by: *cached.sender() }));
    let by_value = commit.proposals_by_value().into_iter().filter_map(removal);
    by_value.map(|leaf| Removing { leaf, by: Sender::NewMemberCommit }).chain(by_reference).collect()
}

/// The devices that the commit adds by reference.
pub(super) fn referred_adds<'a>(commit: &MlsMessage, pending: &'a [CachedProposal]) -> Vec<&'a AddProposal> {
    let referred = references(commit);
    let cached = pending.iter().filter(|cached| referred.contains(&reference(cached)));
    let add = |cached: &'a CachedProposal| match cached.proposal() {
        Proposal::Add(add) => Some(&**add),
        _ => None,
    };
    cached.filter_map(add).collect()
}

/// The `ProposalRef` of a pending proposal (RFC 9420 §5.2).
pub(super) fn reference(cached: &CachedProposal) -> Vec<u8> {
    cached.proposal_ref().to_vec()
}

fn references(commit: &MlsMessage) -> BTreeSet<Vec<u8>> {
    commit.proposals_by_reference().into_iter().map(|reference| reference.to_vec()).collect()
}

/// The leaf that the proposal removes, if it is to remove one.
pub(super) fn removal(proposal: &Proposal) -> Option<u32> {
    match proposal {
        Proposal::Remove(remove) => Some(remove.to_remove()),
        _ => None,
    }
}

/// The leaf that gets new keys by the proposal, if it is about that.
pub(super) fn updated(cached: &CachedProposal) -> Option<u32> {
    match (cached.proposal(), cached.sender()) {
        (Proposal::Update(_), Sender::Member(leaf)) => Some(*leaf),
        _ => None,
    }
}

/// The Welcome is for exactly those whom the commit adds, by the key packages that it adds them with.
pub(super) fn check_welcome(
    bundle: &CommitBundle,
    pending: &[CachedProposal],
    added: usize,
) -> Result<(), Rejection> {
    let Some(welcome) = &bundle.welcome else {
        return if added == 0 {
            Ok(())
        } else {
            Err(Rejection::Invalid("the commit adds devices and has no Welcome for them"))
        };
    };
    let suite = suite()?;
    let by_value =
        bundle.commit.message.proposals_by_value().into_iter().filter_map(|proposal| match proposal {
            Proposal::Add(add) => Some(&**add),
            _ => None,
        });
    let mut expected = BTreeSet::new();
    for add in by_value.chain(referred_adds(&bundle.commit.message, pending)) {
        expected.insert(add.key_package().to_reference(&suite).map_err(Rejection::Mls)?.to_vec());
    }
    let references = welcome.message.welcome_key_package_references();
    let welcomed: BTreeSet<_> = references.iter().map(|reference| reference.to_vec()).collect();
    if welcome.message.cipher_suite() != Some(CIPHER_SUITE)
        || added == 0
        || welcomed != expected
        || references.len() != added
    {
        return Err(Rejection::Invalid("the Welcome is not for the devices that the commit adds"));
    }
    Ok(())
}

/// The cryptography of this hub's groups.
pub(super) fn suite() -> Result<impl CipherSuiteProvider, Rejection> {
    AwsLcCryptoProvider::new()
        .cipher_suite_provider(CIPHER_SUITE)
        .ok_or(Rejection::Invalid("the group's cipher suite is not one of this hub"))
}

//! Own proposals that a commit left out are made again in the new epoch.
//!
//! Whether a commit has brought about what was proposed is told by what is changed, not by what it refers to: an Add by
//! the identity, a Remove by the leaf, an Update by the leaf node, of which any new one of this device will do. Proposals from outside are not this device's, even if
//! it made them: whoever sent them sees for themselves.

use mls_rs::{
    group::{CommitEffect, CommitMessageDescription, Sender, proposal::Proposal},
    mls_rs_codec::MlsEncode,
};

use super::Intent;
use crate::{
    ClientIdPolicy, ConversationGuard, ErrorKind, KeyPackage, MlsProposalBundle, Result,
    identity::client_id_of, provider::MlsGroup, wire,
};

/// The pending proposals of this device.
pub(crate) fn own_proposals(group: &MlsGroup) -> Vec<Proposal> {
    if !group.commit_required() {
        return Vec::new();
    }
    let own = Sender::Member(group.current_member_index());
    let cached = group.get_cached_proposals();
    cached.iter().filter(|cached| *cached.sender() == own).map(|cached| cached.proposal().clone()).collect()
}

/// What of `proposals` the commit has not brought about, and still can be.
pub(crate) fn left_out(
    policy: &dyn ClientIdPolicy,
    proposals: Vec<Proposal>,
    commit: &CommitMessageDescription,
    after: &MlsGroup,
) -> Vec<Intent> {
    let CommitEffect::NewEpoch(new_epoch) = &commit.effect else { return Vec::new() };
    let is_applied = |proposal: &Proposal| {
        new_epoch.applied_proposals().iter().any(|applied| applied.proposal == *proposal)
    };
    let own = Sender::Member(after.current_member_index());
    let mut is_updated = new_epoch
        .applied_proposals()
        .iter()
        .any(|applied| applied.sender == own && matches!(applied.proposal, Proposal::Update(_)));
    let open = |proposal: Proposal| match &proposal {
        Proposal::Add(add) => {
            let package = add.key_package().mls_encode_to_vec().ok()?;
            let package = KeyPackage::from_message(&wire::key_package(&package).ok()?).ok()?;
            let canonical = policy.canonical(package.client_id()).ok()?;
            let is_member = after.member_with_identity(canonical.as_bytes()).is_ok();
            (!is_member).then_some(Intent::Add(package))
        }
        Proposal::Remove(remove) => {
            let leaf = remove.to_remove();
            let target = new_epoch.prior_state().member_at_index(leaf)?.signing_identity;
            let is_there = after.member_at_index(leaf)?.signing_identity.credential == target.credential;
            let client = client_id_of(&target).ok()?;
            (is_there && !is_applied(&proposal)).then_some(Intent::Remove(client, Some(leaf)))
        }
        Proposal::Update(_) => (!std::mem::replace(&mut is_updated, true)).then_some(Intent::Update),
        _ => None,
    };
    proposals.into_iter().filter_map(open).collect()
}

impl ConversationGuard<'_> {
    /// Proposes again what commits have left out. What has become impossible meanwhile is given up.
    pub(crate) fn renew(&mut self, left_out: &[Intent]) -> Result<Vec<MlsProposalBundle>> {
        let mut renewed = Vec::new();
        for intent in left_out {
            match self.propose(intent) {
                Ok(bundle) => renewed.push(bundle),
                Err(error) if matches!(error.kind(), ErrorKind::Misuse | ErrorKind::Peer) => {
                    tracing::debug!(conversation = %self.id, %error, "a proposal is not renewed");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(renewed)
    }
}

//! What goes into a commit of this device.

use std::{collections::HashSet, convert::Infallible};

use mls_rs::{
    MlsRules,
    group::{GroupContext, Roster, Sender, proposal::UpdateProposal},
    mls_rules::{
        CommitDirection, CommitOptions, CommitSource, DefaultMlsRules, EncryptionOptions, ProposalBundle,
    },
};

/// The library's rules, and one that it lacks: of several Updates of a leaf, or an Update and a Remove of it, it would
/// commit all, and who receives that refuses it (RFC 9420, section 12.2). The Remove counts, or else one Update.
#[derive(Clone, Debug)]
pub(crate) struct EngineRules(pub(crate) DefaultMlsRules);

impl MlsRules for EngineRules {
    type Error = Infallible;

    fn filter_proposals(
        &self,
        direction: CommitDirection,
        _source: CommitSource,
        _roster: &Roster<'_>,
        _context: &GroupContext,
        mut proposals: ProposalBundle,
    ) -> Result<ProposalBundle, Infallible> {
        // A commit that was received is whole or wrong.
        if direction == CommitDirection::Send {
            let mut changed: HashSet<u32> =
                proposals.remove_proposals().iter().map(|remove| remove.proposal.to_remove()).collect();
            for place in (0..proposals.update_proposals().len()).rev() {
                let sender = *proposals.update_proposals()[place].sender();
                if let Sender::Member(leaf) = sender
                    && !changed.insert(leaf)
                {
                    proposals.remove::<UpdateProposal>(place);
                }
            }
        }
        Ok(proposals)
    }

    fn commit_options(
        &self,
        new_roster: &Roster<'_>,
        new_context: &GroupContext,
        proposals: &ProposalBundle,
    ) -> Result<CommitOptions, Infallible> {
        self.0.commit_options(new_roster, new_context, proposals)
    }

    fn encryption_options(
        &self,
        current_roster: &Roster<'_>,
        current_context: &GroupContext,
    ) -> Result<EncryptionOptions, Infallible> {
        self.0.encryption_options(current_roster, current_context)
    }
}

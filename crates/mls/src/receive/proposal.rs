//! Received proposals, and how long to wait before committing them.

use mls_rs::group::{ProposalMessageDescription, ProposalSender, proposal::Proposal};

use super::{member_identity, refuse_listener};
use crate::{
    ConversationGuard, MlsConversationDecryptMessage, Outcome, Result, WireIdentity,
    conversation::is_to_be_removed,
    identity::{Judge, client_id_of},
};

impl ConversationGuard<'_> {
    pub(super) fn received_proposal(
        &mut self,
        proposal: &ProposalMessageDescription,
        is_known: bool,
    ) -> Result<MlsConversationDecryptMessage> {
        let group = &self.loaded()?.group;
        let is_own = proposal.sender == ProposalSender::Member(group.current_member_index());
        let config = self.config();
        let overlay = self.overlay()?.clone();
        let loaded = self.loaded()?;
        let mut judge = Judge::new(&overlay, &config);
        let sender = match (proposal.sender, &proposal.proposal) {
            (ProposalSender::Member(index), _) => member_identity(&overlay, &loaded.group, index),
            (ProposalSender::NewMember, Proposal::Add(add)) => {
                WireIdentity::of(&overlay, add.signing_identity()).map(Some)
            }
            _ => Ok(None),
        };
        let judged = sender.and_then(|sender| {
            refuse_listener(sender.as_ref())?;
            judge.proposal(&loaded.group, proposal)?;
            Ok(sender)
        });
        let sender = match judged {
            Ok(sender) => sender,
            Err(error) => {
                self.restore()?;
                return Err(error);
            }
        };
        let loaded = self.loaded()?;
        let outcome = match (is_own, is_known) {
            (true, true) => Outcome::OwnProposal,
            (false, true) => Outcome::Duplicate,
            (_, false) => Outcome::Proposal,
        };
        if outcome == Outcome::Proposal {
            loaded.snapshot(&overlay)?;
        }
        let mut result = MlsConversationDecryptMessage::new(outcome, loaded.group.current_epoch());
        result.identity = sender;
        if let Proposal::Add(add) = &proposal.proposal {
            result.proposed = client_id_of(add.signing_identity()).ok();
        }
        result.crl_new_distribution_points = judge.new_points();
        Ok(result)
    }

    /// Seconds to wait before committing what is pending, or what has to be committed for another reason. None if nothing
    /// is, or nothing that this device may commit.
    pub(super) fn commit_delay(&mut self, is_owed: bool) -> Result<Option<u64>> {
        let config = self.config();
        let Some(loaded) = self.loaded_if_joined()? else { return Ok(None) };
        // Nobody commits their own removal: another member does.
        let is_due = (is_owed || loaded.group.commit_required())
            && !is_to_be_removed(config.group_rules.as_deref(), &loaded.group);
        Ok(is_due.then(|| loaded.commit_delay()))
    }
}

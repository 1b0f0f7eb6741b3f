//! What members have proposed in groups whose handshake messages are encrypted, as far as the application's rules let commits of
//! this device carry it out.

use std::convert::Infallible;

use mls_rs::{
    ExtensionList,
    group::{
        GroupContext, Roster, Sender,
        proposal::{BorrowedProposal, Proposal},
    },
    mls_rules::{ProposalBundle, ProposalInfo},
};

use super::change::encrypts_handshake;
use crate::{GroupRules, Wish, provider::MlsGroup};

/// Whether a commit of this device carries out a pending proposal to add or to remove.
pub(crate) fn is_carried_out(
    application: Option<&dyn GroupRules>,
    group: &MlsGroup,
    proposal: &Proposal,
    sender: Sender,
) -> bool {
    let wish = match proposal {
        Proposal::Add(_) => Wish::Addition,
        Proposal::Remove(remove) => removal(remove.to_remove(), sender),
        _ => return true,
    };
    is_granted(application, &group.context().extensions, sender, wish)
}

/// Drops the pending proposals that are not carried out.
pub(super) fn leave_out(
    application: Option<&dyn GroupRules>,
    roster: &Roster<'_>,
    context: &GroupContext,
    proposals: &mut ProposalBundle,
) {
    let keep = |info: &ProposalInfo<BorrowedProposal<'_>>| {
        info.is_by_value() || is_granted(application, &context.extensions, *info.sender(), wish(roster, info))
    };
    let Ok(()) = proposals.retain(|info| Ok::<_, Infallible>(keep(info)));
    let Ok(()) = proposals.retain_custom(|info| {
        let is_granted = is_granted(application, &context.extensions, *info.sender(), Wish::Other);
        Ok::<_, Infallible>(info.is_by_value() || is_granted)
    });
}

/// Only members send what nobody on the way can look at.
fn is_granted(
    application: Option<&dyn GroupRules>,
    extensions: &ExtensionList,
    sender: Sender,
    wish: Wish,
) -> bool {
    let is_hidden = matches!(sender, Sender::Member(_)) && encrypts_handshake(extensions);
    !is_hidden || application.is_none_or(|rules| rules.carries_out(wish))
}

/// Who proposes its own removal leaves.
fn removal(removed: u32, sender: Sender) -> Wish {
    if matches!(sender, Sender::Member(leaf) if leaf == removed) { Wish::Departure } else { Wish::Removal }
}

fn wish(roster: &Roster<'_>, info: &ProposalInfo<BorrowedProposal<'_>>) -> Wish {
    match (&info.proposal, info.sender()) {
        (BorrowedProposal::Add(_), _) => Wish::Addition,
        (BorrowedProposal::Remove(remove), sender) => removal(remove.to_remove(), *sender),
        (BorrowedProposal::Update(update), Sender::Member(leaf)) => match roster.member_with_index(*leaf) {
            Ok(member) if member.signing_identity == *update.signing_identity() => Wish::Renewal,
            _ => Wish::Other,
        },
        _ => Wish::Other,
    }
}

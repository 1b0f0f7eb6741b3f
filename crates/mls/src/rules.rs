//! What goes into a commit of this device, and which commits are taken.

mod change;
mod wishes;

use std::{collections::HashSet, sync::Arc};

use mls_rs::{
    ExtensionList, MlsRules,
    error::{IntoAnyError, MlsError},
    group::{
        GroupContext, Roster, Sender,
        proposal::{AddProposal, Proposal, UpdateProposal},
    },
    mls_rules::{
        CommitDirection, CommitOptions, CommitSource, DefaultMlsRules, EncryptionOptions, ProposalBundle,
        ProposalSource,
    },
};

pub(crate) use self::change::{
    ENCRYPTED_HANDSHAKE, GROUP_DATA, data_of, encrypts_handshake, members_of, with_data, with_handshake,
};
pub(crate) use self::wishes::is_carried_out;
use crate::{
    EngineError, GroupChange, GroupRules, RuleViolation,
    identity::{ClientIdError, Refusal},
    overlay::Overlay,
};

/// The library's rules, one that it lacks, and those of the application.
///
/// What it lacks: of several Updates of a leaf, or an Update and a Remove of it, it would commit all, and who receives that
/// refuses it (RFC 9420, section 12.2). The Remove counts, or else one Update.
#[derive(Clone)]
pub(crate) struct EngineRules {
    pub(crate) defaults: DefaultMlsRules,
    pub(crate) application: Option<Arc<dyn GroupRules>>,
    /// Says whether the commit that is being made is sent readable.
    pub(crate) overlay: Overlay,
}

/// Why a commit is refused, on its way through the library.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    ClientId(#[from] ClientIdError),
    #[error(transparent)]
    Rules(#[from] RuleViolation),
    /// Something beside the group data would be changed in the group's context.
    #[error("the commit changes the extensions of the group's context")]
    Extensions,
}

impl IntoAnyError for Refused {
    fn into_dyn_error(self) -> Result<Box<dyn std::error::Error + Send + Sync>, Self> {
        Ok(Box::new(self))
    }
}

/// The refusal of the identity policy or of the rules behind an error of the library, if it is one.
pub(crate) fn refusal(error: &MlsError) -> Option<EngineError> {
    match error {
        MlsError::IdentityProviderError(any) => {
            any.inner_dyn_error().downcast_ref().map(|Refusal(error)| error.clone().into())
        }
        MlsError::MlsRulesError(any) => {
            Some(match any.inner_dyn_error().downcast_ref::<Refused>()?.clone() {
                Refused::ClientId(error) => error.into(),
                Refused::Rules(violation) => EngineError::RulesBroken(violation),
                Refused::Extensions => EngineError::ContextChanged,
            })
        }
        _ => None,
    }
}

/// The same, of something that this device was about to do.
pub(crate) fn own_refusal(error: &MlsError) -> Option<EngineError> {
    refusal(error).map(|error| match error {
        EngineError::RulesBroken(violation) => EngineError::AgainstTheRules(violation),
        error => error,
    })
}

impl MlsRules for EngineRules {
    type Error = Refused;

    fn filter_proposals(
        &self,
        direction: CommitDirection,
        source: CommitSource,
        roster: &Roster<'_>,
        context: &GroupContext,
        mut proposals: ProposalBundle,
    ) -> Result<ProposalBundle, Refused> {
        // A commit that was received is whole or wrong.
        if direction == CommitDirection::Send {
            wishes::leave_out(self.application.as_deref(), roster, context, &mut proposals);
            one_change_a_leaf(&mut proposals);
        }
        let Some(application) = &self.application else { return Ok(proposals) };
        let mut change = change::read(&source, roster, context, &proposals)?;
        let is_own_member = matches!(source, CommitSource::ExistingMember(_));
        if direction == CommitDirection::Send && is_own_member {
            leave_out_void(application.as_ref(), &mut change, &mut proposals);
            change.data_after = application.data_after(&change)?;
            set_data(&mut proposals, &source, context, change.data_after.as_deref());
        }
        application.check(&change)?;
        Ok(proposals)
    }

    fn commit_options(
        &self,
        new_roster: &Roster<'_>,
        new_context: &GroupContext,
        proposals: &ProposalBundle,
    ) -> Result<CommitOptions, Refused> {
        self.defaults.commit_options(new_roster, new_context, proposals).map_err(|never| match never {})
    }

    fn encryption_options(
        &self,
        current_roster: &Roster<'_>,
        current_context: &GroupContext,
    ) -> Result<EncryptionOptions, Refused> {
        let options = self.defaults.encryption_options(current_roster, current_context);
        let mut options = options.unwrap_or_else(|never| match never {});
        // What the group is set up with holds for all; one's own settings can only ask for more.
        options.encrypt_control_messages |= change::encrypts_handshake(&current_context.extensions);
        options.encrypt_control_messages &= !self.overlay.is_readable();
        Ok(options)
    }
}

/// Drops the Updates of leaves that are changed otherwise.
fn one_change_a_leaf(proposals: &mut ProposalBundle) {
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

/// Drops the Adds that others proposed and that the application's rules hold for void.
fn leave_out_void(application: &dyn GroupRules, change: &mut GroupChange, proposals: &mut ProposalBundle) {
    for place in (0..proposals.add_proposals().len()).rev() {
        let by_reference = proposals.add_proposals()[place].is_by_reference();
        let (client, by) = &change.added[place]; // read from the same list, in its order
        if by_reference && application.is_void(change, client, by) {
            proposals.remove::<AddProposal>(place);
            change.added.remove(place);
        }
    }
}

/// Has the commit give the group this data. It is in the commit by value, for nobody else proposes it.
fn set_data(
    proposals: &mut ProposalBundle,
    source: &CommitSource,
    context: &GroupContext,
    data: Option<&[u8]>,
) {
    for place in (0..proposals.group_context_ext_proposals().len()).rev() {
        proposals.remove::<ExtensionList>(place);
    }
    if let CommitSource::ExistingMember(member) = source
        && data_of(&context.extensions) != data
    {
        let extensions = with_data(context.extensions.clone(), data);
        let sender = Sender::Member(member.index);
        proposals.add(Proposal::GroupContextExtensions(extensions), sender, ProposalSource::ByValue);
    }
}

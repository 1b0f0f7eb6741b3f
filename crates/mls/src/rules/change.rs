//! What a commit does, read from its proposals, and the group data among the extensions of the group's context.

use std::collections::BTreeMap;

use mls_rs::{
    Extension, ExtensionList,
    extension::ExtensionType,
    group::{GroupContext, Roster, Sender},
    mls_rules::{CommitSource, ProposalBundle, ProposalInfo},
};

use super::Refused;
use crate::{
    ClientId, Committer, ConversationId, ENCRYPTED_HANDSHAKE_EXTENSION, GROUP_DATA_EXTENSION, GroupChange,
    MlsWirePolicy, Proposer,
    identity::{ClientIdError, client_id_of},
};

/// [`GROUP_DATA_EXTENSION`] for the library.
pub(crate) const GROUP_DATA: ExtensionType = ExtensionType::new(GROUP_DATA_EXTENSION);

/// [`ENCRYPTED_HANDSHAKE_EXTENSION`] for the library.
pub(crate) const ENCRYPTED_HANDSHAKE: ExtensionType = ExtensionType::new(ENCRYPTED_HANDSHAKE_EXTENSION);

/// Whether the group's handshake messages are encrypted, by whichever member sends them.
pub(crate) fn encrypts_handshake(extensions: &ExtensionList) -> bool {
    extensions.iter().any(|extension| extension.extension_type == ENCRYPTED_HANDSHAKE)
}

/// The extensions of a group whose handshake messages are sent so.
pub(crate) fn with_handshake(mut extensions: ExtensionList, handshake: MlsWirePolicy) -> ExtensionList {
    if handshake == MlsWirePolicy::Ciphertext {
        extensions.set(Extension::new(ENCRYPTED_HANDSHAKE, Vec::new()));
    }
    extensions
}

/// The group data among a context's extensions.
pub(crate) fn data_of(extensions: &ExtensionList) -> Option<&[u8]> {
    extensions.iter().find(|extension| extension.extension_type == GROUP_DATA).map(Extension::extension_data)
}

/// The extensions with this group data.
pub(crate) fn with_data(mut extensions: ExtensionList, data: Option<&[u8]>) -> ExtensionList {
    match data {
        Some(data) => extensions.set(Extension::new(GROUP_DATA, data.to_vec())),
        None => extensions.remove(GROUP_DATA),
    }
    extensions
}

/// The members by their leaves.
pub(crate) fn members_of(roster: &Roster<'_>) -> Result<BTreeMap<u32, ClientId>, ClientIdError> {
    roster.members_iter().map(|member| Ok((member.index, client_id_of(&member.signing_identity)?))).collect()
}

/// What the proposals do to the group.
pub(super) fn read(
    source: &CommitSource,
    roster: &Roster<'_>,
    context: &GroupContext,
    proposals: &ProposalBundle,
) -> Result<GroupChange, Refused> {
    let by_leaf = members_of(roster)?;
    let (committer, own) = match source {
        CommitSource::ExistingMember(member) => {
            let client = client_id_of(&member.signing_identity)?;
            (Committer::Member(client.clone()), client)
        }
        CommitSource::NewMember(identity) => {
            let client = client_id_of(identity)?;
            (Committer::Joiner(client.clone()), client)
        }
    };
    let proposer = |sender: &Sender, itself: &ClientId| match sender {
        Sender::Member(leaf) => Proposer::Client(by_leaf.get(leaf).unwrap_or(&own).clone()),
        Sender::External(number) => Proposer::ExternalSender(*number),
        // It proposes itself, or it joins.
        _ => Proposer::Client(itself.clone()),
    };
    let mut added = Vec::with_capacity(proposals.add_proposals().len());
    for info in proposals.add_proposals() {
        let client = client_id_of(info.proposal.signing_identity())?;
        let by = proposer(info.sender(), &client);
        added.push((client, by));
    }
    let mut removed = Vec::with_capacity(proposals.remove_proposals().len());
    for info in proposals.remove_proposals() {
        // The library refuses a leaf that is not there.
        if let Some(client) = by_leaf.get(&info.proposal.to_remove()) {
            removed.push((client.clone(), proposer(info.sender(), &own)));
        }
    }
    let data_before = data_of(&context.extensions);
    let data_after = match proposals.group_context_ext_proposals() {
        [] => data_before,
        proposed => changed_data(&context.extensions, proposed)?,
    };
    Ok(GroupChange {
        conversation: ConversationId::from(context.group_id()),
        committer,
        added,
        removed,
        data_before: data_before.map(<[u8]>::to_vec),
        data_after: data_after.map(<[u8]>::to_vec),
        members: by_leaf.into_values().collect(),
    })
}

/// The group data of a proposal that changes nothing else.
fn changed_data<'a>(
    before: &ExtensionList,
    proposed: &'a [ProposalInfo<ExtensionList>],
) -> Result<Option<&'a [u8]>, Refused> {
    // Of several, none counts.
    let [info] = proposed else { return Err(Refused::Extensions) };
    let others = |extensions: &ExtensionList| with_data(extensions.clone(), None);
    if others(before) != others(&info.proposal) {
        return Err(Refused::Extensions);
    }
    Ok(data_of(&info.proposal))
}

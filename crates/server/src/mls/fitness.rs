//! Whether everybody could commit a proposal. The library caches a proposal without looking into it; whoever commits it leaves out
//! what does not fit (RFC 9420 section 12.2), and the hub asks for all that is pending. So what does not fit must not become pending.

use std::collections::BTreeSet;

use mls_rs::{
    CipherSuiteProvider as _,
    error::MlsError,
    extension::built_in::{ExternalSendersExt, RequiredCapabilitiesExt},
    group::{
        CachedProposal, LeafNode, LeafNodeSource, Node, NodeVec,
        proposal::{Proposal, UpdateProposal},
    },
    mls_rs_codec::{self, MlsDecode as _, MlsEncode as _, byte_vec},
};

use super::{Rejection, checks::suite, key_package, message::ProposalSender, observer::Group};

/// Checks the leaf that a proposal brings against the group and against the leaves that other pending proposals bring. The key
/// package around it is checked like one that is uploaded.
pub(super) fn check_fitness(
    group: &Group,
    pending: &[CachedProposal],
    proposal: &Proposal,
    sender: ProposalSender,
) -> Result<(), Rejection> {
    let Some(leaf) = leaf_of(proposal)? else { return Ok(()) };
    check_capabilities(group, &leaf)?;
    let place = match (proposal, sender) {
        (Proposal::Update(_), ProposalSender::Leaf(index)) => {
            check_update(group, &leaf, index)?;
            Some(index)
        }
        _ => None,
    };
    let mut others = leaves(group, place)?;
    for cached in pending {
        others.extend(leaf_of(cached.proposal())?);
    }
    let keys: BTreeSet<&[u8]> = others
        .iter()
        .flat_map(|other| [other.public_key.as_ref(), &*other.signing_identity.signature_key])
        .collect();
    let is_taken = keys.contains(leaf.public_key.as_ref())
        || keys.contains(&*leaf.signing_identity.signature_key)
        // Every update brings another key (RFC 9420 section 7.3).
        || place.is_some_and(|index| public_key_at(group, index).as_deref() == Some(leaf.public_key.as_ref()));
    if is_taken {
        return Err(Rejection::Invalid("the leaf has a key that another leaf of the group has"));
    }
    Ok(())
}

/// What every leaf of the group has to support, the new one does, and what is in the new one too.
fn check_capabilities(group: &Group, leaf: &LeafNode) -> Result<(), Rejection> {
    let extensions = group.group_context().extensions();
    let required =
        extensions.get_as::<RequiredCapabilitiesExt>().map_err(Rejection::of_extension)?.unwrap_or_default();
    let senders = extensions.get_as::<ExternalSendersExt>().map_err(Rejection::of_extension)?;
    let in_use = group.roster().members_iter().map(|member| member.signing_identity);
    let named = senders.into_iter().flat_map(|senders| senders.allowed_senders);
    let credentials = in_use.chain(named).map(|identity| identity.credential.credential_type());
    let mentioned = extensions.iter().chain(leaf.extensions.iter()).map(|extension| extension.extension_type);

    let can = &leaf.capabilities;
    let fits = mentioned
        .filter(|extension| !extension.is_default())
        .chain(required.extensions)
        .all(|extension| can.extensions.contains(&extension))
        && required.proposals.iter().all(|proposal| can.proposals.contains(proposal))
        && credentials.chain(required.credentials).all(|credential| can.credentials.contains(&credential))
        && !can.extensions.iter().any(mls_rs::extension::ExtensionType::is_default)
        && !can.proposals.iter().any(mls_rs::group::proposal::ProposalType::is_default);
    if fits { Ok(()) } else { Err(Rejection::Invalid("the leaf lacks a capability that the group needs")) }
}

/// New keys of a leaf: the device signs them for its place in the group.
fn check_update(group: &Group, leaf: &LeafNode, index: u32) -> Result<(), Rejection> {
    let is_signed = leaf.leaf_node_source == LeafNodeSource::Update && {
        let content = to_be_signed(leaf, group.group_context().group_id(), index)
            .map_err(|error| Rejection::Mls(error.into()))?;
        suite()?.verify(&leaf.signing_identity.signature_key, &leaf.signature, &content).is_ok()
    };
    if is_signed {
        Ok(())
    } else {
        Err(Rejection::Invalid("the leaf is not one that its device has signed for its place in the group"))
    }
}

/// `SignContent` of the `LeafNodeTBS` of an Update (RFC 9420 sections 5.1.2 and 7.2): the leaf without its signature, the group, and
/// the place.
fn to_be_signed(leaf: &LeafNode, group_id: &[u8], index: u32) -> Result<Vec<u8>, mls_rs_codec::Error> {
    let mut content = Vec::new();
    leaf.public_key.mls_encode(&mut content)?;
    leaf.signing_identity.mls_encode(&mut content)?;
    leaf.capabilities.mls_encode(&mut content)?;
    leaf.leaf_node_source.mls_encode(&mut content)?;
    leaf.extensions.mls_encode(&mut content)?;
    byte_vec::mls_encode(&group_id, &mut content)?;
    index.mls_encode(&mut content)?;
    let mut signed = Vec::with_capacity(content.len() + 32);
    byte_vec::mls_encode(b"MLS 1.0 LeafNodeTBS", &mut signed)?;
    byte_vec::mls_encode(&content, &mut signed)?;
    Ok(signed)
}

/// The leaf that a proposal brings, if it brings one.
fn leaf_of(proposal: &Proposal) -> Result<Option<LeafNode>, Rejection> {
    let leaf = match proposal {
        Proposal::Add(add) => {
            let bytes = add.key_package().mls_encode_to_vec();
            key_package::leaf(&bytes.map_err(malformed)?).map_err(|_| BROKEN)?
        }
        Proposal::Update(update) => leaf_of_update(update).map_err(malformed)?,
        _ => return Ok(None),
    };
    Ok(Some(leaf))
}

/// A leaf is all that an Update has (RFC 9420 section 12.1.2).
fn leaf_of_update(update: &UpdateProposal) -> Result<LeafNode, mls_rs_codec::Error> {
    LeafNode::mls_decode(&mut &*update.mls_encode_to_vec()?)
}

/// The leaves of the group, but for the one at this place.
fn leaves(group: &Group, but: Option<u32>) -> Result<Vec<LeafNode>, Rejection> {
    Ok(nodes(group)?
        .iter()
        .step_by(2)
        .zip(0_u32..)
        .filter_map(|(node, index)| match node {
            Some(Node::Leaf(leaf)) if Some(index) != but => Some(leaf.clone()),
            _ => None,
        })
        .collect())
}

fn public_key_at(group: &Group, index: u32) -> Option<Vec<u8>> {
    let place = usize::try_from(index).ok()?.checked_mul(2)?;
    match nodes(group).ok()?.get(place)? {
        Some(Node::Leaf(leaf)) => Some(leaf.public_key.to_vec()),
        _ => None,
    }
}

fn nodes(group: &Group) -> Result<NodeVec, Rejection> {
    let tree = group.export_tree().map_err(Rejection::Stored)?;
    NodeVec::mls_decode(&mut &*tree).map_err(|error| Rejection::Stored(error.into()))
}

const BROKEN: Rejection = Rejection::Malformed("the proposal's leaf cannot be read");

fn malformed(error: mls_rs_codec::Error) -> Rejection {
    Rejection::Mls(MlsError::from(error))
}

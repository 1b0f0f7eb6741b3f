//! Commits that the hub cannot read, of conversations whose handshake messages are encrypted.
//!
//! What the hub knows of such a commit is its group and epoch, and the `GroupInfo` that its sender gives with it. It compares
//! the group that the `GroupInfo` describes with the one that it knows:
//!
//! | it is certain | it is not known |
//! |---|---|
//! | the device that sends it is a member afterwards and has signed the `GroupInfo` | that the commit leads to the group that the `GroupInfo` describes |
//! | the tree is one that MLS allows, with valid signatures of all leaves, and valid lifetimes of the new ones | that the group follows from the one before: its transcript, its secrets |
//! | who is in the group afterwards, and so who came and went | who proposed that: of what the hub did not propose, the sender is taken for it |
//! | the policy before and after, by which the sender may do that | that nothing else is proposed in it |
//! | the hub's own removals are carried out | that members' encrypted proposals are, or the Adds that devices propose from outside |
//! | the commit is a message of this group and epoch | that anybody can read it, and that what it does is allowed |
//!
//! So a member whose devices lie about the `GroupInfo` can make the hub believe in another membership than the members have,
//! within what the member may do. The members check the commit itself. One that leads nowhere makes all of them join anew, by the
//! `GroupInfo`; one that breaks the rules makes them keep out of the conversation until their persons decide. Both are what is left
//! to who may commit, which is every member. Encrypted proposals that nobody has checked are left out by the clients.
//!
//! A device that is taken out and comes back to the same leaf in one commit looks like one that stayed. Where the hub has
//! proposed its removal such a commit is refused; the removal is to be committed first.

use std::collections::{BTreeMap, BTreeSet};

use mls_rs::{
    external_client::ExternalSnapshot,
    group::{CachedProposal, LeafNodeSource, Node},
    time::MlsTime,
};
use tertulia_api::UserDevice;
use tertulia_domain::{Handshake, UserId};

use super::{
    CIPHER_SUITE, CommitBundle, Observer, Rejection, Removed, ValidCommit,
    checks::{described_group, reference, removal},
    identity::is_history_client,
    observer::{Group, Leaf, check_handshake, check_history, encode, others, policy},
};

/// The group as it was before.
struct Before {
    leaves: Vec<Leaf>,
    history: BTreeSet<Vec<u8>>,
    pending: Vec<CachedProposal>,
    policy: Option<Vec<u8>>,
}

impl Observer {
    /// Checks an encrypted commit by the `GroupInfo` that comes with it. `stored` is the snapshot from the commit before, none
    /// for the first.
    pub(crate) fn hidden_commit(
        &self,
        stored: Option<&[u8]>,
        bundle: &CommitBundle,
        sender: UserDevice,
        now: MlsTime,
    ) -> Result<ValidCommit, Rejection> {
        let info = described_group(&bundle.group_info)?;
        let (context, signer) = (info.group_context(), info.sender());
        if context.group_id() != bundle.group_id || Some(context.epoch()) != bundle.epoch.checked_add(1) {
            return Err(Rejection::GroupInfo("the GroupInfo is not for the next epoch of this group"));
        }
        if context.cipher_suite() != CIPHER_SUITE {
            return Err(Rejection::Invalid("the group's cipher suite is not one of this hub"));
        }
        let known = stored.map(|stored| self.load(stored)).transpose()?;
        // Verifies the signature by the leaf of who signed it, the tree against the context, and every leaf but for its lifetime.
        let group = self
            .client(None)
            .observe_group(bundle.group_info.message.clone(), None, None)
            .map_err(Rejection::GroupInfoMls)?;
        self.hub_identity(group.group_context())?;
        check_handshake(group.group_context(), Handshake::Ciphertext)?;
        if known.as_ref().is_some_and(|known| others(known.group_context()) != others(group.group_context()))
        {
            return Err(Rejection::Invalid("the commit changes what the group is set up with"));
        }
        check_history(&group)?;
        check_new_leaves(known.as_ref(), &group, now)?;

        let leaves = self.leaves(&group)?;
        let committer = leaves.iter().find(|leaf| leaf.index == signer && leaf.device == sender);
        let committer = committer
            .ok_or(Rejection::Invalid("the GroupInfo is not signed by the device that sends the commit"))?;
        let before = match &known {
            Some(known) => self.before(known)?,
            // Nobody has seen the group; whoever makes it is alone in it, at the first leaf.
            None if committer.index == 0 && bundle.epoch == 0 => Before {
                leaves: vec![committer.clone()],
                history: BTreeSet::new(),
                pending: Vec::new(),
                policy: None,
            },
            None => {
                return Err(Rejection::Invalid("the first commit of a group is its creator's, in epoch 0"));
            }
        };
        if !before.leaves.iter().any(|leaf| (leaf.index, leaf.device) == (signer, sender)) {
            return Err(Rejection::Invalid("the commit is not that of a device in the group"));
        }
        let (added, removed) = compare(&before, &leaves, sender.user)?;
        let new_history = history_keys(&group).difference(&before.history).count();
        check_welcome(bundle, added.len() + new_history)?;
        let new: BTreeSet<UserDevice> = added.iter().map(|leaf| leaf.device).collect();
        let stays = |leaf: &&Leaf| !new.contains(&leaf.device);
        let kept: BTreeSet<UserId> = leaves.iter().filter(stays).map(|leaf| leaf.device.user).collect();
        Ok(ValidCommit {
            epoch: group.group_context().epoch(),
            snapshot: encode(&group)?,
            proposed: BTreeSet::new(),
            history: new_history > 0,
            committer: committer.clone(),
            joins: known.is_none(),
            external: false,
            pending: before.pending.iter().map(reference).collect(),
            policy_before: before.policy,
            policy_after: policy(group.group_context()),
            added,
            removed,
            kept,
        })
    }

    fn load(&self, stored: &[u8]) -> Result<Group, Rejection> {
        let snapshot = ExternalSnapshot::from_bytes(stored).map_err(Rejection::Stored)?;
        self.client(None).load_group(snapshot).map_err(Rejection::Stored)
    }

    fn before(&self, known: &Group) -> Result<Before, Rejection> {
        Ok(Before {
            leaves: self.leaves(known)?,
            history: history_keys(known),
            pending: known.get_cached_proposals(),
            policy: policy(known.group_context()),
        })
    }
}

/// The devices that came, and those that went with who is taken to have proposed it. A device that is at another leaf than
/// before has gone and come back.
fn compare(before: &Before, after: &[Leaf], sender: UserId) -> Result<(Vec<Leaf>, Vec<Removed>), Rejection> {
    let by_device = |leaves: &[Leaf]| -> BTreeMap<UserDevice, Leaf> {
        leaves.iter().map(|leaf| (leaf.device, leaf.clone())).collect()
    };
    let (was, is) = (by_device(&before.leaves), by_device(after));
    let by_hub: BTreeSet<u32> =
        before.pending.iter().filter_map(|cached| removal(cached.proposal())).collect();
    let same_place = |device: &UserDevice| match (was.get(device), is.get(device)) {
        (Some(was), Some(is)) => was.index == is.index && was.signature_key == is.signature_key,
        _ => false,
    };
    // What the hub proposed has to be carried out.
    let left_over = |leaf: &Leaf| by_hub.contains(&leaf.index) && same_place(&leaf.device);
    if before.leaves.iter().any(left_over) {
        return Err(Rejection::MissingProposals);
    }
    let added = after.iter().filter(|leaf| !same_place(&leaf.device)).cloned().collect();
    let gone = before.leaves.iter().filter(|leaf| !same_place(&leaf.device));
    let removed = gone.map(|leaf| Removed {
        device: leaf.device,
        by: if by_hub.contains(&leaf.index) { None } else { Some(sender) },
    });
    Ok((added, removed.collect()))
}

/// Who comes does so by a key package that is valid now. Those who were there may have come by one that has expired since, which
/// is nothing against them (RFC 9420 section 7.3): a device that says nothing keeps its leaf.
fn check_new_leaves(before: Option<&Group>, after: &Group, now: MlsTime) -> Result<(), Rejection> {
    let (was, is) = (before.map(Group::exported_tree), after.exported_tree());
    for (index, node) in is.nodes().iter().enumerate() {
        let Some(Node::Leaf(leaf)) = node else { continue };
        let LeafNodeSource::KeyPackage(lifetime) = &leaf.leaf_node_source else { continue };
        let was_there = was.as_ref().is_some_and(|tree| tree.nodes().get(index) == Some(node));
        if !was_there && !(lifetime.not_before..=lifetime.not_after).contains(&now) {
            return Err(Rejection::Invalid(
                "the commit adds a device by a key package that has expired, or is not valid yet",
            ));
        }
    }
    Ok(())
}

/// The keys of the history clients in a group: a new one has another.
fn history_keys(group: &Group) -> BTreeSet<Vec<u8>> {
    let members = group.roster().members_iter().map(|member| member.signing_identity);
    members.filter(is_history_client).map(|identity| identity.signature_key.to_vec()).collect()
}

/// There is a Welcome if anybody came, for as many as came. For whom it is, is inside the commit.
fn check_welcome(bundle: &CommitBundle, added: usize) -> Result<(), Rejection> {
    let welcomed = match &bundle.welcome {
        None => 0,
        Some(welcome) if welcome.message.cipher_suite() == Some(CIPHER_SUITE) => {
            welcome.message.welcome_key_package_references().len()
        }
        Some(_) => return Err(Rejection::Invalid("the Welcome is of another cipher suite")),
    };
    if welcomed == added && (added > 0 || bundle.welcome.is_none()) {
        Ok(())
    } else {
        Err(Rejection::Invalid("the Welcome is not for as many devices as the commit adds"))
    }
}

//! Commits: what MLS makes of them is checked before, outside the transaction; here is what the rules of the
//! conversation say, and the compare-and-swap that lets one of several win.

use std::collections::BTreeSet;

use super::{
    access, admission, check_may_send, implicit, joins,
    membership::{announce_role, check_member_limit, propose_removals},
    pairwise::wrong_protocol,
    policy::{self, NewRole},
    subconversations,
};
use crate::storage::Connection;
use crate::{
    error::ApiError,
    mls::{CommitBundle, Observer, Removed, ValidCommit},
    storage::{
        Position, WriteTx, accounts, conversations,
        conversations::Access,
        groups, key_packages,
        log::{self, Digest, Entry, Extra, Kind},
        quotas, roles,
    },
};
use tertulia_api::{Code, UserDevice, conversation::CommitAccepted};
use tertulia_domain::{
    ConversationId, ConversationType, Domain, GroupId, Handshake, RoleName, UserId,
    account::AccountAction,
    permission::{self, Candidate},
    policy::Policy,
    role::Action,
};

/// A commit bundle that was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) conversation: ConversationId,
    pub(crate) sender: UserDevice,
    pub(crate) bundle: CommitBundle,
    pub(crate) digest: Digest,
    /// Bytes of the sender that may be stored with this.
    pub(crate) most: Option<u64>,
    /// Milliseconds since 1970.
    pub(crate) now: i64,
}

/// How a commit request begins.
#[derive(Debug)]
pub(crate) enum Begun {
    /// The same bytes were accepted before.
    Known(CommitAccepted),
    /// MLS is to be asked. With the stored group, or without for the first commit.
    Check(Option<Vec<u8>>),
}

/// Everything that can be said before MLS is asked: is the sender a member who may send, is it the right group and epoch.
pub(crate) fn begin(connection: &Connection, domain: &Domain, sent: &Sent) -> Result<Begun, ApiError> {
    let Sent { conversation, sender, bundle, .. } = sent;
    let access = match access(connection, *conversation, sender.user) {
        Ok(access) => access,
        // Nothing of it is stored before there is a commit that is good.
        Err(unknown) => match implicit::access(connection, domain, sender.user, *conversation)? {
            Some(implicit) => return check_fits(&implicit, bundle).map(|()| Begun::Check(None)),
            None => return Err(unknown),
        },
    };
    check_may_send(connection, *conversation, sender.user, &access)?;
    subconversations::check_device(connection, &access, *sender)?;
    if let Some(known) = log::known(connection, *conversation, sent.digest)? {
        let log::Known { sequence, epoch, sent_at } = known;
        return Ok(Begun::Known(CommitAccepted { sequence, epoch, sent_at }));
    }
    check_fits(&access, bundle)?;
    quotas::check_handshake(connection, sender.user, (bundle.bytes(), bundle.message.is_some()), sent.most)?;
    Ok(Begun::Check(groups::snapshot(connection, *conversation)?))
}

/// Whether the commit is for the present group and epoch, in the form that the conversation has.
fn check_fits(access: &Access, bundle: &CommitBundle) -> Result<(), ApiError> {
    let brings_message = bundle.message.is_some();
    if !access.protocol.has_group() || brings_message && access.protocol.sends_pairwise() {
        return Err(wrong_protocol(access));
    }
    if bundle.group_id != access.group_id {
        // A group that was begun anew has moved on too.
        return Err(match GroupId::from_bytes(&bundle.group_id) {
            Some(earlier) if access.is_after(earlier) => ApiError::stale_epoch(access.epoch),
            _ => ApiError::new(Code::MalformedMls, "The commit is for another group."),
        });
    }
    if bundle.epoch != access.epoch {
        return Err(ApiError::stale_epoch(access.epoch));
    }
    if !bundle.sender.fits(access.handshake) {
        let detail = match access.handshake {
            Handshake::Plaintext => "The commits of this conversation are sent as PublicMessage.",
            Handshake::Ciphertext => "The commits of this conversation are sent as PrivateMessage.",
        };
        return Err(ApiError::new(Code::MalformedMls, detail));
    }
    Ok(())
}

/// Makes the commit the conversation's next epoch, with everything that follows from it, or nothing.
pub(crate) fn accept(
    tx: &WriteTx<'_>,
    observer: &Observer,
    sent: &Sent,
    valid: &ValidCommit,
) -> Result<CommitAccepted, ApiError> {
    let Sent { conversation, sender, bundle, digest, now, .. } = sent;
    let (conversation, sender, now) = (*conversation, *sender, *now);
    if bundle.epoch == 0 {
        implicit::store(tx, observer.domain(), sender.user, conversation, now)?;
    }
    // Others may have been faster since `begin`.
    if let Begun::Known(accepted) = begin(tx, observer.domain(), sent)? {
        return Ok(accepted);
    }
    let access = access(tx, conversation, sender.user)?;
    if !valid.external {
        let pending = groups::pending_references(tx, conversation)?;
        if pending.iter().any(|found| !valid.pending.contains(found)) {
            return Err(Code::MissingProposals.into());
        }
        // One that was withdrawn since is no more with the members, who would not find what the commit refers to.
        if valid.pending.iter().any(|checked| !pending.contains(checked)) {
            return Err(Code::ProposalNotFound.into());
        }
    }
    // Who makes the group is its first admin. While pairwise there are members who are none.
    if access.epoch == 0 && access.protocol.sends_pairwise() {
        permission::check_change_protocol(Some(&access.membership()))?;
    }
    check_keys(tx, valid)?;

    if access.parent.is_some() {
        subconversations::check_commit(tx, conversation, sender, valid)?;
    }
    let policy = policy::check(tx, observer.domain(), sent, &access, valid)?;
    let joined = check_arriving(tx, sent, &access, valid, policy.as_ref())?;
    check_member_limit(tx, conversation, access.protocol, joined.len())?;

    if !groups::advance(tx, conversation, bundle.epoch, valid.epoch)? {
        return Err(ApiError::stale_epoch(access.epoch));
    }
    groups::store(tx, conversation, &valid.snapshot, &bundle.group_info.bytes)?;
    groups::clear_pending(tx, conversation)?;
    for removed in &valid.removed {
        groups::remove_leaf(tx, conversation, removed.device)?;
    }
    for leaf in valid.added.iter().chain(valid.joins.then_some(&valid.committer)) {
        groups::insert_leaf(tx, conversation, leaf.index, leaf.device)?;
    }
    let left = check_going(tx, sent, &access, valid)?;
    check_complete(tx, sent, &access, &joined)?;

    let added = valid.added.iter().map(|leaf| leaf.device).collect();
    let commit = Entry {
        epoch: Some(valid.epoch),
        sender: Some(sender),
        sent_at: now,
        body: Some(&bundle.commit.bytes),
        welcome: bundle.welcome.as_ref().map(|part| part.bytes.as_ref()),
        message: bundle.message.as_ref().map(|part| part.bytes.as_ref()),
        extra: Some(Extra::Commit { added }),
        digest: Some(*digest),
        beside: 0,
    };
    let place = log::append(tx, conversation, Kind::Commit, &commit)?;
    record_members(tx, sent, place.position, (valid, policy.as_ref()), &joined, &left)?;
    if access.parent.is_some() {
        subconversations::after_commit(tx, observer, sent, valid, place.position)?;
    } else {
        propose_removals(tx, observer, conversation, access.kind, valid.epoch, now)?;
        subconversations::follow_parent(tx, observer, conversation, now)?;
    }
    Ok(CommitAccepted { sequence: place.sequence, epoch: valid.epoch, sent_at: now })
}

/// Every leaf that the commit makes is of a registered device and has the key that the device registered.
fn check_keys(tx: &WriteTx<'_>, valid: &ValidCommit) -> Result<(), ApiError> {
    for leaf in valid.added.iter().chain([&valid.committer]) {
        if groups::registered_key(tx, leaf.device)?.as_deref() != Some(&leaf.signature_key) {
            let detail =
                "A leaf is not of a registered device, or has another key than the device registered.";
            return Err(ApiError::new(Code::InvalidCommit, detail));
        }
    }
    Ok(())
}

/// Which of the users whose devices are added become members, if the sender may talk to them.
fn check_arriving(
    tx: &WriteTx<'_>,
    sent: &Sent,
    access: &Access,
    valid: &ValidCommit,
    after: Option<&Policy>,
) -> Result<Vec<UserId>, ApiError> {
    let actor = sent.sender.user;
    // Nobody becomes a member by a proposal: a device that was proposed is one of a user who was in it then.
    let by_value = valid.added.iter().filter(|leaf| !valid.proposed.contains(&leaf.device));
    let arriving: BTreeSet<UserId> = by_value.map(|leaf| leaf.device.user).collect();
    if access.kind == ConversationType::OneToOne {
        // Both are in it for good, present or not: who is added is not compared with the members.
        let other = conversations::other_user(tx, sent.conversation, actor)?;
        let strangers = arriving.iter().any(|&user| user != actor && Some(user) != other);
        let first_without_other = valid.epoch == 1 && !other.is_some_and(|other| arriving.contains(&other));
        if strangers || first_without_other {
            let detail = "The group of a 1:1 has the devices of exactly its two users.";
            return Err(ApiError::new(Code::InvalidOperation, detail));
        }
        return Ok(Vec::new());
    }
    if access.kind == ConversationType::Subconversation {
        return Ok(Vec::new()); // nobody arrives who is not a member of the parent
    }
    if access.kind == ConversationType::SelfConversation {
        if arriving.iter().any(|&user| user != actor) {
            let detail = "Only the user's own devices are in a conversation with oneself.";
            return Err(ApiError::new(Code::InvalidOperation, detail));
        }
        return Ok(Vec::new());
    }
    let mut joined = Vec::new();
    for user in arriving {
        if roles::role_of(tx, sent.conversation, user)?.is_none() {
            joined.push(user);
        }
    }
    let before = policy::before(valid)?;
    let policies = (before.as_ref(), after);
    let invited = admission::not_asking(tx, (sent.conversation, access), policies, &joined)?;
    if !invited.is_empty() {
        accounts::kind(tx, actor)?.check(AccountAction::AddOthers)?;
    }
    let mut candidates = Vec::with_capacity(invited.len());
    for user in invited {
        candidates.push(Candidate { user, connected: conversations::are_connected(tx, actor, user)? });
    }
    permission::check_candidates(candidates)?;
    Ok(joined)
}

/// A user who is added, or the other of a new 1:1, comes with every device that can be added.
fn check_complete(tx: &WriteTx<'_>, sent: &Sent, access: &Access, joined: &[UserId]) -> Result<(), ApiError> {
    let Sent { conversation, sender: UserDevice { user: actor, .. }, now, .. } = *sent;
    let first_one_to_one = access.kind == ConversationType::OneToOne && access.epoch == 0;
    let other = if first_one_to_one { conversations::other_user(tx, conversation, actor)? } else { None };
    let mut missing = Vec::new();
    for user in joined.iter().copied().chain(other) {
        let present = groups::devices_in_tree(tx, conversation, user)?;
        let addable = key_packages::devices_to_add(tx, user, actor, now)?;
        missing.extend(
            addable
                .into_iter()
                .filter(|device| !present.contains(device))
                .map(|device| UserDevice { user, device }),
        );
    }
    if missing.is_empty() { Ok(()) } else { Err(ApiError::device_mismatch(missing)) }
}

/// Which of the users whose leaves are removed are members no more. The leaves are already as they are after the commit, and
/// that the sender may remove them from a group or channel was looked at with its policy.
fn check_going(
    tx: &WriteTx<'_>,
    sent: &Sent,
    access: &Access,
    valid: &ValidCommit,
) -> Result<Vec<UserId>, ApiError> {
    let Sent { conversation, sender, .. } = *sent;
    if access.kind == ConversationType::Subconversation {
        return Ok(Vec::new()); // whose devices go stays a member of the parent
    }
    let mut going = BTreeSet::new();
    for Removed { device, by } in &valid.removed {
        // To take out a device that its user has removed from the account takes nobody out, and anybody does it.
        let registered = groups::registered_key(tx, *device)?.is_some();
        if by.is_some() && device.user != sender.user && registered {
            going.insert(device.user);
        }
    }
    let mut left = Vec::new();
    for user in going {
        if !access.kind.is_managed() {
            permission::authorise(Some(&access.membership()), Action::RemoveMember)?;
        }
        // To throw a device out and let it in again is to remove it: it loses its place and what was on its way to it.
        let is_replaced = |removed: &Removed| valid.added.iter().any(|leaf| leaf.device == removed.device);
        if valid.removed.iter().filter(|removed| removed.device.user == user).all(is_replaced) {
            continue;
        }
        let remaining = groups::devices_in_tree(tx, conversation, user)?;
        if !remaining.is_empty() {
            let missing = remaining.into_iter().map(|device| UserDevice { user, device });
            return Err(ApiError::device_mismatch(missing.collect()));
        }
        // Who has left may be removed by anybody.
        if roles::role_of(tx, conversation, user)?.is_some() {
            left.push(user);
        }
    }
    Ok(left)
}

/// Who is added sees the log from the commit on; who is removed sees that, and nothing later. Roles are as the policy says.
fn record_members(
    tx: &WriteTx<'_>,
    sent: &Sent,
    commit: Position,
    (valid, policy): (&ValidCommit, Option<&Policy>),
    joined: &[UserId],
    left: &[UserId],
) -> Result<(), ApiError> {
    let Sent { conversation, sender, now, .. } = *sent;
    if !joined.is_empty() || !left.is_empty() {
        let mut members = Vec::with_capacity(joined.len());
        for &user in joined {
            let role = policy.and_then(|policy| policy.role_of(user));
            let role = role.map_or(RoleName::MEMBER, |role| role.name().clone());
            conversations::insert_member(tx, conversation, user, &role, commit)?;
            members.push(conversations::as_member(tx, user, role)?);
        }
        let entry = Entry {
            sender: Some(sender),
            sent_at: now,
            extra: Some(Extra::Members { joined: members, left: left.to_vec() }),
            ..Entry::default()
        };
        let place = log::append(tx, conversation, Kind::Members, &entry)?;
        for &user in left {
            conversations::end_member(tx, conversation, user, place.position)?;
        }
    }
    // Who joins from outside changes nothing; and who has left meanwhile is in the policy until a member commits the removal.
    if let (Some(policy), false) = (policy, valid.external) {
        for NewRole { user, role } in policy::adopt(tx, sent, policy)? {
            announce_role(tx, conversation, Some(sender), user, role, now)?;
        }
        // The hub's record follows whoever changed the entrance; nothing else changes that record where there is a group.
        let way_in = |policy: &Policy| (policy.entrance().link, policy.entrance().open);
        if policy::before(valid)?.is_none_or(|before| way_in(&before) != way_in(policy)) {
            joins::follow_policy(tx, conversation, sender, policy, now)?;
        }
    }
    Ok(())
}

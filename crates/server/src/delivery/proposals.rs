//! Proposals that devices send for others to commit. They are pending until the epoch ends.

use super::{access, check_may_send, subconversations};
use crate::storage::Connection;
use crate::{
    error::ApiError,
    mls::{
        Observer, ProposalMessage,
        key_package::{self, Expected},
        message::ProposalSender,
        proposals::{Change, ValidProposal},
    },
    storage::{
        WriteTx,
        conversations::{self, Access},
        groups::{self, Pending},
        log::{self, Digest, Entry, Extra, Kind},
        quotas, roles,
    },
};
use mls_rs::time::MlsTime;
use std::{collections::BTreeSet, time::Duration};
use tertulia_api::{Base64, Code, UserDevice, conversation::ProposalAccepted};
use tertulia_domain::{
    ConversationId, ConversationType, DeviceAddress, Domain, GroupId,
    limits::{MAX_KEY_PACKAGE_LIFETIME, MAX_PENDING_PROPOSALS},
    subconversation::SubconversationError,
};

/// A proposal that was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) conversation: ConversationId,
    pub(crate) sender: UserDevice,
    pub(crate) proposal: ProposalMessage,
    pub(crate) digest: Digest,
    /// The longest lifetime of a key package.
    pub(crate) lifetime: Duration,
    /// Bytes of the sender that may be stored with this.
    pub(crate) most: Option<u64>,
    /// Milliseconds since 1970.
    pub(crate) now: i64,
}

/// Makes a proposal pending in the group's present epoch. MLS is asked inside the transaction: of two proposals at once each
/// is checked against the group that has the other.
pub(crate) fn accept(
    tx: &WriteTx<'_>,
    observer: &Observer,
    sent: &Sent,
) -> Result<ProposalAccepted, ApiError> {
    let Sent { conversation, sender, proposal, digest, now, .. } = sent;
    let (conversation, sender, now) = (*conversation, *sender, *now);
    let access = access(tx, conversation, sender.user)?;
    check_may_send(tx, conversation, sender.user, &access)?;
    subconversations::check_device(tx, &access, sender)?;
    if let Some(log::Known { sequence, epoch, sent_at }) = log::known(tx, conversation, *digest)? {
        return Ok(ProposalAccepted { sequence, epoch, sent_at });
    }
    if proposal.group_id != access.group_id {
        return Err(match GroupId::from_bytes(&proposal.group_id) {
            Some(earlier) if access.is_after(earlier) => ApiError::stale_epoch(access.epoch),
            _ => ApiError::new(Code::MalformedMls, "The proposal is for another group."),
        });
    }
    let stored = groups::snapshot(tx, conversation)?.filter(|_| proposal.epoch == access.epoch);
    let Some(stored) = stored else { return Err(ApiError::stale_epoch(access.epoch)) };
    if !proposal.sender.fits(access.handshake) {
        let detail =
            "The conversation's proposals are sent in the other form, PublicMessage or PrivateMessage.";
        return Err(ApiError::new(Code::MalformedMls, detail));
    }
    quotas::check_handshake(tx, sender.user, (proposal.part.bytes.len(), false), sent.most)?;
    if groups::pending_references(tx, conversation)?.len() >= MAX_PENDING_PROPOSALS {
        return Err(Code::ProposalLimit.into());
    }
    if proposal.sender == ProposalSender::Hidden {
        return pass_on(tx, &access, sent);
    }
    let valid = observer.propose(&stored, proposal, sender, MlsTime::now())?;
    let signature_key = check(tx, &access, conversation, sender, &valid)?;
    let expires_at = check_key_package(observer.domain(), sent, &valid, signature_key)?;

    let bytes = &proposal.part.bytes;
    let pending = Pending { reference: valid.reference, removes: None, message: bytes.to_vec(), expires_at };
    groups::store_pending(tx, conversation, access.epoch, &valid.snapshot, &[pending])?;
    let entry = Entry {
        epoch: Some(access.epoch),
        sender: Some(sender),
        sent_at: now,
        body: Some(bytes),
        digest: Some(*digest),
        ..Entry::default()
    };
    let place = log::append(tx, conversation, Kind::Proposal, &entry)?;
    Ok(ProposalAccepted { sequence: place.sequence, epoch: access.epoch, sent_at: now })
}

/// Passes an encrypted proposal on to the members, who alone can look at it. The hub does not ask for it in the next commit,
/// since it cannot see what that has.
fn pass_on(tx: &WriteTx<'_>, access: &Access, sent: &Sent) -> Result<ProposalAccepted, ApiError> {
    let Sent { conversation, sender, proposal, digest, now, .. } = sent;
    if !groups::has_leaf(tx, *conversation, *sender)? {
        return Err(ApiError::stale_epoch(access.epoch));
    }
    // They are not kept as pending: no commit has to have them.
    if log::proposals_of_members(tx, *conversation)? >= MAX_PENDING_PROPOSALS {
        return Err(Code::ProposalLimit.into());
    }
    let entry = Entry {
        epoch: Some(access.epoch),
        sender: Some(*sender),
        sent_at: *now,
        body: Some(&proposal.part.bytes),
        digest: Some(*digest),
        ..Entry::default()
    };
    let place = log::append(tx, *conversation, Kind::Proposal, &entry)?;
    Ok(ProposalAccepted { sequence: place.sequence, epoch: access.epoch, sent_at: *now })
}

/// Withdraws what was proposed and cannot be committed any more: to add a device that is none of its user's now, or whose user is
/// not a member now, or whose key package has expired. The clients cannot forget a single proposal, so that all are withdrawn, and
/// what is still pending is sent again. Who is not in a 1:1 has blocked the other, which must not show.
pub(super) fn withdraw_void(
    tx: &WriteTx<'_>,
    observer: &Observer,
    (conversation, kind, epoch): (ConversationId, ConversationType, u64),
    now: i64,
) -> Result<(), ApiError> {
    let mut pending = groups::pending(tx, conversation)?;
    if pending.iter().all(|proposal| proposal.removes.is_some()) {
        return Ok(());
    }
    let Some(snapshot) = groups::snapshot(tx, conversation)? else { return Ok(()) };
    let has_expired = |reference: &[u8]| {
        let found = pending.iter().find(|proposal| proposal.reference == reference);
        found.and_then(|proposal| proposal.expires_at).is_some_and(|expires_at| expires_at <= now)
    };
    let mut void = BTreeSet::new();
    for (reference, device) in observer.proposed_devices(&snapshot)? {
        let is_gone = groups::registered_key(tx, device)?.is_none()
            || kind.is_managed() && roles::role_of(tx, conversation, device.user)?.is_none();
        if is_gone || has_expired(&reference) {
            void.insert(reference);
        }
    }
    if void.is_empty() {
        return Ok(());
    }
    groups::store_pending(tx, conversation, epoch, &observer.without_proposals(&snapshot, &void)?, &[])?;
    for reference in &void {
        groups::drop_pending(tx, conversation, reference)?;
    }
    pending.retain(|proposal| !void.contains(&proposal.reference));
    let void = void.into_iter().map(Base64).collect();
    let withdrawn = Entry {
        epoch: Some(epoch),
        sent_at: now,
        extra: Some(Extra::Withdrawn { void }),
        ..Entry::default()
    };
    log::append(tx, conversation, Kind::Withdrawn, &withdrawn)?;
    for proposal in &pending {
        let again =
            Entry { epoch: Some(epoch), sent_at: now, body: Some(&proposal.message), ..Entry::default() };
        log::append(tx, conversation, Kind::Proposal, &again)?;
    }
    Ok(())
}

/// A device that is proposed is one of a present user, has the key that it registered, and joins nothing that each joins for
/// itself. Returns that key.
fn check(
    connection: &Connection,
    access: &Access,
    conversation: ConversationId,
    sender: UserDevice,
    valid: &ValidProposal,
) -> Result<Vec<u8>, ApiError> {
    let user = valid.device.user;
    if valid.change != Change::Update {
        if access.parent.is_some() {
            return Err(SubconversationError::OnlyForItself.into());
        }
        // In a 1:1 both are in it for good: whether the other is present must not show.
        let is_member = user == sender.user
            || if access.kind == ConversationType::OneToOne {
                conversations::other_user(connection, conversation, sender.user)? == Some(user)
            } else {
                roles::role_of(connection, conversation, user)?.is_some()
            };
        if !is_member {
            let detail = "Only a device of a member can be proposed; new members are added by a commit.";
            return Err(ApiError::new(Code::InvalidOperation, detail));
        }
    }
    match groups::registered_key(connection, valid.device)? {
        Some(registered) if registered == valid.signature_key => Ok(registered),
        _ => {
            let detail =
                "The leaf is not of a registered device, or has another key than the device registered.";
            Err(ApiError::new(Code::InvalidCommit, detail))
        }
    }
}

/// The key package of a proposed device is one that the device could have uploaded, and that no client leaves out for living too
/// long: of what the hub asks for, each must be able to make a commit. Returns when it expires.
fn check_key_package(
    domain: &Domain,
    sent: &Sent,
    valid: &ValidProposal,
    signature_key: Vec<u8>,
) -> Result<Option<i64>, ApiError> {
    let Some(bytes) = &valid.key_package else { return Ok(None) };
    let expected = Expected {
        device: DeviceAddress::new(valid.device.user, valid.device.device, domain.clone()),
        signature_key,
        lifetime: sent.lifetime.min(MAX_KEY_PACKAGE_LIFETIME),
        now: sent.now,
    };
    let checked = key_package::check(bytes.clone(), &expected).map_err(|error| {
        ApiError::new(Code::InvalidKeyPackage, format!("The proposed device's key package: {error}."))
    })?;
    Ok(Some(checked.expires_at))
}

//! Proposals that devices send for others to commit. They are pending until the epoch ends.

use super::{access, check_may_send, subconversations};
use crate::storage::Connection;
use crate::{
    error::ApiError,
    mls::{
        Observer, ProposalMessage,
        message::ProposalSender,
        proposals::{Change, ValidProposal},
    },
    storage::{
        WriteTx,
        conversations::{self, Access},
        groups::{self, Pending},
        log::{self, Digest, Entry, Kind},
    },
};
use mls_rs::time::MlsTime;
use tertulia_api::{Code, UserDevice, conversation::ProposalAccepted};
use tertulia_domain::{
    ConversationId, ConversationType, GroupId, limits::MAX_PENDING_PROPOSALS,
    subconversation::SubconversationError,
};

/// A proposal that was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) conversation: ConversationId,
    pub(crate) sender: UserDevice,
    pub(crate) proposal: ProposalMessage,
    pub(crate) digest: Digest,
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
    let Sent { conversation, sender, proposal, digest, now } = sent;
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
    if groups::pending_references(tx, conversation)?.len() >= MAX_PENDING_PROPOSALS {
        return Err(Code::ProposalLimit.into());
    }
    if proposal.sender == ProposalSender::Hidden {
        return pass_on(tx, &access, sent);
    }
    let valid = observer.propose(&stored, proposal, sender, MlsTime::now())?;
    check(tx, &access, conversation, sender, &valid)?;

    let bytes = &proposal.part.bytes;
    let pending = Pending { reference: valid.reference, removes: None, message: bytes.to_vec() };
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
    let Sent { conversation, sender, proposal, digest, now } = sent;
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

/// A device that is proposed is one of a present user, has the key that it registered, and joins nothing that each joins for
/// itself.
fn check(
    connection: &Connection,
    access: &Access,
    conversation: ConversationId,
    sender: UserDevice,
    valid: &ValidProposal,
) -> Result<(), ApiError> {
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
                conversations::role_of(connection, conversation, user)?.is_some()
            };
        if !is_member {
            let detail = "Only a device of a member can be proposed; new members are added by a commit.";
            return Err(ApiError::new(Code::InvalidOperation, detail));
        }
    }
    if groups::registered_key(connection, valid.device)?.as_deref() != Some(&valid.signature_key) {
        let detail = "The leaf is not of a registered device, or has another key than the device registered.";
        return Err(ApiError::new(Code::InvalidCommit, detail));
    }
    Ok(())
}

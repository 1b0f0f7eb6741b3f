//! Pairwise messages, and the way of a conversation from them to MLS.
//!
//! In a 1:1 both users count, present or not: who has blocked the other has left it, and who is blocked must find the same as if
//! the other were silent. So the blocker's devices are missing, in the group or outside as they would be otherwise, and what is
//! encrypted for them is accepted; it is not kept.

use super::{access, check_announces, check_may_send, implicit};
use crate::{
    error::ApiError,
    storage::{
        StorageError, WriteTx, conversations,
        conversations::Access,
        log::{self, Digest, Entry, Extra, Kind},
        pairwise,
    },
};
use std::collections::BTreeSet;
use tertulia_api::{
    Code, UserDevice,
    pairwise::{DeviceMismatch, IgnoreMissing, PairwiseAccepted, PairwiseMessage},
};
use tertulia_domain::{
    ConversationId, ConversationType, Domain, Protocol, UserId,
    pairwise::{self as rule, Recipient},
    permission,
};

/// A pairwise message that was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) conversation: ConversationId,
    pub(crate) sender: UserDevice,
    pub(crate) message: PairwiseMessage,
    pub(crate) digest: Digest,
    /// Milliseconds since 1970.
    pub(crate) now: i64,
}

/// Takes a message into the conversation's log: one entry, with a ciphertext for each device.
pub(crate) fn accept(tx: &WriteTx<'_>, sent: &Sent) -> Result<PairwiseAccepted, ApiError> {
    let Sent { conversation, sender, ref message, digest, now } = *sent;
    let access = access(tx, conversation, sender.user)?;
    if message.announces_name {
        check_announces(&access)?;
    }
    check_may_send(tx, conversation, sender.user, &access)?;
    // The same bytes get the same answer, whatever devices there are by now.
    if let Some((known, extra)) = log::known_with_extra(tx, conversation, digest)? {
        // The kind is part of the digest, so it can be nothing else.
        let Extra::Pairwise { mismatch, .. } = extra else {
            return Err(StorageError::Damaged("an entry of the log is not what it was stored as").into());
        };
        return Ok(PairwiseAccepted { sequence: known.sequence, sent_at: known.sent_at, mismatch });
    }
    if !access.protocol.sends_pairwise() {
        return Err(wrong_protocol(&access));
    }

    let present: BTreeSet<UserId> = conversations::member_ids(tx, conversation)?.into_iter().collect();
    let members = counted(tx, conversation, sender.user, &access)?;
    let existing = pairwise::devices_of(tx, &members)?;
    let addressed: BTreeSet<Recipient> =
        message.ciphertexts.iter().map(|one| (one.user, one.device)).collect();
    let compared = rule::compare(
        (sender.user, sender.device),
        &members,
        &existing,
        &addressed,
        &ignore(&message.ignore_missing),
    );
    let mismatch = DeviceMismatch {
        missing: named(&compared.missing),
        redundant: named(&compared.redundant),
        deleted: named(&compared.deleted),
    };
    if !compared.is_complete {
        return Err(ApiError::incomplete_message(mismatch));
    }

    let announces_name = message.announces_name;
    let entry = Entry {
        sender: Some(sender),
        sent_at: now,
        extra: Some(Extra::Pairwise { announces_name, mismatch: mismatch.clone() }),
        digest: Some(digest),
        beside: message.ciphertexts.iter().map(|one| one.ciphertext.as_ref().len()).sum(),
        ..Entry::default()
    };
    let place = log::append(tx, conversation, Kind::Pairwise, &entry)?;
    let deliver = compared.deliver.into_iter().filter(|(user, _)| present.contains(user));
    let deliver: BTreeSet<Recipient> = deliver.collect();
    for ciphertext in &message.ciphertexts {
        if deliver.contains(&(ciphertext.user, ciphertext.device)) {
            pairwise::insert_ciphertext(tx, place.position, ciphertext)?;
        }
    }
    Ok(PairwiseAccepted { sequence: place.sequence, sent_at: now, mismatch })
}

/// Changes the protocol of a conversation. Doing so again changes nothing.
pub(crate) fn change_protocol(
    tx: &WriteTx<'_>,
    domain: &Domain,
    conversation: ConversationId,
    actor: UserDevice,
    to: Protocol,
    now: i64,
) -> Result<(), ApiError> {
    // Two team mates choose before there is anything of their 1:1.
    implicit::store(tx, domain, actor.user, conversation, now)?;
    let access = access(tx, conversation, actor.user)?;
    permission::check_change_protocol(Some(&access.membership()))?;
    check_may_send(tx, conversation, actor.user, &access)?;
    let changes = match access.kind {
        ConversationType::OneToOne => access.protocol.becomes_in_one_to_one(to, access.has_begun()),
        _ => access.protocol.becomes(to),
    }
    .map_err(|error| ApiError::new(Code::InvalidProtocolTransition, crate::error::sentence(&error)))?;
    if !changes {
        return Ok(());
    }
    if to == Protocol::Mls {
        let counted = counted(tx, conversation, actor.user, &access)?;
        let outside = pairwise::devices_outside_group(tx, conversation, &counted)?;
        if !outside.is_empty() {
            return Err(ApiError::device_mismatch(outside));
        }
    }
    conversations::set_protocol(tx, conversation, to)?;
    let entry = Entry {
        sender: Some(actor),
        sent_at: now,
        extra: Some(Extra::Protocol { protocol: to }),
        ..Entry::default()
    };
    log::append(tx, conversation, Kind::Protocol, &entry).map(|_| ())
}

/// The users whose devices count: the members, and of a 1:1 always both.
fn counted(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    user: UserId,
    access: &Access,
) -> Result<BTreeSet<UserId>, ApiError> {
    if access.kind == ConversationType::OneToOne {
        let other = conversations::other_user(tx, conversation, user)?;
        return Ok(other.into_iter().chain([user]).collect());
    }
    Ok(conversations::member_ids(tx, conversation)?.into_iter().collect())
}

/// `wrong-protocol`, with the one that it is.
pub(crate) fn wrong_protocol(access: &Access) -> ApiError {
    let detail = format!("The conversation's protocol is {}, which does not take that.", access.protocol);
    ApiError::new(Code::WrongProtocol, detail)
}

fn named(devices: &[Recipient]) -> Vec<UserDevice> {
    devices.iter().map(|&(user, device)| UserDevice { user, device }).collect()
}

fn ignore(asked: &IgnoreMissing) -> rule::IgnoreMissing {
    match asked {
        IgnoreMissing::Nobody => rule::IgnoreMissing::Nobody,
        IgnoreMissing::Everybody => rule::IgnoreMissing::Everybody,
        IgnoreMissing::Users(users) => rule::IgnoreMissing::Users(users.iter().copied().collect()),
    }
}

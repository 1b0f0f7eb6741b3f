//! Pairwise messages, and the way of a conversation from them to MLS.

use super::{access, check_announces, check_may_send};
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
    ConversationId, Protocol,
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

    let members = conversations::member_ids(tx, conversation)?.into_iter().collect();
    let existing = pairwise::devices_of_members(tx, conversation)?;
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
        ..Entry::default()
    };
    let place = log::append(tx, conversation, Kind::Pairwise, &entry)?;
    let deliver: BTreeSet<Recipient> = compared.deliver.into_iter().collect();
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
    conversation: ConversationId,
    actor: UserDevice,
    to: Protocol,
    now: i64,
) -> Result<(), ApiError> {
    let access = access(tx, conversation, actor.user)?;
    permission::check_change_protocol(Some(&access.membership()))?;
    let changes = access
        .protocol
        .becomes(to)
        .map_err(|error| ApiError::new(Code::InvalidProtocolTransition, crate::error::sentence(&error)))?;
    if !changes {
        return Ok(());
    }
    if to == Protocol::Mls {
        let outside = pairwise::devices_outside_group(tx, conversation)?;
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

//! Application messages.

use super::{check_announces, check_may_send, pairwise::wrong_protocol};
use crate::{
    error::ApiError,
    mls::ApplicationMessage,
    storage::{
        StorageError, Together, WriteTx,
        accounts::{self, TokenHash},
        conversations::{self, Access},
        groups,
        log::{self, Digest, Entry, Kind, Known},
        quotas, subconversations,
    },
};
use std::collections::BTreeMap;
use tertulia_api::{Code, UserDevice, conversation::MessageAccepted};
use tertulia_domain::{ConversationId, GroupId, UserId, permission::PermissionError};

/// How many epochs before the current one messages are taken from: the device may not have seen the last commits yet.
const PAST_EPOCHS: u64 = 2;

/// An application message that was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) conversation: ConversationId,
    pub(crate) sender: UserDevice,
    /// The session that it was sent in, which has to be the sender's still.
    pub(crate) token: TokenHash,
    /// [`Kind::Message`] or [`Kind::Name`].
    pub(crate) kind: Kind,
    pub(crate) message: ApplicationMessage,
    pub(crate) body: bytes::Bytes,
    pub(crate) digest: Digest,
    /// Bytes of the sender that may be stored with this.
    pub(crate) most: Option<u64>,
    /// Milliseconds since 1970.
    pub(crate) now: i64,
}

impl Together for Sent {
    type Answer = MessageAccepted;

    fn run(tx: &WriteTx<'_>, all: &[&Self]) -> Result<Vec<Result<MessageAccepted, ApiError>>, ApiError> {
        accept(tx, all)
    }
}

/// What is known of a message before it is looked at.
struct Facts {
    /// Whether the session that sends it is still there, and the device's.
    in_session: bool,
    access: Option<Access>,
    /// The entry that was made of the same bytes.
    known: Option<Known>,
    /// Whether the device is in the group's tree.
    has_leaf: bool,
}

/// Takes messages into their conversations' logs, in this order.
fn accept(tx: &WriteTx<'_>, all: &[&Sent]) -> Result<Vec<Result<MessageAccepted, ApiError>>, ApiError> {
    let mut answers: Vec<Option<Result<MessageAccepted, ApiError>>> = Vec::with_capacity(all.len());
    // By what they are known by: who sends the same twice at once gets the same answer twice.
    let mut first = BTreeMap::new();
    let limited = all.iter().filter(|sent| sent.most.is_some());
    let mut stored = quotas::stored(tx, limited.map(|sent| sent.sender.user))?;
    for (index, (sent, facts)) in all.iter().zip(facts(tx, all)?).enumerate() {
        let known_by = (sent.conversation, sent.digest);
        let checked = check(tx, sent, facts).and_then(|known| {
            if known.is_none() && !first.contains_key(&known_by) {
                count(sent, &mut stored)?;
                first.insert(known_by, index);
            }
            Ok(known)
        });
        answers.push(match checked {
            Ok(known) => known.map(Ok),
            Err(ApiError::Refused(problem)) => Some(Err(ApiError::Refused(problem))),
            Err(failed) => return Err(failed),
        });
    }

    let mut taken: Vec<usize> = first.values().copied().collect();
    taken.sort_unstable();
    let entries: Vec<Entry<'_>> = taken.iter().map(|&index| all[index].entry()).collect();
    let appended: Vec<_> = taken
        .iter()
        .zip(&entries)
        .map(|(&index, entry)| (all[index].conversation, all[index].kind, entry))
        .collect();
    let places = log::append_all(tx, &appended)?;
    let accepted: BTreeMap<usize, MessageAccepted> = taken
        .iter()
        .zip(places)
        .map(|(&index, place)| (index, MessageAccepted { sequence: place.sequence, sent_at: all[index].now }))
        .collect();
    let answer = |(index, answer): (usize, Option<_>)| {
        let taken = || {
            let sent = all[index];
            let at = first.get(&(sent.conversation, sent.digest)).and_then(|at| accepted.get(at));
            at.copied().ok_or_else(|| StorageError::Damaged("an accepted message has no place").into())
        };
        answer.unwrap_or_else(taken)
    };
    Ok(answers.into_iter().enumerate().map(answer).collect())
}

/// Looks up what is asked of every message, for all of them at once.
fn facts(tx: &WriteTx<'_>, all: &[&Sent]) -> Result<Vec<Facts>, ApiError> {
    let by = |sent: &&Sent| (sent.conversation, sent.sender);
    let sessions = accounts::devices_of_sessions(tx, all.iter().map(|sent| sent.token))?;
    let asked: Vec<_> = all.iter().map(|sent| (sent.conversation, sent.sender.user)).collect();
    let found = conversations::find_each(tx, &asked)?;
    let digests: Vec<_> = all.iter().map(|sent| (sent.conversation, sent.digest)).collect();
    let known = log::known_each(tx, &digests)?;
    let leaves = groups::have_leaves(tx, &all.iter().map(by).collect::<Vec<_>>())?;
    let all = all.iter().zip(sessions).zip(found).zip(known).zip(leaves);
    Ok(all
        .map(|((((sent, session), access), known), has_leaf)| Facts {
            in_session: session == Some((sent.sender.user, Some(sent.sender.device))),
            access,
            known,
            has_leaf,
        })
        .collect())
}

/// Counts a message for its sender, of whom so many bytes are stored, or refuses it.
fn count(sent: &Sent, stored: &mut BTreeMap<UserId, i64>) -> Result<(), ApiError> {
    let Some(most) = sent.most else { return Ok(()) };
    let bytes = stored.entry(sent.sender.user).or_default();
    let with_this = bytes.saturating_add(sent.entry().counted());
    quotas::check_bytes(with_this, most)?;
    *bytes = with_this;
    Ok(())
}

/// The answer that the message had before, or that it can be appended.
fn check(tx: &WriteTx<'_>, sent: &Sent, facts: Facts) -> Result<Option<MessageAccepted>, ApiError> {
    let Sent { conversation, sender, .. } = *sent;
    let Facts { in_session, access, known, has_leaf } = facts;
    if !in_session {
        // Under its token there is no session of this device. It may be one that takes the place of another when it is used.
        let session = accounts::authenticate(tx, &sent.token)?;
        if (session.user, session.device) != (sender.user, Some(sender.device)) {
            return Err(Code::NoDevice.into());
        }
    }
    let access = access.ok_or(PermissionError::NoConversation)?;
    if sent.kind == Kind::Name {
        check_announces(&access)?;
    }
    check_may_send(tx, conversation, sender.user, &access)?;
    // The same bytes get the same answer, also when the group has moved on meanwhile.
    if let Some(known) = known {
        return Ok(Some(MessageAccepted { sequence: known.sequence, sent_at: known.sent_at }));
    }
    if access.protocol.sends_pairwise() {
        return Err(wrong_protocol(&access));
    }
    if sent.message.group_id != access.group_id {
        // A group that was begun anew has moved on too.
        return Err(match GroupId::from_bytes(&sent.message.group_id) {
            Some(earlier) if access.is_after(earlier) => ApiError::stale_epoch(access.epoch),
            _ => ApiError::new(Code::MalformedMls, "The message is for another group."),
        });
    }
    let oldest = access.epoch.saturating_sub(PAST_EPOCHS).max(1);
    if !(oldest..=access.epoch).contains(&sent.message.epoch)
        || !has_leaf
        || access.parent.is_some() && !subconversations::has_device(tx, conversation, sender)?
    {
        return Err(ApiError::stale_epoch(access.epoch));
    }
    // Who was removed and has come again: the others gave up the keys that this was encrypted with.
    let commits_since = access.epoch - sent.message.epoch;
    if commits_since > 0 && log::was_added_lately(tx, conversation, sender, commits_since)? {
        return Err(ApiError::stale_epoch(access.epoch));
    }
    Ok(None)
}

impl Sent {
    fn entry(&self) -> Entry<'_> {
        Entry {
            epoch: Some(self.message.epoch),
            sender: Some(self.sender),
            sent_at: self.now,
            body: Some(&self.body),
            digest: Some(self.digest),
            ..Entry::default()
        }
    }
}

#[cfg(test)]
mod tests;

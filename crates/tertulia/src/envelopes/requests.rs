//! Requests that wait for an answer: of people who want to talk, and of people who ask this home into a group without being connected with it.
//!
//! An answer is to a person: it goes for all that they have asked.

use super::{
    Work,
    mls::enter_group,
    people::{free_name, keep_bundle, set_status, user_of},
};
use crate::{
    Accepted, Client, Connection, Error, ErrorKind, Request, RequestKind, Result, SyncReport,
    envelopes::{
        inbox::{MOST_BYTES_TO_TALK, MOST_GROUPS_OF_ONE, MOST_REQUEST_BYTES, MOST_REQUESTS},
        intro::BUNDLE_LIFETIME,
    },
    sync::tolerate,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tertulia_api::Base64;
use tertulia_conversation::{
    inbox::{Bundle, Contact, Invitation, InvitesTo},
    types::TypeId,
};
use tertulia_domain::{ConversationId, Handle, UserId, connection::Status};
use tertulia_store::{ConnectionRecord, InvitationHead, InvitationRecord};
use zeroize::Zeroizing;

/// For how long a carrier is taken to keep what it has taken, as long as it cannot be asked: a day, which no flood makes shorter at a relay.
const KEPT_AT_LEAST: Duration = Duration::from_hours(24);

/// An invitation that waits for an answer, as it is stored.
#[derive(Serialize, Deserialize)]
struct Waiting {
    bundle: Base64,
    device: usize,
    creation_secret: Base64,
    /// In which incarnation of the store it came, if also the key that it came to was made in that one: no other copy can have accepted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incarnation: Option<u64>,
    /// The first message of a private conversation, or the Welcome to a group.
    message: Base64,
    /// The number of the type that it is to; none for a private conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<u16>,
}

impl Client {
    /// The requests of others that wait for an answer, the oldest first. Those that were [ignored](Self::ignore_request) are not among them.
    ///
    /// # Errors
    ///
    /// Those of the store.
    #[allow(clippy::unused_async)] // like its neighbours
    pub async fn requests(&self) -> Result<Vec<Request>> {
        let now = crate::client::now();
        self.inner().store.read(|r| {
            let mut requests = Vec::new();
            for head in r.invitations()?.into_iter().filter(|head| head.is_pending) {
                let InvitationHead { conversation, user, received_at, expires, is_to_group, .. } = head;
                let expires_at = i64::try_from(expires.saturating_mul(1000)).unwrap_or(i64::MAX);
                let kind = if is_to_group { RequestKind::Group } else { RequestKind::Private };
                if let Some(from) = r.handle(user)?
                    && expires_at > now
                {
                    requests.push(Request { from, user, kind, conversation, received_at, expires_at });
                }
            }
            Ok(requests)
        })
    }

    /// Says yes to all that somebody has asked: to talk, and to come into groups. Who is only asked into groups enters those, and is not connected with
    /// who asked.
    ///
    /// # Errors
    ///
    /// [`Error::NotConnected`] for who has asked nothing, [`Error::RequestExpired`], and what an invitation cannot be used for: `invalid-message`, `foreign-group`. With
    /// an account, as [`accept`](Self::accept).
    pub async fn accept_request(&self, from: &Handle) -> Result<Accepted> {
        if self.inner().hub.is_some() {
            return Ok(Accepted { connection: Some(self.accept(from).await?), groups: Vec::new() });
        }
        let groups = self.group_requests_of(from)?;
        let connection = match self.change_side(from, Status::Accepted).await {
            Ok(connection) => Some(connection),
            Err(Error::NotConnected { .. }) if !groups.is_empty() => None,
            Err(error) => return Err(error),
        };
        let (mut entered, mut failed) = (Vec::new(), None);
        for InvitationHead { conversation, .. } in groups {
            match self.enter_by_request(conversation, from).await {
                Ok(true) => entered.push(conversation),
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::LocalState => return Err(error),
                Err(error) => {
                    tracing::warn!(conversation = %conversation.short(), %error, "a group cannot be entered");
                    failed = Some(error);
                }
            }
        }
        self.listen_anew();
        if entered.is_empty()
            && connection.is_none()
            && let Some(error) = failed
        {
            return Err(error);
        }
        // What was said in it since.
        tolerate(self.catch_up(&mut SyncReport::default()).await)?;
        let mut groups = Vec::new();
        for id in entered {
            groups.push(self.conversation(id).await?);
        }
        Ok(Accepted { connection, groups })
    }

    /// Leaves all that somebody has asked unanswered, which they do not learn. Gives this side of the connection, where there is one.
    ///
    /// # Errors
    ///
    /// As [`accept_request`](Self::accept_request).
    pub async fn ignore_request(&self, from: &Handle) -> Result<Option<Connection>> {
        if self.inner().hub.is_some() {
            return self.ignore(from).await.map(Some);
        }
        let groups = self.group_requests_of(from)?;
        let has_asked_into_groups = !groups.is_empty();
        let mut work = Work::begin(self).await?;
        for group in groups {
            work.write(move |w| w.set_invitation_unanswered(group.conversation))?;
        }
        work.finish().await?;
        match self.change_side(from, Status::Ignored).await {
            Err(Error::NotConnected { .. }) if has_asked_into_groups => Ok(None),
            ignored => ignored.map(Some),
        }
    }

    /// The invitations to groups of somebody that were not answered yet.
    fn group_requests_of(&self, from: &Handle) -> Result<Vec<InvitationHead>> {
        let mut requests = self.inner().store.read(|r| match r.user_by_handle(from)? {
            Some(user) => r.invitations_of(user),
            None => Ok(Vec::new()),
        })?;
        requests.retain(|head| head.is_to_group);
        Ok(requests)
    }

    /// Enters a group to which somebody has invited. Says whether this device is in it now.
    async fn enter_by_request(&self, id: ConversationId, from: &Handle) -> Result<bool> {
        let record = self.inner().store.read(|r| r.invitation(id))?;
        let expired = || Error::RequestExpired { handle: from.clone() };
        let record = record.ok_or_else(expired)?;
        let invitation = invitation_of(&record)?;
        if let InvitesTo::Group { conversation_type, .. } = &invitation.invites_to
            && self.types().is_to_come(*conversation_type)
        {
            return Err(Error::UnknownType { number: conversation_type.number() });
        }
        let is_late = self.is_late(&invitation).await;
        let mut work = Work::begin(self).await?;
        if record.head.expires <= work.now_in_seconds() {
            return Err(expired());
        }
        // Somebody else has let this device in meanwhile.
        if !self.is_enveloped(id)? {
            // By it one could ask to be let in again.
            keep_bundle(&mut work, record.head.user, &invitation.sender.bundle, invitation.sender.device)?;
            enter_group(&mut work, &invitation, is_late).await?;
        }
        work.write(move |w| w.remove_invitation(id))?;
        work.finish().await?;
        self.is_enveloped(id)
    }

    /// Whether an invitation has waited for longer than one of the carriers keeps what came after it. Who reads a topic from its beginning is not told whether
    /// anything stood before that.
    async fn is_late(&self, invitation: &Invitation) -> bool {
        // Whoever invites makes their bundle for it.
        let made = invitation.sender.bundle.content().expires.saturating_sub(BUNDLE_LIFETIME);
        let now = u64::try_from(crate::client::now() / 1000).unwrap_or_default();
        let age = Duration::from_secs(now.saturating_sub(made));
        for carrier in self.carriers().iter() {
            let kept = carrier.retention().await.unwrap_or(Some(KEPT_AT_LEAST));
            if kept.is_some_and(|kept| age >= kept) {
                return true;
            }
        }
        false
    }

    /// Enters the groups into which somebody has asked with whom this home is connected by now: whoever asks and is accepted may hear of the group first.
    pub(crate) async fn enter_waiting_groups(&self) -> Result<()> {
        let can_be_entered = |record: &InvitationRecord| {
            let group = waiting(record).ok().and_then(|waiting| waiting.group);
            group.is_some_and(|number| !self.types().is_to_come(TypeId::new(number)))
        };
        let to_enter = self.inner().store.read(|r| {
            let mut to_enter = Vec::new();
            for head in r.invitations_of_connected()?.into_iter().filter(|head| head.is_to_group) {
                if r.invitation(head.conversation)?.as_ref().is_some_and(can_be_entered) {
                    to_enter.extend(r.handle(head.user)?.map(|from| (head.conversation, from)));
                }
            }
            Ok::<_, Error>(to_enter)
        })?;
        for (conversation, from) in to_enter {
            tolerate(self.enter_by_request(conversation, &from).await)?;
        }
        Ok(())
    }

    /// Forgets requests that have expired without an answer, and keys of which no bundle is valid any more.
    pub(crate) async fn tidy_inbox(&self) -> Result<()> {
        let now = crate::client::now();
        let seconds = u64::try_from(now / 1000).unwrap_or_default();
        let mut expired = self.inner().store.read(|r| r.invitations())?;
        expired.retain(|head| head.expires <= seconds);
        let old_keys = self.inner().store.read(|r| r.inbox_keys())?;
        let has_old_keys = old_keys.iter().skip(1).any(|key| key.until <= seconds);
        if expired.is_empty() && !has_old_keys {
            return Ok(());
        }
        let mut work = Work::begin(self).await?;
        for head in &expired {
            give_up(&mut work, head)?;
        }
        work.write(move |w| w.delete_old_inbox_keys(seconds).map(drop))?;
        work.finish().await.map(drop)
    }
}

/// Makes room for an invitation of so many bytes, which takes the place of these: where there is none, the oldest go that were ignored or blocked. Says whether there
/// is room; if not, nothing has gone.
fn make_room(work: &mut Work<'_>, size: usize, replaced: &[ConversationId]) -> Result<bool> {
    let mut others = work.client.inner().store.read(|r| r.invitations_with_size())?;
    others.retain(|(head, _)| !replaced.contains(&head.conversation));
    let mut count = others.len();
    let mut bytes = others.iter().fold(size as u64, |sum, (_, size)| sum.saturating_add(*size));
    let mut gone = Vec::new();
    for (head, size) in others.iter().filter(|(head, _)| !head.is_pending) {
        if count < MOST_REQUESTS && bytes <= MOST_REQUEST_BYTES {
            break;
        }
        (count, bytes) = (count - 1, bytes - size);
        gone.push(head);
    }
    if count >= MOST_REQUESTS || bytes > MOST_REQUEST_BYTES {
        tracing::warn!("a request is passed over, for too many wait for an answer");
        return Ok(false);
    }
    gone.into_iter().try_for_each(|head| give_up(work, head)).map(|()| true)
}

/// Forgets an invitation to which nobody has said yes, with what was said of its sender for it alone. A block stays.
fn give_up(work: &mut Work<'_>, head: &InvitationHead) -> Result<()> {
    let InvitationHead { conversation, user, .. } = *head;
    let mine = work.client.inner().store.read(|r| r.connection(user))?;
    let is_unanswered = mine.is_some_and(|mine| {
        mine.conversation == conversation && matches!(mine.status, Status::Pending | Status::Ignored)
    });
    work.write(move |w| {
        w.remove_invitation(conversation)?;
        if is_unanswered { w.remove_connection(user) } else { Ok(()) }
    })
}

/// Writes a request to talk down, which waits for an answer from now on. Says whether there was room for it.
pub(crate) fn note_request(
    work: &mut Work<'_>,
    user: UserId,
    id: ConversationId,
    invitation: &Invitation,
    is_own: bool,
) -> Result<bool> {
    let Some(mut kept) = Waiting::of(invitation) else { return Ok(false) };
    kept.incarnation = is_own.then(|| work.client.inner().store.incarnation());
    let content = kept.encode();
    // One request of each person waits: the newest.
    let before = work.client.inner().store.read(|r| r.connection(user))?.map(|mine| mine.conversation);
    let replaced: Vec<_> = before.into_iter().chain([id]).collect();
    if content.len() > MOST_BYTES_TO_TALK {
        tracing::warn!(bytes = content.len(), "a request to talk is passed over, for it is too large");
        return Ok(false);
    }
    if !make_room(work, content.len(), &replaced)? {
        return Ok(false);
    }
    let handle = name_of(work, user, &invitation.sender.bundle)?;
    let record = InvitationRecord { head: head_of(invitation, (user, id), work.now), content };
    work.write(move |w| {
        if let Some(before) = before {
            w.remove_invitation(before)?;
        }
        w.put_invitation(&record)
    })?;
    let mine = ConnectionRecord { user, status: Status::Pending, conversation: id, updated_at: work.now };
    set_status(work, &handle, &mine, Status::Pending).map(|()| true)
}

/// Writes an invitation to a group down by somebody with whom this home is not connected. Says whether there was room for it.
pub(crate) fn note_group_request(
    work: &mut Work<'_>,
    user: UserId,
    id: ConversationId,
    invitation: &Invitation,
) -> Result<bool> {
    let Some(kept) = Waiting::of(invitation) else { return Ok(false) };
    let content = kept.encode();
    let of_theirs = work.client.inner().store.read(|r| r.invitations_of(user))?;
    let groups = of_theirs.iter().filter(|one| one.is_to_group && one.conversation != id).count();
    if groups >= MOST_GROUPS_OF_ONE {
        tracing::warn!("an invitation to a group is passed over, for its sender has asked into others");
        return Ok(false);
    }
    // One that is sent again takes the place of the one before.
    if !make_room(work, content.len(), &[id])? {
        return Ok(false);
    }
    name_of(work, user, &invitation.sender.bundle)?;
    let record = InvitationRecord { head: head_of(invitation, (user, id), work.now), content };
    work.applied.invited.push(id);
    work.write(move |w| w.put_invitation(&record))?;
    Ok(true)
}

/// Drops what somebody has asked into groups.
pub(super) fn drop_group_requests(work: &mut Work<'_>, user: UserId) -> Result<()> {
    let of_theirs = work.client.inner().store.read(|r| r.invitations_of(user))?;
    for head in of_theirs.into_iter().filter(|head| head.is_to_group) {
        work.write(move |w| w.remove_invitation(head.conversation))?;
    }
    Ok(())
}

/// The row of somebody who has asked into a group and nothing else, as it is before anything is said of them: of no conversation.
pub(super) fn row_of_inviter(work: &Work<'_>, handle: &Handle) -> Result<ConnectionRecord> {
    let user = work.client.inner().store.read(|r| match r.user_by_handle(handle)? {
        Some(user) => {
            Ok::<_, Error>(r.invitations_of(user)?.iter().any(|one| one.is_to_group).then_some(user))
        }
        None => Ok(None),
    })?;
    let user = user.ok_or_else(|| Error::NotConnected { handle: handle.clone() })?;
    let conversation = ConversationId::from_bytes(rand::random());
    Ok(ConnectionRecord { user, status: Status::Pending, conversation, updated_at: work.now })
}

/// What somebody is called here, who is given a name by their key if they have none.
fn name_of(work: &mut Work<'_>, user: UserId, bundle: &Bundle) -> Result<Handle> {
    let handle = work.client.inner().store.read(|r| match r.handle(user)? {
        Some(known) => Ok::<_, Error>(known),
        None => free_name(r, &bundle.content().identity_key),
    })?;
    let named = handle.clone();
    work.write(move |w| w.put_user(user, &named))?;
    Ok(handle)
}

impl Waiting {
    fn of(invitation: &Invitation) -> Option<Self> {
        let (group, creation_secret, message) = match &invitation.invites_to {
            InvitesTo::Private { creation_secret, message } => (None, creation_secret, message),
            InvitesTo::Group { conversation_type, creation_secret, welcome } => {
                (Some(conversation_type.number()), creation_secret, welcome)
            }
            _ => return None,
        };
        Some(Self {
            bundle: Base64(invitation.sender.bundle.as_bytes().to_vec()),
            device: invitation.sender.device,
            creation_secret: Base64(creation_secret.to_vec()),
            message: Base64(message.clone()),
            group,
            incarnation: None,
        })
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(serde_json::to_vec(self).expect("numbers and bytes are always JSON"))
    }
}

fn head_of(
    invitation: &Invitation,
    (user, conversation): (UserId, ConversationId),
    received_at: i64,
) -> InvitationHead {
    let is_to_group = !matches!(invitation.invites_to, InvitesTo::Private { .. });
    let expires = invitation.expires;
    InvitationHead { conversation, user, received_at, expires, is_pending: true, is_to_group }
}

/// The invitation as it came.
pub(super) fn invitation_of(record: &InvitationRecord) -> Result<Invitation> {
    let Waiting { bundle, device, creation_secret, message, group, .. } = waiting(record)?;
    let creation_secret: [u8; 32] = creation_secret.0.try_into().map_err(|_| Error::damaged_request())?;
    let creation_secret = Zeroizing::new(creation_secret);
    let bundle = Bundle::decode(&bundle.0).map_err(|_| Error::damaged_request())?;
    debug_assert_eq!(user_of(&bundle), record.head.user);
    let invites_to = match group {
        None => InvitesTo::Private { creation_secret, message: message.0 },
        Some(number) => {
            InvitesTo::Group { conversation_type: TypeId::new(number), creation_secret, welcome: message.0 }
        }
    };
    Ok(Invitation::stored(Contact { bundle, device }, record.head.expires, invites_to))
}

/// Whether no other copy of this home than the one of this incarnation can have accepted it.
pub(super) fn is_own(record: &InvitationRecord, incarnation: u64) -> Result<bool> {
    Ok(waiting(record)?.incarnation == Some(incarnation))
}

fn waiting(record: &InvitationRecord) -> Result<Waiting> {
    serde_json::from_slice(&record.content).map_err(|_| Error::damaged_request())
}

#[cfg(test)]
mod tests;

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
    envelopes::inbox::{MOST_GROUPS_OF_ONE, MOST_REQUEST_BYTES, MOST_REQUESTS},
    sync::tolerate,
};
use serde::{Deserialize, Serialize};
use tertulia_api::Base64;
use tertulia_conversation::{
    inbox::{Bundle, Contact, Invitation, InvitesTo},
    types::TypeId,
};
use tertulia_domain::{ConversationId, Handle, UserId, connection::Status};
use tertulia_store::{ConnectionRecord, InvitationRecord};
use zeroize::Zeroizing;

/// An invitation that waits for an answer, as it is stored.
#[derive(Serialize, Deserialize)]
struct Waiting {
    expires: u64,
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
    /// Whether an invitation to a group is left unanswered. Of who wants to talk, the connection says so.
    #[serde(default, skip_serializing_if = "is_false")]
    ignored: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
const fn is_false(value: &bool) -> bool {
    !*value
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
            for record in r.invitations()? {
                let Ok(waiting) = waiting(&record) else { continue };
                let expires_at = i64::try_from(waiting.expires.saturating_mul(1000)).unwrap_or(i64::MAX);
                let (kind, is_pending) = if waiting.group.is_some() {
                    (RequestKind::Group, !waiting.ignored)
                } else {
                    let mine = r.connection(record.user)?;
                    (RequestKind::Private, mine.is_some_and(|mine| mine.status == Status::Pending))
                };
                if let Some(from) = r.handle(record.user)?
                    && is_pending
                    && expires_at > now
                {
                    let InvitationRecord { conversation, user, received_at, .. } = record;
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
        for record in groups {
            match self.enter_by_request(&record, from).await {
                Ok(true) => entered.push(record.conversation),
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::LocalState => return Err(error),
                Err(error) => {
                    tracing::warn!(conversation = %record.conversation.short(), %error, "a group cannot be entered");
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
        for record in groups {
            let ignored = Waiting { ignored: true, ..waiting(&record)? };
            let record = InvitationRecord { content: ignored.encode(), ..record };
            work.write(move |w| w.put_invitation(&record))?;
        }
        work.finish().await?;
        match self.change_side(from, Status::Ignored).await {
            Err(Error::NotConnected { .. }) if has_asked_into_groups => Ok(None),
            ignored => ignored.map(Some),
        }
    }

    /// The invitations to groups of somebody that were not answered yet.
    fn group_requests_of(&self, from: &Handle) -> Result<Vec<InvitationRecord>> {
        let records = self.inner().store.read(|r| match r.user_by_handle(from)? {
            Some(user) => r.invitations_of(user),
            None => Ok(Vec::new()),
        })?;
        Ok(records.into_iter().filter(is_to_group).collect())
    }

    /// Enters a group to which somebody has invited. Says whether this device is in it now.
    async fn enter_by_request(&self, record: &InvitationRecord, from: &Handle) -> Result<bool> {
        let (invitation, expires) = invitation_of(record)?;
        if let InvitesTo::Group { conversation_type, .. } = &invitation.invites_to
            && self.types().is_to_come(*conversation_type)
        {
            return Err(Error::UnknownType { number: conversation_type.number() });
        }
        let mut work = Work::begin(self).await?;
        if expires <= work.now_in_seconds() {
            return Err(Error::RequestExpired { handle: from.clone() });
        }
        let id = record.conversation;
        // Somebody else has let this device in meanwhile.
        if !self.is_enveloped(id)? {
            // By it one could ask to be let in again.
            keep_bundle(&mut work, record.user, &invitation.sender.bundle, invitation.sender.device)?;
            enter_group(&mut work, &invitation).await?;
        }
        work.write(move |w| w.remove_invitation(id))?;
        work.finish().await?;
        self.is_enveloped(id)
    }

    /// Enters the groups into which somebody has asked with whom this home is connected by now: whoever asks and is accepted may hear of the group first.
    pub(crate) async fn enter_waiting_groups(&self) -> Result<()> {
        let can_be_entered = |record: &InvitationRecord| {
            let group = waiting(record).ok().and_then(|waiting| waiting.group);
            group.is_some_and(|number| !self.types().is_to_come(TypeId::new(number)))
        };
        let to_enter = self.inner().store.read(|r| {
            let mut to_enter = Vec::new();
            for record in r.invitations_of_connected()?.into_iter().filter(can_be_entered) {
                to_enter.extend(r.handle(record.user)?.map(|from| (record, from)));
            }
            Ok::<_, Error>(to_enter)
        })?;
        for (record, from) in to_enter {
            tolerate(self.enter_by_request(&record, &from).await)?;
        }
        Ok(())
    }

    /// Forgets requests that have expired without an answer, and keys of which no bundle is valid any more.
    pub(crate) async fn tidy_inbox(&self) -> Result<()> {
        let now = crate::client::now();
        let seconds = u64::try_from(now / 1000).unwrap_or_default();
        let expired: Vec<InvitationRecord> = self.inner().store.read(|r| {
            let all = r.invitations()?;
            Ok::<_, Error>(
                all.into_iter().filter(|one| waiting(one).map_or(true, |w| w.expires <= seconds)).collect(),
            )
        })?;
        let old_keys = self.inner().store.read(|r| r.inbox_keys())?;
        let has_old_keys = old_keys.iter().skip(1).any(|key| key.until <= seconds);
        if expired.is_empty() && !has_old_keys {
            return Ok(());
        }
        let mut work = Work::begin(self).await?;
        for record in expired {
            let mine = self.inner().store.read(|r| r.connection(record.user))?;
            let is_unanswered = mine.is_some_and(|mine| {
                mine.conversation == record.conversation
                    && matches!(mine.status, Status::Pending | Status::Ignored)
            });
            work.write(move |w| {
                w.remove_invitation(record.conversation)?;
                if is_unanswered { w.remove_connection(record.user) } else { Ok(()) }
            })?;
        }
        work.write(move |w| w.delete_old_inbox_keys(seconds).map(drop))?;
        work.finish().await.map(drop)
    }
}

/// Whether there is room for one more invitation of so many bytes.
pub(super) fn has_room(work: &Work<'_>, size: usize) -> Result<bool> {
    let (count, bytes) = work
        .client
        .inner()
        .store
        .read(|r| Ok::<_, tertulia_store::StoreError>((r.invitation_count()?, r.invitation_bytes()?)))?;
    Ok(count < MOST_REQUESTS && bytes.saturating_add(size as u64) <= MOST_REQUEST_BYTES)
}

/// Writes a request to talk down, which waits for an answer from now on.
pub(crate) fn note_request(
    work: &mut Work<'_>,
    user: UserId,
    id: ConversationId,
    invitation: &Invitation,
    is_own: bool,
) -> Result<()> {
    let Some(mut kept) = Waiting::of(invitation) else { return Ok(()) };
    kept.incarnation = is_own.then(|| work.client.inner().store.incarnation());
    let handle = name_of(work, user, &invitation.sender.bundle)?;
    // One request of each person waits: the newest.
    let before = work.client.inner().store.read(|r| r.connection(user))?.map(|mine| mine.conversation);
    let record = InvitationRecord { conversation: id, user, received_at: work.now, content: kept.encode() };
    work.write(move |w| {
        if let Some(before) = before {
            w.remove_invitation(before)?;
        }
        w.put_invitation(&record)
    })?;
    let mine = ConnectionRecord { user, status: Status::Pending, conversation: id, updated_at: work.now };
    set_status(work, &handle, &mine, Status::Pending)
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
    let groups = of_theirs.iter().filter(|one| is_to_group(one) && one.conversation != id).count();
    // One that is sent again takes the place of the one before.
    let is_known = work.client.inner().store.read(|r| r.invitation(id))?.is_some();
    if groups >= MOST_GROUPS_OF_ONE || !is_known && !has_room(work, content.len())? {
        tracing::warn!("an invitation to a group is passed over, for too many wait for an answer");
        return Ok(false);
    }
    name_of(work, user, &invitation.sender.bundle)?;
    let record = InvitationRecord { conversation: id, user, received_at: work.now, content };
    work.applied.invited.push(id);
    work.write(move |w| w.put_invitation(&record))?;
    Ok(true)
}

/// Drops what somebody has asked into groups.
pub(super) fn drop_group_requests(work: &mut Work<'_>, user: UserId) -> Result<()> {
    let of_theirs = work.client.inner().store.read(|r| r.invitations_of(user))?;
    for record in of_theirs.into_iter().filter(is_to_group) {
        work.write(move |w| w.remove_invitation(record.conversation))?;
    }
    Ok(())
}

/// The row of somebody who has asked into a group and nothing else, as it is before anything is said of them: of no conversation.
pub(super) fn row_of_inviter(work: &Work<'_>, handle: &Handle) -> Result<ConnectionRecord> {
    let user = work.client.inner().store.read(|r| match r.user_by_handle(handle)? {
        Some(user) => Ok::<_, Error>(r.invitations_of(user)?.iter().any(is_to_group).then_some(user)),
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
            expires: invitation.expires,
            bundle: Base64(invitation.sender.bundle.as_bytes().to_vec()),
            device: invitation.sender.device,
            creation_secret: Base64(creation_secret.to_vec()),
            message: Base64(message.clone()),
            group,
            ignored: false,
            incarnation: None,
        })
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(serde_json::to_vec(self).expect("numbers and bytes are always JSON"))
    }
}

/// The invitation as it came, and until when it can be accepted, in seconds since 1970.
pub(super) fn invitation_of(record: &InvitationRecord) -> Result<(Invitation, u64)> {
    let Waiting { expires, bundle, device, creation_secret, message, group, .. } = waiting(record)?;
    let creation_secret: [u8; 32] = creation_secret.0.try_into().map_err(|_| Error::damaged_request())?;
    let creation_secret = Zeroizing::new(creation_secret);
    let bundle = Bundle::decode(&bundle.0).map_err(|_| Error::damaged_request())?;
    debug_assert_eq!(user_of(&bundle), record.user);
    let invites_to = match group {
        None => InvitesTo::Private { creation_secret, message: message.0 },
        Some(number) => {
            InvitesTo::Group { conversation_type: TypeId::new(number), creation_secret, welcome: message.0 }
        }
    };
    Ok((Invitation { sender: Contact { bundle, device }, expires, invites_to }, expires))
}

/// Whether no other copy of this home than the one of this incarnation can have accepted it.
pub(super) fn is_own(record: &InvitationRecord, incarnation: u64) -> Result<bool> {
    Ok(waiting(record)?.incarnation == Some(incarnation))
}

fn is_to_group(record: &InvitationRecord) -> bool {
    waiting(record).is_ok_and(|waiting| waiting.group.is_some())
}

fn waiting(record: &InvitationRecord) -> Result<Waiting> {
    serde_json::from_slice(&record.content).map_err(|_| Error::damaged_request())
}

//! People whom one knows by their bundles: asking, answering, and being left alone (spec of connections, without a hub).
//!
//! Each side has its own row, and hears of the other's only by what comes: there is nobody who could tell that one is ignored or blocked.

use super::{Work, home::name_by_key, intro::own_bundle, private, requests};
use crate::{Client, Connection, Error, Result, SyncReport, sync::tolerate};
use tertulia_api::connection::Connection as Told;
use tertulia_conversation::{
    conversation_id,
    inbox::{Bundle, InvitesTo, NewInvitation, device_address, invite, user_id},
    topic::ContentTopic,
    types::{ConversationType as _, PrivateV1},
};
use tertulia_domain::{
    ConversationId, ConversationType, DeviceAddress, Handle, Protocol, RoleName, UserId, connection::Status,
};
use tertulia_ratchet::{Context, Purpose, VerifiedKeys};
use tertulia_store::{BundleRecord, ConnectionRecord, ConversationRecord, MemberRecord, ReadTx};
use zeroize::Zeroizing;

impl Client {
    /// Asks somebody to talk, by what they have [shown](Self::intro). From then on they are called `name` here, or by their key. If they have asked before, this
    /// accepts.
    ///
    /// The request is in the home when this returns, and goes out now or with the next [`sync`](Self::sync). Asking again is asking once more. Who is connected
    /// already stays so; but where this home was put back to a backup, and nothing has come since that would show that the other knows, it asks for a new
    /// conversation in the place of the old one, which the other enters without being asked.
    ///
    /// # Errors
    ///
    /// [`Error::HasAccount`], [`Error::Bundle`] for a text that is no bundle or has expired, [`Error::OwnBundle`], [`Error::NameTaken`],
    /// [`Error::BlockedByYou`].
    pub async fn meet(&self, bundle: &str, name: Option<&Handle>) -> Result<Connection> {
        self.identity()?;
        let bundle: Bundle = bundle.parse()?;
        let user = user_of(&bundle);
        if user == self.me().user {
            return Err(Error::OwnBundle);
        }
        let mut work = Work::begin(self).await?;
        if bundle.is_expired(work.now_in_seconds()) {
            return Err(tertulia_conversation::inbox::BundleError::Expired.into());
        }
        let handle = self.name_for(user, &bundle, name)?;
        let mine = self.inner().store.read(|r| r.connection(user))?;
        let named = handle.clone();
        work.write(move |w| w.put_user(user, &named))?;
        match mine.map(|mine| mine.status) {
            Some(Status::Blocked) => return Err(Error::BlockedByYou { handle }),
            Some(Status::Accepted) => match mine {
                // They may have nothing left of it. Both read on in it, and go on in the new one.
                Some(mine) if private::waits_since_restored(&work, &mine)? => {
                    self.ask_in(&mut work, user, &handle, &bundle, None)?;
                    private::set_aside(&mut work, mine.conversation)?;
                }
                // What is newer can be used for longer.
                _ => keep_bundle(&mut work, user, &bundle, 0)?,
            },
            Some(Status::Pending | Status::Ignored) => {
                self.accept_in(&mut work, user, &handle)?;
            }
            _ => self.ask_in(&mut work, user, &handle, &bundle, mine.as_ref())?,
        }
        work.finish().await?;
        self.listen_anew();
        self.post_what_waits().await?;
        self.connection_with(user)
    }

    /// Takes a block back in a home without an account. What is not blocked stays as it is.
    pub(crate) async fn unblock_by_key(&self, handle: &Handle) -> Result<Connection> {
        let known = self.inner().store.read(|r| match r.user_by_handle(handle)? {
            Some(user) => r.connection(user),
            None => Ok(None),
        })?;
        match known {
            Some(mine) if mine.status != Status::Blocked => self.connection_with(mine.user),
            _ => self.change_side(handle, Status::Accepted).await,
        }
    }

    /// Changes this side of a connection in a home without an account.
    pub(crate) async fn change_side(&self, handle: &Handle, to: Status) -> Result<Connection> {
        let mut work = Work::begin(self).await?;
        let known = self.inner().store.read(|r| match r.user_by_handle(handle)? {
            Some(user) => r.connection(user),
            None => Ok(None),
        })?;
        let not_connected = || Error::NotConnected { handle: handle.clone() };
        let mine = match known {
            Some(mine) => mine,
            // Of who has asked into a group alone there is no row yet.
            None if to == Status::Blocked => requests::row_of_inviter(&work, handle)?,
            None => return Err(not_connected()),
        };
        let (user, id) = (mine.user, mine.conversation);
        match (mine.status, to) {
            (from, to) if from == to => return self.connection_with(user),
            (Status::Pending | Status::Ignored | Status::Blocked, Status::Accepted)
                if self.inner().store.read(|r| r.invitation(id))?.is_some() =>
            {
                self.accept_in(&mut work, user, handle)?;
            }
            (Status::Pending, Status::Ignored) => {
                set_status(&mut work, handle, &mine, Status::Ignored)?;
                work.write(move |w| w.set_invitation_unanswered(id))?;
            }
            (_, Status::Blocked) => {
                set_status(&mut work, handle, &mine, Status::Blocked)?;
                requests::drop_group_requests(&mut work, user)?;
                work.write(move |w| {
                    w.set_invitation_unanswered(id)?;
                    w.set_active(id, false)
                })?;
            }
            // As before the block: where nothing was accepted, what was asked is asked still.
            (Status::Blocked, Status::Accepted) => {
                let is_asked = private::is_accepted(self, id)?;
                match is_asked {
                    Some(is_accepted) => {
                        let status = if is_accepted { Status::Accepted } else { Status::Sent };
                        set_status(&mut work, handle, &mine, status)?;
                        work.write(move |w| w.set_active(id, true))?;
                    }
                    None => set_status(&mut work, handle, &mine, Status::Cancelled)?,
                }
            }
            (Status::Sent, Status::Cancelled) => {
                set_status(&mut work, handle, &mine, Status::Cancelled)?;
                // The request may be on its way: what is asked again is asked by the same.
                private::set_aside(&mut work, id)?;
                work.write(move |w| w.drop_envelopes_of(id))?;
            }
            _ => return Err(not_connected()),
        }
        work.finish().await?;
        self.listen_anew();
        self.post_what_waits().await?;
        self.connection_with(user)
    }

    /// Writes down that an invitation is accepted.
    fn accept_in(&self, work: &mut Work<'_>, user: UserId, handle: &Handle) -> Result<()> {
        let mine = self.inner().store.read(|r| r.connection(user))?;
        let id = mine.ok_or_else(|| Error::NotConnected { handle: handle.clone() })?.conversation;
        let record = self.inner().store.read(|r| r.invitation(id))?;
        let expired = || Error::RequestExpired { handle: handle.clone() };
        let record = record.ok_or_else(expired)?;
        let invitation = requests::invitation_of(&record)?;
        if record.head.expires <= work.now_in_seconds() {
            return Err(expired());
        }
        let is_own = requests::is_own(&record, self.inner().store.incarnation())?;
        private::accept(work, id, &invitation, is_own)?;
        work.write(move |w| w.remove_invitation(id))
    }

    /// Writes a request of this home's down, and puts it into line.
    fn ask_in(
        &self,
        work: &mut Work<'_>,
        user: UserId,
        handle: &Handle,
        bundle: &Bundle,
        mine: Option<&ConnectionRecord>,
    ) -> Result<()> {
        let identity = self.identity()?;
        let own = own_bundle(work, &identity, 0)?;
        let is_taken_back = mine.is_some_and(|mine| mine.status == Status::Cancelled);
        // Asking once more is asking for the same.
        let asked = match mine {
            Some(mine) => self.inner().store.read(|r| r.enveloped(mine.conversation))?,
            None => None,
        };
        let creation_secret = match &asked {
            Some(record) => record.creation_secret.clone(),
            None => Zeroizing::new(rand::random::<[u8; 32]>()),
        };
        let id = conversation_id(PrivateV1::DESCRIPTOR.id, &creation_secret);
        let to = bundle.content().devices.first().ok_or(Error::OwnBundle)?;
        let address = address_of(bundle, 0)?;
        let ratchet = work.ratchet()?;
        ratchet.begin_verified_session(&VerifiedKeys {
            address: address.clone(),
            signature_key: to.signature_key,
            identity_key: to.ratchet_key,
            key: to.one_time_keys.first().unwrap_or(&to.fallback_key).key,
        })?;
        let context = Context { conversation: id, purpose: Purpose::Message };
        let message = ratchet.encrypt(context, &address, b"")?;
        let expires = own.content().expires.min(bundle.content().expires);
        let invites_to = InvitesTo::Private { creation_secret: creation_secret.clone(), message };
        let invitation = NewInvitation { sender: &own, sender_device: 0, expires, invites_to };
        let now = work.now_in_seconds();
        let envelope = {
            let signer = work.signer()?;
            invite(bundle, 0, invitation, &signer, now, &mut rand::rng())?
        };
        let topic = ContentTopic::of_inbox(&bundle.inbox_address());
        work.post_to(id, topic, self.carriers().ids(), envelope.encode(), None)?;
        keep_bundle(work, user, bundle, 0)?;
        if asked.is_some() {
            // What was taken back may have been accepted meanwhile.
            if private::take_up(work, id)? {
                return connected(work, user, id);
            }
        } else {
            private::begin(work, id, creation_secret, address)?;
        }
        if asked.is_none() || is_taken_back {
            let record = ConversationRecord {
                id,
                kind: ConversationType::Connection,
                epoch: 0,
                protocol: Protocol::Pairwise,
                created_at: work.now,
            };
            let me = MemberRecord { user: self.me().user, role: RoleName::ADMIN };
            work.write(move |w| {
                w.put_conversation(&record)?;
                w.replace_members(id, &[me])
            })?;
        }
        let mine = ConnectionRecord { user, status: Status::Sent, conversation: id, updated_at: work.now };
        set_status(work, handle, &mine, Status::Sent)
    }

    /// What somebody is to be called.
    fn name_for(&self, user: UserId, bundle: &Bundle, wanted: Option<&Handle>) -> Result<Handle> {
        self.inner().store.read(|r| {
            let Some(wanted) = wanted else {
                return match r.handle(user)? {
                    Some(known) => Ok(known),
                    None => free_name(r, &bundle.content().identity_key),
                };
            };
            let is_own = *wanted == self.me().handle;
            match r.user_by_handle(wanted)? {
                Some(other) if other != user => Err(Error::NameTaken { handle: wanted.clone() }),
                _ if is_own => Err(Error::NameTaken { handle: wanted.clone() }),
                _ => Ok(wanted.clone()),
            }
        })
    }

    pub(super) fn connection_with(&self, user: UserId) -> Result<Connection> {
        self.inner().store.read(|r| match (r.connection(user)?, r.handle(user)?) {
            (Some(record), Some(handle)) => Ok(crate::connections::from_store(&record, handle)),
            _ => Err(Error::UnknownTarget { target: user.to_string() }),
        })
    }

    /// Has who waits for envelopes look at other topics.
    pub(crate) fn listen_anew(&self) {
        self.inner().topics.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Posts what was just put into line. What cannot be reached now is for the next time.
    pub(super) async fn post_what_waits(&self) -> Result<()> {
        tolerate(self.flush_envelopes(&mut SyncReport::default()).await).map(drop)
    }
}

/// Whose bundle it is.
pub(crate) fn user_of(bundle: &Bundle) -> UserId {
    user_id(&bundle.content().identity_key)
}

/// What a device of a bundle is called.
pub(crate) fn address_of(bundle: &Bundle, device: usize) -> Result<DeviceAddress> {
    let content = bundle.content();
    let no_device = tertulia_conversation::inbox::InboxError::NoDevice { index: device };
    let device = content.devices.get(device).ok_or(no_device)?;
    Ok(device_address(&content.identity_key, &device.signature_key))
}

/// Keeps what somebody has shown of themselves, unless their device is known by other keys: it keeps them for good, and no session begins with others.
pub(crate) fn keep_bundle(work: &mut Work<'_>, user: UserId, bundle: &Bundle, device: usize) -> Result<()> {
    if let Some(shown) = bundle.content().devices.get(device) {
        let known = work.ratchet()?.keys_of(&address_of(bundle, device)?)?;
        if known.is_some_and(|known| known != (shown.signature_key, shown.ratchet_key)) {
            tracing::warn!(user = %user.short(), "a bundle is passed over: its device is known by other keys");
            return Ok(());
        }
    }
    let device = u32::try_from(device).unwrap_or_default();
    let record = BundleRecord { user, bundle: bundle.as_bytes().to_vec(), device };
    work.write(move |w| w.put_bundle(&record))
}

/// Writes down that two are connected, by this conversation.
pub(crate) fn connected(work: &mut Work<'_>, user: UserId, id: ConversationId) -> Result<()> {
    let store = &work.client.inner().store;
    let handle = store.read(|r| r.handle(user))?;
    let handle = handle.ok_or_else(|| Error::UnknownTarget { target: user.to_string() })?;
    let record = ConversationRecord {
        id,
        kind: ConversationType::OneToOne,
        epoch: 0,
        protocol: Protocol::Pairwise,
        created_at: work.now,
    };
    let members = [work.client.me().user, user].map(|user| MemberRecord { user, role: RoleName::ADMIN });
    work.write(move |w| {
        w.put_conversation(&record)?;
        w.replace_members(id, &members)
    })?;
    work.applied.changed.push(id);
    let mine = ConnectionRecord { user, status: Status::Accepted, conversation: id, updated_at: work.now };
    set_status(work, &handle, &mine, Status::Accepted)
}

pub(super) fn set_status(
    work: &mut Work<'_>,
    handle: &Handle,
    mine: &ConnectionRecord,
    status: Status,
) -> Result<()> {
    let record = ConnectionRecord { status, updated_at: work.now, ..*mine };
    let ConnectionRecord { user, conversation, updated_at, .. } = record;
    work.applied.connections.push(Told {
        user,
        handle: handle.to_string(),
        status,
        conversation,
        updated_at,
    });
    work.write(move |w| w.put_connection(&record))
}

/// A name by the key that nobody has here.
pub(super) fn free_name(r: &ReadTx<'_>, identity_key: &[u8; 32]) -> Result<Handle> {
    for digits in [8, 12, 16, 20, 24] {
        let name = name_by_key(identity_key, digits);
        if r.user_by_handle(&name)?.is_none() {
            return Ok(name);
        }
    }
    Ok(name_by_key(identity_key, 28))
}

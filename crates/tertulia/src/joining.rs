//! Who is admitted to a conversation, its join link, coming in by one, and letting in who does.

use crate::{
    Client, Error, Result, SyncReport,
    client::now,
    groups::{Change, PolicyChange},
    todo::Asking,
};
use std::{fmt, time::Duration};
use tertulia_api::{
    Base64, Code,
    join::{AccessUpdate, JoinByLink, LinkCode, NewLink},
    join_link::{JoinLink, proves},
};
use tertulia_domain::{
    ConversationId, ConversationType, Domain, Protocol,
    access::{Access, AccessMode},
    policy::Policy,
};
use tertulia_store::JoinRecord;
use zeroize::Zeroizing;

/// How a join link is to be made.
#[derive(Clone, Default)]
pub struct LinkOptions {
    /// What is asked for beside the link, of 8 to 1024 bytes; nothing unless given.
    pub password: Option<Zeroizing<String>>,
    /// For how long it can be used; as the hub is configured, unless given.
    pub valid_for: Option<Duration>,
}

impl fmt::Debug for LinkOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkOptions").field("valid_for", &self.valid_for).finish_non_exhaustive()
    }
}

/// A conversation's join link.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkInfo {
    /// The link itself, if it was made with this home: nobody else has it but those to whom it was given.
    pub link: Option<JoinLink>,
    /// Whether it has a password.
    pub has_password: bool,
    /// Until when it can be used, milliseconds since 1970.
    pub expires_at: i64,
}

/// Where a join link leads, as the hub says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkPreview {
    /// The conversation.
    pub conversation: ConversationId,
    /// What it is.
    pub kind: ConversationType,
    /// How many members it has.
    pub members: u64,
    /// Whether the link has a password.
    pub has_password: bool,
    /// Until when it can be used, milliseconds since 1970.
    pub expires_at: i64,
}

/// What became of wanting to come into a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Joined {
    /// The user is a member.
    Already(ConversationId),
    /// The members were told, and one of them lets the user in as soon as a device of theirs is online.
    Waiting(ConversationId),
}

/// A conversation that the user waits to be let into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinRequest {
    /// The conversation.
    pub conversation: ConversationId,
    /// When the user asked, milliseconds since 1970.
    pub asked_at: i64,
}

/// For who is in the conversation.
impl Client {
    /// Who is admitted to a group, as the hub says.
    ///
    /// # Errors
    ///
    /// [`Error::NotAGroup`], and what the hub refuses: `no-conversation`.
    pub async fn access(&self, id: ConversationId) -> Result<Access> {
        self.check_group(id)?;
        let shown = self.inner().hub.conversation(id).await?;
        let unfit = |_| Error::UntrustworthyHub { what: "what it says of who is admitted is nothing" };
        Access::new(shown.access, shown.access_roles).map_err(unfit)
    }

    /// Changes who is admitted to a group. Members who are no longer admitted are removed, but for this user; the join link goes
    /// with the mode `code`.
    ///
    /// With the mode `link` any member lets in whoever the hub says has asked: that they are admitted, and have asked at all, is
    /// then the hub's word alone.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`], and what the hub refuses: `action-denied`, `last-admin`.
    pub async fn set_access(&self, id: ConversationId, wanted: &Access) -> Result<Access> {
        let present = self.access(id).await?;
        if self.protocol(id)? == Protocol::Pairwise {
            self.put_access(id, wanted).await?;
        } else {
            // What the hub may refuse comes first. Whether it is open is no part of it, but of the policy, which the hub follows.
            let is_open = present.has(AccessMode::Link);
            self.put_access(id, &wanted.clone().with(AccessMode::Link, is_open)).await?;
            if !wanted.has(AccessMode::Code) {
                self.change_policy(id, PolicyChange::Link(None)).await?;
            }
            self.change_policy(id, PolicyChange::Open(wanted.has(AccessMode::Link))).await?;
        }
        self.catch_up(&mut SyncReport::default()).await?;
        self.access(id).await
    }

    /// Makes a join link for a group, in the place of the one that it has. The hub gets neither the link nor anything with which
    /// it could let somebody in. The group admits people by links from then on.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`], and what the hub refuses: `action-denied`, `invalid-password`, `bad-request` for a time that is too
    /// long.
    pub async fn create_link(&self, id: ConversationId, options: &LinkOptions) -> Result<LinkInfo> {
        let access = self.access(id).await?;
        let link = JoinLink::new(self.me().hub.clone(), id);
        let new = NewLink {
            code_hash: Base64(link.code_hash().to_vec()),
            public_key: Base64(link.public_key().to_vec()),
            password: options.password.as_ref().map(|password| password.to_string()),
            valid_for: options.valid_for.map(|span| span.as_secs()),
        };
        if !access.has(AccessMode::Code) {
            self.put_access(id, &access.with(AccessMode::Code, true)).await?;
        }
        // Nothing of this lets anybody in until the hub knows the code, which comes last: what is interrupted is made anew.
        self.keep_link(id, Some(&link)).await?;
        if self.protocol(id)? != Protocol::Pairwise {
            self.change_policy(id, PolicyChange::Link(Some(link.public_key()))).await?;
        }
        let at_hub = self.inner().hub.put_link(id, &new).await?;
        Ok(LinkInfo { link: Some(link), has_password: at_hub.has_password, expires_at: at_hub.expires_at })
    }

    /// The join link of a group, if it has one that can be used.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `action-denied`.
    pub async fn link(&self, id: ConversationId) -> Result<Option<LinkInfo>> {
        self.check_group(id)?;
        let at_hub = match self.inner().hub.link(id).await {
            Err(error) if error.hub_code() == Some(Code::NoConversationCode) => return Ok(None),
            answer => answer?,
        };
        let own = self.inner().store.read(|r| r.own_link(id))?;
        let own: Option<JoinLink> = own.and_then(|link| link.parse().ok());
        Ok(Some(LinkInfo {
            // Another one was made elsewhere since.
            link: own.filter(|link| link.public_key().as_slice() == at_hub.public_key.as_ref()),
            has_password: at_hub.has_password,
            expires_at: at_hub.expires_at,
        }))
    }

    /// Takes the join link of a group back. Who came by it and waits is not let in.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`], and what the hub refuses: `action-denied`.
    pub async fn revoke_link(&self, id: ConversationId) -> Result<()> {
        self.check_group(id)?;
        // The hub stops at once, also if the commit does not come through.
        self.inner().hub.revoke_link(id).await?;
        if self.protocol(id)? != Protocol::Pairwise {
            self.change_policy(id, PolicyChange::Link(None)).await?;
        }
        self.keep_link(id, None).await
    }

    /// Lets somebody in who asks, unless they are in already, or what they ask is void by now.
    pub(crate) async fn let_in(&self, asking: &Asking) -> Result<()> {
        let Asking { conversation, user, .. } = *asking;
        match self.ready(conversation).await {
            // It is for those who are in it.
            Err(Error::NotAMember { .. } | Error::Distrusted { .. }) => return Ok(()),
            ready => ready?,
        }
        let Some(policy) = self.policy(conversation)? else { return Ok(()) };
        if policy.has(user) || !is_proven(asking, &policy, &self.me().domain) {
            return Ok(());
        }
        let proof = asking.proof.as_deref().and_then(|proof| proof.try_into().ok());
        let policy = proof.map(|proof| PolicyChange::Admit(user, proof));
        let change = Change { add: vec![user], policy, ..Change::default() };
        match self.change(conversation, &change).await {
            Err(error) if is_void(&error) => {
                tracing::debug!(conversation = %conversation.short(), code = error.code(), "nobody to let in");
                Ok(())
            }
            done => done,
        }
    }

    async fn change_policy(&self, id: ConversationId, change: PolicyChange) -> Result<()> {
        self.ready(id).await?;
        self.change(id, &Change { policy: Some(change), ..Change::default() }).await
    }

    async fn put_access(&self, id: ConversationId, access: &Access) -> Result<()> {
        let update = AccessUpdate { access: access.modes().clone(), access_roles: access.roles().clone() };
        Ok(self.inner().hub.set_access(id, &update).await?)
    }

    async fn keep_link(&self, id: ConversationId, link: Option<&JoinLink>) -> Result<()> {
        let text = link.map(|link| Zeroizing::new(link.to_string()));
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| match &text {
            Some(text) => w.put_own_link(id, text),
            None => w.remove_own_link(id),
        })?;
        Ok(tx.finish().await?)
    }
}

/// For who wants to come in.
impl Client {
    /// Where a join link leads, as the hub says.
    ///
    /// # Errors
    ///
    /// [`Error::LinkOfOtherHub`], and what the hub refuses: `no-conversation-code`, `rate-limited`.
    pub async fn preview_link(&self, link: &JoinLink) -> Result<LinkPreview> {
        let shown = self.inner().hub.preview_link(&LinkCode { code: link.code() }).await;
        let shown = shown.map_err(|error| self.of_other_hub(link, error.into()))?;
        Ok(LinkPreview {
            conversation: shown.conversation,
            kind: shown.kind,
            members: shown.members,
            has_password: shown.has_password,
            expires_at: shown.expires_at,
        })
    }

    /// Comes into a conversation by a join link: as soon as a device of a member is online, which [`ClientEvent::Joined`] tells.
    /// Calling it again changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::LinkOfOtherHub`], and what the hub refuses: `no-conversation-code`, `invalid-conversation-password`,
    /// `not-admitted`, `member-limit`, `rate-limited`.
    ///
    /// [`ClientEvent::Joined`]: crate::ClientEvent::Joined
    pub async fn join(&self, link: &JoinLink, password: Option<&str>) -> Result<Joined> {
        let proof = link.prove(self.me().user, &self.me().domain);
        let by = JoinByLink {
            code: link.code(),
            password: password.map(ToOwned::to_owned),
            proof: Base64(proof.to_vec()),
        };
        let joining = self.inner().hub.join_by_link(&by).await;
        let joining = joining.map_err(|error| self.of_other_hub(link, error.into()))?;
        if joining.conversation != link.conversation() {
            return Err(Error::UntrustworthyHub { what: "the link is into another conversation" });
        }
        self.note_joining(joining.conversation, joining.joined).await
    }

    /// Asks to come into a conversation that is open to all who are admitted, by its id.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `no-conversation`, `member-limit`, `rate-limited`.
    pub async fn ask_to_join(&self, id: ConversationId) -> Result<Joined> {
        let joining = self.inner().hub.ask_to_join(id).await?;
        self.note_joining(id, joining.joined).await
    }

    /// Takes back that the user wants to come into a conversation.
    ///
    /// # Errors
    ///
    /// Those of a request to the hub.
    pub async fn cancel_join(&self, id: ConversationId) -> Result<()> {
        self.inner().hub.cancel_join(id).await?;
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| w.remove_join(id).map(drop))?;
        Ok(tx.finish().await?)
    }

    /// The conversations that the user asked with this home to come into, and waits for.
    ///
    /// # Errors
    ///
    /// Those of the store.
    #[allow(clippy::unused_async)] // an application need not know which calls wait
    pub async fn join_requests(&self) -> Result<Vec<JoinRequest>> {
        let rows = self.inner().store.read(|r| r.joins())?;
        let request = |JoinRecord { conversation, asked_at }| JoinRequest { conversation, asked_at };
        Ok(rows.into_iter().map(request).collect())
    }

    /// Keeps that the user waits, before the events are taken that may say that they are in.
    async fn note_joining(&self, id: ConversationId, joined: bool) -> Result<Joined> {
        if joined {
            self.catch_up_and_join().await?;
            return Ok(Joined::Already(id));
        }
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| w.put_join(JoinRecord { conversation: id, asked_at: now() }))?;
        tx.finish().await?;
        self.catch_up_and_join().await?;
        let is_in = self.inner().store.read(|r| r.conversation(id))?.is_some_and(|row| row.active);
        Ok(if is_in { Joined::Already(id) } else { Joined::Waiting(id) })
    }

    /// That the hub knows no such link, said better if it is that of another one.
    fn of_other_hub(&self, link: &JoinLink, error: Error) -> Error {
        if error.hub_code() == Some(Code::NoConversationCode) && link.hub().host() != self.me().hub.host() {
            Error::LinkOfOtherHub { hub: link.hub().clone() }
        } else {
            error
        }
    }
}

/// Whether what somebody shows is what the policy lets in: a proof of having its link or, without one, that it is open.
pub(crate) fn is_proven(asking: &Asking, policy: &Policy, domain: &Domain) -> bool {
    let entrance = policy.entrance();
    match (&asking.proof, &entrance.link) {
        (None, _) => entrance.open,
        (Some(_), None) => false,
        (Some(proof), Some(link)) => proof
            .as_slice()
            .try_into()
            .is_ok_and(|proof| proves(&proof, link, policy.conversation(), asking.user, domain)),
    }
}

/// Whether the hub's answer means that there is nobody to let in any more.
fn is_void(error: &Error) -> bool {
    matches!(
        error.hub_code(),
        Some(
            Code::NotAdmitted
                | Code::ActionDenied
                | Code::NotConnected
                | Code::UnknownUser
                | Code::NoConversation
        )
    ) || matches!(error, Error::NotAllowed { .. } | Error::NotAMember { .. })
}

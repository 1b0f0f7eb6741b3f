//! Who is admitted to a conversation, and its join link.

use crate::{
    Client, Error, Result, SyncReport,
    groups::{Change, PolicyChange},
};
use std::{fmt, time::Duration};
use tertulia_api::{
    Base64, Code,
    join::{AccessUpdate, Link, NewLink},
    join_link::JoinLink,
};
use tertulia_domain::{
    ConversationId, Protocol,
    access::{Access, AccessMode},
    policy::LinkKey,
};
use zeroize::Zeroizing;

/// How often a link is given to the hub again that others, who make one at the same time, take out of it.
const LINK_ATTEMPTS: usize = 8;

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

impl Client {
    /// Who is admitted to a group, as the hub says.
    ///
    /// # Errors
    ///
    /// [`Error::NotAGroup`], and what the hub refuses: `no-conversation`.
    pub async fn access(&self, id: ConversationId) -> Result<Access> {
        self.check_group(id)?;
        let shown = self.hub()?.conversation(id).await?;
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
    /// [`Error::LinkReplaced`] if another member has made one meanwhile, [`Error::NotAllowed`], and what the hub refuses:
    /// `action-denied`, `invalid-password`, `bad-request` for a time that is too long.
    pub async fn create_link(&self, id: ConversationId, options: &LinkOptions) -> Result<LinkInfo> {
        let access = self.access(id).await?;
        let link = JoinLink::new(self.hub()?.address().clone(), id);
        let new = NewLink {
            code_hash: Base64(link.code_hash().to_vec()),
            public_key: Base64(link.public_key().to_vec()),
            password: options.password.as_ref().map(|password| password.to_string()),
            valid_for: options.valid_for.map(|span| span.as_secs()),
        };
        let had_links = access.has(AccessMode::Code);
        if !had_links {
            self.put_access(id, &access.clone().with(AccessMode::Code, true)).await?;
        }
        // The link that there is ends with the commit, so what the hub refuses has to come before it.
        let mut at_hub = match self.hub()?.put_link(id, &new).await {
            Err(refused) => {
                if !had_links {
                    self.put_access(id, &access).await?;
                }
                return Err(refused.into());
            }
            answer => answer?,
        };
        self.keep_link(id, Some(&link)).await?;
        // What the hub has lets nobody in before the key is in the policy: what is interrupted is made anew.
        if self.protocol(id)? != Protocol::Pairwise {
            self.change_policy(id, PolicyChange::Link(Some(link.public_key()))).await?;
            at_hub = self.see_to_link(id, &new, link.public_key()).await?;
        }
        Ok(LinkInfo { link: Some(link), has_password: at_hub.has_password, expires_at: at_hub.expires_at })
    }

    /// Sees to it that the hub has the link whose key was put into the policy. It keeps one that waits for its commit and no more, so
    /// that of two which are made at once the first finds nothing when its commit comes, and has to be given again.
    async fn see_to_link(&self, id: ConversationId, new: &NewLink, key: LinkKey) -> Result<Link> {
        for _ in 0..LINK_ATTEMPTS {
            match self.hub()?.link(id).await {
                Ok(found) if found.public_key == new.public_key => return Ok(found),
                Err(error) if error.hub_code() != Some(Code::NoConversationCode) => return Err(error.into()),
                _ => {}
            }
            self.catch_up(&mut SyncReport::default()).await?;
            if self.policy(id)?.and_then(|policy| policy.entrance().link) != Some(key) {
                return Err(Error::LinkReplaced { conversation: id });
            }
            self.hub()?.put_link(id, new).await?;
        }
        Err(Error::Contended { attempts: LINK_ATTEMPTS })
    }

    /// The join link of a group, if it has one that can be used.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `action-denied`.
    pub async fn link(&self, id: ConversationId) -> Result<Option<LinkInfo>> {
        self.check_group(id)?;
        let at_hub = match self.hub()?.link(id).await {
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
        self.hub()?.revoke_link(id).await?;
        if self.protocol(id)? != Protocol::Pairwise {
            self.change_policy(id, PolicyChange::Link(None)).await?;
        }
        self.keep_link(id, None).await
    }

    async fn change_policy(&self, id: ConversationId, change: PolicyChange) -> Result<()> {
        self.ready(id).await?;
        self.change(id, &Change { policy: Some(change), ..Change::default() }).await
    }

    async fn put_access(&self, id: ConversationId, access: &Access) -> Result<()> {
        let update = AccessUpdate { access: access.modes().clone(), access_roles: access.roles().clone() };
        Ok(self.hub()?.set_access(id, &update).await?)
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

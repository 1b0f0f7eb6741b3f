//! Coming into a conversation by its join link or by asking, and letting in who does.

use crate::{
    Client, Error, Result, SyncReport,
    client::now,
    groups::{Change, PolicyChange},
    todo::Asking,
};
use tertulia_api::{
    Base64, Code,
    join::{JoinByLink, LinkCode},
    join_link::{JoinLink, proves},
};
use tertulia_domain::{ConversationId, ConversationType, Domain, policy::Policy};
use tertulia_store::JoinRecord;
use url::{Host, Url};

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
    /// Lets somebody in who asks, unless they are in already, or what they ask is void by now.
    pub(crate) async fn let_in(&self, asking: &Asking) -> Result<()> {
        let Asking { conversation, user, .. } = *asking;
        match self.ready(conversation).await {
            // It is for those who are in it.
            Err(Error::NotAMember { .. } | Error::Distrusted { .. }) => return Ok(()),
            ready => ready?,
        }
        // That may strike it out: they took it back, or were let in, and perhaps removed, meanwhile.
        self.catch_up(&mut SyncReport::default()).await?;
        if !self.todo().await?.joins.contains(asking) {
            return Ok(());
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
}

/// For who wants to come in.
impl Client {
    /// Where a join link leads, as the hub says. Nothing is asked for, and it takes no password.
    ///
    /// # Errors
    ///
    /// [`Error::LinkOfOtherHub`], [`Error::UntrustworthyHub`] if the hub names another conversation than the link, and what the hub
    /// refuses: `no-conversation-code`, `rate-limited`.
    pub async fn preview_link(&self, link: &JoinLink) -> Result<LinkPreview> {
        self.check_is_of_own_hub(link)?;
        let shown = self.hub()?.preview_link(&LinkCode { code: link.code() }).await?;
        if shown.conversation != link.conversation() {
            return Err(Error::UntrustworthyHub { what: "the link is into another conversation" });
        }
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
        self.check_is_of_own_hub(link)?;
        let proof = link.prove(self.me().user, &self.me().domain);
        let by = JoinByLink {
            code: link.code(),
            password: password.map(ToOwned::to_owned),
            proof: Base64(proof.to_vec()),
        };
        let joining = self.hub()?.join_by_link(&by).await?;
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
        let joining = self.hub()?.ask_to_join(id).await?;
        self.note_joining(id, joining.joined).await
    }

    /// Takes back that the user wants to come into a conversation.
    ///
    /// # Errors
    ///
    /// Those of a request to the hub.
    pub async fn cancel_join(&self, id: ConversationId) -> Result<()> {
        self.hub()?.cancel_join(id).await?;
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

    /// Before anything of the link is sent: its code and the password are for the hub that it is of, and no other.
    fn check_is_of_own_hub(&self, link: &JoinLink) -> Result<()> {
        if is_same_hub(link.hub(), self.hub()?.address()) {
            Ok(())
        } else {
            Err(Error::LinkOfOtherHub { hub: link.hub().clone() })
        }
    }
}

/// Whether both addresses are of one hub. What identifies a hub is its host, and a hub's word on being the one of another host would be
/// one to go by when a link's secret is shown to it. But a machine is itself by all the names that it has for itself.
fn is_same_hub(a: &Url, b: &Url) -> bool {
    let is_here = |url: &Url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let port = Url::port_or_known_default;
    a.host() == b.host() || is_here(a) && is_here(b) && port(a) == port(b)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_is_told_by_its_host_and_this_machine_by_all_its_names() {
        let table = [
            ("https://hub.example", "https://hub.example", true),
            ("https://hub.example/chat/", "http://hub.example:8440", true),
            ("https://hub.example", "https://hub.example.evil.example", false),
            ("https://hub.example", "https://www.hub.example", false),
            ("http://localhost:8440", "http://127.0.0.1:8440", true),
            ("http://[::1]:8440", "http://localhost:8440", true),
            ("http://localhost:8440", "http://127.0.0.1:8441", false),
            ("http://localhost", "https://localhost.example", false),
            ("http://192.0.2.1:8440", "http://localhost:8440", false),
        ];
        for (a, b, is_same) in table {
            let url = |text: &str| text.parse::<Url>().expect("an address");
            assert_eq!(is_same_hub(&url(a), &url(b)), is_same, "{a} and {b}");
            assert_eq!(is_same_hub(&url(b), &url(a)), is_same, "{b} and {a}");
        }
    }
}

//! The client: what all its parts share.

use crate::{ClientBuilder, Me};
use std::{fmt, path::PathBuf, sync::Arc};
use tertulia_domain::{ConversationId, DeviceAddress, UserId};
use tertulia_mls::Session;
use tertulia_store::{Setting, Store};
use tertulia_transport::Hub;
use tokio::sync::Mutex;

/// The settings that make up a signed-in home, in the order in which [`ClientBuilder`] reads them.
pub(crate) const SETTINGS: [Setting; 6] =
    [Setting::Hub, Setting::User, Setting::Device, Setting::Handle, Setting::Domain, Setting::Token];

/// One device of one user. Cheap to clone; all clones share one home.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) me: Me,
    pub(crate) hub: Hub,
    pub(crate) store: Store,
    pub(crate) session: Session,
    /// Held by whoever synchronises, so that the tasks of one process do not fetch the same events side by side. Other
    /// processes are kept apart by the store's cursor.
    pub(crate) syncing: Mutex<()>,
}

impl Inner {
    pub(crate) fn new(me: Me, hub: Hub, store: Store, session: Session) -> Self {
        Self { me, hub, store, session, syncing: Mutex::new(()) }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("user", &self.inner.me.user.short()).finish_non_exhaustive()
    }
}

impl Client {
    /// Opens the home in this directory, which is created when somebody signs up or logs in.
    pub fn builder(home: impl Into<PathBuf>) -> ClientBuilder {
        ClientBuilder::new(home.into())
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Who this home belongs to.
    pub fn me(&self) -> &Me {
        &self.inner.me
    }

    pub(crate) fn own_address(&self) -> DeviceAddress {
        let me = &self.inner.me;
        DeviceAddress::new(me.user, me.device, me.domain.clone())
    }

    /// The MIMI URIs of an author and a conversation, over which message ids are computed.
    pub(crate) fn uris(&self, author: UserId, conversation: ConversationId) -> (String, String) {
        let domain = self.inner.me.domain.as_str();
        (
            tertulia_content::uri::user_uri(domain, &author.to_string()),
            tertulia_content::uri::room_uri(domain, &conversation.to_string()),
        )
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

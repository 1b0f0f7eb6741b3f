//! The client: what all its parts share.

use crate::{
    ClientBuilder, Me,
    envelopes::{Carriers, Early, Hints, OwnInbox},
    own_types::OwnTypes,
};
use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Weak, atomic::AtomicBool},
    time::Duration,
};
use tertulia_domain::{ConversationId, DeviceAddress, UserId};
use tertulia_mls::Session;
use tertulia_store::{Setting, Store};
use tertulia_transport::Hub;
use tokio::sync::{Mutex, watch};

/// The settings that make up a home that belongs to somebody, in the order in which [`ClientBuilder`] reads them.
pub(crate) const SETTINGS: [Setting; 4] = [Setting::User, Setting::Device, Setting::Handle, Setting::Domain];

/// One device of one user. Cheap to clone; all clones share one home.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

/// A client that somebody else holds.
#[derive(Debug)]
pub(crate) struct WeakClient(Weak<Inner>);

impl WeakClient {
    /// The client, if anybody still holds it.
    pub(crate) fn upgrade(&self) -> Option<Client> {
        self.0.upgrade().map(|inner| Client { inner })
    }
}

pub(crate) struct Inner {
    pub(crate) me: Me,
    /// The hub of the account; none in a home without one.
    pub(crate) hub: Option<Hub>,
    /// What carries envelopes.
    pub(crate) carriers: Carriers,
    /// Where first contact is left; none with an account.
    pub(crate) inbox: Option<OwnInbox>,
    /// How long it is on average until cover traffic is sent in a private conversation, if it is.
    pub(crate) cover: Option<Duration>,
    /// The hints that this home expects.
    pub(crate) hints: Mutex<Hints>,
    /// Envelopes that may turn out to be of an epoch that this home enters soon.
    pub(crate) early: std::sync::Mutex<Early>,
    /// The types of conversations of the application's own.
    pub(crate) types: OwnTypes,
    /// Whether the invitations that are kept were looked at again since the home was opened.
    pub(crate) kept_was_looked_at: AtomicBool,
    /// Changes when this process begins to listen to other topics.
    pub(crate) topics: watch::Sender<u64>,
    pub(crate) store: Store,
    pub(crate) session: Session,
    /// Held by whoever synchronises, so that the tasks of one process do not fetch the same events side by side. Other
    /// processes are kept apart by the store's cursor.
    pub(crate) syncing: Mutex<()>,
}

impl Inner {
    pub(crate) fn new(
        me: Me,
        hub: Option<Hub>,
        (carriers, inbox, cover): (Carriers, Option<OwnInbox>, Option<Duration>),
        types: OwnTypes,
        store: Store,
        session: Session,
    ) -> Self {
        let (hints, topics) = (Mutex::new(Hints::new()), watch::Sender::new(0));
        Self {
            me,
            hub,
            carriers,
            inbox,
            cover,
            hints,
            early: std::sync::Mutex::default(),
            types,
            kept_was_looked_at: AtomicBool::new(false),
            topics,
            store,
            session,
            syncing: Mutex::new(()),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("user", &self.inner.me.user.short()).finish_non_exhaustive()
    }
}

impl Client {
    /// Opens the home in this directory, which is created when somebody signs up or logs in, or
    /// [begins without an account](ClientBuilder::init).
    pub fn builder(home: impl Into<PathBuf>) -> ClientBuilder {
        ClientBuilder::new(home.into())
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn downgrade(&self) -> WeakClient {
        WeakClient(Arc::downgrade(&self.inner))
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

//! Two admins who make a join link at once, in every order in which the hub can come to know of what they do.

use crate::{
    lying_hub::LyingHub,
    support::{Hub, PASSWORD, connect, group, handle},
};
use http::Method;
use tertulia::{Client, ConversationId, JoinLink, Joined, LinkInfo, LinkOptions};
use tokio::{sync::oneshot, task::JoinHandle};

/// An admin, behind an address at which requests can be held.
struct Admin {
    client: Client,
    hub: LyingHub,
}

impl Admin {
    async fn sign_up(hub: &Hub, handle: &str) -> Self {
        let between = LyingHub::before(hub).await;
        let client = Client::builder(hub.home(handle)).sign_up(&between.url, handle, PASSWORD).await;
        Self { client: client.expect("signs up"), hub: between }
    }

    /// Makes a link as far as this request, which waits to be let on.
    async fn begin(&self, id: ConversationId, (method, end): (Method, &'static str)) -> Begun {
        let held = self.hub.hold(method, end);
        let client = self.client.clone();
        let made = tokio::spawn(async move { client.create_link(id, &LinkOptions::default()).await });
        Begun { on: held.arrives().await, made }
    }

    async fn create_link(&self, id: ConversationId) -> LinkInfo {
        self.client.create_link(id, &LinkOptions::default()).await.expect("makes a link")
    }

    /// The present link, if it was made by this admin.
    async fn own_link(&self, id: ConversationId) -> Option<JoinLink> {
        self.client.link(id).await.expect("asks").expect("there is one").link
    }
}

/// A link that is being made.
struct Begun {
    on: oneshot::Sender<()>,
    made: JoinHandle<tertulia::Result<LinkInfo>>,
}

impl Begun {
    async fn end(self) -> tertulia::Result<LinkInfo> {
        self.on.send(()).expect("it waits");
        self.made.await.expect("it does not panic")
    }
}

const COMMIT: (Method, &str) = (Method::POST, "/commits");
const LOOK: (Method, &str) = (Method::GET, "/link");

async fn two_admins() -> (Hub, Admin, Admin, Client, ConversationId) {
    let hub = Hub::start().await;
    let (alice, bob) = (Admin::sign_up(&hub, "alice").await, Admin::sign_up(&hub, "bob").await);
    connect(&alice.client, &bob.client).await;
    let id = group(&alice.client, "Friday table", &[&bob.client]).await.id;
    alice.client.set_role(id, &handle("bob"), "admin").await.expect("gives the role");
    bob.client.sync().await.expect("is admin");
    // The first link is made in peace, so that nobody else changes who is admitted.
    alice.create_link(id).await;
    bob.client.sync().await.expect("syncs");
    let zoe = hub.sign_up("zoe").await;
    (hub, alice, bob, zoe, id)
}

/// One of the two links leads into the group, and the other nowhere.
async fn leads(zoe: &Client, id: ConversationId, member: &Client, link: &JoinLink, other: &JoinLink) {
    let nowhere = zoe.preview_link(other).await.expect_err("it was replaced");
    assert_eq!(nowhere.code(), "no-conversation-code");
    assert_eq!(zoe.join(link, None).await.expect("asks"), Joined::Waiting(id));
    member.sync().await.expect("lets her in");
    zoe.sync().await.expect("comes in");
    assert_eq!(zoe.join(link, None).await.expect("is in"), Joined::Already(id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_commit_comes_second_has_the_link_though_it_was_prepared_first() {
    let (_hub, alice, bob, zoe, id) = two_admins().await;
    let begun = alice.begin(id, COMMIT).await;
    let bobs = bob.create_link(id).await.link.expect("it was made here");
    let alices = begun.end().await.expect("makes a link").link.expect("it was made here");
    assert_eq!(alice.own_link(id).await.as_ref(), Some(&alices));
    assert_eq!(bob.own_link(id).await, None);
    leads(&zoe, id, &bob.client, &alices, &bobs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_commit_comes_first_has_the_link_until_the_other_commits() {
    let (_hub, alice, bob, zoe, id) = two_admins().await;
    let begun = alice.begin(id, COMMIT).await;
    let bobs = bob.begin(id, COMMIT).await;
    let alices = begun.end().await.expect("makes a link").link.expect("it was made here");
    assert_eq!(alice.own_link(id).await.as_ref(), Some(&alices));
    zoe.preview_link(&alices).await.expect("it leads there");
    let bobs = bobs.end().await.expect("makes a link").link.expect("it was made here");
    assert_eq!(bob.own_link(id).await.as_ref(), Some(&bobs));
    leads(&zoe, id, &alice.client, &bobs, &alices).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_link_is_replaced_while_it_is_made_is_told() {
    let (_hub, alice, bob, zoe, id) = two_admins().await;
    let begun = alice.begin(id, COMMIT).await;
    // Bob's commit is there, and he looks what came of it.
    let bobs = bob.begin(id, LOOK).await;
    let alices = begun.end().await.expect("makes a link").link.expect("it was made here");
    let replaced = bobs.end().await.expect_err("Alice's took its place");
    assert_eq!(replaced.code(), "link-replaced");
    assert_eq!(alice.own_link(id).await.as_ref(), Some(&alices));
    zoe.join(&alices, None).await.expect("asks");
    bob.client.sync().await.expect("lets her in");
    zoe.sync().await.expect("comes in");
    assert_eq!(zoe.join(&alices, None).await.expect("is in"), Joined::Already(id));
}

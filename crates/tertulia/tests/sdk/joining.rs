//! Join links, and coming in by them: several members let in at once, several devices come, and links that end.

use crate::support::{Hub, LossyNetwork, PASSWORD, connect, group, handle, read};
use futures::StreamExt as _;
use std::{pin::pin, time::Duration};
use tertulia::{
    Access, AccessMode, AccessRole, Client, ClientEvent, ConversationId, JoinLink, Joined, LinkInfo,
    LinkOptions, Noticed, Protocol, Suspicion,
};

const SESAME: &str = "open, sesame";

/// Alice with friends, a group of all of them, and a stranger called Zoe.
struct Setting {
    hub: Hub,
    alice: Client,
    friends: Vec<Client>,
    zoe: Client,
    id: ConversationId,
}

impl Setting {
    async fn new(friends: &[&str]) -> Self {
        let hub = Hub::start().await;
        let alice = hub.sign_up("alice").await;
        let mut clients = Vec::new();
        for friend in friends {
            let friend = hub.sign_up(friend).await;
            connect(&alice, &friend).await;
            clients.push(friend);
        }
        let id = group(&alice, "Friday table", &clients.iter().collect::<Vec<_>>()).await.id;
        let zoe = hub.sign_up("zoe").await;
        Self { hub, alice, friends: clients, zoe, id }
    }

    async fn link(&self) -> JoinLink {
        let made = self.alice.create_link(self.id, &LinkOptions::default()).await.expect("makes a link");
        made.link.expect("it was made here")
    }
}

async fn handles(client: &Client, id: ConversationId) -> Vec<String> {
    let members = client.conversation(id).await.expect("there").members;
    members.into_iter().filter_map(|member| member.handle).map(|handle| handle.to_string()).collect()
}

#[tokio::test]
async fn who_has_the_link_comes_in_and_talks() {
    let setting = Setting::new(&["bob"]).await;
    let Setting { alice, friends, zoe, id, hub } = &setting;
    let options = LinkOptions { password: Some(SESAME.to_owned().into()), ..LinkOptions::default() };
    let LinkInfo { link, has_password, .. } = alice.create_link(*id, &options).await.expect("makes a link");
    let link = link.expect("it was made here");
    assert!(has_password);
    assert_eq!(alice.link(*id).await.expect("asks").expect("there").link.as_ref(), Some(&link));
    // The hub has nothing of the secret, and another device of Alice's neither.
    let tablet = hub.log_in("alice", "tablet").await;
    let elsewhere = tablet.link(*id).await.expect("asks").expect("there");
    assert_eq!((elsewhere.link, elsewhere.has_password), (None, true));
    friends[0].sync().await.expect("syncs");
    assert_eq!(friends[0].link(*id).await.expect_err("a member").code(), "action-denied");

    let preview = zoe.preview_link(&link).await.expect("looks");
    assert_eq!((preview.conversation, preview.members, preview.has_password), (*id, 2, true));
    for wrong in [None, Some("open, barley")] {
        let refused = zoe.join(&link, wrong).await.expect_err("a wrong password");
        assert_eq!(refused.code(), "invalid-conversation-password");
    }
    assert!(zoe.join_requests().await.expect("readable").is_empty());
    assert_eq!(zoe.join(&link, Some(SESAME)).await.expect("asks"), Joined::Waiting(*id));
    assert_eq!(zoe.join(&link, Some(SESAME)).await.expect("asks again"), Joined::Waiting(*id));
    assert_eq!(zoe.join_requests().await.expect("readable")[0].conversation, *id);

    // Bob, a member without any rights, lets her in when he comes online.
    let bob = &friends[0];
    bob.sync().await.expect("syncs");
    zoe.sync().await.expect("syncs");
    assert!(zoe.join_requests().await.expect("readable").is_empty());
    assert_eq!(handles(zoe, *id).await, ["alice", "bob", "zoe"]);
    assert_eq!(zoe.conversation(*id).await.expect("there").name.as_deref(), Some("Friday table"));
    zoe.send(*id, "hello, strangers").await.expect("sends");
    assert_eq!(read(alice, *id).await, ["hello, strangers"]);
    assert_eq!(read(bob, *id).await, ["hello, strangers"]);
    assert_eq!(zoe.join(&link, Some(SESAME)).await.expect("is in"), Joined::Already(*id));
    for client in [alice, bob, zoe] {
        let noticed = client.suspicions().await.expect("readable");
        let tablets = |noticed: &Noticed| matches!(noticed.suspicion, Suspicion::NewDevice { .. });
        assert!(noticed.iter().all(tablets), "{noticed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_members_who_let_somebody_in_at_once_one_does_and_all_agree() {
    let setting = Setting::new(&["bob", "carol", "dave"]).await;
    let Setting { hub, alice, friends, zoe, id } = &setting;
    let link = setting.link().await;
    let tablet = hub.log_in("zoe", "zoes-tablet").await;
    for friend in friends {
        friend.sync().await.expect("syncs");
    }
    let yves = hub.sign_up("yves").await;
    for joiner in [zoe, &yves] {
        joiner.join(&link, None).await.expect("asks");
    }
    let letting_in: Vec<_> = friends
        .iter()
        .chain([alice])
        .map(|member| {
            let member = member.clone();
            tokio::spawn(async move { member.sync().await.expect("syncs") })
        })
        .collect();
    for done in letting_in {
        done.await.expect("runs");
    }
    let everybody: Vec<&Client> = friends.iter().chain([alice, zoe, &tablet, &yves]).collect();
    for client in &everybody {
        client.sync().await.expect("syncs");
    }
    let epoch = alice.epoch(*id).await.expect("in it");
    for client in everybody {
        assert_eq!(handles(client, *id).await, ["alice", "bob", "carol", "dave", "yves", "zoe"]);
        assert_eq!(client.epoch(*id).await.expect("in it"), epoch);
    }
    assert_eq!(hub.database("SELECT count(*) FROM join_requests"), 0);
    tablet.send(*id, "from both of my devices").await.expect("sends");
    assert_eq!(read(zoe, *id).await, ["from both of my devices"]);
    assert_eq!(read(&friends[2], *id).await, ["from both of my devices"]);
}

#[tokio::test]
async fn a_member_who_was_away_lets_in_who_still_waits() {
    let setting = Setting::new(&["bob"]).await;
    let Setting { friends, zoe, id, .. } = &setting;
    let link = setting.link().await;
    zoe.join(&link, None).await.expect("asks");
    zoe.sync().await.expect("syncs");
    assert_eq!(zoe.join_requests().await.expect("readable").len(), 1, "nobody has been online");
    let mut events = pin!(zoe.events());
    while !matches!(events.next().await, Some(Ok(ClientEvent::CaughtUp))) {}
    friends[0].sync().await.expect("syncs");
    let told = loop {
        if let ClientEvent::Joined(joined) = events.next().await.expect("it goes on").expect("it works") {
            break joined;
        }
    };
    assert_eq!(told, *id);
}

#[tokio::test]
async fn who_waits_is_told_when_the_link_is_taken_back() {
    let setting = Setting::new(&["bob"]).await;
    let Setting { alice, friends, zoe, id, .. } = &setting;
    let link = setting.link().await;
    friends[0].sync().await.expect("syncs");
    zoe.join(&link, None).await.expect("asks");
    let mut events = pin!(zoe.events());
    while !matches!(events.next().await, Some(Ok(ClientEvent::CaughtUp))) {}
    // Alice has not heard of Zoe when she takes it back; and then nobody lets her in.
    alice.revoke_link(*id).await.expect("takes it back");
    let told = loop {
        if let ClientEvent::JoinEnded(ended) = events.next().await.expect("it goes on").expect("it works") {
            break ended;
        }
    };
    assert_eq!(told, *id);
    assert!(zoe.join_requests().await.expect("readable").is_empty());
    for member in [alice, &friends[0]] {
        member.sync().await.expect("syncs");
        assert_eq!(handles(member, *id).await, ["alice", "bob"]);
        assert!(member.suspicions().await.expect("readable").is_empty(), "nobody lied");
    }
    assert_eq!(alice.link(*id).await.expect("asks"), None);
    let refused = zoe.join(&link, None).await.expect_err("it was taken back");
    assert_eq!(refused.code(), "no-conversation-code");
}

#[tokio::test]
async fn an_expired_link_is_none_and_the_next_takes_its_place() {
    let setting = Setting::new(&[]).await;
    let Setting { hub, alice, zoe, id, .. } = &setting;
    let first = setting.link().await;
    hub.database("UPDATE join_links SET expires_at = 1");
    assert_eq!(alice.link(*id).await.expect("asks"), None);
    assert_eq!(zoe.join(&first, None).await.expect_err("expired").code(), "no-conversation-code");
    let too_long = LinkOptions { valid_for: Some(Duration::from_hours(400 * 24)), ..LinkOptions::default() };
    assert_eq!(alice.create_link(*id, &too_long).await.expect_err("too long").code(), "bad-request");
    let second = setting.link().await;
    assert_eq!(zoe.join(&first, None).await.expect_err("replaced").code(), "no-conversation-code");
    zoe.join(&second, None).await.expect("asks");
    alice.sync().await.expect("syncs");
    zoe.sync().await.expect("syncs");
    assert_eq!(handles(zoe, *id).await, ["alice", "zoe"]);
}

#[tokio::test]
async fn a_link_that_the_hub_refuses_leaves_the_one_that_there_is() {
    let setting = Setting::new(&[]).await;
    let Setting { alice, zoe, id, .. } = &setting;
    let first = setting.link().await;
    let too_long = LinkOptions { valid_for: Some(Duration::from_hours(400 * 24)), ..LinkOptions::default() };
    let too_short = LinkOptions { password: Some("abc".to_owned().into()), ..LinkOptions::default() };
    for (options, code) in [(too_long, "bad-request"), (too_short, "invalid-password")] {
        assert_eq!(alice.create_link(*id, &options).await.expect_err(code).code(), code);
        let kept = alice.link(*id).await.expect("asks").expect("there").link;
        assert_eq!(kept.as_ref(), Some(&first), "after {code}");
    }
    zoe.join(&first, None).await.expect("asks");
    alice.sync().await.expect("syncs");
    zoe.sync().await.expect("syncs");
    assert_eq!(handles(zoe, *id).await, ["alice", "zoe"]);
    // Where there was none, none is let in for.
    let other = alice.create_group("Thursday table", &[]).await.expect("a group").id;
    let before = alice.access(other).await.expect("asks");
    let too_long = LinkOptions { valid_for: Some(Duration::from_hours(400 * 24)), ..LinkOptions::default() };
    alice.create_link(other, &too_long).await.expect_err("too long");
    assert_eq!(alice.access(other).await.expect("asks"), before);
}

#[tokio::test]
async fn the_password_of_a_link_is_given_to_the_hub_once() {
    let hub = Hub::start().await;
    let network = LossyNetwork::before(&hub, "/link").await;
    let alice = Client::builder(hub.home("alice")).sign_up(&network.url, "alice", PASSWORD).await;
    let alice = alice.expect("signs up");
    let id = group(&alice, "Friday table", &[]).await.id;
    // One gives the link to the hub, and one asks what came of it. Another would be lost.
    network.spare(2);
    network.lose_requests(true);
    let options = LinkOptions { password: Some(SESAME.to_owned().into()), ..LinkOptions::default() };
    let made = alice.create_link(id, &options).await.expect("makes a link");
    network.lose_requests(false);
    assert!(made.has_password);
    assert_eq!(alice.link(id).await.expect("asks").expect("there").link, made.link);
}

#[tokio::test]
async fn who_takes_the_request_back_is_not_let_in() {
    let setting = Setting::new(&[]).await;
    let Setting { alice, zoe, id, .. } = &setting;
    let link = setting.link().await;
    zoe.join(&link, None).await.expect("asks");
    zoe.cancel_join(*id).await.expect("takes it back");
    assert!(zoe.join_requests().await.expect("readable").is_empty());
    for _ in 0..2 {
        alice.sync().await.expect("syncs");
    }
    assert_eq!(handles(alice, *id).await, ["alice"]);
    // Asked anew, it is as at first.
    zoe.join(&link, None).await.expect("asks");
    alice.sync().await.expect("syncs");
    assert_eq!(handles(alice, *id).await, ["alice", "zoe"]);
}

#[tokio::test]
async fn who_takes_the_request_back_is_not_let_in_by_an_admin_who_could_invite_them() {
    let setting = Setting::new(&[]).await;
    let Setting { alice, zoe, id, .. } = &setting;
    connect(alice, zoe).await;
    let link = setting.link().await;
    zoe.join(&link, None).await.expect("asks");
    zoe.cancel_join(*id).await.expect("takes it back");
    alice.sync().await.expect("syncs");
    assert_eq!(handles(alice, *id).await, ["alice"]);
}

#[tokio::test]
async fn into_an_open_group_who_takes_the_request_back_is_not_let_in_by_an_admin_who_was_away() {
    let setting = Setting::new(&[]).await;
    let Setting { alice, zoe, id, .. } = &setting;
    connect(alice, zoe).await;
    let open = alice.access(*id).await.expect("asks").with(AccessMode::Link, true);
    alice.set_access(*id, &open).await.expect("opens it");
    // One takes it back before Alice hears of anything, and again while she has heard that they ask.
    zoe.ask_to_join(*id).await.expect("asks");
    zoe.cancel_join(*id).await.expect("takes it back");
    alice.sync().await.expect("syncs");
    assert_eq!(handles(alice, *id).await, ["alice"]);
    zoe.ask_to_join(*id).await.expect("asks anew");
    alice.sync().await.expect("syncs");
    assert_eq!(handles(alice, *id).await, ["alice", "zoe"]);
    // In her own right she adds whom she likes.
    alice.remove_members(*id, &[handle("zoe")]).await.expect("removes");
    zoe.sync().await.expect("syncs");
    zoe.ask_to_join(*id).await.expect("asks");
    zoe.cancel_join(*id).await.expect("takes it back");
    alice.add_members(*id, &[handle("zoe")]).await.expect("invites");
    assert_eq!(handles(alice, *id).await, ["alice", "zoe"]);
}

#[tokio::test]
async fn who_was_let_in_and_is_out_again_is_not_added_by_a_device_that_was_away() {
    let setting = Setting::new(&["bob"]).await;
    let Setting { alice, friends, zoe, id, hub } = &setting;
    let (bob, yves) = (&friends[0], hub.sign_up("yves").await);
    // Bob could invite both: nothing but his own device knows that he does not.
    connect(bob, zoe).await;
    connect(bob, &yves).await;
    alice.set_role(*id, &handle("bob"), "admin").await.expect("an admin too");
    let open = alice.access(*id).await.expect("asks").with(AccessMode::Link, true);
    alice.set_access(*id, &open).await.expect("opens it");
    let link = setting.link().await;
    bob.sync().await.expect("syncs");

    zoe.ask_to_join(*id).await.expect("asks");
    yves.join(&link, None).await.expect("asks");
    alice.sync().await.expect("lets both in");
    for client in [alice, &yves] {
        client.sync().await.expect("sees that they are in");
    }
    assert_eq!(handles(alice, *id).await, ["alice", "bob", "yves", "zoe"]);
    alice.remove_members(*id, &[handle("zoe")]).await.expect("removes");
    yves.leave(*id, None).await.expect("leaves");
    alice.sync().await.expect("takes the leaver's devices out");
    for member in [bob, alice, bob] {
        member.sync().await.expect("syncs");
        assert_eq!(handles(member, *id).await, ["alice", "bob"]);
    }

    // What they ask anew holds.
    zoe.ask_to_join(*id).await.expect("asks again");
    bob.sync().await.expect("syncs");
    zoe.sync().await.expect("syncs");
    assert_eq!(handles(zoe, *id).await, ["alice", "bob", "zoe"]);
}

#[tokio::test]
async fn the_link_of_another_hub_is_not_shown_to_ones_own() {
    let setting = Setting::new(&[]).await;
    let Setting { hub, zoe, .. } = &setting;
    let link = setting.link().await.to_string().replace("127.0.0.1", "hub.example");
    let link: JoinLink = link.parse().expect("a link");
    // The hub would know the code, if it were shown to it.
    assert_eq!(zoe.preview_link(&link).await.expect_err("looks").code(), "link-of-other-hub");
    assert_eq!(zoe.join(&link, Some(SESAME)).await.expect_err("asks").code(), "link-of-other-hub");
    assert_eq!(hub.database("SELECT count(*) FROM join_requests"), 0);
}

#[tokio::test]
async fn an_open_group_lets_in_who_asks_and_a_closed_one_does_not() {
    let setting = Setting::new(&["bob"]).await;
    let Setting { alice, friends, zoe, id, .. } = &setting;
    assert_eq!(zoe.ask_to_join(*id).await.expect_err("it is closed").code(), "no-conversation");
    let present = alice.access(*id).await.expect("asks");
    let open = present.clone().with(AccessMode::Link, true);
    assert_eq!(alice.set_access(*id, &open).await.expect("opens it"), open);
    assert_eq!(zoe.ask_to_join(*id).await.expect("asks"), Joined::Waiting(*id));
    friends[0].sync().await.expect("syncs");
    zoe.sync().await.expect("syncs");
    assert_eq!(handles(zoe, *id).await, ["alice", "bob", "zoe"]);
    assert_eq!(alice.set_access(*id, &present).await.expect("closes it"), present);
    friends[0].sync().await.expect("syncs");
    let refused = friends[0].set_access(*id, &open).await.expect_err("Bob may not");
    assert_eq!(refused.code(), "action-denied");
}

#[tokio::test]
async fn narrowing_takes_out_of_the_group_who_is_no_longer_admitted() {
    let setting = Setting::new(&["bob"]).await;
    let Setting { alice, friends, id, .. } = &setting;
    let link = setting.link().await;
    let services = Access::new([AccessMode::Invite], [AccessRole::Service]).expect("an access");
    alice.set_access(*id, &services).await.expect("narrows");
    alice.sync().await.expect("syncs");
    assert_eq!(handles(alice, *id).await, ["alice"], "who asks for it stays");
    friends[0].sync().await.expect("syncs");
    assert!(!friends[0].conversation(*id).await.expect("there").active);
    assert_eq!(alice.link(*id).await.expect("asks"), None, "the link went with its mode");
    assert_eq!(friends[0].join(&link, None).await.expect_err("gone").code(), "no-conversation-code");
    let refused = alice.add_members(*id, &[handle("bob")]).await.expect_err("not admitted");
    assert_eq!(refused.code(), "not-admitted");
}

#[tokio::test]
async fn into_a_pairwise_group_one_comes_at_once_and_migration_ends_its_link() {
    let hub = Hub::start().await;
    let (alice, zoe) = (hub.sign_up("alice").await, hub.sign_up("zoe").await);
    let id = alice.create_group_with("Book club", &[], Protocol::Pairwise).await.expect("a group").id;
    let link =
        alice.create_link(id, &LinkOptions::default()).await.expect("makes a link").link.expect("here");
    assert_eq!(zoe.join(&link, None).await.expect("joins"), Joined::Already(id));
    assert_eq!(handles(&zoe, id).await, ["alice", "zoe"]);
    zoe.send(id, "what are we reading?").await.expect("sends");
    assert_eq!(read(&alice, id).await, ["what are we reading?"]);
    alice.migrate(id).await.expect("goes to MLS");
    assert_eq!(alice.link(id).await.expect("asks"), None);
    let yves = hub.sign_up("yves").await;
    assert_eq!(yves.join(&link, None).await.expect_err("ended").code(), "no-conversation-code");
}

#[tokio::test]
async fn a_link_that_was_made_halfway_lets_nobody_in_and_is_made_anew() {
    let hub = Hub::start().await;
    let network = LossyNetwork::before(&hub, "/link").await;
    let alice = Client::builder(hub.home("alice")).sign_up(&network.url, "alice", PASSWORD).await;
    let (alice, zoe) = (alice.expect("signs up"), hub.sign_up("zoe").await);
    let id = group(&alice, "Friday table", &[]).await.id;

    // The request is lost, or its answer: before the commit that makes a link of it.
    network.lose_requests(true);
    alice.create_link(id, &LinkOptions::default()).await.expect_err("the hub does not hear of it");
    network.lose_requests(false);
    assert_eq!(alice.link(id).await.expect("asks"), None);
    network.lose(1);
    alice.create_link(id, &LinkOptions::default()).await.expect_err("nobody says so");
    assert!(network.has_lost_all());
    assert_eq!(alice.link(id).await.expect("asks"), None);
    let made = alice.create_link(id, &LinkOptions::default()).await.expect("makes one");
    let link = alice.link(id).await.expect("asks").expect("there").link.expect("it was made here");
    assert_eq!(Some(&link), made.link.as_ref());
    zoe.join(&link, None).await.expect("asks");
    alice.sync().await.expect("syncs");
    zoe.sync().await.expect("syncs");
    assert_eq!(handles(&zoe, id).await, ["alice", "zoe"]);

    // So it is when it is taken back: what the hub did not hear of is done by trying again.
    network.lose(1);
    alice.revoke_link(id).await.expect_err("nobody says so");
    assert_eq!(alice.link(id).await.expect("asks"), None, "the hub has done it");
    alice.revoke_link(id).await.expect("takes the key out of the group too");
}

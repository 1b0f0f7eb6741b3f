//! Groups whose commits the hub cannot read, as an application uses them.

use crate::{
    lying_hub::LyingHub,
    support::{Hub, PASSWORD, connect, handle, read},
};
use futures::future::join_all;
use tertulia::{Client, Conversation, GroupOptions, Handshake, Protocol, RoleName, Suspicion};
use tertulia_api::event::EventBody;

async fn three(hub: &Hub) -> [Client; 3] {
    let [alice, bob, carol] =
        [hub.sign_up("alice").await, hub.sign_up("bob").await, hub.sign_up("carol").await];
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    [alice, bob, carol]
}

fn encrypted(protocol: Protocol) -> GroupOptions {
    let mut options = GroupOptions::default();
    options.handshake = Handshake::Ciphertext;
    options.protocol = protocol;
    options
}

async fn described(client: &Client, of: &Conversation) -> Conversation {
    client.sync().await.expect("syncs");
    client.conversation(of.id).await.expect("there")
}

/// Of the group's commits, how many the hub can read: those of who joined from outside.
fn readable_commits(hub: &Hub, of: &Conversation) -> i64 {
    let id = of.id.to_string().replace('-', "");
    // An MLSMessage begins with its version and its wire format: 1 for PublicMessage (RFC 9420, section 6).
    let readable = "kind = 'commit' AND substr(body, 1, 4) = x'00010001'";
    hub.database(&format!("SELECT count(*) FROM log WHERE conversation = x'{id}' AND {readable}"))
}

#[tokio::test]
async fn three_people_live_in_a_group_whose_commits_the_hub_cannot_read() {
    let hub = Hub::start().await;
    let [alice, bob, carol] = three(&hub).await;
    let made = alice.create_group_as("secret", &[handle("bob")], encrypted(Protocol::Mls)).await;
    let group = made.expect("a group");
    bob.sync().await.expect("joins");
    alice.send(group.id, "hello").await.expect("sends");
    alice.add_members(group.id, &[handle("carol")]).await.expect("adds");
    carol.sync().await.expect("joins");
    carol.send(group.id, "here I am").await.expect("sends");
    assert_eq!(described(&carol, &group).await.name.as_deref(), Some("secret"));
    alice.set_role(group.id, &handle("bob"), "admin").await.expect("raises");
    assert_eq!(readable_commits(&hub, &group), 0);

    // A further device comes in from outside, and its own commits are encrypted too.
    let phone = hub.log_in("bob", "bobs-phone").await;
    phone.send(group.id, "from the phone").await.expect("sends");
    phone.remove_members(group.id, &[handle("carol")]).await.expect("bob is an admin");
    assert_eq!(readable_commits(&hub, &group), 1);
    alice.sync().await.expect("sees that carol is gone");
    alice.send(group.id, "without carol").await.expect("sends");
    assert_eq!(read(&carol, group.id).await, ["here I am", "from the phone"]);
    assert!(!described(&carol, &group).await.active);
    let said = ["hello", "here I am", "from the phone", "without carol"];
    for device in [&alice, &bob] {
        assert_eq!(read(device, group.id).await, said);
    }
    assert_eq!(read(&phone, group.id).await, said[2..]);

    // Begun anew, it is as it was.
    alice.reset_group(group.id).await.expect("begins anew");
    bob.sync().await.expect("follows");
    phone.sync().await.expect("follows");
    phone.send(group.id, "after the reset").await.expect("sends");
    assert_eq!(read(&alice, group.id).await.last().map(String::as_str), Some("after the reset"));
    bob.leave(group.id, None).await.expect("leaves");
    alice.sync().await.expect("takes bob out");
    assert_eq!(described(&alice, &group).await.members.len(), 1);
    let joined_again = hub.database("SELECT count(*) FROM log WHERE kind = 'reset'");
    assert_eq!(joined_again, 1);
    for device in [&alice, &bob, &phone, &carol] {
        let suspicions = device.suspicions().await.expect("readable");
        let other: Vec<_> = suspicions
            .into_iter()
            .filter(|noticed| !matches!(noticed.suspicion, tertulia::Suspicion::NewDevice { .. }))
            .collect();
        assert!(other.is_empty(), "{other:?}");
    }
}

#[tokio::test]
async fn devices_that_commit_at_the_same_time_all_get_their_way() {
    let hub = Hub::start().await;
    let [alice, bob, carol] = three(&hub).await;
    let options = encrypted(Protocol::Mls);
    let group = alice.create_group_as("busy", &[handle("bob"), handle("carol")], options).await;
    let group = group.expect("a group");
    for member in [&bob, &carol] {
        member.sync().await.expect("joins");
    }
    for admin in ["bob", "carol"] {
        alice.set_role(group.id, &handle(admin), "admin").await.expect("raises");
    }
    let mut newcomers = Vec::new();
    for (number, member) in [&alice, &bob, &carol].into_iter().enumerate() {
        let newcomer = hub.sign_up(&format!("new{number}")).await;
        connect(member, &newcomer).await;
        newcomers.push(newcomer);
    }
    let adding = [&alice, &bob, &carol].into_iter().zip(&newcomers);
    let added = adding.map(async |(member, newcomer)| {
        member.add_members(group.id, &[newcomer.me().handle.clone()]).await.map(drop)
    });
    for outcome in join_all(added).await {
        outcome.expect("adds, after the others if need be");
    }
    for device in [&alice, &bob, &carol].into_iter().chain(&newcomers) {
        assert_eq!(described(device, &group).await.members.len(), 6);
        device.send(group.id, "present").await.expect("sends");
    }
    assert_eq!(readable_commits(&hub, &group), 0);
}

#[tokio::test]
async fn a_pairwise_group_comes_to_mls_with_encrypted_commits() {
    let hub = Hub::start().await;
    let [alice, bob, _] = three(&hub).await;
    let made = alice.create_group_as("pairs", &[handle("bob")], encrypted(Protocol::Pairwise)).await;
    let group = made.expect("a group");
    bob.sync().await.expect("joins");
    alice.migrate(group.id).await.expect("to MLS");
    alice.send(group.id, "on MLS").await.expect("sends");
    assert_eq!(read(&bob, group.id).await, ["on MLS"]);
    assert_eq!((readable_commits(&hub, &group), described(&bob, &group).await.protocol), (0, Protocol::Mls));
}

#[tokio::test]
async fn a_commit_that_leads_nowhere_has_the_others_join_anew_and_names_who_sent_it() {
    let hub = Hub::start().await;
    let liar = LyingHub::before(&hub).await;
    let alice = hub.sign_up("alice").await;
    let bob = Client::builder(hub.home("bob")).sign_up(&liar.url, "bob", PASSWORD).await.expect("signs up");
    connect(&alice, &bob).await;
    let made = alice.create_group_as("secret", &[handle("bob")], encrypted(Protocol::Mls)).await;
    let group = made.expect("a group");
    bob.sync().await.expect("joins");

    // What the hub has taken, with a GroupInfo that fits, is noise to the members.
    liar.change_events(|events| {
        for event in events {
            if let EventBody::Commit { commit, .. } = &mut event.body {
                *commit.0.last_mut().expect("it has bytes") ^= 1;
            }
        }
    });
    alice.set_role(group.id, &handle("bob"), "admin").await.expect("raises");
    bob.sync().await.expect("syncs");
    liar.repent();
    // Nobody has said anything since.
    bob.send(group.id, "back again").await.expect("sends");
    assert_eq!(read(&alice, group.id).await, ["back again"]);
    alice.send(group.id, "welcome").await.expect("sends");
    assert_eq!(read(&bob, group.id).await, ["back again", "welcome"]);
    let noticed = bob.suspicions().await.expect("readable");
    let suspicions: Vec<_> = noticed.into_iter().map(|noticed| noticed.suspicion).collect();
    let by = Suspicion::UnfitCommit { user: alice.me().user };
    // Nor has he seen how he came by his role.
    let raised = Suspicion::UnseenMember { user: bob.me().user, role: RoleName::ADMIN };
    assert_eq!(suspicions, [by.clone(), raised]);
    assert_eq!(
        serde_json::to_value(&by).expect("JSON"),
        serde_json::json!({ "what": "unfit-commit", "user": alice.me().user })
    );
}

//! Removals that the hub proposes in many groups: a few at a time, all of them in the end, and after a crash too.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use support::hub::{Hub, PASSWORD, Person, connect, types};
use tertulia_api::event::EventPage;
use tertulia_domain::ConversationId;

/// More than are done in one step.
const COPIES: i64 = 50;

/// Gives a group so many likenesses, behind the hub's back: same members, same tree.
fn multiply(hub: &Hub, group: ConversationId) {
    hub.change("CREATE TABLE copies AS SELECT id FROM users WHERE handle = ''", ());
    for number in 1..=COPIES {
        hub.change("INSERT INTO copies VALUES (?1)", [&u128::try_from(number).unwrap().to_be_bytes()]);
    }
    for sql in [
        "INSERT INTO conversations (id, type, protocol, creator, created_at, group_id, epoch)
         SELECT k.id, c.type, c.protocol, c.creator, c.created_at, k.id, c.epoch
         FROM copies k, conversations c WHERE c.id = ?1",
        "INSERT INTO members SELECT k.id, m.user_id, m.role, m.joined_position, m.left_position
         FROM copies k, members m WHERE m.conversation = ?1",
        "INSERT INTO groups SELECT k.id, g.snapshot, g.group_info FROM copies k, groups g WHERE g.conversation = ?1",
        "INSERT INTO leaves SELECT k.id, l.leaf_index, l.user_id, l.device FROM copies k, leaves l WHERE l.conversation = ?1",
    ] {
        hub.change(sql, [group.as_bytes()]);
    }
}

/// Alice and Bob, who has a phone, in a group of hers.
async fn set() -> (Hub, Person, Person, Person, ConversationId) {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let phone = Person::open(&hub, "bob", "/v1/sessions", 1).await;
    let (group, mut at_alice) = alice.new_group().await;
    alice.add(group, &mut at_alice, &[bob.user]).await;
    (hub, alice, bob, phone, group)
}

async fn remove(owner: &Person, device: &Person) {
    let path = format!("/v1/devices/{}/remove", device.mls.device);
    owner.post(&path, &json!({ "password": PASSWORD })).await.empty();
}

#[tokio::test]
async fn a_device_and_an_account_are_removed_from_more_groups_than_are_seen_to_at_once() {
    let (hub, _alice, bob, phone, group) = set().await;
    multiply(&hub, group);
    let groups = COPIES + 1;
    remove(&bob, &phone).await;
    assert_eq!((hub.rows()["proposals"], hub.rows()["removals_due"]), (groups, 0));
    bob.post("/v1/self/delete", &json!({ "password": PASSWORD })).await.empty();
    assert_eq!((hub.rows()["proposals"], hub.rows()["removals_due"]), (2 * groups, 0));
}

#[tokio::test]
async fn what_a_crash_came_before_is_gone_on_with_when_the_hub_starts() {
    let (hub, alice, bob, phone, _group) = set().await;
    hub.change("CREATE TABLE before AS SELECT snapshot FROM groups", ());
    remove(&bob, &phone).await;
    let end = alice.events().await;
    // As it was after the transaction in which the device went, and before the next.
    hub.change("DELETE FROM proposals", ());
    hub.change("UPDATE groups SET snapshot = (SELECT snapshot FROM before)", ());
    hub.change("INSERT INTO removals_due (conversation) SELECT conversation FROM groups", ());
    let hub = Hub::start_in(hub.stop().await).await;
    let alice = Person { base: hub.base.clone(), ..alice };
    let path = format!("/v1/events?wait=30&since={}", end.last().unwrap().cursor);
    let told: EventPage = alice.get(&path).await.done();
    assert_eq!(types(&told.events), ["conversation.proposal"]);
    assert_eq!((hub.rows()["proposals"], hub.rows()["removals_due"]), (1, 0));
}

#[tokio::test]
async fn a_group_whose_stored_state_is_damaged_keeps_no_other_from_its_removals() {
    let (hub, _alice, bob, phone, group) = set().await;
    multiply(&hub, group);
    hub.change(
        "UPDATE groups SET snapshot = ?1 WHERE conversation IN (SELECT id FROM copies LIMIT 5)",
        [vec![0]],
    );
    remove(&bob, &phone).await;
    let rows = hub.rows();
    assert_eq!((rows["proposals"], rows["removals_due"]), (COPIES + 1 - 5, 5));
}

#[tokio::test]
async fn until_the_removals_are_proposed_other_commits_are_taken_and_have_them_proposed() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let carol = Person::sign_up(&hub, "carol").await;
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    let (group, mut at_alice) = alice.new_group().await;
    alice.add(group, &mut at_alice, &[bob.user]).await;
    hub.change("CREATE TABLE before AS SELECT snapshot FROM groups", ());
    bob.post("/v1/self/delete", &json!({ "password": PASSWORD })).await.empty();
    // As it was after the transaction in which the account went, and before the next.
    hub.change("DELETE FROM proposals", ());
    hub.change("UPDATE groups SET snapshot = (SELECT snapshot FROM before)", ());
    hub.change("INSERT INTO removals_due (conversation) SELECT conversation FROM groups", ());

    alice.add(group, &mut at_alice, &[carol.user]).await;
    let members = alice.conversation(group).await.members;
    assert_eq!(members.iter().map(|member| member.user).collect::<Vec<_>>(), [alice.user, carol.user]);
    assert_eq!(hub.rows()["proposals"], 1, "the removal of bob's device");
}

//! What one user can have on a hub is bounded, counted as it comes and goes, and told in numbers.
#![allow(clippy::unwrap_used)]

mod support;

use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use support::{
    hub::{Hub, PASSWORD, Person, connect, one_to_one},
    mls::{commit, encrypt, message},
};
use tertulia_api::{
    Base64, Code, Problem,
    account::{KeyPackageCount, KeyPackageUpload},
    conversation::{CommitAccepted, Conversation, NewConversation, ProposalAccepted},
};
use tertulia_domain::ConversationId;
use tertulia_server::{Rate, ServerConfig, Task, administer};

async fn hub(change: impl FnOnce(&mut ServerConfig)) -> Hub {
    Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.metrics = Some(([127, 0, 0, 1], 0).into());
        change(config);
    })
    .await
}

fn quota(problem: Problem) -> (String, u64) {
    let quota = problem.quota.unwrap();
    (quota.what, quota.limit)
}

async fn refused(hub: &Hub, limit: &str) -> bool {
    let line = format!("tertulia_refused_total{{limit=\"{limit}\"}} 1");
    hub.numbers().await.lines().any(|found| found == line)
}

/// What is counted as somebody's.
fn counted(hub: &Hub, handle: &str) -> i64 {
    hub.stored().number(&format!("SELECT stored_bytes FROM users WHERE handle = '{handle}'"))
}

/// The key packages among that.
fn key_packages(hub: &Hub, handle: &str) -> i64 {
    hub.stored().number(&format!(
        "SELECT CAST(coalesce(sum(length(key_package)), 0) AS BIGINT) FROM key_packages
         WHERE user_id = (SELECT id FROM users WHERE handle = '{handle}')"
    ))
}

/// The rest, which is in the logs.
fn stored(hub: &Hub, handle: &str) -> i64 {
    counted(hub, handle) - key_packages(hub, handle)
}

#[tokio::test]
async fn what_a_user_stores_is_bounded_and_gets_less_when_it_goes() {
    let hub = hub(|config| config.limits.bytes_per_user = Some(70_000)).await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, mut at_bob) = one_to_one(&alice, &bob).await;
    let begun = stored(&hub, "alice");
    assert!(begun > 0, "her commit counts");
    let text = "x".repeat(25_000);
    let (first, second) = (encrypt(&mut at_alice, &text), encrypt(&mut at_alice, &text));
    alice.sent(conversation, first.clone()).await;
    alice.sent(conversation, second.clone()).await;
    let full = stored(&hub, "alice");
    assert_eq!(full, begun + i64::try_from(first.len() + second.len()).unwrap());
    // Again the same, which stores nothing.
    alice.sent(conversation, second).await;
    assert_eq!(stored(&hub, "alice"), full);

    let third = encrypt(&mut at_alice, &text);
    let problem = alice.send(conversation, third.clone()).await.refused(Code::QuotaExceeded);
    assert_eq!(quota(problem), ("stored-bytes".to_owned(), 70_000));
    assert_eq!(stored(&hub, "alice"), full, "what is refused is not counted");
    assert!(refused(&hub, "user_bytes").await);
    // It is hers alone, and she can still change her keys.
    bob.sent(conversation, encrypt(&mut at_bob, &text)).await;
    let update = commit(&mut at_alice, &[], &[]);
    alice.committed(conversation, &mut at_alice, &update).await;

    // What is cut is not counted any more: nothing is left, so that there is room again.
    let prune = Task::Prune { events_older_than: Some(Duration::ZERO) };
    administer(hub.dir.path(), prune).await.unwrap();
    assert_eq!((stored(&hub, "alice"), stored(&hub, "bob")), (0, 0));
    alice.sent(conversation, third).await;
}

#[tokio::test]
async fn who_is_at_the_quota_changes_groups_but_says_nothing_with_it_and_not_without_end() {
    const QUOTA: i64 = 70_000;
    const HEADROOM: i64 = 64 * 1024 * 1024;
    let hub = hub(|config| config.limits.bytes_per_user = Some(70_000)).await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (group, mut at_alice) = alice.new_group().await;
    let begun = commit(&mut at_alice, &[], &[]);
    alice.committed(group, &mut at_alice, &begun).await;
    let store = |bytes: i64| hub.change("UPDATE users SET stored_bytes = ?1 WHERE handle = 'alice'", [bytes]);
    let propose = async |proposal: &[u8]| {
        alice.mls(Method::POST, &format!("/v1/conversations/{group}/proposals"), proposal.to_vec()).await
    };

    // At the limit a commit is taken, and what would be refused alone is refused with it.
    store(QUOTA);
    let mut bundle = commit(&mut at_alice, &[], &[]);
    at_alice.apply_pending_commit().unwrap();
    bundle.message = Some(message(&encrypt(&mut at_alice, "by the way")));
    let problem = alice.commit(group, &bundle).await.refused(Code::QuotaExceeded);
    assert_eq!(quota(problem), ("stored-bytes".to_owned(), 70_000));
    assert_eq!(counted(&hub, "alice"), QUOTA, "nothing of it is stored");
    assert!(refused(&hub, "user_bytes").await);
    bundle.message = None;
    alice.commit(group, &bundle).await.done::<CommitAccepted>();
    assert!(counted(&hub, "alice") > QUOTA);

    // Far beyond it neither commits nor proposals are.
    store(QUOTA + HEADROOM);
    let proposal = at_alice.propose_update(Vec::new()).unwrap().to_bytes().unwrap();
    let problem = propose(&proposal).await.refused(Code::QuotaExceeded);
    assert_eq!(quota(problem), ("stored-bytes".to_owned(), 70_000));
    at_alice.clear_proposal_cache();
    let bundle = commit(&mut at_alice, &[], &[]);
    let problem = alice.commit(group, &bundle).await.refused(Code::QuotaExceeded);
    assert_eq!(quota(problem), ("stored-bytes".to_owned(), 70_000));
    assert_eq!(counted(&hub, "alice"), QUOTA + HEADROOM);
    // Below that they are, the same ones too.
    store(QUOTA + HEADROOM / 2);
    alice.committed(group, &mut at_alice, &bundle).await;
    let proposal = at_alice.propose_update(Vec::new()).unwrap().to_bytes().unwrap();
    propose(&proposal).await.done::<ProposalAccepted>();
    // To leave is no commit of one's own.
    store(QUOTA + HEADROOM);
    alice.post(&format!("/v1/conversations/{group}/leave"), &json!({})).await.empty();
}

#[tokio::test]
async fn the_message_of_a_commit_is_no_longer_than_others() {
    let hub = hub(|config| config.limits.message_bytes = 4_000).await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (group, mut at_alice) = alice.new_group().await;
    let mut bundle = commit(&mut at_alice, &[], &[]);
    at_alice.apply_pending_commit().unwrap();
    let long = encrypt(&mut at_alice, &"x".repeat(4_000));
    bundle.message = Some(message(&long));
    alice.commit(group, &bundle).await.refused(Code::PayloadTooLarge);
    bundle.message = Some(message(&encrypt(&mut at_alice, &"x".repeat(3_000))));
    alice.commit(group, &bundle).await.done::<CommitAccepted>();
    alice.send(group, long).await.refused(Code::PayloadTooLarge);
}

#[tokio::test]
async fn what_goes_with_a_conversation_is_not_counted_any_more() {
    let hub = hub(|_| ()).await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (group, mut at_alice) = alice.new_group().await;
    let begun = commit(&mut at_alice, &[], &[]);
    alice.committed(group, &mut at_alice, &begun).await;
    alice.sent(group, encrypt(&mut at_alice, "to nobody")).await;
    assert!(stored(&hub, "alice") > 0);
    alice.post(&format!("/v1/conversations/{group}/leave"), &json!({})).await.empty();
    let prune = Task::Prune { events_older_than: Some(Duration::ZERO) };
    administer(hub.dir.path(), prune).await.unwrap();
    assert_eq!(stored(&hub, "alice"), 0);
}

#[tokio::test]
async fn one_makes_so_many_groups_and_no_more() {
    let hub = hub(|config| config.limits.conversations_per_user = 2).await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let new = |id| NewConversation::new(id);
    let ids = [ConversationId::random(), ConversationId::random(), ConversationId::random()];
    for id in [ids[0], ids[1], ids[1]] {
        alice.post("/v1/conversations", &new(id)).await.done::<Conversation>();
    }
    let problem = alice.post("/v1/conversations", &new(ids[2])).await.refused(Code::QuotaExceeded);
    assert_eq!(quota(problem), ("conversations".to_owned(), 2));
    assert!(refused(&hub, "user_conversations").await);
    alice.get(&format!("/v1/conversations/{}", ids[2])).await.refused(Code::NoConversation);
    // 1:1s are not of anybody's making, and others have their own.
    connect(&alice, &bob).await;
    bob.post("/v1/conversations", &new(ids[2])).await.done::<Conversation>();
    // One that she leaves makes room for another.
    alice.post(&format!("/v1/conversations/{}/leave", ids[0]), &json!({})).await.empty();
    alice.post("/v1/conversations", &new(ConversationId::random())).await.done::<Conversation>();
}

#[tokio::test]
async fn groups_that_have_ended_count_until_every_device_has_read_that() {
    let hub = hub(|config| config.limits.conversations_per_user = 2).await;
    let alice = Person::sign_up(&hub, "alice").await;
    let make = async |id| alice.post("/v1/conversations", &NewConversation::new(id)).await;
    for _ in 0..3 {
        let id = ConversationId::random();
        make(id).await.done::<Conversation>();
        alice.delete(&format!("/v1/conversations/{id}")).await.empty();
    }
    // Her device has read of none of them.
    let id = ConversationId::random();
    let problem = make(id).await.refused(Code::QuotaExceeded);
    assert!(problem.detail.contains("have ended"), "{problem:?}");
    assert_eq!(quota(problem), ("conversations".to_owned(), 2));
    alice.get(&format!("/v1/conversations/{id}")).await.refused(Code::NoConversation);
    // Once it has, they go, and there is room again.
    hub.change("UPDATE devices SET acknowledged = (SELECT position FROM hub)", ());
    administer(hub.dir.path(), Task::Prune { events_older_than: None }).await.unwrap();
    make(id).await.done::<Conversation>();
}

#[tokio::test]
async fn one_adds_so_many_people_in_a_time_and_no_more() {
    let hub = hub(|config| {
        config.limits.adds = Rate { burst: 2, period: Duration::from_hours(1) };
    })
    .await;
    let alice = Person::sign_up(&hub, "alice").await;
    let mut people = Vec::new();
    for name in ["bob", "carol", "dave"] {
        let person = Person::sign_up(&hub, name).await;
        connect(&alice, &person).await;
        people.push(person);
    }
    let (group, mut at_alice) = alice.new_group().await;
    let begun = commit(&mut at_alice, &[], &[]);
    alice.committed(group, &mut at_alice, &begun).await;
    // More at once than there ever can be.
    let all: Vec<_> = people.iter().map(|person| person.user).collect();
    let packages = alice.claim(&all).await;
    let bundle = commit(&mut at_alice, &packages, &[]);
    let problem = alice.commit(group, &bundle).await.refused(Code::QuotaExceeded);
    assert_eq!(quota(problem), ("members-at-once".to_owned(), 2));
    at_alice.clear_pending_commit();
    // Two, and then one too many for this hour.
    alice.add(group, &mut at_alice, &all[..2]).await;
    let packages = alice.claim(&all[2..]).await;
    let bundle = commit(&mut at_alice, &packages, &[]);
    let problem = alice.commit(group, &bundle).await.refused(Code::RateLimited);
    assert!(problem.retry_after.unwrap() > 3000);
    assert_eq!(alice.conversation(group).await.members.len(), 3);
}

#[tokio::test]
async fn key_packages_count_for_as_long_as_they_are_here() {
    let hub = hub(|_| ()).await;
    let (alice, bob) =
        (Person::sign_up(&hub, "alice").await, Person::open(&hub, "bob", "/v1/accounts", 0).await);
    connect(&alice, &bob).await;
    let as_they_are = |what: &str| {
        assert_eq!(counted(&hub, "bob"), key_packages(&hub, "bob"), "{what}");
        key_packages(&hub, "bob")
    };
    let some = |count: usize| -> Vec<Base64> { (0..count).map(|_| Base64(bob.mls.key_package())).collect() };
    let upload = KeyPackageUpload { key_packages: some(3), last_resort: Some(Base64(bob.mls.key_package())) };
    let bytes = |all: &[Base64]| i64::try_from(all.iter().map(|one| one.0.len()).sum::<usize>()).unwrap();

    assert_eq!(as_they_are("none"), 0);
    bob.post("/v1/key-packages", &upload).await.done::<KeyPackageCount>();
    let all = bytes(&upload.key_packages) + bytes(upload.last_resort.as_slice());
    assert_eq!(as_they_are("uploaded"), all);
    bob.post("/v1/key-packages", &upload).await.done::<KeyPackageCount>();
    assert_eq!(as_they_are("uploaded once more"), all);
    let claimed = bytes(&alice.claim(&[bob.user]).await.into_iter().map(Base64).collect::<Vec<_>>());
    assert_eq!(as_they_are("claimed"), all - claimed);
    let others = KeyPackageUpload { key_packages: some(2), last_resort: None };
    bob.put("/v1/key-packages", &others).await.done::<KeyPackageCount>();
    assert_eq!(as_they_are("replaced"), bytes(&others.key_packages) + bytes(upload.last_resort.as_slice()));
    let last =
        KeyPackageUpload { key_packages: Vec::new(), last_resort: Some(Base64(bob.mls.key_package())) };
    bob.post("/v1/key-packages", &last).await.done::<KeyPackageCount>();
    assert_eq!(as_they_are("another last"), bytes(&others.key_packages) + bytes(last.last_resort.as_slice()));
    hub.change(
        "UPDATE key_packages SET expires_at = 1 WHERE hash IN (SELECT hash FROM key_packages LIMIT 1)",
        (),
    );
    administer(hub.dir.path(), Task::Prune { events_older_than: None }).await.unwrap();
    as_they_are("expired");
    let device = format!("/v1/devices/{}/remove", bob.mls.device);
    bob.post(&device, &json!({ "password": PASSWORD })).await.empty();
    assert_eq!((as_they_are("removed"), key_packages(&hub, "bob")), (0, 0));
}

#[tokio::test]
async fn key_packages_are_bounded_by_the_quota_and_not_kept_out_by_messages() {
    let hub = hub(|config| config.limits.bytes_per_user = Some(20_000)).await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (group, mut at_alice) = alice.new_group().await;
    let begun = commit(&mut at_alice, &[], &[]);
    alice.committed(group, &mut at_alice, &begun).await;
    while alice.send(group, encrypt(&mut at_alice, &"x".repeat(4000))).await.status.is_success() {}
    // With no room for messages left, she can still be added by others.
    let some = |count: usize| KeyPackageUpload {
        key_packages: (0..count).map(|_| Base64(alice.mls.key_package())).collect(),
        last_resort: None,
    };
    alice.post("/v1/key-packages", &some(2)).await.done::<KeyPackageCount>();
    let before = key_packages(&hub, "alice");
    let problem = alice.post("/v1/key-packages", &some(150)).await.refused(Code::QuotaExceeded);
    assert_eq!(quota(problem), ("stored-bytes".to_owned(), 20_000));
    alice.put("/v1/key-packages", &some(150)).await.refused(Code::QuotaExceeded);
    assert_eq!(key_packages(&hub, "alice"), before, "what is refused changes nothing");
    assert!(counted(&hub, "alice") > before);
}

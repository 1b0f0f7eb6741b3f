//! What those who come later may read of a conversation's log: never more than the setting allows, and nothing for who is not in it.
#![allow(clippy::unwrap_used)]

mod support;

use mls_rs::Group;
use serde_json::json;
use support::{
    hub::{Hub, Person, connect, one_to_one, types},
    mls::{self, Config, commit, encrypt, leaf_of},
};
use tertulia_api::{
    Base64, Code,
    conversation::{CommitAccepted, Conversation},
    event::EventBody,
    history::HistoryPage,
    setting::Setting,
};
use tertulia_domain::{ConversationId, History, Protocol};

fn path(conversation: ConversationId) -> String {
    format!("/v1/conversations/{conversation}/history")
}

async fn share(by: &Person, group: ConversationId, history: &str) {
    by.put(&path(group), &json!({ "history": history })).await.empty();
}

/// The hub, with Alice, who has a group, and Bob and Carol, whom she is connected with.
async fn table() -> (Hub, [Person; 3], ConversationId, Group<Config>) {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    let (group, mut at_alice) = alice.new_group().await;
    let begun = commit(&mut at_alice, &[], &[]);
    alice.committed(group, &mut at_alice, &begun).await;
    (hub, [alice, bob, carol], group, at_alice)
}

/// Alice says something, which the hub accepts so many milliseconds ago.
async fn said(hub: &Hub, alice: &Person, group: (ConversationId, &mut Group<Config>), ago: i64) -> Vec<u8> {
    let message = encrypt(group.1, "for those who come later");
    let accepted = alice.sent(group.0, message.clone()).await;
    // The test stands still; what it sends is so much older.
    hub.change(
        "UPDATE log SET sent_at = sent_at - ?1 WHERE sequence = ?2",
        (ago, accepted.sequence.cast_signed()),
    );
    message
}

async fn pages(reader: &Person, group: ConversationId, query: &str) -> Vec<EventBody> {
    let (mut entries, mut after) = (Vec::new(), String::new());
    loop {
        let page: HistoryPage = reader.get(&format!("{}?{query}{after}", path(group))).await.done();
        entries.extend(page.entries);
        if !page.more {
            return entries;
        }
        after = format!("&after={}", page.cursor);
    }
}

/// The messages in what a reader is given, also those that came with commits.
fn messages(entries: &[EventBody]) -> Vec<&[u8]> {
    entries.iter().filter_map(message_of).collect()
}

fn message_of(entry: &EventBody) -> Option<&[u8]> {
    match entry {
        EventBody::Message { message, .. } | EventBody::Commit { message: Some(message), .. } => {
            Some(message.as_ref())
        }
        _ => None,
    }
}

fn commits(entries: &[EventBody]) -> Vec<u64> {
    let epoch = |entry: &EventBody| match entry {
        EventBody::Commit { epoch, welcome: None, .. } => Some(*epoch),
        _ => None,
    };
    entries.iter().filter_map(epoch).collect()
}

#[tokio::test]
async fn admins_set_it_in_groups_on_mls_and_all_members_are_told_once() {
    let (hub, [alice, bob, carol], group, mut at_alice) = table().await;
    alice.add(group, &mut at_alice, &[bob.user]).await;
    let (direct, _, _) = one_to_one(&bob, &carol).await;
    let own = ConversationId::self_of(alice.user);
    alice.conversation(own).await;
    let rows = hub.rows();
    let unlimited = json!({ "history": "unlimited" });
    carol.put(&path(group), &unlimited).await.refused(Code::NoConversation);
    carol.put(&path(ConversationId::random()), &unlimited).await.refused(Code::NoConversation);
    bob.put(&path(group), &unlimited).await.refused(Code::ActionDenied);
    carol.put(&path(direct), &unlimited).await.refused(Code::InvalidOperation);
    alice.put(&path(own), &unlimited).await.refused(Code::InvalidOperation);
    for wrong in [json!("999ms"), json!("315360000001ms"), json!("all"), json!(1000), json!(null)] {
        alice.put(&path(group), &json!({ "history": wrong })).await.refused(Code::BadRequest);
    }
    assert_eq!(hub.rows(), rows, "what is refused leaves nothing behind");

    for _ in 0..2 {
        share(&alice, group, "86400000ms").await;
    }
    let told = bob.events().await;
    let settings: Vec<_> = told
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::Setting { entry, setting } => Some((*setting, entry.sender)),
            _ => None,
        })
        .collect();
    let day: History = "86400000ms".parse().unwrap();
    assert_eq!(
        settings,
        [(Setting::History(day), Some(alice.address()))],
        "setting it again changes nothing"
    );
    assert_eq!(bob.conversation(group).await.settings.history, day);
}

#[tokio::test]
async fn while_messages_go_pairwise_there_is_no_history_to_share() {
    let (_hub, [alice, bob, _], _, _) = table().await;
    let pairwise = alice.pairwise_group(&[&bob]).await;
    let unlimited = json!({ "history": "unlimited" });
    alice.put(&path(pairwise), &unlimited).await.refused(Code::WrongProtocol);
    let mixed = json!({ "protocol": "mixed" });
    alice.put(&format!("/v1/conversations/{pairwise}/protocol"), &mixed).await.empty();
    assert_eq!(alice.conversation(pairwise).await.protocol, Protocol::Mixed);
    alice.put(&path(pairwise), &unlimited).await.refused(Code::WrongProtocol);
    bob.put(&path(pairwise), &unlimited).await.refused(Code::ActionDenied);
}

#[tokio::test]
async fn a_newcomer_reads_from_the_setting_on_and_nothing_while_it_is_none() {
    let (hub, [alice, bob, _], group, mut at_alice) = table().await;
    said(&hub, &alice, (group, &mut at_alice), 0).await;
    share(&alice, group, "unlimited").await;
    let second = said(&hub, &alice, (group, &mut at_alice), 1_000_000).await;
    let update = commit(&mut at_alice, &[], &[]);
    alice.committed(group, &mut at_alice, &update).await;
    let third = said(&hub, &alice, (group, &mut at_alice), 0).await;
    alice.add(group, &mut at_alice, &[bob.user]).await;

    let given = pages(&bob, group, "").await;
    assert_eq!(messages(&given), [&second, &third], "and not what was said before the setting");
    assert_eq!(commits(&given), [2, 3], "and no Welcome is among them");
    let given = pages(&bob, group, "from_epoch=2").await;
    assert_eq!((messages(&given), commits(&given)), (vec![&third[..]], vec![2, 3]));
    let one_by_one = pages(&bob, group, "limit=1").await;
    assert_eq!(one_by_one, pages(&bob, group, "").await, "however small the pages are");
    let page: HistoryPage = bob.get(&format!("{}?limit=2", path(group))).await.done();
    assert_eq!((page.entries.len(), page.more), (2, true));

    share(&alice, group, "none").await;
    assert_eq!(pages(&bob, group, "").await, [], "narrowing holds for all who have not read");
    let silent = said(&hub, &alice, (group, &mut at_alice), 0).await;
    share(&alice, group, "unlimited").await;
    let last = said(&hub, &alice, (group, &mut at_alice), 0).await;
    let given = pages(&bob, group, "").await;
    assert_eq!(messages(&given), [&last[..]], "what is ended and begun again begins there");
    assert!(!messages(&given).contains(&&silent[..]));
}

#[tokio::test]
async fn a_depth_counts_back_from_the_joining_and_bounds_messages_but_not_commits() {
    let (hub, [alice, bob, _], group, mut at_alice) = table().await;
    share(&alice, group, "60000ms").await;
    let hour_ago = said(&hub, &alice, (group, &mut at_alice), 3_600_000).await;
    let mut with_message = commit(&mut at_alice, &[], &[]);
    at_alice.apply_pending_commit().unwrap();
    with_message.message = Some(mls::message(&encrypt(&mut at_alice, "with the commit")));
    let accepted: CommitAccepted = alice.commit(group, &with_message).await.done();
    let back = (3_600_000_i64, accepted.sequence.cast_signed());
    hub.change("UPDATE log SET sent_at = sent_at - ?1 WHERE sequence = ?2", back);
    let lately = said(&hub, &alice, (group, &mut at_alice), 30_000).await;
    alice.add(group, &mut at_alice, &[bob.user]).await;
    let afterwards = said(&hub, &alice, (group, &mut at_alice), 0).await;

    let given = pages(&bob, group, "").await;
    assert_eq!(messages(&given), [&lately, &afterwards], "not what is older, alone or with a commit");
    assert_eq!(commits(&given), [2, 3], "which are needed to read what came later");
    assert_eq!(pages(&bob, group, "limit=1").await, given);
    // However long Bob waits, it is the same; and the setting that is there now counts.
    hub.change("UPDATE log SET sent_at = sent_at - ?1", [1_000_000_i64]);
    assert_eq!(messages(&pages(&bob, group, "").await), [&lately, &afterwards]);
    share(&alice, group, "1000ms").await;
    assert_eq!(messages(&pages(&bob, group, "").await), [&afterwards[..]], "narrower");
    share(&alice, group, "7200000ms").await;
    let wide = pages(&bob, group, "").await;
    assert_eq!(messages(&wide).len(), 4, "wider: {:?}", types_of(&wide));
    assert_eq!(messages(&wide)[0], hour_ago);
}

fn types_of(entries: &[EventBody]) -> Vec<String> {
    entries.iter().map(|entry| serde_json::to_value(entry).unwrap()["type"].to_string()).collect()
}

#[tokio::test]
async fn who_is_not_in_it_or_not_any_more_is_given_nothing() {
    let (hub, [alice, bob, carol], group, mut at_alice) = table().await;
    share(&alice, group, "unlimited").await;
    said(&hub, &alice, (group, &mut at_alice), 0).await;
    let bundle = alice.add(group, &mut at_alice, &[bob.user]).await;
    carol.get(&path(group)).await.refused(Code::NoConversation);
    carol.get(&path(ConversationId::random())).await.refused(Code::NoConversation);
    assert_eq!(commits(&pages(&bob, group, "").await), [2]);
    let welcome = Base64(bundle.welcome.unwrap().to_bytes().unwrap());
    let page = bob.get(&path(group)).await.bytes();
    let welcome = serde_json::to_value(&welcome).unwrap();
    assert!(!String::from_utf8(page).unwrap().contains(welcome.as_str().unwrap()));

    let leaf = leaf_of(&at_alice, &bob.mls);
    let removed = commit(&mut at_alice, &[], &[leaf]);
    alice.committed(group, &mut at_alice, &removed).await;
    bob.get(&path(group)).await.refused(Code::NoConversation);

    let (direct, _, _) = one_to_one(&bob, &carol).await;
    bob.get(&path(direct)).await.refused(Code::InvalidOperation);
    for wrong in ["limit=0", "limit=1001", "after=x", "from_epoch=-1"] {
        alice.get(&format!("{}?{wrong}", path(group))).await.refused(Code::BadRequest);
    }
}

#[tokio::test]
async fn a_group_that_is_begun_anew_has_no_history() {
    let (hub, [alice, bob, _], group, mut at_alice) = table().await;
    share(&alice, group, "unlimited").await;
    said(&hub, &alice, (group, &mut at_alice), 0).await;
    alice.add(group, &mut at_alice, &[bob.user]).await;
    assert_eq!(messages(&pages(&bob, group, "").await).len(), 1);
    let present = alice.conversation(group).await;
    let reset = json!({ "group_id": present.group_id, "epoch": present.epoch });
    alice.post(&format!("/v1/conversations/{group}/reset"), &reset).await.done::<Conversation>();
    assert_eq!(pages(&bob, group, "").await, []);
    assert_eq!(bob.conversation(group).await.settings.history, History::Unlimited, "the setting stays");
    assert_eq!(types(&bob.events().await).last().map(String::as_str), Some("conversation.mls-reset"));
}

#[tokio::test]
async fn a_further_device_of_a_member_is_given_what_its_user_may_read() {
    let (hub, [alice, bob, _], group, mut at_alice) = table().await;
    share(&alice, group, "1000ms").await;
    said(&hub, &alice, (group, &mut at_alice), 60_000).await;
    alice.add(group, &mut at_alice, &[bob.user]).await;
    let since = said(&hub, &alice, (group, &mut at_alice), 0).await;
    let tablet = Person::log_in(&hub, "bob").await;
    let given = pages(&tablet, group, "").await;
    assert_eq!(
        messages(&given),
        [&since[..]],
        "what came while Bob was a member, and of before no more than Bob may"
    );
}

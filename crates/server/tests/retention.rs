//! What was kept for long enough is cut out of the logs, and whoever was away for longer is told and goes on.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use std::time::Duration;
use support::{
    database::Stored,
    hub::{Hub, Person, connect, one_to_one, types},
    mls::{commit, encrypt, leaf_of},
    open::Client,
    relay::{Envelopes, easy, topic},
    socket::{next, open, try_open},
};
use tertulia_api::{
    Code, Problem,
    account::{Me, Session},
    conversation::{CommitAccepted, Conversation},
    event::{Event, EventBody, EventPage},
    history::HistoryPage,
};
use tertulia_server::{Answer, Pruned, Task, administer};
use tertulia_transport::{Position, Relay};
use tokio_tungstenite::tungstenite::Error;

async fn prune(hub: &Hub, events_older_than: Option<Duration>) -> Pruned {
    match administer(hub.dir.path(), Task::Prune { events_older_than }).await.unwrap() {
        Answer::Pruned(pruned) => pruned,
        other => panic!("not what was pruned: {other:?}"),
    }
}

const DAY: i64 = 24 * 60 * 60 * 1000;

/// Lets so many days pass, in which the hub looks at its clock and nothing is said.
fn pass(hub: &Hub, days: i64) {
    for (table, column) in [("moments", "at"), ("log", "sent_at")] {
        hub.change(&format!("UPDATE {table} SET {column} = {column} - ?1"), [days * DAY]);
    }
    hub.change("UPDATE moments SET at = at + ?1 WHERE position < 0", [days * DAY]);
}

/// Cuts all that there is.
async fn cut(hub: &Hub) -> Pruned {
    prune(hub, Some(Duration::ZERO)).await
}

/// Where somebody is who has read everything.
async fn end(person: &Person) -> String {
    person.get("/v1/events?limit=1000").await.done::<EventPage>().cursor
}

async fn missed(person: &Person, since: &str) -> Problem {
    person.get(&format!("/v1/events?since={since}")).await.refused(Code::EventsMissed)
}

/// The same for who has read nothing.
async fn missed_from_the_beginning(person: &Person) -> Problem {
    person.get("/v1/events").await.refused(Code::EventsMissed)
}

fn messages(events: &[Event]) -> Vec<u64> {
    let message = |event: &Event| match &event.body {
        EventBody::Message { entry, .. } => Some(entry.sequence),
        _ => None,
    };
    events.iter().filter_map(message).collect()
}

#[tokio::test]
async fn who_was_away_for_too_long_is_told_what_is_missing_and_gets_what_is_left() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, _) = one_to_one(&alice, &bob).await;
    alice.sent(conversation, encrypt(&mut at_alice, "read in time")).await;
    let away_since = end(&bob).await;
    let lost = alice.sent(conversation, encrypt(&mut at_alice, "cut")).await;
    let reader = end(&alice).await;

    let pruned = cut(&hub).await;
    assert!(pruned.log_entries >= 3 && pruned.events >= 2, "{pruned:?}");
    assert_eq!(cut(&hub).await.log_entries, 0);
    let kept = alice.sent(conversation, encrypt(&mut at_alice, "kept")).await;

    // Alice has read all of what is gone.
    assert_eq!(messages(&alice.events_since(Some(&reader)).await), [kept.sequence]);
    let problem = missed(&bob, &away_since).await;
    let [entries] = problem.missed[..] else { panic!("one conversation: {:?}", problem.missed) };
    assert_eq!((entries.conversation, entries.sequence, entries.epoch), (conversation, lost.sequence, 1));
    assert_eq!(entries.sent_at, lost.sent_at);
    let Err(Error::Http(_)) = try_open(&bob, "?since=p99999").await else { panic!("after everything") };
    let resume = problem.resume.unwrap();
    assert_eq!(messages(&bob.events_since(Some(&resume)).await), [kept.sequence]);
    // The same over a socket, and from the cursors that come from there.
    let mut socket = open(&bob, &format!("?since={resume}")).await;
    let event = next(&mut socket).await;
    assert_eq!(messages(std::slice::from_ref(&event)), [kept.sequence]);
    let later = alice.sent(conversation, encrypt(&mut at_alice, "later")).await;
    assert_eq!(messages(&bob.events_since(Some(&event.cursor)).await), [later.sequence]);

    // Who is new has missed nothing; who says nothing of where they are has.
    let tablet = Person::log_in(&hub, "bob").await;
    assert_eq!(tablet.events().await, []);
    bob.get("/v1/events").await.refused(Code::EventsMissed);
}

#[tokio::test]
async fn nothing_is_cut_before_its_time() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, _) = one_to_one(&alice, &bob).await;
    alice.sent(conversation, encrypt(&mut at_alice, "old")).await;
    let young = prune(&hub, None).await;
    assert_eq!((young.log_entries, young.events), (0, 0));
    // 27 days later, and then two more.
    pass(&hub, 27);
    let new = alice.sent(conversation, encrypt(&mut at_alice, "young")).await;
    assert_eq!(prune(&hub, None).await.log_entries, 0);
    pass(&hub, 2);
    assert!(prune(&hub, None).await.log_entries > 0);
    let problem = missed_from_the_beginning(&bob).await;
    let left = bob.events_since(problem.resume.as_deref()).await;
    assert_eq!(messages(&left), [new.sequence]);
}

#[tokio::test]
async fn what_was_noted_by_a_clock_that_was_behind_cuts_nothing_early() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, _) = one_to_one(&alice, &bob).await;
    // The machine does not know the time, and notes, stores and ends things long ago.
    let first = alice.sent(conversation, encrypt(&mut at_alice, "a minute ago")).await;
    prune(&hub, None).await;
    let (group, mut in_group) = alice.new_group().await;
    let begun = commit(&mut in_group, &[], &[]);
    alice.committed(group, &mut in_group, &begun).await;
    alice.post(&format!("/v1/conversations/{group}/leave"), &json!({})).await.empty();
    prune(&hub, None).await;
    for (table, column) in [("moments", "at"), ("log", "sent_at"), ("conversations", "ended_at")] {
        hub.change(&format!("UPDATE {table} SET {column} = ?1 WHERE {column} IS NOT NULL"), [DAY]);
    }
    // Then the clock is set.
    for _ in 0..3 {
        let pruned = prune(&hub, None).await;
        assert_eq!((pruned.log_entries, pruned.events, pruned.conversations), (0, 0, 0), "{pruned:?}");
    }
    assert_eq!(messages(&bob.events().await), [first.sequence]);
    // From then on it is kept as long as all else.
    pass(&hub, 27);
    assert_eq!(prune(&hub, None).await.log_entries, 0);
    pass(&hub, 2);
    assert!(prune(&hub, None).await.log_entries > 0);
}

#[tokio::test]
async fn a_clock_that_is_ahead_cuts_nothing_early() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, _) = one_to_one(&alice, &bob).await;
    let sent = alice.sent(conversation, encrypt(&mut at_alice, "a minute ago")).await;
    prune(&hub, None).await;
    // As if the clock were a year ahead: what it noted and what it stored is a year old then.
    for change in ["moments SET at = at", "log SET sent_at = sent_at"] {
        hub.change(&format!("UPDATE {change} - ?1"), [365 * DAY]);
    }
    for _ in 0..3 {
        let pruned = prune(&hub, None).await;
        assert_eq!((pruned.log_entries, pruned.events), (0, 0), "{pruned:?}");
    }
    assert_eq!(messages(&bob.events().await), [sent.sequence]);
    // Set right again, it is a year behind what it noted. That keeps everything, and cuts nothing.
    hub.change("UPDATE moments SET at = at + ?1", [365 * DAY]);
    let earliest = || hub.stored().number("SELECT min(at) FROM moments");
    let noted = earliest();
    assert_eq!(prune(&hub, None).await.log_entries, 0);
    assert_eq!(earliest(), noted, "moments do not go back");
    assert_eq!(messages(&bob.events().await), [sent.sequence]);
}

#[tokio::test]
async fn a_clock_that_is_ahead_ends_no_guests_time_and_cuts_no_envelope_early() {
    let start = |dir| Hub::start_with(dir, |config| config.relay = Some(easy()));
    let hub = start(tempfile::tempdir().unwrap()).await;
    let client = Client::new(&hub);
    let come_in =
        async |name: &str| client.post("/v1/guests", &json!({ "name": name })).await.done::<Session>();
    let (stays, goes) = (come_in("Ana").await, come_in("Bo").await);
    let (relay, mut envelopes) = (Relay::new(&hub.base).unwrap(), Envelopes::new());
    for _ in 0..2 {
        relay.post(&topic(5), &envelopes.next()).await.unwrap();
    }
    prune(&hub, None).await;
    // As if the clock were a year ahead at the next start: what it noted and what it stored is a year old then. One guest and one
    // envelope are due whatever it says.
    let dir = hub.stop().await;
    let stored = Stored::of(dir.path());
    for change in [
        "moments SET at = at",
        "users SET expires_at = expires_at",
        "relay_envelopes SET taken_at = taken_at",
    ] {
        stored.execute(&format!("UPDATE {change} - ?1"), [365 * DAY]);
    }
    stored.execute("UPDATE users SET expires_at = 1 WHERE handle = ?1", [&goes.handle]);
    stored.execute("UPDATE relay_envelopes SET taken_at = 1 WHERE position = 1", ());
    let hub = start(dir).await;
    while hub.stored().number("SELECT count(*) FROM relay_envelopes") > 1
        || hub.stored().number("SELECT count(*) FROM users") > 1
    {
        tokio::task::yield_now().await;
    }
    let me: Me = Client::new(&hub).with_token(&stays.token).get("/v1/self").await.done();
    assert!(me.expires_at >= stays.expires_at, "{me:?}");
    let page = Relay::new(&hub.base).unwrap().page(&topic(5), None, 10).await.unwrap();
    assert_eq!(page.envelopes.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [Position(2)]);
    // Nor does pruning end or cut what is left.
    prune(&hub, None).await;
    assert_eq!(hub.stored().number("SELECT count(*) FROM relay_envelopes"), 1);
    assert_eq!(hub.stored().number("SELECT count(*) FROM users"), 1);
    hub.stop().await;
}

#[tokio::test]
async fn an_entry_is_cut_only_if_its_own_time_says_so_too() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, _) = one_to_one(&alice, &bob).await;
    let sent = alice.sent(conversation, encrypt(&mut at_alice, "a minute ago")).await;
    prune(&hub, None).await;
    // A moment of a version that believed any clock.
    hub.change("UPDATE moments SET at = ?1 WHERE position > 0", [DAY]);
    assert_eq!(prune(&hub, None).await.log_entries, 0);
    // One whose time is yet to come was stored while the clock was wrong, and does not stay for that.
    hub.change("UPDATE moments SET at = ?1 WHERE position > 0", [DAY]);
    hub.change("UPDATE log SET sent_at = ?1", [sent.sent_at + DAY]);
    assert!(prune(&hub, None).await.log_entries > 0);
}

#[tokio::test]
async fn a_conversation_goes_on_without_its_past() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    let (group, mut at_alice) = alice.new_group().await;
    let begun = commit(&mut at_alice, &[], &[]);
    alice.committed(group, &mut at_alice, &begun).await;
    alice.add(group, &mut at_alice, &[bob.user]).await;
    let before = end(&carol).await;
    cut(&hub).await;

    // Commits, joining by external commit, messages; and what is repeated of now is known.
    alice.add(group, &mut at_alice, &[carol.user]).await;
    let (mut at_bob, bundle) =
        bob.mls.external_commit(&bob.group_info(group).await, Some(leaf_of(&at_alice, &bob.mls)));
    bob.commit(group, &bundle).await.done::<CommitAccepted>();
    let message = encrypt(&mut at_bob, "from anew");
    let sent = bob.sent(group, message.clone()).await;
    assert_eq!(bob.sent(group, message).await, sent);
    let seen = carol.events_since(Some(&before)).await;
    assert_eq!(messages(&seen), [sent.sequence]);

    // One that has ended goes when it is not to be kept any more, though no device has said that it read that.
    for member in [&bob, &carol, &alice] {
        member.post(&format!("/v1/conversations/{group}/leave"), &json!({})).await.empty();
    }
    assert_eq!(hub.stored().number("SELECT count(*) FROM conversations WHERE ended_at IS NOT NULL"), 1);
    assert_eq!(cut(&hub).await.conversations, 1);
    alice.get(&format!("/v1/conversations/{group}")).await.refused(Code::NoConversation);
    alice.get("/v1/events").await.refused(Code::EventsMissed);
}

#[tokio::test]
async fn a_conversation_that_has_ended_and_is_too_young_keeps_none_after_it() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let end_one = async || {
        let (group, mut in_group) = alice.new_group().await;
        let begun = commit(&mut in_group, &[], &[]);
        alice.committed(group, &mut in_group, &begun).await;
        alice.post(&format!("/v1/conversations/{group}/leave"), &json!({})).await.empty();
        group
    };
    let old = [end_one().await, end_one().await];
    prune(&hub, None).await;
    pass(&hub, 29);
    let young = [end_one().await, end_one().await];
    // By what a wrong clock said, those whose logs are young have ended before and between the others.
    for (ended_at, group) in (1_i64..).zip([young[0], old[0], young[1], old[1]]) {
        hub.change("UPDATE conversations SET ended_at = ?2 WHERE id = ?1", (group.as_bytes(), ended_at));
    }
    assert_eq!(prune(&hub, None).await.conversations, 2);
    assert_eq!(hub.stored().number("SELECT count(*) FROM conversations WHERE ended_at IN (1, 3)"), 2);
    assert_eq!(prune(&hub, None).await.conversations, 0);
}

#[tokio::test]
async fn all_that_have_ended_and_were_read_go_at_once_however_many_they_are() {
    const COPIES: u64 = 60;
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (group, _) = alice.new_group().await;
    // Likenesses of it in which nobody was, all of them with more in their logs than is deleted in one transaction.
    hub.change("CREATE TABLE copies AS SELECT id, created_at AS number FROM users WHERE handle = ''", ());
    for number in 1..=i64::try_from(COPIES).unwrap() {
        let id = u128::try_from(number).unwrap().to_be_bytes();
        hub.change("INSERT INTO copies VALUES (?1, ?2)", (&id, number));
    }
    for sql in [
        "INSERT INTO conversations (id, type, protocol, creator, created_at, group_id)
         SELECT k.id, c.type, c.protocol, c.creator, c.created_at, k.id FROM copies k, conversations c WHERE c.id = ?1",
        "INSERT INTO log (position, conversation, sequence, kind, sent_at)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
         SELECT -(k.number * 1000 + i), k.id, i, 'deleted', 0 FROM n, copies k, conversations c WHERE c.id = ?1",
    ] {
        hub.change(sql, [group.as_bytes()]);
    }
    hub.change("UPDATE conversations SET ended_at = 1 WHERE id IN (SELECT id FROM copies)", ());
    // One that her device has yet to read of stays.
    alice.delete(&format!("/v1/conversations/{group}")).await.empty();
    let ended = "SELECT count(*) FROM conversations WHERE ended_at IS NOT NULL";
    assert_eq!(hub.stored().number(ended), i64::try_from(COPIES).unwrap() + 1, "nobody has looked at them");

    assert_eq!(prune(&hub, None).await.conversations, COPIES);
    assert_eq!(hub.stored().number(ended), 1);
    assert_eq!(hub.stored().number("SELECT count(*) FROM log WHERE position < 0"), 0);
    assert_eq!(prune(&hub, None).await.conversations, 0);
}

#[tokio::test]
async fn what_is_shared_with_who_comes_later_is_kept() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    let (group, mut at_alice) = alice.new_group().await;
    let begun = commit(&mut at_alice, &[], &[]);
    alice.committed(group, &mut at_alice, &begun).await;
    alice.add(group, &mut at_alice, &[bob.user]).await;
    alice.sent(group, encrypt(&mut at_alice, "not shared")).await;
    let away_since = end(&bob).await;
    let history = format!("/v1/conversations/{group}/history");
    alice.put(&history, &json!({ "history": "unlimited" })).await.empty();
    let kept = alice.sent(group, encrypt(&mut at_alice, "shared")).await;
    let update = commit(&mut at_alice, &[], &[]);
    alice.committed(group, &mut at_alice, &update).await;
    cut(&hub).await;

    // Nothing is missing of it for who was away since.
    let problem = missed_from_the_beginning(&bob).await;
    assert!(problem.missed.iter().any(|missed| missed.conversation == group));
    assert_eq!(messages(&bob.events_since(Some(&away_since)).await), [kept.sequence]);
    // With what is kept comes its order, also for who misses what was before.
    let left = types(&bob.events_since(problem.resume.as_deref()).await);
    assert!(left.iter().filter(|name| *name == "conversation.commit").count() == 1, "{left:?}");
    // Who comes now reads it.
    alice.add(group, &mut at_alice, &[carol.user]).await;
    let page: HistoryPage = carol.get(&history).await.done();
    let shared = page.entries.iter().filter(|entry| matches!(entry, EventBody::Message { .. }));
    assert_eq!(shared.count(), 1);
    // As soon as it is not shared any more, it goes as everything does.
    alice.put(&history, &json!({ "history": "none" })).await.empty();
    let epoch = bob.get(&format!("/v1/conversations/{group}")).await.done::<Conversation>().epoch;
    assert!(cut(&hub).await.log_entries > 0);
    let problem = missed(&bob, &away_since).await;
    assert_eq!(problem.missed[0].epoch, epoch);
}

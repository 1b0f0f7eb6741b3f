//! Commits that the hub has taken and that lead nowhere, in groups whose commits it can read: it can check neither the membership tag
//! nor what the path encrypts. Nobody is stopped by them.

use crate::{
    lying::{Setting, device_of, mallory, rotate},
    lying_hub::{LyingHub, flip_tag},
    support::{Hub, PASSWORD, connect, group, handle, read, texts},
    watch::Watch,
};
use std::time::{Duration, SystemTime};
use tertulia::{AddPermission, Client, ConversationId, RoleName, Suspicion};
use tertulia_api::event::{Event, EventBody};

async fn suspicions(client: &Client) -> Vec<Suspicion> {
    client.suspicions().await.expect("readable").into_iter().map(|noticed| noticed.suspicion).collect()
}

/// Flips the last bit of a conversation's commits that these events bring.
fn flip_commits(events: &mut [Event], of: ConversationId) {
    for event in events {
        if let EventBody::Commit { entry, commit, .. } = &mut event.body
            && entry.conversation == of
        {
            *commit.0.last_mut().expect("it has bytes") ^= 1;
        }
    }
}

/// Mallory is a member and no admin. She renews her keys, which every member may, with a tag that is not right.
#[tokio::test]
async fn a_member_whose_commit_nobody_can_follow_stops_nobody() {
    let hub = Hub::start().await;
    let liar = LyingHub::before(&hub).await;
    let (alice, bob, zoe) = (hub.sign_up("alice").await, hub.sign_up("bob").await, hub.sign_up("zoe").await);
    let mallory = Client::builder(hub.home("mallory")).sign_up(&liar.url, "mallory", PASSWORD).await;
    let mallory = mallory.expect("signs up");
    for other in [&bob, &mallory, &zoe] {
        connect(&alice, other).await;
    }
    let table = group(&alice, "Friday table", &[&bob, &mallory]).await;
    let watches = [Watch::over(&alice).await, Watch::over(&bob).await];
    let unfit = Suspicion::UnfitCommit { user: mallory.me().user };
    for nth in 1..=2 {
        for client in [&alice, &mallory] {
            client.sync().await.expect("syncs");
        }
        let epoch = alice.epoch(table.id).await.expect("in it");
        liar.change_commits(|bundle| flip_tag(bundle));
        let later = SystemTime::now() + nth * Duration::from_hours(31 * 24);
        assert_eq!(mallory.rotate_keys(later).await.expect("the hub takes it"), 1);
        liar.repent();
        let at_hub = format!("SELECT epoch FROM conversations WHERE id = x'{}'", hex(table.id));
        assert_eq!(hub.database(&at_hub), i64::try_from(epoch + 1).expect("small"), "the hub has gone on");

        // Whatever comes next is done: a role, another member, a text.
        let (role, zoes) = if nth == 1 { ("admin", 4) } else { ("member", 3) };
        alice.set_role(table.id, &handle("bob"), role).await.expect("is not kept from it");
        if nth == 1 {
            bob.sync().await.expect("syncs");
            alice.add_members(table.id, &[handle("zoe")]).await.expect("adds");
        } else {
            alice.remove_members(table.id, &[handle("zoe")]).await.expect("removes");
        }
        let text = format!("and on, {nth}");
        bob.send(table.id, &text).await.expect("sends");
        for client in [&alice, &bob] {
            assert_eq!(read(client, table.id).await.last(), Some(&text));
            let told = suspicions(client).await;
            assert_eq!(told.iter().filter(|told| **told == unfit).count(), nth as usize, "{told:?}");
            assert_eq!(client.conversation(table.id).await.expect("there").members.len(), zoes);
        }
        // Who did it goes on as well, in what the others have.
        mallory.sync().await.expect("syncs");
        mallory.send(table.id, "me too").await.expect("sends");
        assert_eq!(read(&alice, table.id).await.last().map(String::as_str), Some("me too"));
    }
    alice.remove_members(table.id, &[handle("mallory")]).await.expect("nobody has to bear it");
    bob.sync().await.expect("syncs");
    let epochs = [alice.epoch(table.id).await.expect("in it"), bob.epoch(table.id).await.expect("in it")];
    assert_eq!(epochs[0], epochs[1]);
    for watch in watches {
        watch.tells_all().await;
    }
}

fn hex(id: ConversationId) -> String {
    id.to_string().replace('-', "")
}

/// The hub damages a commit for Bob alone, whoever it says has sent it.
#[tokio::test]
async fn a_device_for_which_the_hub_damages_a_commit_joins_anew_and_says_so() {
    let setting = Setting::new().await;
    let Setting { liar, alice, bob, table, .. } = &setting;
    let id = table.id;
    alice.set_role(id, &handle("bob"), "admin").await.expect("raises");
    bob.sync().await.expect("syncs");
    let as_it_is = Suspicion::UnfitCommit { user: alice.me().user };
    let senders = [
        (None, as_it_is),
        (Some(None), Suspicion::Withheld),
        (Some(Some(mallory())), Suspicion::UnfitCommit { user: mallory().user }),
        // As if it were his own: it shows with the first message that presupposes it.
        (Some(Some(device_of(bob))), Suspicion::Withheld),
    ];
    for (nth, (said, told)) in (1..).zip(senders) {
        liar.change_events(move |events| {
            flip_commits(events, id);
            for event in events {
                if let (Some(said), EventBody::Commit { entry, .. }) = (said, &mut event.body)
                    && entry.conversation == id
                {
                    entry.sender = said;
                }
            }
        });
        rotate(alice, nth).await;
        let lost = format!("lost, {nth}");
        alice.send(id, &lost).await.expect("sends");
        let before = suspicions(bob).await.len();
        assert_eq!(bob.sync().await.expect("syncs").suspicious, 1, "{told:?}");
        liar.repent();
        assert_eq!(suspicions(bob).await[before..], *std::slice::from_ref(&told));
        // He has the keys of what is said from now on, and commits himself.
        let text = format!("here again, {nth}");
        bob.send(id, &text).await.expect("sends");
        assert_eq!(read(alice, id).await.last(), Some(&text), "{told:?}");
        let permission = if nth % 2 == 1 { AddPermission::Everyone } else { AddPermission::Admins };
        bob.set_add_permission(id, permission).await.expect("commits");
        alice.sync().await.expect("follows");
        alice.send(id, &text).await.expect("sends");
        let heard = read(bob, id).await;
        assert_eq!(heard.last(), Some(&text), "{told:?}");
        assert!(!heard.contains(&lost), "what was said while he was out is not for his keys");
        let epochs = [alice.epoch(id).await.expect("in it"), bob.epoch(id).await.expect("in it")];
        assert_eq!(epochs[0], epochs[1], "{told:?}");
    }
    setting.watch.tells_all().await;
}

/// To join anew takes a commit. A hub that damages all of them gives each device another reason with what the other has done about the
/// last: that ends, until an hour has passed or their users want something.
#[tokio::test]
async fn a_hub_that_damages_every_commit_does_not_have_devices_join_anew_for_ever() {
    /// Most often within an hour, of each device.
    const MOST: usize = 8;
    let hub = Hub::start().await;
    let liar = LyingHub::before(&hub).await;
    let alice = hub.sign_up("alice").await;
    let [bob, carol] = ["bob", "carol"].map(|name| {
        let builder = Client::builder(hub.home(name));
        let url = liar.url.clone();
        async move { builder.sign_up(&url, name, PASSWORD).await.expect("signs up") }
    });
    let (bob, carol) = (bob.await, carol.await);
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    let table = group(&alice, "Friday table", &[&bob, &carol]).await;
    let id = table.id;
    let commits = || hub.database("SELECT count(*) FROM log WHERE kind = 'commit'");
    let is_unfit = |told: &Suspicion| matches!(told, Suspicion::UnfitCommit { .. });
    liar.change_events(move |events| flip_commits(events, id));
    let before = commits();
    alice.set_role(id, &handle("bob"), "admin").await.expect("raises");
    for _ in 0..3 * MOST {
        bob.sync().await.expect("syncs");
        carol.sync().await.expect("syncs");
    }
    let made = usize::try_from(commits() - before).expect("some");
    assert!((MOST..=2 * MOST + 1).contains(&made), "{made} commits");
    let at_rest = commits();
    for client in [&bob, &carol, &bob, &carol] {
        client.sync().await.expect("syncs");
    }
    assert_eq!(commits(), at_rest, "nobody begins again by itself");
    for client in [&bob, &carol] {
        let told = suspicions(client).await.into_iter().filter(is_unfit).count();
        assert!((MOST..=MOST + 1).contains(&told), "{told}");
    }

    // Who wants something is let in, as often as that is.
    let out = if bob.epoch(id).await.is_err() { &bob } else { &carol };
    out.send(id, "can anybody hear me?").await.expect("sends");
    assert_eq!(read(&alice, id).await, ["can anybody hear me?"]);
    let name = out.me().handle.to_string();

    // An hour later all comes right by itself.
    liar.repent();
    for client in [&bob, &carol] {
        client.sync().await.expect("syncs");
    }
    drop((bob, carol));
    for name in ["bob", "carol"] {
        hub.tamper(name, "UPDATE suspicions SET noticed_at = noticed_at - 3600001");
    }
    let mut back = Vec::new();
    for name in ["bob", "carol"] {
        let client = Client::builder(hub.home(name)).open().await.expect("opens");
        client.sync().await.expect("joins if it has to");
        client.sync().await.expect("follows");
        back.push(client);
    }
    alice.send(id, "all of us again").await.expect("sends");
    for client in &back {
        client.sync().await.expect("syncs");
        let heard = texts(client, id).await;
        assert_eq!(heard.last().map(String::as_str), Some("all of us again"), "after {name}'s wish");
        let members = client.conversation(id).await.expect("there").members;
        assert!(members.iter().any(|member| member.role == RoleName::ADMIN));
    }
}

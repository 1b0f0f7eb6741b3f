//! A hub that lies about what was said before somebody came: it leaves out, makes up, puts in another order, gives too much. What can
//! be read is shown and nothing else, and the user is told.

use crate::{
    history::{UNLIMITED, older, say},
    lying_hub::LyingHub,
    support::{Hub, PASSWORD, connect, group, handle, read, texts},
    watch::Watch,
};
use tertulia::{Client, ConversationId, History, HistoryDepth, Suspicion};
use tertulia_api::{Base64, event::EventBody, history::HistoryPage};

/// Alice with an honest hub and a group in which she has said one, two, made a commit and said three; and Bob, whom she has added
/// and to whom the hub lies about what was before.
struct Setting {
    hub: Hub,
    liar: LyingHub,
    alice: Client,
    bob: Client,
    id: ConversationId,
    /// What Bob's events tell.
    watch: Watch,
}

impl Setting {
    async fn new(history: History) -> Self {
        let hub = Hub::start().await;
        let liar = LyingHub::before(&hub).await;
        let (alice, carol) = (hub.sign_up("alice").await, hub.sign_up("carol").await);
        let bob = Client::builder(hub.home("bob")).sign_up(&liar.url, "bob", PASSWORD).await;
        let bob = bob.expect("signs up");
        connect(&alice, &bob).await;
        connect(&alice, &carol).await;
        let id = group(&alice, "Friday table", &[]).await.id;
        alice.set_history(id, history).await.expect("shares");
        say(&alice, id, &["one", "two"]).await;
        alice.add_members(id, &[handle("carol")]).await.expect("adds");
        say(&alice, id, &["three"]).await;
        alice.add_members(id, &[handle("bob")]).await.expect("adds");
        let watch = Watch::over(&bob).await;
        Self { hub, liar, alice, bob, id, watch }
    }

    /// What Bob reads, and why he thinks that it is not all.
    async fn reads(&self) -> (Vec<String>, Option<String>) {
        let texts = read(&self.bob, self.id).await;
        self.watch.tells_all().await;
        let noticed = self.bob.suspicions().await.expect("readable");
        let reason = |suspicion| match suspicion {
            Suspicion::FalseHistory { reason } => Some(reason),
            _ => None,
        };
        (texts, noticed.into_iter().find_map(|noticed| reason(noticed.suspicion)))
    }

    /// The same when the hub changes what is before so.
    async fn told(
        change: impl FnMut(&mut HistoryPage) + Send + 'static,
    ) -> (Self, Vec<String>, Option<String>) {
        let setting = Self::new(UNLIMITED).await;
        setting.liar.change_history(change);
        let (texts, reason) = setting.reads().await;
        (setting, texts, reason)
    }
}

fn is_commit(body: &EventBody) -> bool {
    matches!(body, EventBody::Commit { .. })
}

fn is_message(body: &EventBody) -> bool {
    matches!(body, EventBody::Message { .. })
}

#[tokio::test]
async fn a_commit_that_is_left_out_is_noticed_and_what_is_before_it_is_shown() {
    let setting = Setting::new("315360000000ms".parse().expect("ten years")).await;
    let mut commits = 0;
    setting.liar.change_history(move |page| {
        page.entries.retain(|body| {
            commits += u32::from(is_commit(body));
            // The first began the span; the second added carol.
            !is_commit(body) || commits != 2
        });
    });
    let (texts, reason) = setting.reads().await;
    assert_eq!(texts, ["one", "two"]);
    assert!(reason.is_some());
    assert!(
        older(&setting.bob, setting.id).await.iter().all(|(_, verified)| !verified),
        "nothing says that it is true"
    );
    // It is said once. With an honest hub again, the next setting has him read the rest.
    let again = setting.bob.sync().await.expect("syncs");
    assert_eq!((again.history, again.suspicious), (0, 0));
    setting.liar.repent();
    setting.alice.set_history(setting.id, UNLIMITED).await.expect("shares more");
    assert_eq!(read(&setting.bob, setting.id).await, ["one", "two", "three"]);
    assert!(older(&setting.bob, setting.id).await.iter().all(|(_, verified)| *verified));
}

#[tokio::test]
async fn messages_that_are_left_out_are_missing_and_the_others_are_there() {
    let (_, texts, reason) = Setting::told(|page| {
        let first = page.entries.iter().position(is_message);
        first.map(|first| page.entries.remove(first));
    })
    .await;
    assert_eq!(texts, ["two", "three"]);
    assert_eq!(reason, None, "nobody can tell that there was another");
}

#[tokio::test]
async fn what_nobody_of_the_group_has_said_is_not_shown() {
    let (_, texts, _) = Setting::told(|page| {
        for body in &mut page.entries {
            if let EventBody::Message { message: Base64(message), entry } = body
                && entry.sequence % 2 == 0
                && let Some(last) = message.last_mut()
            {
                *last ^= 1;
            }
        }
    })
    .await;
    assert!(texts.len() < 3, "one of them at least was changed");
    assert!(texts.iter().all(|text| ["one", "two", "three"].contains(&text.as_str())));

    let (_, texts, reason) = Setting::told(|page| {
        for body in &mut page.entries {
            if let EventBody::Commit { commit: Base64(commit), .. } = body
                && let Some(last) = commit.last_mut()
            {
                *last ^= 1;
            }
        }
    })
    .await;
    assert_eq!(texts, ["one", "two"], "after a changed commit nothing can be read");
    assert!(reason.is_some());
}

#[tokio::test]
async fn another_order_than_that_of_the_numbers_is_refused() {
    let (_, texts, reason) = Setting::told(|page| page.entries.reverse()).await;
    assert!(texts.is_empty());
    assert!(reason.expect("noticed").contains("order"));
    let (_, texts, reason) = Setting::told(|page| {
        let first = page.entries.iter().find(|body| is_message(body)).cloned();
        page.entries.extend(first);
    })
    .await;
    assert!(texts.is_empty() && reason.is_some(), "nor what is given twice");
}

#[tokio::test]
async fn a_message_under_another_number_is_shown_once() {
    let (setting, texts, _) = Setting::told(|page| {
        let Some(EventBody::Message { mut entry, message }) =
            page.entries.iter().find(|body| is_message(body)).cloned()
        else {
            return;
        };
        entry.sequence = 1 << 40;
        page.entries.push(EventBody::Message { entry, message });
    })
    .await;
    assert_eq!(texts, ["one", "two", "three"]);
    // And what the live stream has brought does not come again as history.
    say(&setting.alice, setting.id, &["four"]).await;
    setting.bob.sync().await.expect("syncs");
    setting.alice.set_history(setting.id, History::None).await.expect("ends it");
    setting.alice.set_history(setting.id, UNLIMITED).await.expect("shares");
    assert_eq!(read(&setting.bob, setting.id).await, ["one", "two", "three", "four"]);
}

#[tokio::test]
async fn more_than_was_asked_for_is_refused_and_so_are_pages_without_end() {
    let (_, texts, reason) = Setting::told(|page| {
        let Some(EventBody::Message { entry, message }) =
            page.entries.iter().find(|body| is_message(body)).cloned()
        else {
            return;
        };
        for number in 0..300 {
            let mut entry = entry.clone();
            entry.sequence = (1 << 40) + number;
            page.entries.push(EventBody::Message { entry, message: message.clone() });
        }
    })
    .await;
    assert!(texts.is_empty());
    assert!(reason.expect("noticed").contains("more"));
    let (_, texts, reason) = Setting::told(|page| {
        page.entries.clear();
        page.more = true;
    })
    .await;
    assert!(texts.is_empty() && reason.is_some());
}

#[tokio::test]
async fn messages_that_are_older_than_the_setting_allows_are_not_shown_even_if_the_hub_gives_them() {
    let hour = History::Depth(HistoryDepth::try_from(3_600_000).expect("within the bounds"));
    let setting = Setting::new(hour).await;
    // As if the hub gave what it was to keep: by its own word the messages are two hours old.
    setting.liar.change_history(|page| {
        for body in &mut page.entries {
            if let EventBody::Message { entry, .. } = body {
                entry.sent_at -= 7_200_000;
            }
        }
    });
    let (texts, _) = setting.reads().await;
    assert!(texts.is_empty());
}

#[tokio::test]
async fn a_hub_alone_makes_nobody_share_history() {
    let setting = Setting::new(History::None).await;
    read(&setting.bob, setting.id).await;
    let clients = setting.alice.epoch(setting.id).await.expect("in it");
    let rows = "UPDATE conversations SET history = 'unlimited', history_since = 0 WHERE type = 'group'";
    assert_eq!(setting.hub.database(rows), 1);
    setting.alice.sync().await.expect("syncs");
    say(&setting.alice, setting.id, &["four"]).await;
    assert_eq!(
        setting.alice.epoch(setting.id).await.expect("in it"),
        clients,
        "nobody has made a commit for it"
    );
    setting.bob.sync().await.expect("syncs");
    assert_eq!(texts(&setting.bob, setting.id).await, ["four"]);
}

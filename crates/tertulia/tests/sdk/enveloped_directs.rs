//! Two people without an account who go on over MLS, over carriers in memory: one conversation to them, whatever happens on the way.

use crate::{
    carriers::{Between, Carrier},
    enveloped_groups::settle,
    envelopes::{Homes, copy, meet},
    support::{handle, read, texts},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tertulia::{Client, ConversationId, Delivery, ErrorKind, Protocol, Suspicion};
use tertulia_conversation::topic::ContentTopic;
use tertulia_transport::{Cursor, Memory, Page, Position, TransportError};
use tokio::sync::Notify;

/// A carrier between a home and the memory network, which holds back what it is told to.
#[derive(Debug)]
struct Odd {
    inner: Memory,
    /// Nothing of inboxes is given.
    hides_inboxes: AtomicBool,
    /// What is published is taken, and the answer never comes.
    hangs: AtomicBool,
    hanging: Notify,
    /// Nothing is taken.
    takes_nothing: AtomicBool,
    /// All pages say that something before them is not kept any more.
    forgets: AtomicBool,
}

impl Odd {
    fn hides(&self, topic: ContentTopic) -> bool {
        self.hides_inboxes.load(Ordering::SeqCst) && topic.to_string().contains("/inbox-")
    }
}

#[async_trait::async_trait]
impl Between for Odd {
    fn inner(&self) -> &Memory {
        &self.inner
    }

    async fn publish(&self, topic: &ContentTopic, envelope: &[u8]) -> Result<Position, TransportError> {
        if self.takes_nothing.load(Ordering::SeqCst) {
            let (hub, reason) = (self.inner.id().to_owned(), "it takes nothing".to_owned());
            return Err(TransportError::Unreachable { hub, reason });
        }
        let position = self.inner.publish(topic, envelope).await?;
        if self.hangs.load(Ordering::SeqCst) {
            self.hanging.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(position)
    }

    async fn fetch(
        &self,
        topic: &ContentTopic,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page, TransportError> {
        let page = self.inner.fetch(topic, after, limit).await?;
        Ok(Page { missed: self.forgets.load(Ordering::SeqCst), ..page })
    }

    async fn wait(
        &self,
        topics: &[(ContentTopic, Option<Cursor>)],
        at_most: Duration,
    ) -> Result<Vec<(ContentTopic, Page)>, TransportError> {
        let shown: Vec<_> = topics.iter().filter(|(topic, _)| !self.hides(*topic)).cloned().collect();
        let mut pages = self.inner.wait(&shown, at_most).await?;
        for (_, page) in &mut pages {
            page.missed = self.forgets.load(Ordering::SeqCst);
        }
        Ok(pages)
    }
}

async fn open_behind(homes: &Homes, name: &str) -> (Client, Arc<Carrier<Odd>>) {
    let off = || AtomicBool::new(false);
    let odd = Arc::new(Carrier(Odd {
        inner: homes.networks[0].endpoint(name),
        hides_inboxes: off(),
        hangs: off(),
        hanging: Notify::new(),
        takes_nothing: off(),
        forgets: off(),
    }));
    let carrier: Arc<dyn Delivery> = Arc::clone(&odd) as _;
    (Client::builder(homes.path(name)).carrier(carrier).open().await.expect("opens"), odd)
}

async fn protocol(client: &Client, id: ConversationId) -> Protocol {
    client.conversation(id).await.expect("known").protocol
}

/// That both are in the same group, and that the conversation is the one that they have: one in the list, by the other's name.
pub(crate) async fn assert_on_mls(id: ConversationId, ana: &Client, bruno: &Client) {
    for (client, name) in [(ana, "@bruno"), (bruno, "@ana")] {
        assert_eq!(protocol(client, id).await, Protocol::Mls);
        assert_eq!(client.find(name).await.expect("known"), id);
        let listed = client.all_conversations().await.expect("readable");
        assert_eq!(listed.iter().map(|listed| listed.id).collect::<Vec<_>>(), [id]);
    }
    assert_eq!(ana.epoch(id).await.expect("in a group"), bruno.epoch(id).await.expect("in a group"));
}

pub(crate) async fn assert_talk(id: ConversationId, ana: &Client, bruno: &Client, round: &str) {
    for (from, to) in [(ana, bruno), (bruno, ana)] {
        let text = format!("{round}, by {}", from.me().user);
        from.send(id, &text).await.expect("sends");
        assert!(read(to, id).await.contains(&text), "{text}");
    }
}

fn published(homes: &Homes, id: ConversationId) -> usize {
    homes.networks[0].published(&ContentTopic::of_conversation(&id)).len()
}

#[tokio::test]
async fn two_people_go_on_over_mls_in_the_conversation_that_they_have() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    ana.send(id, "before").await.expect("sends");
    bruno.sync().await.expect("reads it");
    bruno.send(id, "before too").await.expect("sends");
    settle(&[&ana, &bruno]).await;
    assert_eq!(protocol(&ana, id).await, Protocol::Pairwise);
    let going = ana.migrate(id).await.expect("goes on");
    assert_eq!((going.id, going.protocol), (id, Protocol::Mixed), "until the other is in it");
    bruno.sync().await.expect("comes in");
    assert_eq!(protocol(&bruno, id).await, Protocol::Mls);
    ana.sync().await.expect("hears of it");
    assert_on_mls(id, &ana, &bruno).await;
    // Nothing goes the old way any more, unless by chance both ways are in one bucket.
    let before = published(&homes, id);
    assert_talk(id, &ana, &bruno, "over MLS").await;
    let direct: [u8; 16] = homes
        .database("ana")
        .query_row("SELECT conversation FROM enveloped WHERE continues IS NOT NULL", (), |row| row.get(0))
        .expect("one continues it");
    let direct = ContentTopic::of_conversation(&ConversationId::from_bytes(direct));
    let by_the_old_way = if direct == ContentTopic::of_conversation(&id) { 2 } else { 0 };
    assert_eq!(published(&homes, id), before + by_the_old_way);
    for client in [&ana, &bruno] {
        let all = texts(client, id).await;
        assert_eq!((all.len(), &all[..2]), (4, &["before".to_owned(), "before too".to_owned()][..]));
        assert!(client.suspicions().await.expect("readable").is_empty());
    }
    // It is done, and stays so; nobody else comes in.
    let epoch = ana.epoch(id).await.expect("in a group");
    for client in [&ana, &bruno] {
        assert_eq!(client.migrate(id).await.expect("changes nothing").protocol, Protocol::Mls);
        let refused = client.choose_pairwise(id).await.expect_err("never back");
        assert_eq!(refused.code(), "invalid-protocol-transition");
    }
    let refused = ana.add_members(id, &[handle("bruno")]).await.expect_err("it is no group");
    assert_eq!(refused.code(), "invalid-operation");
    settle(&[&ana, &bruno]).await;
    assert_eq!(ana.epoch(id).await.expect("in a group"), epoch);
}

#[tokio::test]
async fn if_both_begin_at_once_both_go_on_in_the_same() {
    // The ids decide, which are random: some rounds for either outcome.
    for round in 0..4 {
        let homes = Homes::on(&["relay"]);
        let (ana, bruno, id) = homes.friends().await;
        drop((ana, bruno));
        let ((ana, of_ana), (bruno, of_bruno)) =
            (open_behind(&homes, "ana").await, open_behind(&homes, "bruno").await);
        for odd in [&of_ana, &of_bruno] {
            odd.hides_inboxes.store(true, Ordering::SeqCst);
        }
        ana.migrate(id).await.expect("begins");
        bruno.migrate(id).await.expect("begins too");
        ana.send(id, "meanwhile").await.expect("sends");
        bruno.send(id, "meanwhile, too").await.expect("sends");
        for odd in [&of_ana, &of_bruno] {
            odd.hides_inboxes.store(false, Ordering::SeqCst);
        }
        settle(&[&ana, &bruno]).await;
        assert_on_mls(id, &ana, &bruno).await;
        assert_talk(id, &ana, &bruno, &format!("round {round}")).await;
        for client in [&ana, &bruno] {
            let all = texts(client, id).await;
            assert_eq!(all.len(), 4, "{all:?}");
            assert!(client.suspicions().await.expect("readable").is_empty());
        }
    }
}

#[tokio::test]
async fn who_is_away_reads_all_when_they_come_and_what_waits_goes_out() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    ana.queue(id, "waits since before").await.expect("kept");
    ana.migrate(id).await.expect("begins");
    ana.send(id, "while he is away").await.expect("by the first conversation");
    homes.networks[0].cut_off(&["ana"]);
    assert_eq!(ana.send(id, "and she, too").await.expect_err("no network").code(), "queued");
    homes.networks[0].cut_off(&[]);
    let expected = ["waits since before", "while he is away"];
    assert_eq!(read(&bruno, id).await, expected);
    assert_eq!(protocol(&bruno, id).await, Protocol::Mls);
    bruno.queue(id, "his waits as well").await.expect("kept");
    settle(&[&ana, &bruno, &ana]).await;
    assert_on_mls(id, &ana, &bruno).await;
    for client in [&ana, &bruno] {
        let mut all = texts(client, id).await;
        all.sort();
        let mut expected =
            vec!["and she, too", "his waits as well", "waits since before", "while he is away"];
        expected.sort_unstable();
        assert_eq!(all, expected);
    }
    assert_talk(id, &ana, &bruno, "both there").await;
}

#[tokio::test]
async fn a_restart_between_any_two_steps_changes_nothing() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    drop((ana, bruno));
    homes.open("ana").await.migrate(id).await.expect("begins");
    assert_eq!(protocol(&homes.open("ana").await, id).await, Protocol::Mixed);
    homes.open("ana").await.send(id, "one").await.expect("sends");
    homes.open("bruno").await.sync().await.expect("comes in");
    homes.open("bruno").await.send(id, "two").await.expect("sends");
    homes.open("ana").await.sync().await.expect("hears of it");
    homes.open("ana").await.send(id, "three").await.expect("sends");
    homes.open("bruno").await.sync().await.expect("syncs");
    let (ana, bruno) = (homes.open("ana").await, homes.open("bruno").await);
    assert_on_mls(id, &ana, &bruno).await;
    for client in [&ana, &bruno] {
        assert_eq!(texts(client, id).await, ["one", "two", "three"]);
    }
}

#[tokio::test]
async fn what_is_interrupted_on_the_way_is_gone_on_with() {
    // The process dies when the commit was left at the relay, and before.
    for is_taken in [true, false] {
        let homes = Homes::on(&["relay"]);
        let (ana, bruno, id) = homes.friends().await;
        drop(ana);
        let (ana, odd) = open_behind(&homes, "ana").await;
        if is_taken {
            odd.hangs.store(true, Ordering::SeqCst);
            let going = ana.clone();
            let dying = tokio::spawn(async move { going.migrate(id).await.map(drop) });
            odd.hanging.notified().await;
            dying.abort();
            assert!(dying.await.expect_err("it was cut short").is_cancelled());
        } else {
            odd.takes_nothing.store(true, Ordering::SeqCst);
            let error = ana.migrate(id).await.expect_err("it takes nothing");
            assert_eq!(error.kind(), ErrorKind::Transient);
        }
        drop(ana);
        let ana = homes.open("ana").await;
        settle(&[&ana, &bruno, &ana]).await;
        assert_on_mls(id, &ana, &bruno).await;
        assert_talk(id, &ana, &bruno, "after all").await;
    }
}

#[tokio::test]
async fn a_block_holds_as_before_and_shows_as_little() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    ana.migrate(id).await.expect("begins");
    settle(&[&bruno, &ana]).await;
    bruno.block(&handle("ana")).await.expect("blocks");
    let before = homes.published().len();
    ana.send(id, "Are you there?").await.expect("she does not learn of it");
    assert!(read(&bruno, id).await.is_empty());
    assert_eq!(homes.published().len(), before + 1, "nothing is told");
    assert_eq!(bruno.send(id, "No.").await.expect_err("blocked").code(), "not-connected");
    assert_eq!(bruno.migrate(id).await.expect_err("blocked").code(), "not-connected");
    bruno.unblock(&handle("ana")).await.expect("unblocks");
    ana.send(id, "And now?").await.expect("sends");
    assert_eq!(read(&bruno, id).await, ["And now?"]);
    assert_on_mls(id, &ana, &bruno).await;
}

#[tokio::test]
async fn who_has_not_met_or_was_not_accepted_does_not_go_on() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno) = (homes.init("ana").await, homes.init("bruno").await);
    let intro = bruno.intro().await.expect("an intro").to_string();
    let asked = ana.meet(&intro, Some(&handle("bruno"))).await.expect("asks").conversation;
    assert!(ana.migrate(asked).await.is_err(), "not before he has accepted");
    // Who is accepted may hear of the group before they hear that they are.
    bruno.sync().await.expect("hears of it");
    let from = bruno.requests().await.expect("readable")[0].from.clone();
    let id = bruno.accept(&from).await.expect("accepts").conversation;
    bruno.migrate(id).await.expect("begins at once");
    ana.sync().await.expect("hears of both");
    assert_eq!((id, protocol(&ana, id).await), (asked, Protocol::Mls));
    bruno.sync().await.expect("hears that she is in it");
    assert_talk(id, &ana, &bruno, "both").await;
}

#[tokio::test]
async fn who_has_lost_the_thread_begins_anew_and_nothing_is_lost() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    ana.migrate(id).await.expect("begins");
    settle(&[&bruno, &ana]).await;
    drop(bruno);
    let (bruno, odd) = open_behind(&homes, "bruno").await;
    ana.send(id, "There was more before this").await.expect("sends");
    odd.forgets.store(true, Ordering::SeqCst);
    bruno.sync().await.expect("syncs");
    odd.forgets.store(false, Ordering::SeqCst);
    let noticed = bruno.suspicions().await.expect("readable");
    let missed = noticed.iter().find(|noticed| matches!(noticed.suspicion, Suspicion::Missed { .. }));
    assert_eq!(missed.expect("he says so").conversation, id);
    bruno.send(id, "Did I miss anything?").await.expect("by the first conversation");
    ana.send(id, "Not much.").await.expect("by the group that she knows");
    settle(&[&bruno, &ana, &bruno]).await;
    assert_on_mls(id, &ana, &bruno).await;
    assert_talk(id, &ana, &bruno, "anew").await;
    for client in [&ana, &bruno] {
        assert_eq!(texts(client, id).await.len(), 5, "{:?}", texts(client, id).await);
    }
}

#[tokio::test]
async fn a_restored_backup_goes_on_with_new_keys() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    ana.migrate(id).await.expect("begins");
    settle(&[&bruno, &ana]).await;
    drop(bruno);
    copy(&homes.path("bruno"), &homes.path("backup"));
    let bruno = homes.open("bruno").await;
    bruno.send(id, "after the backup").await.expect("sends");
    drop(bruno);
    std::fs::remove_dir_all(homes.path("bruno")).expect("is lost");
    copy(&homes.path("backup"), &homes.path("bruno"));
    let bruno = homes.open("bruno").await;
    bruno.send(id, "from the backup").await.expect("sends");
    settle(&[&ana, &bruno, &ana]).await;
    for text in ["after the backup", "from the backup"] {
        assert!(texts(&ana, id).await.contains(&text.to_owned()), "{text}");
    }
    assert_on_mls(id, &ana, &bruno).await;
    assert_talk(id, &ana, &bruno, "both have their keys").await;
    let mut hints: Vec<_> =
        homes.published().iter().map(|bytes| String::from_utf8_lossy(&bytes[2..34]).into_owned()).collect();
    let count = hints.len();
    hints.sort_unstable();
    hints.dedup();
    assert_eq!(hints.len(), count, "no hint was used twice");
}

#[tokio::test]
async fn who_does_not_have_the_relay_that_orders_talks_on_as_before() {
    let homes = Homes::on(&["first", "second"]);
    let ana = homes.init("ana").await;
    let second = Arc::new(homes.networks[1].endpoint("bruno"));
    let bruno = Client::builder(homes.path("bruno")).carrier(second).init::<&str>(&[]).await.expect("a home");
    let id = meet(&ana, "ana", &bruno, "bruno").await;
    ana.migrate(id).await.expect("begins");
    settle(&[&bruno, &ana]).await;
    let noticed = bruno.suspicions().await.expect("readable");
    assert!(matches!(&noticed[..], [one] if matches!(one.suspicion, Suspicion::UnknownRelay { .. })));
    assert_eq!(noticed[0].conversation, id);
    assert_eq!((protocol(&ana, id).await, protocol(&bruno, id).await), (Protocol::Mixed, Protocol::Pairwise));
    assert_talk(id, &ana, &bruno, "as before").await;
}

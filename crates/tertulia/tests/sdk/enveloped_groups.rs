//! Groups that no hub carries, over carriers in memory: one of them orders the commits, and whatever it does is noticed or harmless.

use crate::{
    carriers::{Between, Carrier},
    envelopes::{Homes, copy, meet},
    support::{handle, read, texts},
};
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tertulia::{Client, Conversation, ConversationId, Delivery, ErrorKind, Handle, Suspicion};
use tertulia_conversation::{
    topic::ContentTopic,
    wire::{Envelope, Outcome},
};
use tertulia_transport::{Cursor, Memory, MemoryNetwork, Page, Position, TransportError};
use tokio::sync::Notify;

/// Ana, who has met the others, by their names.
pub(crate) async fn friends_of_ana(homes: &Homes, names: &[&str]) -> (Client, Vec<Client>) {
    let ana = homes.init("ana").await;
    let mut others = Vec::new();
    for name in names {
        let other = homes.init(name).await;
        meet(&ana, "ana", &other, name).await;
        others.push(other);
    }
    (ana, others)
}

fn handles(names: &[&str]) -> Vec<Handle> {
    names.iter().map(|name| handle(name)).collect()
}

/// Synchronises all, until what one has put into line has reached the others.
pub(crate) async fn settle(clients: &[&Client]) {
    for _ in 0..3 {
        for client in clients {
            client.sync().await.expect("syncs");
        }
    }
}

/// Ana, Bruno and Carla in a group that Ana has made.
pub(crate) async fn three(homes: &Homes) -> (Client, Client, Client, Conversation) {
    let (ana, others) = friends_of_ana(homes, &["bruno", "carla"]).await;
    let Ok([bruno, carla]) = <[Client; 2]>::try_from(others) else { panic!("two") };
    let group = ana.create_group("Tertulia", &handles(&["bruno", "carla"])).await.expect("a group");
    settle(&[&bruno, &carla]).await;
    (ana, bruno, carla, group)
}

pub(crate) async fn assert_same(id: ConversationId, clients: &[&Client]) {
    let epoch = clients[0].epoch(id).await.expect("a member");
    let members = |conversation: &Conversation| {
        let mut members: Vec<_> =
            conversation.members.iter().map(|member| (member.user, member.role.clone())).collect();
        members.sort();
        members
    };
    let expected = members(&clients[0].conversation(id).await.expect("known"));
    for client in clients {
        assert_eq!(client.epoch(id).await.expect("a member"), epoch);
        assert_eq!(members(&client.conversation(id).await.expect("known")), expected);
    }
}

/// That each says something and all others read it.
pub(crate) async fn assert_all_talk(id: ConversationId, clients: &[&Client]) {
    for (number, client) in clients.iter().enumerate() {
        let text = format!("{number} of {}", client.me().user);
        client.send(id, &text).await.expect("sends");
        for other in clients {
            assert!(read(other, id).await.contains(&text), "{text} is read by all");
        }
    }
}

fn notices(noticed: &[tertulia::Noticed], what: &Suspicion) -> usize {
    noticed.iter().filter(|noticed| noticed.suspicion == *what).count()
}

#[tokio::test]
async fn people_make_a_group_talk_and_part_with_the_same_calls_as_through_a_hub() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, carla, group) = three(&homes).await;
    let id = group.id;
    assert_eq!((group.name.as_deref(), group.members.len()), (Some("Tertulia"), 3));
    assert_eq!(bruno.find("Tertulia").await.expect("its name came with it"), id);
    assert_all_talk(id, &[&ana, &bruno, &carla]).await;
    assert_same(id, &[&ana, &bruno, &carla]).await;

    ana.rename(id, "Thursdays").await.expect("renames");
    settle(&[&bruno, &carla]).await;
    assert_eq!(carla.conversation(id).await.expect("known").name.as_deref(), Some("Thursdays"));

    let removed = ana.remove_members(id, &handles(&["carla"])).await.expect("removes");
    assert_eq!(removed.members.len(), 2);
    ana.send(id, "Carla cannot read this").await.expect("sends");
    assert!(read(&bruno, id).await.contains(&"Carla cannot read this".to_owned()));
    assert!(!read(&carla, id).await.contains(&"Carla cannot read this".to_owned()));
    assert!(!carla.conversation(id).await.expect("kept").active);
    let error = carla.send(id, "Hello?").await.expect_err("she is out");
    assert_eq!(error.code(), "no-conversation");

    // She comes back and reads what is said from then on.
    ana.add_members(id, &handles(&["carla"])).await.expect("adds");
    settle(&[&bruno, &carla]).await;
    assert_same(id, &[&ana, &bruno, &carla]).await;
    assert_all_talk(id, &[&ana, &bruno, &carla]).await;
    assert!(!texts(&carla, id).await.contains(&"Carla cannot read this".to_owned()));
}

#[tokio::test]
async fn roles_are_checked_by_the_members_and_who_leaves_is_let_go_by_the_next_commit() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, carla, group) = three(&homes).await;
    let id = group.id;
    let error = bruno.remove_members(id, &handles(&["ana"])).await.expect_err("he is no admin");
    assert_eq!(error.code(), "action-denied");
    let error = ana.leave(id, None).await.expect_err("she is the last admin");
    assert_eq!(error.code(), "last-admin");
    ana.leave(id, Some(&handle("bruno"))).await.expect("with a successor");
    assert!(!ana.conversation(id).await.expect("kept").active);
    // Whoever speaks next carries it out.
    carla.sync().await.expect("hears of it");
    carla.send(id, "Good bye").await.expect("sends");
    settle(&[&bruno, &ana]).await;
    assert_same(id, &[&bruno, &carla]).await;
    assert_eq!(bruno.conversation(id).await.expect("known").members.len(), 2);
    assert!(!read(&ana, id).await.contains(&"Good bye".to_owned()));
    assert_eq!(ana.epoch(id).await.expect_err("her keys are gone").code(), "no-conversation");
    assert_all_talk(id, &[&bruno, &carla]).await;
}

#[tokio::test]
async fn of_changes_at_the_same_time_all_are_carried_out_and_all_end_in_the_same_epoch() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, carla, group) = three(&homes).await;
    let id = group.id;
    for name in ["bruno", "carla"] {
        ana.set_role(id, &handle(name), "admin").await.expect("an admin");
    }
    let mut newcomers = Vec::new();
    for (name, host, host_name) in
        [("dora", &ana, "ana"), ("emil", &bruno, "bruno"), ("fany", &carla, "carla")]
    {
        let newcomer = homes.init(name).await;
        meet(host, host_name, &newcomer, name).await;
        newcomers.push(newcomer);
    }
    settle(&[&ana, &bruno, &carla]).await;
    let (dora, emil, fany) = (handles(&["dora"]), handles(&["emil"]), handles(&["fany"]));
    let (a, b, c) =
        tokio::join!(ana.add_members(id, &dora), bruno.add_members(id, &emil), carla.add_members(id, &fany));
    for outcome in [a, b, c] {
        outcome.expect("carried out, after another's or before");
    }
    let [dora, emil, fany] = &newcomers[..] else { panic!("three") };
    let all = [&ana, &bruno, &carla, dora, emil, fany];
    settle(&all).await;
    assert_same(id, &all).await;
    assert_eq!(ana.conversation(id).await.expect("known").members.len(), 6);
    assert_all_talk(id, &all).await;
}

#[tokio::test]
async fn a_relay_that_is_away_is_waited_for_and_nothing_is_lost() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, carla, group) = three(&homes).await;
    let id = group.id;
    let network = &homes.networks[0];
    network.cut_off(&["ana"]);
    let error = ana.remove_members(id, &handles(&["carla"])).await.expect_err("it is away");
    assert_eq!(error.kind(), ErrorKind::Transient);
    let error = ana.send(id, "Are you there?").await.expect_err("it is away");
    assert_eq!(error.code(), "queued");
    bruno.send(id, "Meanwhile").await.expect("sends");
    network.cut_off(&[]);
    settle(&[&ana, &bruno, &carla]).await;
    assert_same(id, &[&ana, &bruno, &carla]).await;
    for text in ["Are you there?", "Meanwhile"] {
        for client in [&ana, &bruno, &carla] {
            assert!(texts(client, id).await.contains(&text.to_owned()), "{text}");
        }
    }

    // The answer to a commit that counts is lost: what became of it stands in the topic.
    network.lose_answers("ana", 1);
    ana.remove_members(id, &handles(&["carla"])).await.expect("found in the topic");
    settle(&[&bruno, &carla]).await;
    assert_same(id, &[&ana, &bruno]).await;
    assert!(!carla.conversation(id).await.expect("kept").active);
}

/// A carrier between a home and the memory network, which does something wrong when it is told so.
#[derive(Debug)]
struct Wrong {
    inner: Memory,
    /// What is published is taken, and the answer never comes.
    hangs: AtomicBool,
    /// Something was taken, and the answer does not come.
    hanging: Notify,
    /// What this device publishes is taken and shown to nobody.
    swallows: AtomicBool,
    /// It says another place than the one that it has given.
    misplaces: AtomicBool,
    /// All pages say that something before them is not kept any more.
    forgets: AtomicBool,
    /// Every envelope comes again with each page.
    replays: AtomicBool,
}

impl Wrong {
    fn before(network: &MemoryNetwork, endpoint: &str) -> Arc<Carrier<Self>> {
        let off = || AtomicBool::new(false);
        Arc::new(Carrier(Self {
            inner: network.endpoint(endpoint),
            hangs: off(),
            hanging: Notify::new(),
            swallows: off(),
            misplaces: off(),
            forgets: off(),
            replays: off(),
        }))
    }

    async fn twist(&self, topic: &ContentTopic, page: Page) -> Result<Page, TransportError> {
        let mut page = Page { missed: self.forgets.load(Ordering::SeqCst), ..page };
        if self.replays.load(Ordering::SeqCst) {
            let all = self.inner.fetch(topic, None, 1000).await?;
            let mut envelopes = all.envelopes;
            envelopes.reverse();
            envelopes.extend(page.envelopes);
            page.envelopes = envelopes;
        }
        Ok(page)
    }
}

#[async_trait::async_trait]
impl Between for Wrong {
    fn inner(&self) -> &Memory {
        &self.inner
    }

    async fn publish(&self, topic: &ContentTopic, envelope: &[u8]) -> Result<Position, TransportError> {
        if self.swallows.load(Ordering::SeqCst) {
            return Ok(Position(1 << 40));
        }
        let position = self.inner.publish(topic, envelope).await?;
        if self.hangs.load(Ordering::SeqCst) {
            self.hanging.notify_one();
            std::future::pending::<()>().await;
        }
        let beside = u64::from(self.misplaces.load(Ordering::SeqCst));
        Ok(Position(position.0 + beside))
    }

    async fn fetch(
        &self,
        topic: &ContentTopic,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page, TransportError> {
        let page = self.inner.fetch(topic, after, limit).await?;
        self.twist(topic, page).await
    }

    async fn wait(
        &self,
        topics: &[(ContentTopic, Option<Cursor>)],
        at_most: Duration,
    ) -> Result<Vec<(ContentTopic, Page)>, TransportError> {
        let mut pages = self.inner.wait(topics, at_most).await?;
        for (topic, page) in &mut pages {
            *page = self.twist(topic, page.clone()).await?;
        }
        Ok(pages)
    }
}

/// Opens a home behind a carrier that can go wrong.
async fn open_behind(homes: &Homes, name: &str) -> (Client, Arc<Carrier<Wrong>>) {
    let wrong = Wrong::before(&homes.networks[0], name);
    let carrier: Arc<dyn Delivery> = Arc::clone(&wrong) as _;
    (Client::builder(homes.path(name)).carrier(carrier).open().await.expect("opens"), wrong)
}

#[tokio::test]
async fn a_process_that_dies_between_publishing_a_commit_and_applying_it_comes_back_with_it() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, carla, group) = three(&homes).await;
    let id = group.id;
    drop(ana);
    let (ana, wrong) = open_behind(&homes, "ana").await;
    wrong.hangs.store(true, Ordering::SeqCst);
    let dying = tokio::spawn(async move { ana.remove_members(id, &handles(&["carla"])).await.map(drop) });
    wrong.hanging.notified().await;
    dying.abort();
    assert!(dying.await.expect_err("it was cut short").is_cancelled());

    let ana = homes.open("ana").await;
    settle(&[&bruno, &ana, &carla]).await;
    assert_same(id, &[&ana, &bruno]).await;
    assert!(!carla.conversation(id).await.expect("kept").active);
    assert_all_talk(id, &[&ana, &bruno]).await;
}

#[tokio::test]
async fn of_two_relays_the_first_orders_and_the_second_carries_on_while_it_is_away() {
    let homes = Homes::on(&["first", "second"]);
    let (ana, bruno, carla, group) = three(&homes).await;
    let id = group.id;
    assert_all_talk(id, &[&ana, &bruno, &carla]).await;
    homes.networks[0].cut_off(&["ana", "bruno", "carla"]);
    ana.send(id, "By the second").await.expect("sends");
    assert!(read(&bruno, id).await.contains(&"By the second".to_owned()));
    let error = ana.remove_members(id, &handles(&["carla"])).await.expect_err("nobody orders");
    assert_eq!(error.kind(), ErrorKind::Transient);
    homes.networks[0].cut_off(&[]);
    ana.remove_members(id, &handles(&["carla"])).await.expect("the first is back");
    settle(&[&ana, &bruno, &carla]).await;
    assert_same(id, &[&ana, &bruno]).await;
    assert_all_talk(id, &[&ana, &bruno]).await;
    for client in [&ana, &bruno] {
        // Three at first, the one by the second relay, and two at the end.
        assert_eq!(texts(client, id).await.len(), 6, "each is shown once");
    }
}

#[tokio::test]
async fn a_relay_that_withholds_a_commit_or_misplaces_it_is_noticed() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, carla, group) = three(&homes).await;
    let id = group.id;
    drop(ana);
    let (ana, wrong) = open_behind(&homes, "ana").await;
    wrong.swallows.store(true, Ordering::SeqCst);
    let before = bruno.epoch(id).await.expect("a member");
    ana.remove_members(id, &handles(&["carla"])).await.expect_err("nobody gets it");
    assert!(notices(&ana.suspicions().await.expect("readable"), &Suspicion::Withheld) > 0);
    settle(&[&bruno, &carla]).await;
    assert_eq!(bruno.epoch(id).await.expect("a member"), before);
    assert_eq!(ana.epoch(id).await.expect("a member"), before, "published before it is applied");
    // Once it does as it should, nothing has been lost by it.
    wrong.swallows.store(false, Ordering::SeqCst);
    settle(&[&ana, &bruno, &carla]).await;
    assert_same(id, &[&ana, &bruno]).await;

    wrong.misplaces.store(true, Ordering::SeqCst);
    ana.rotate_now(id).await;
    assert_eq!(notices(&ana.suspicions().await.expect("readable"), &Suspicion::Reordered), 1);
    wrong.misplaces.store(false, Ordering::SeqCst);
    settle(&[&ana, &bruno]).await;
    assert_same(id, &[&ana, &bruno]).await;
    assert_all_talk(id, &[&ana, &bruno]).await;
}

/// A change that is of no consequence but that it takes a commit.
pub(crate) trait RotateNow {
    async fn rotate_now(&self, id: ConversationId);
}

impl RotateNow for Client {
    async fn rotate_now(&self, id: ConversationId) {
        use tertulia::AddPermission::{Admins, Everyone};
        let now = self.conversation(id).await.expect("known").add_permission;
        let other = if now == Admins { Everyone } else { Admins };
        self.set_add_permission(id, other).await.expect("changes it");
    }
}

#[tokio::test]
async fn a_relay_that_repeats_all_backwards_changes_nothing() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, carla, group) = three(&homes).await;
    let id = group.id;
    drop(bruno);
    let (bruno, wrong) = open_behind(&homes, "bruno").await;
    wrong.replays.store(true, Ordering::SeqCst);
    for round in 0..3 {
        ana.rotate_now(id).await;
        ana.send(id, &format!("round {round}")).await.expect("sends");
        bruno.sync().await.expect("syncs");
    }
    settle(&[&ana, &carla]).await;
    assert_same(id, &[&ana, &bruno, &carla]).await;
    let expected = ["round 0", "round 1", "round 2"];
    assert_eq!(texts(&bruno, id).await, expected);
    assert_eq!(texts(&carla, id).await, expected);
}

#[tokio::test]
async fn who_was_away_for_longer_than_the_relay_keeps_says_so_and_is_let_in_again_by_itself() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, carla, group) = three(&homes).await;
    let id = group.id;
    drop(bruno);
    let (bruno, wrong) = open_behind(&homes, "bruno").await;
    ana.rotate_now(id).await;
    wrong.forgets.store(true, Ordering::SeqCst);
    bruno.sync().await.expect("syncs");
    wrong.forgets.store(false, Ordering::SeqCst);
    let missed = bruno.suspicions().await.expect("readable");
    assert!(missed.iter().any(|noticed| matches!(noticed.suspicion, Suspicion::Missed { .. })), "{missed:?}");
    let before = ana.epoch(id).await.expect("a member");
    settle(&[&bruno, &ana, &bruno, &carla]).await;
    assert!(ana.epoch(id).await.expect("a member") > before, "his new leaf takes a commit");
    settle(&[&ana, &bruno, &carla]).await;
    assert_same(id, &[&ana, &bruno, &carla]).await;
    assert_all_talk(id, &[&ana, &bruno, &carla]).await;
    assert_eq!(bruno.conversation(id).await.expect("known").members.len(), 3);
}

#[tokio::test]
async fn a_restored_backup_gets_new_keys_before_anything_else_and_uses_no_hint_twice() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, carla, group) = three(&homes).await;
    let id = group.id;
    drop(bruno);
    copy(&homes.path("bruno"), &homes.path("backup"));
    let bruno = homes.open("bruno").await;
    bruno.send(id, "After the backup").await.expect("sends");
    drop(bruno);
    std::fs::remove_dir_all(homes.path("bruno")).expect("is lost");
    copy(&homes.path("backup"), &homes.path("bruno"));
    let bruno = homes.open("bruno").await;
    let before = bruno.epoch(id).await.expect("a member");
    bruno.send(id, "From the backup").await.expect("sends, after an update");
    settle(&[&ana, &carla, &bruno]).await;
    assert!(bruno.epoch(id).await.expect("a member") > before);
    assert_same(id, &[&ana, &bruno, &carla]).await;
    for text in ["After the backup", "From the backup"] {
        assert!(texts(&ana, id).await.contains(&text.to_owned()), "{text}");
    }
    let topic = ContentTopic::of_conversation(&id);
    let published = homes.networks[0].published(&topic);
    let hints: Vec<_> = published
        .iter()
        .filter_map(|bytes| match Envelope::decode(bytes) {
            Outcome::Decoded(envelope) => Some((envelope.hint, envelope.salt)),
            _ => None,
        })
        .collect();
    let distinct: HashSet<_> = hints.iter().collect();
    assert_eq!(distinct.len(), hints.len(), "no hint is used twice");
    assert_all_talk(id, &[&ana, &bruno, &carla]).await;
}

#[tokio::test]
async fn nobody_is_added_who_is_not_known_and_a_group_takes_a_relay() {
    let homes = Homes::on(&["relay"]);
    let (ana, _) = friends_of_ana(&homes, &["bruno"]).await;
    let error = ana.create_group("Strangers", &handles(&["zoe"])).await.expect_err("nobody knows her");
    assert_eq!(error.code(), "not-connected");
    let error = ana.create_team_group("Team", &[], tertulia::Protocol::Mls).await.expect_err("no team");
    assert_eq!(error.code(), "no-account");
    assert!(ana.conversations().await.expect("readable").iter().all(|known| known.members.len() < 3));
}

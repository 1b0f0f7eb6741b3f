//! Homes without an account, over carriers in memory: two people meet and talk, whatever is lost, repeated or cut off on the way.

use crate::support::{handle, read, texts};
use futures::StreamExt as _;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tertulia::{
    Client, ClientEvent, ConnectionStatus, ConversationId, ConversationType, Delivery, ErrorKind,
    MessageQuery,
};
use tertulia_conversation::{topic::ContentTopic, wire::Envelope};
use tertulia_transport::{Cursor, MemoryNetwork, Page, Position, TransportError};

/// Homes on one network or several, each with an endpoint of its name on every one.
pub(crate) struct Homes {
    pub(crate) dir: TempDir,
    pub(crate) networks: Vec<MemoryNetwork>,
}

const NO_RELAY: &[&str] = &[];

impl Homes {
    pub(crate) fn on(networks: &[&str]) -> Self {
        let networks = networks.iter().map(|name| MemoryNetwork::ordered(name)).collect();
        Self { dir: tempfile::tempdir().expect("a temporary directory"), networks }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn builder(&self, home: &str, endpoint: &str) -> tertulia::ClientBuilder {
        self.networks.iter().fold(Client::builder(self.path(home)), |builder, network| {
            builder.carrier(Arc::new(network.endpoint(endpoint)))
        })
    }

    /// A home that asks the networks in the other order.
    pub(crate) fn turned(&self, name: &str) -> tertulia::ClientBuilder {
        self.networks.iter().rev().fold(Client::builder(self.path(name)), |builder, network| {
            builder.carrier(Arc::new(network.endpoint(name)))
        })
    }

    pub(crate) async fn init(&self, name: &str) -> Client {
        self.builder(name, name).init(NO_RELAY).await.expect("a new home")
    }

    pub(crate) async fn open(&self, name: &str) -> Client {
        self.builder(name, name).open().await.expect("opens")
    }

    /// Ana and Bruno, who have met.
    pub(crate) async fn friends(&self) -> (Client, Client, ConversationId) {
        let (ana, bruno) = (self.init("ana").await, self.init("bruno").await);
        let id = meet(&ana, "ana", &bruno, "bruno").await;
        (ana, bruno, id)
    }

    /// Keeps a backup of a closed home: all its files.
    pub(crate) fn back_up(&self, home: &str) {
        copy(&self.path(home), &self.path("backup").join(home));
    }

    /// Loses a closed home, and puts its backup in its place.
    pub(crate) fn restore(&self, home: &str) {
        std::fs::remove_dir_all(self.path(home)).expect("is lost");
        copy(&self.path("backup").join(home), &self.path(home));
    }

    /// That no envelope that anybody has published has the hint of another.
    pub(crate) fn assert_no_hint_twice(&self) {
        let published = self.networks.iter().flat_map(|network| {
            network.topics().into_iter().flat_map(|topic| network.published(&topic)).collect::<Vec<_>>()
        });
        // Each is on every network.
        let published: BTreeSet<Vec<u8>> = published.collect();
        let mut hints = BTreeSet::new();
        for bytes in published {
            let hint = Envelope::decode(&bytes).decoded().expect("an envelope").hint;
            assert!(hints.insert(*hint.as_bytes()), "{hint} was used twice");
        }
    }

    /// Makes the keys of a closed home's conversations a week old.
    pub(crate) fn age(&self, home: &str) {
        let sql = "UPDATE enveloped SET due_at = 0, \
                   state = CAST(json_set(CAST(state AS TEXT), '$.since', 0) AS BLOB)";
        self.database(home).execute(sql, ()).expect("changes it");
    }

    /// Makes a day pass since a closed home has sent renewals that had no effect.
    pub(crate) fn a_day_later(&self, home: &str) {
        let sql = "UPDATE enveloped SET due_at = 0, state = CAST(json_replace(CAST(state AS TEXT), \
                   '$.offer.sent_at', 0, '$.forced.sent_at', 0) AS BLOB)";
        self.database(home).execute(sql, ()).expect("changes it");
    }

    /// The epoch in which a home sends.
    pub(crate) fn epoch(&self, home: &str) -> u64 {
        let sql = "SELECT json_extract(CAST(state AS TEXT), '$.epoch') FROM enveloped";
        self.database(home).query_row(sql, (), |row| row.get::<_, u32>(0)).expect("one conversation").into()
    }

    /// How many messages of a home wait to be sent.
    pub(crate) fn waiting(&self, home: &str) -> u32 {
        let sql = "SELECT count(*) FROM outbox";
        self.database(home).query_row(sql, (), |row| row.get(0)).expect("a number")
    }

    /// How often a home was written to.
    pub(crate) fn writes(&self, home: &str) -> u64 {
        let written = std::fs::read_to_string(self.path(home).join("written")).expect("the count of writes");
        written.trim().parse().expect("a number")
    }

    pub(crate) fn database(&self, home: &str) -> rusqlite::Connection {
        let key = std::fs::read_to_string(self.path(home).join("key")).expect("the home's key");
        let database = rusqlite::Connection::open(self.path(home).join("tertulia.db")).expect("opens");
        database.execute_batch(&format!("PRAGMA key = \"x'{}'\";", key.trim())).expect("opens");
        database
    }

    /// All envelopes that were published on the first network.
    pub(crate) fn published(&self) -> Vec<Vec<u8>> {
        let network = &self.networks[0];
        network.topics().iter().flat_map(|topic| network.published(topic)).collect()
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a home") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copies");
        }
    }
}

/// One meets the other by their intro, who accepts. Each calls the other by name.
pub(crate) async fn meet(a: &Client, a_name: &str, b: &Client, b_name: &str) -> ConversationId {
    let intro = b.intro().await.expect("an intro").to_string();
    let asked = a.meet(&intro, Some(&handle(b_name))).await.expect("asks");
    assert_eq!(asked.status, ConnectionStatus::Sent);
    b.sync().await.expect("hears of it");
    let [request] = &b.requests().await.expect("readable")[..] else { panic!("one request") };
    let accepted = b.accept(&request.from).await.expect("accepts");
    assert_eq!(accepted.status, ConnectionStatus::Accepted);
    let intro = a.intro().await.expect("an intro").to_string();
    b.meet(&intro, Some(&handle(a_name))).await.expect("names them");
    a.sync().await.expect("hears of it");
    accepted.conversation
}

fn status_of(connections: &[tertulia::Connection], name: &str) -> Option<ConnectionStatus> {
    connections.iter().find(|connection| connection.handle == handle(name)).map(|found| found.status)
}

#[tokio::test]
async fn two_people_meet_and_talk_both_ways_with_the_same_calls_as_through_a_hub() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    assert_eq!(ana.find("@bruno").await.expect("known"), id);
    assert_eq!(bruno.find("@ana").await.expect("known"), id);
    let sent = ana.send(id, "Shall we meet again?").await.expect("sends");
    assert_eq!(read(&bruno, id).await, ["Shall we meet again?"]);
    bruno.send(id, "On Thursday.").await.expect("answers");
    ana.send(id, "At eight?").await.expect("sends");
    let expected = ["Shall we meet again?", "On Thursday.", "At eight?"];
    assert_eq!(read(&bruno, id).await, expected);
    assert_eq!(read(&ana, id).await.len(), 3);
    let messages = ana.messages(id, MessageQuery::default()).await.expect("readable");
    assert_eq!((messages[0].sequence, messages[0].user), (sent.sequence, ana.me().user));
    assert!(messages.iter().any(|message| message.from == Some(handle("bruno"))));

    let [conversation] = &ana.conversations().await.expect("readable")[..] else { panic!("one") };
    assert_eq!((conversation.id, conversation.kind), (id, ConversationType::OneToOne));
    assert_eq!((conversation.name.as_deref(), conversation.members.len()), (Some("@bruno"), 2));
    assert!(ana.me().hub.is_none());
    assert_eq!(ana.me().user.as_uuid().get_version_num(), 8);
}

#[tokio::test]
async fn what_takes_an_account_says_so_and_what_takes_none_too() {
    let homes = Homes::on(&["relay"]);
    let ana = homes.init("ana").await;
    let error = ana.search(&handle("bo")).await.expect_err("there is no hub");
    assert_eq!((error.code(), error.kind()), ("no-account", ErrorKind::Misuse));
    let error =
        ana.meet(&ana.intro().await.expect("an intro").to_string(), None).await.expect_err("it is hers");
    assert_eq!(error.code(), "own-bundle");
    assert_eq!(ana.meet("hello", None).await.expect_err("no bundle").code(), "invalid-bundle");
    let error = homes.builder("ana", "ana").init(NO_RELAY).await.expect_err("it is Ana's");
    assert_eq!(error.code(), "home-in-use");
    let error = Client::builder(homes.path("nobody")).init(NO_RELAY).await.expect_err("nothing carries it");
    assert_eq!(error.code(), "no-carrier");
    let error =
        Client::builder(homes.path("nobody")).init(&["http://relay.example"]).await.expect_err("open");
    assert_eq!(error.code(), "insecure-hub-address");

    let hub = crate::support::Hub::start().await;
    let carla = hub.sign_up("carla").await;
    assert_eq!(carla.intro().await.expect_err("she has an account").code(), "has-account");
}

#[tokio::test]
async fn nobody_can_talk_before_they_are_accepted_and_who_is_ignored_or_blocked_learns_nothing() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno) = (homes.init("ana").await, homes.init("bruno").await);
    let intro = bruno.intro().await.expect("an intro").to_string();
    let asked = ana.meet(&intro, Some(&handle("bruno"))).await.expect("asks");
    assert_eq!(ana.send(asked.conversation, "Hello?").await.expect_err("too early").code(), "not-connected");
    bruno.sync().await.expect("hears of it");
    let from = bruno.requests().await.expect("readable")[0].from.clone();
    let before = homes.published().len();
    bruno.ignore(&from).await.expect("ignores");
    assert!(bruno.requests().await.expect("readable").is_empty());
    assert_eq!(homes.published().len(), before, "nothing is told");

    // Asking once more is a new request, by the same conversation.
    let again = ana.meet(&intro, None).await.expect("asks again");
    assert_eq!((again.conversation, again.status), (asked.conversation, ConnectionStatus::Sent));
    bruno.sync().await.expect("hears of it");
    assert_eq!(bruno.requests().await.expect("readable").len(), 1);
    bruno.accept(&from).await.expect("accepts");
    ana.sync().await.expect("hears of it");
    ana.send(asked.conversation, "Hello!").await.expect("sends");
    assert_eq!(read(&bruno, asked.conversation).await, ["Hello!"]);

    let before = homes.published().len();
    bruno.block(&from).await.expect("blocks");
    assert_eq!(homes.published().len(), before, "nothing is told");
    ana.send(asked.conversation, "Are you there?").await.expect("she does not learn of it");
    assert_eq!(read(&bruno, asked.conversation).await, ["Hello!"]);
    assert_eq!(bruno.send(asked.conversation, "No.").await.expect_err("blocked").code(), "not-connected");
    let asking = ana.meet(&intro, None).await.expect("she does not learn of it");
    assert_eq!(asking.status, ConnectionStatus::Accepted);
    bruno.unblock(&from).await.expect("unblocks");
    ana.send(asked.conversation, "And now?").await.expect("sends");
    assert_eq!(read(&bruno, asked.conversation).await, ["Hello!", "And now?"]);
}

#[tokio::test]
async fn a_stranger_who_is_blocked_stays_silent() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno) = (homes.init("ana").await, homes.init("bruno").await);
    let intro = bruno.intro().await.expect("an intro").to_string();
    ana.meet(&intro, Some(&handle("bruno"))).await.expect("asks");
    bruno.sync().await.expect("hears of it");
    let from = bruno.requests().await.expect("readable")[0].from.clone();
    bruno.block(&from).await.expect("blocks");
    ana.meet(&intro, None).await.expect("asks again");
    bruno.sync().await.expect("hears nothing");
    assert!(bruno.requests().await.expect("readable").is_empty());
    assert_eq!(
        status_of(&bruno.connections().await.expect("readable"), from.as_str()),
        Some(ConnectionStatus::Blocked)
    );
    assert_eq!(status_of(&ana.connections().await.expect("readable"), "bruno"), Some(ConnectionStatus::Sent));
}

#[tokio::test]
async fn two_who_ask_each_other_are_connected_by_one_conversation() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno) = (homes.init("ana").await, homes.init("bruno").await);
    let of_ana = ana.intro().await.expect("an intro").to_string();
    let of_bruno = bruno.intro().await.expect("an intro").to_string();
    ana.meet(&of_bruno, Some(&handle("bruno"))).await.expect("asks");
    bruno.meet(&of_ana, Some(&handle("ana"))).await.expect("asks");
    for client in [&ana, &bruno, &ana, &bruno] {
        client.sync().await.expect("syncs");
    }
    let id = ana.find("@bruno").await.expect("known");
    assert_eq!(bruno.find("@ana").await.expect("known"), id);
    ana.send(id, "You first.").await.expect("sends");
    bruno.send(id, "No, you.").await.expect("sends");
    assert_eq!(read(&ana, id).await.len(), 2);
    assert_eq!(read(&bruno, id).await.len(), 2);
}

#[tokio::test]
async fn an_intro_for_one_person_is_for_the_first_and_one_for_many_is_for_all() {
    let homes = Homes::on(&["relay"]);
    let bruno = homes.init("bruno").await;
    let once = bruno.intro_for_one().await.expect("an intro").to_string();
    let many = bruno.intro().await.expect("an intro").to_string();
    for (name, intro) in [("ana", &once), ("carla", &once), ("dora", &many), ("elsa", &many)] {
        homes.init(name).await.meet(intro, None).await.expect("asks");
    }
    bruno.sync().await.expect("hears of them");
    let requests = bruno.requests().await.expect("readable");
    assert_eq!(requests.len(), 4);
    let mut refused = Vec::new();
    for request in requests {
        if let Err(error) = bruno.accept(&request.from).await {
            refused.push(error.code().to_owned());
        }
    }
    assert_eq!(refused, ["invalid-message"], "of the two who share a key the second cannot be read");
}

#[tokio::test]
async fn a_restart_between_any_two_steps_loses_nothing_and_shows_nothing_twice() {
    let homes = Homes::on(&["relay"]);
    drop((homes.init("ana").await, homes.init("bruno").await));
    let intro = homes.open("bruno").await.intro().await.expect("an intro").to_string();
    homes.open("ana").await.meet(&intro, Some(&handle("bruno"))).await.expect("asks");
    homes.open("bruno").await.sync().await.expect("hears of it");
    let from = homes.open("bruno").await.requests().await.expect("readable")[0].from.clone();
    let id = homes.open("bruno").await.accept(&from).await.expect("accepts").conversation;
    homes.open("ana").await.sync().await.expect("hears of it");
    for number in 0..5 {
        homes.open("ana").await.send(id, &format!("ana {number}")).await.expect("sends");
        homes.open("bruno").await.send(id, &format!("bruno {number}")).await.expect("sends");
        homes.open("ana").await.sync().await.expect("syncs");
        homes.open("bruno").await.sync().await.expect("syncs");
        homes.open("bruno").await.sync().await.expect("syncs");
    }
    for name in ["ana", "bruno"] {
        let mut all = texts(&homes.open(name).await, id).await;
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 10, "{name}");
        assert_eq!(texts(&homes.open(name).await, id).await.len(), 10, "{name}");
    }
}

#[tokio::test]
async fn a_message_of_which_the_answer_was_lost_or_that_had_no_carrier_is_sent_once() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    homes.networks[0].lose_answers("ana", 1);
    assert_eq!(ana.send(id, "lost").await.expect_err("no answer").code(), "queued");
    homes.networks[0].cut_off(&["ana"]);
    assert_eq!(ana.send(id, "cut off").await.expect_err("no network").code(), "queued");
    assert_eq!(ana.sync().await.expect_err("no network").kind(), ErrorKind::Transient);
    drop(ana);
    homes.networks[0].cut_off(&[]);
    let ana = homes.open("ana").await;
    assert_eq!(ana.sync().await.expect("syncs").sent, 2);
    ana.send(id, "here").await.expect("sends");
    assert_eq!(read(&bruno, id).await, ["lost", "cut off", "here"]);
    assert_eq!(read(&ana, id).await, ["lost", "cut off", "here"]);
}

#[tokio::test]
async fn several_relays_give_each_message_once_and_one_of_them_is_enough() {
    let homes = Homes::on(&["first", "second", "third"]);
    let (ana, bruno, id) = homes.friends().await;
    ana.send(id, "by three").await.expect("sends");
    homes.networks[0].cut_off(&["ana", "bruno"]);
    ana.send(id, "by two").await.expect("sends");
    homes.networks[0].cut_off(&[]);
    homes.networks[1].cut_off(&["ana", "bruno"]);
    homes.networks[2].cut_off(&["bruno"]);
    // What the first did not have it gets now.
    ana.sync().await.expect("syncs");
    assert_eq!(read(&bruno, id).await, ["by three", "by two"]);
    for network in &homes.networks {
        network.cut_off(&[]);
    }
    bruno.send(id, "once").await.expect("sends");
    assert_eq!(read(&bruno, id).await, ["by three", "by two", "once"]);
    let report = ana.sync().await.expect("syncs");
    assert_eq!((report.messages, report.undecryptable), (1, 0));
    let topic = ContentTopic::of_conversation(&id);
    let [first, second, third] =
        [0, 1, 2].map(|network: usize| homes.networks[network].published(&topic).len());
    assert_eq!((first, second), (third, third), "each relay has them all, once");
}

#[tokio::test]
async fn what_is_replayed_damaged_cut_or_moved_is_refused_and_changes_nothing() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    let carla = homes.init("carla").await;
    let other = meet(&carla, "carla", &bruno, "bruno").await;
    ana.send(id, "one").await.expect("sends");
    let topic = ContentTopic::of_conversation(&id);
    let network = &homes.networks[0];
    let genuine = network.published(&topic).last().expect("it was published").clone();
    assert_eq!(read(&bruno, id).await, ["one"]);

    // Replayed, to the same topic and to another conversation's.
    network.inject(&topic, &genuine);
    network.inject(&ContentTopic::of_conversation(&other), &genuine);
    assert_eq!(read(&bruno, id).await, ["one"]);
    assert!(texts(&bruno, other).await.is_empty());

    // The next one damaged at several places, cut, and lengthened, before it comes itself.
    network.cut_off(&["bruno"]);
    ana.send(id, "two").await.expect("sends");
    let next = network.published(&topic).last().expect("it was published").clone();
    network.cut_off(&[]);
    for at in (0..next.len()).step_by(61) {
        let mut bytes = next.clone();
        bytes[at] ^= 1;
        network.inject(&topic, &bytes);
    }
    for length in [0, 1, next.len() / 2, next.len() - 1] {
        network.inject(&topic, &next[..length]);
    }
    network.inject(&topic, &[&next[..], &[0]].concat());
    let report = bruno.sync().await.expect("syncs");
    assert_eq!((report.messages, report.undecryptable), (1, 0));
    assert!(report.invalid > 0, "{report:?}");
    assert_eq!(texts(&bruno, id).await, ["one", "two"]);
    bruno.send(id, "three").await.expect("goes on");
    assert_eq!(read(&ana, id).await, ["one", "two", "three"]);
}

#[tokio::test]
async fn messages_that_come_in_another_order_are_all_read() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    let topic = ContentTopic::of_conversation(&id);
    let reversed = MemoryNetwork::ordered("reversed");
    let before = homes.networks[0].published(&topic).len();
    for number in 0..20 {
        ana.send(id, &format!("{number}")).await.expect("sends");
    }
    drop(bruno);
    let all = homes.networks[0].published(&topic);
    for envelope in all[before..].iter().rev() {
        reversed.inject(&topic, envelope);
    }
    let builder = Client::builder(homes.path("bruno")).carrier(Arc::new(reversed.endpoint("bruno")));
    let bruno = builder.open().await.expect("opens");
    assert_eq!(bruno.sync().await.expect("syncs").messages, 20);
    let bruno = homes.open("bruno").await;
    assert_eq!(bruno.sync().await.expect("syncs").messages, 0, "they are known");
    let mut numbers: Vec<u32> =
        texts(&bruno, id).await.iter().map(|text| text.parse().expect("a number")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_restored_backup_uses_no_hint_twice_and_heals() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    ana.send(id, "before").await.expect("sends");
    assert_eq!(read(&bruno, id).await, ["before"]);
    let key = tertulia::HomeKey::File;
    ana.export(homes.path("backup"), key, |_| {}).await.expect("a backup");
    for number in 0..3 {
        ana.send(id, &format!("lost {number}")).await.expect("sends");
    }
    drop(ana);
    let restored = homes.builder("backup", "ana").open().await.expect("opens");
    // It need not have synchronised before.
    for number in 0..3 {
        restored.send(id, &format!("after {number}")).await.expect("sends");
    }
    assert_eq!(
        read(&bruno, id).await,
        ["before", "lost 0", "lost 1", "lost 2", "after 0", "after 1", "after 2"]
    );
    bruno.send(id, "welcome back").await.expect("sends");
    assert!(read(&restored, id).await.contains(&"welcome back".to_owned()));

    let mut hints: Vec<_> = homes
        .published()
        .iter()
        .map(|bytes| Envelope::decode(bytes).decoded().expect("an envelope").hint)
        .map(|hint| hint.to_string())
        .collect();
    let count = hints.len();
    hints.sort_unstable();
    hints.dedup();
    assert_eq!(hints.len(), count, "no hint was used twice");
}

#[tokio::test]
async fn cover_traffic_says_nothing_and_looks_like_a_message() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    drop(ana);
    let covered = || homes.builder("ana", "ana").cover_traffic(Some(Duration::from_secs(1)));
    let ana = covered().open().await.expect("opens");
    ana.send(id, "real").await.expect("sends");
    let topic = ContentTopic::of_conversation(&id);
    let before = homes.networks[0].published(&topic).len();
    let mut events = Box::pin(ana.events());
    // The stream sends what is due, while somebody looks at it.
    let sending = async { while events.next().await.is_some() {} };
    let seen = async {
        let watch = homes.networks[0].endpoint("watch");
        let mut cursor = watch.fetch(&topic, None, u32::MAX).await.expect("readable").cursor;
        for _ in 0..2 {
            let minute = Duration::from_mins(1);
            let pages = watch.wait(&[(topic, Some(cursor))], minute).await.expect("readable");
            cursor = pages.into_iter().next().expect("it comes within a minute").1.cursor;
        }
    };
    tokio::select! { () = sending => panic!("the stream goes on"), () = seen => {} }
    let all = homes.networks[0].published(&topic);
    assert_eq!(all[before - 1].len(), all[before].len());
    let report = bruno.sync().await.expect("syncs");
    assert_eq!((report.messages, report.undecryptable, report.invalid), (1, 0, 0));
    assert_eq!(texts(&bruno, id).await, ["real"]);
}

#[tokio::test]
async fn events_tell_of_requests_and_messages_as_they_come() {
    let homes = Homes::on(&["first", "second"]);
    let (ana, bruno) = (homes.init("ana").await, homes.init("bruno").await);
    homes.networks[1].cut_off(&["bruno"]);
    let intro = bruno.intro().await.expect("an intro").to_string();
    let listener = bruno.clone();
    let mut events = Box::pin(listener.events());
    assert_eq!(events.next().await.expect("goes on").expect("an event"), ClientEvent::CaughtUp);
    ana.meet(&intro, Some(&handle("bruno"))).await.expect("asks");
    let ClientEvent::Connection(request) = events.next().await.expect("goes on").expect("an event") else {
        panic!("a request comes first");
    };
    assert_eq!(request.status, ConnectionStatus::Pending);
    let id = bruno.accept(&request.handle).await.expect("accepts").conversation;
    ana.sync().await.expect("hears of it");
    ana.send(id, "live").await.expect("sends");
    loop {
        match events.next().await.expect("goes on").expect("an event") {
            ClientEvent::Message(message) => {
                assert_eq!((message.text.as_str(), message.conversation), ("live", id));
                break;
            }
            ClientEvent::Disconnected { reason } => panic!("one carrier is there: {reason}"),
            _ => {}
        }
    }
}

/// A carrier that takes everything, says so, and gives nothing, or what it likes.
#[derive(Debug)]
struct Liar;

#[async_trait::async_trait]
impl Delivery for Liar {
    fn id(&self) -> &'static str {
        "liar"
    }

    fn is_ordered(&self) -> bool {
        true
    }

    async fn publish(&self, _: &ContentTopic, _: &[u8]) -> Result<Position, TransportError> {
        Ok(Position(1))
    }

    async fn fetch(&self, _: &ContentTopic, _: Option<&Cursor>, _: u32) -> Result<Page, TransportError> {
        Ok(page(Vec::new()))
    }

    async fn wait(
        &self,
        topics: &[(ContentTopic, Option<Cursor>)],
        _: Duration,
    ) -> Result<Vec<(ContentTopic, Page)>, TransportError> {
        // Junk, in topics that nobody has asked for too, and always more of it.
        let elsewhere = ContentTopic::of_conversation(&ConversationId::random());
        let junk = || page(vec![(Position(7), vec![0; 100]), (Position(3), Vec::new())]);
        Ok(topics.iter().map(|(topic, _)| (*topic, junk())).chain([(elsewhere, junk())]).collect())
    }
}

fn page(envelopes: Vec<(Position, Vec<u8>)>) -> Page {
    Page { envelopes, cursor: "0".parse().expect("a cursor"), missed: true, more: true }
}

#[tokio::test]
async fn a_carrier_that_lies_does_no_harm_beside_one_that_does_not() {
    let homes = Homes::on(&["relay"]);
    drop((homes.init("ana").await, homes.init("bruno").await));
    let ana = homes.builder("ana", "ana").carrier(Arc::new(Liar)).open().await.expect("opens");
    let bruno = homes.builder("bruno", "bruno").carrier(Arc::new(Liar)).open().await.expect("opens");
    let id = meet(&ana, "ana", &bruno, "bruno").await;
    ana.send(id, "all the same").await.expect("sends");
    assert_eq!(read(&bruno, id).await, ["all the same"]);
}

#[tokio::test]
async fn keys_are_renewed_once_a_week_by_one_or_by_both_at_once_and_nothing_is_lost() {
    let homes = Homes::on(&["relay"]);
    let (mut ana, mut bruno, id) = homes.friends().await;
    for round in 0..3 {
        drop((ana, bruno));
        homes.age("ana");
        ana = homes.open("ana").await;
        let before = homes.published().len();
        ana.sync().await.expect("offers");
        assert_eq!(homes.published().len(), before + 1, "a renewal, and nothing else");
        if round == 1 {
            // Bruno renews too, before he hears of Ana's.
            homes.age("bruno");
            let elsewhere = MemoryNetwork::ordered("elsewhere");
            let builder = Client::builder(homes.path("bruno")).carrier(Arc::new(elsewhere.endpoint("bruno")));
            builder.open().await.expect("opens").sync().await.expect("offers");
            for topic in elsewhere.topics() {
                let offers = elsewhere.published(&topic);
                for envelope in &offers {
                    homes.networks[0].inject(&topic, envelope);
                }
            }
        }
        bruno = homes.open("bruno").await;
        ana.send(id, &format!("in the old epoch {round}")).await.expect("sends");
        bruno.send(id, &format!("meanwhile {round}")).await.expect("sends");
        for client in [&bruno, &ana, &bruno, &ana] {
            let report = client.sync().await.expect("syncs");
            assert_eq!((report.undecryptable, report.invalid), (0, 0));
        }
        bruno.send(id, &format!("in the new epoch {round}")).await.expect("sends");
        ana.sync().await.expect("syncs");
        ana.send(id, &format!("in it too {round}")).await.expect("sends");
        bruno.sync().await.expect("syncs");
    }
    for client in [&ana, &bruno] {
        let mut all = texts(client, id).await;
        assert_eq!(all.len(), 12);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 12, "each once");
    }
    assert_eq!((homes.epoch("ana"), homes.epoch("bruno")), (3, 3));
}

//! The people, what they do in the storm, and what has to be so afterwards.

use crate::{
    envelopes::{Homes, meet},
    support::{handle, texts},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::{Future, poll_fn},
    path::Path,
    pin::pin,
    task::Poll,
};
use tempfile::TempDir;
use tertulia::{AddPermission, Client, ClientBuilder, ConversationId, Error, ErrorKind, Message, SyncReport};
use tertulia_conversation::{hint::HintTable, topic::ContentTopic, wire::Envelope};
use tertulia_transport::{Faults, MemoryNetwork};

const STORM: Faults = Faults { loss: 0.3, duplication: 0.2, delay: 15 };
const NAMES: [&str; 3] = ["ana", "bruno", "carla"];

pub(super) struct World {
    random: StdRng,
    homes: Homes,
    people: Vec<Person>,
    rooms: Vec<Room>,
    /// What each has said in a topic, in this order, and in which room.
    said: BTreeMap<(usize, ContentTopic), Vec<(usize, String)>>,
    /// What each has left in a topic of the stormy network since it began, in this order.
    posted: BTreeMap<(usize, ContentTopic), Vec<Vec<u8>>>,
    /// How much of each topic is in `posted`, or older.
    seen: BTreeMap<ContentTopic, usize>,
    /// Who cannot reach the stormy network.
    cut_off: BTreeSet<&'static str>,
    /// Whether the relay comes and goes.
    relay_wavers: bool,
    /// How often the group may still change: no more often than there are past epochs, of which messages are read.
    changes: usize,
}

struct Person {
    name: &'static str,
    client: Option<Client>,
    /// Something that they were saying when it was given up: it was said, or not.
    doubtful: Option<(usize, String)>,
    /// Whether a call was given up or failed half-way, so that nobody knows what it would have reported.
    interrupted: bool,
    total: SyncReport,
    /// How much had reached them in each topic before the storm.
    before: BTreeMap<ContentTopic, usize>,
}

struct Room {
    id: ConversationId,
    topic: ContentTopic,
    members: Vec<usize>,
}

/// Stores in memory where the system has files there: what is asked here is not how fast its disk is.
fn place() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary directory")
}

/// A home. Every other one asks its networks in another order than the group's, which is Ana's.
fn builder(homes: &Homes, who: usize) -> ClientBuilder {
    if who % 2 == 1 { homes.turned(NAMES[who]) } else { homes.builder(NAMES[who], NAMES[who]) }
}

/// Polls a call so many times, and gives it up.
async fn interrupt<T>(call: impl Future<Output = T>, polls: u32) -> Option<T> {
    let (mut call, mut left) = (pin!(call), polls);
    poll_fn(|context| match left.checked_sub(1) {
        None => Poll::Ready(None),
        Some(fewer) => {
            left = fewer;
            call.as_mut().poll(context).map(Some)
        }
    })
    .await
}

impl World {
    /// Two who talk in private.
    pub(super) async fn of_two(seed: u64) -> Self {
        let mut world = Self::new(seed, &[], 2).await;
        world.meet(0, 1).await;
        world.begin().await
    }

    /// One who talks to two others, each in private.
    pub(super) async fn of_three(seed: u64) -> Self {
        let mut world = Self::new(seed, &[], 3).await;
        world.meet(0, 1).await;
        world.meet(0, 2).await;
        world.begin().await
    }

    /// The same three with a group, and a relay.
    pub(super) async fn of_a_group(seed: u64) -> Self {
        let mut world = Self::new(seed, &["relay"], 3).await;
        world.meet(0, 1).await;
        world.meet(0, 2).await;
        let others = [handle("bruno"), handle("carla")];
        let group = world.client(0).create_group("Tertulia", &others).await.expect("a group");
        world.add_room(group.id, vec![0, 1, 2]);
        world.begin().await
    }

    async fn new(seed: u64, relays: &[&str], people: usize) -> Self {
        let mut networks: Vec<_> = relays.iter().map(|name| MemoryNetwork::ordered(name)).collect();
        networks.push(MemoryNetwork::with_faults("peers", seed, Faults::NONE));
        let homes = Homes { dir: place(), networks };
        // In a third of the storms an answer has room for all that a relay gives, in the others for little of it.
        let room = [20, 60, 256][usize::try_from(seed % 3).expect("less than three")];
        homes.networks.iter().for_each(|network| network.set_room(room));
        let mut all = Vec::new();
        for (who, name) in NAMES[..people].iter().enumerate() {
            let client = builder(&homes, who).init::<&str>(&[]).await.expect("a new home");
            all.push(Person {
                name,
                client: Some(client),
                doubtful: None,
                interrupted: false,
                total: SyncReport::default(),
                before: BTreeMap::new(),
            });
        }
        Self {
            random: StdRng::seed_from_u64(seed),
            homes,
            people: all,
            rooms: Vec::new(),
            said: BTreeMap::new(),
            posted: BTreeMap::new(),
            seen: BTreeMap::new(),
            cut_off: BTreeSet::new(),
            relay_wavers: false,
            changes: 0,
        }
    }

    async fn meet(&mut self, a: usize, b: usize) {
        let id = meet(self.client(a), NAMES[a], self.client(b), NAMES[b]).await;
        self.add_room(id, vec![a, b]);
    }

    fn add_room(&mut self, id: ConversationId, members: Vec<usize>) {
        self.rooms.push(Room { id, topic: ContentTopic::of_conversation(&id), members });
    }

    /// All are up to date, and the storm begins.
    async fn begin(mut self) -> Self {
        for _ in 0..2 {
            for person in &self.people {
                person.client.as_ref().expect("it is open").sync().await.expect("syncs");
            }
        }
        for topic in self.topics() {
            let peers = self.peers().clone();
            self.seen.insert(topic, peers.published(&topic).len());
            for person in &mut self.people {
                person.before.insert(topic, peers.arrived(person.name, &topic).len());
            }
        }
        self.peers().set_faults(STORM);
        self
    }

    fn peers(&self) -> &MemoryNetwork {
        self.homes.networks.last().expect("there always is one")
    }

    fn topics(&self) -> BTreeSet<ContentTopic> {
        self.rooms.iter().map(|room| room.topic).collect()
    }

    fn client(&self, who: usize) -> &Client {
        self.people[who].client.as_ref().expect("it is open")
    }

    /// From now on the relay comes and goes, and the group changes.
    pub(super) const fn change_meanwhile(&mut self) {
        (self.relay_wavers, self.changes) = (true, HintTable::PAST_EPOCHS);
    }

    /// Takes the relay from everybody, or gives it back.
    pub(super) fn relay_is_away(&self, away: bool) {
        self.homes.networks[0].cut_off(if away { &NAMES } else { &[] });
    }

    pub(super) async fn storm(&mut self) {
        for _ in 0..self.random.random_range(16..28) {
            let who = self.random.random_range(0..self.people.len());
            match self.random.random_range(0..100) {
                0..42 => self.say(who, None).await,
                42..70 => self.sync(who, None).await,
                70..77 => {
                    let polls = self.random.random_range(1..12);
                    self.sync(who, Some(polls)).await;
                }
                77..83 => {
                    let polls = self.random.random_range(1..8);
                    self.say(who, Some(polls)).await;
                }
                83..90 => self.restart(who).await,
                90..95 => {
                    self.cut_off = NAMES.into_iter().filter(|_| self.random.random_bool(0.4)).collect();
                    let cut_off: Vec<_> = self.cut_off.iter().copied().collect();
                    self.peers().cut_off(&cut_off);
                }
                95..98 => {
                    let answers = self.random.random_range(1..3);
                    self.peers().lose_answers(self.people[who].name, answers);
                }
                _ if self.relay_wavers => {
                    let away = self.random.random_bool(0.5);
                    self.relay_is_away(away);
                }
                _ => self.sync(who, None).await,
            }
            if self.changes > 0 && self.random.random_bool(0.15) {
                self.changes -= 1;
                self.change().await;
            }
            self.note_posted(who);
        }
    }

    /// Says something in some room; up to so many polls, if it is to be given up.
    async fn say(&mut self, who: usize, polls: Option<u32>) {
        let rooms: Vec<usize> =
            (0..self.rooms.len()).filter(|room| self.rooms[*room].members.contains(&who)).collect();
        let room = *rooms.choose(&mut self.random).expect("all are in one");
        // What waits in another room of the same topic goes first, so that it is known which envelope has which text.
        if self.people[who].doubtful.is_some() || self.waits_elsewhere(who, room) {
            return self.sync(who, None).await;
        }
        self.say_in(who, room, polls).await;
    }

    async fn say_in(&mut self, who: usize, room: usize, polls: Option<u32>) {
        let number: usize = self.said.values().map(Vec::len).sum();
        let text = format!("storm {number} by {}", self.people[who].name);
        let sending = Box::pin(self.client(who).send(self.rooms[room].id, &text));
        let outcome = match polls {
            None => Some(sending.await),
            Some(polls) => interrupt(sending, polls).await,
        };
        let is_queued = |sent: &Result<Message, Error>| match sent {
            Ok(_) => true,
            Err(error) => error.code() == "queued",
        };
        if let Some(sent) = outcome {
            assert!(is_queued(&sent), "{sent:?}");
            self.said.entry((who, self.rooms[room].topic)).or_default().push((room, text));
        } else {
            self.people[who].doubtful = Some((room, text));
            self.people[who].interrupted = true;
            self.restart(who).await;
        }
    }

    fn waits_elsewhere(&self, who: usize, room: usize) -> bool {
        let place = (who, self.rooms[room].topic);
        let said = self.said.get(&place).map_or(&[][..], Vec::as_slice);
        let posted = self.posted.get(&place).map_or(0, Vec::len);
        said.len() > posted && said.last().is_some_and(|(last, _)| *last != room)
    }

    async fn sync(&mut self, who: usize, polls: Option<u32>) {
        let syncing = self.client(who).sync();
        let outcome = match polls {
            None => Some(syncing.await),
            Some(polls) => interrupt(syncing, polls).await,
        };
        match outcome {
            Some(Ok(report)) => {
                let total = &mut self.people[who].total;
                total.events += report.events;
                total.messages += report.messages;
                total.others += report.others;
                total.invalid += report.invalid;
                total.undecryptable += report.undecryptable;
                assert_eq!(report.refused, 0);
                self.settle_doubt(who).await;
            }
            Some(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Transient, "{error:?}");
                // An answer was lost, after something was taken perhaps.
                let name = self.people[who].name;
                self.people[who].interrupted |= !self.cut_off.contains(name);
            }
            None => {
                self.people[who].interrupted = true;
                self.restart(who).await;
            }
        }
    }

    /// Finds out whether something that was given up was said.
    async fn settle_doubt(&mut self, who: usize) {
        let Some((room, text)) = self.people[who].doubtful.take() else { return };
        if texts(self.client(who), self.rooms[room].id).await.contains(&text) {
            self.said.entry((who, self.rooms[room].topic)).or_default().push((room, text));
        } else if self.homes.waiting(self.people[who].name) > 0 {
            self.people[who].doubtful = Some((room, text));
        }
    }

    async fn restart(&mut self, who: usize) {
        // The one before is gone before the next one is opened.
        self.people[who].client = None;
        self.people[who].client = Some(builder(&self.homes, who).open().await.expect("opens"));
    }

    /// Ana changes the group, by a commit.
    async fn change(&mut self) {
        let room = self.rooms.last().expect("the group").id;
        let to = *[AddPermission::Admins, AddPermission::Everyone].choose(&mut self.random).expect("two");
        let polls = self.random.random_bool(0.3).then(|| self.random.random_range(1..15));
        let changing = Box::pin(self.client(0).set_add_permission(room, to));
        let outcome = match polls {
            None => Some(changing.await),
            Some(polls) => interrupt(changing, polls).await,
        };
        match outcome {
            Some(Ok(_)) => {}
            Some(Err(error)) => assert_eq!(error.kind(), ErrorKind::Transient, "{error:?}"),
            None => {
                self.people[0].interrupted = true;
                self.restart(0).await;
            }
        }
    }

    /// What has been left in the topics since the last time is by this one, who alone has done something.
    fn note_posted(&mut self, who: usize) {
        for topic in self.topics() {
            let published = self.peers().published(&topic);
            let seen = self.seen.entry(topic).or_default();
            self.posted.entry((who, topic)).or_default().extend_from_slice(&published[*seen..]);
            *seen = published.len();
        }
    }

    /// The network is quiet and good, and all are up to date.
    pub(super) async fn calm(&mut self) {
        let peers = self.peers().clone();
        peers.cut_off(&[]);
        self.cut_off.clear();
        peers.set_faults(Faults::NONE);
        peers.settle();
        for name in NAMES {
            peers.lose_answers(name, 0);
        }
        self.settle().await;
        assert!(self.people.iter().all(|person| person.doubtful.is_none()), "nothing is left waiting");
    }

    /// All synchronise: once to say what waits, and once to hear it.
    async fn settle(&mut self) {
        for _ in 0..2 {
            for who in 0..self.people.len() {
                self.sync(who, None).await;
                self.note_posted(who);
            }
        }
    }

    /// The relay is there for good. By it comes what the other network has lost.
    pub(super) async fn relay_is_back(&mut self) {
        self.relay_is_away(false);
        self.settle().await;
        for room in 0..self.rooms.len() {
            let everything = self.all_said_in(room);
            for who in self.rooms[room].members.clone() {
                let mut shown = self.shown(who, room).await;
                shown.sort_unstable();
                assert_eq!(shown, everything, "room {room} at {}", self.people[who].name);
            }
        }
    }

    /// All that was said in a room, in the order of the texts.
    fn all_said_in(&self, room: usize) -> Vec<String> {
        let in_room = |(at, text): &(usize, String)| (*at == room).then(|| text.clone());
        let mut all: Vec<String> = self.said.values().flatten().filter_map(in_room).collect();
        all.sort_unstable();
        all
    }

    /// What a home shows of a room, of what was said here.
    async fn shown(&self, who: usize, room: usize) -> Vec<String> {
        let mut shown = texts(self.client(who), self.rooms[room].id).await;
        shown.retain(|text| text.starts_with("storm "));
        shown
    }

    /// Everybody says three things in every room, and all take what there is.
    pub(super) async fn say_after_all(&mut self) {
        for _ in 0..3 {
            for room in 0..self.rooms.len() {
                for who in self.rooms[room].members.clone() {
                    self.say_in(who, room, None).await;
                    self.note_posted(who);
                }
            }
        }
        self.settle().await;
    }

    /// Whatever the network delivered is shown, once: what others have said in the order in which it came, and what one said oneself in the order in which it was said.
    pub(super) async fn assert_delivered(&self, people: &[usize]) {
        let of_envelope = self.texts_by_envelope();
        for (index, room) in self.rooms.iter().enumerate() {
            for who in people.iter().copied().filter(|who| room.members.contains(who)) {
                let name = self.people[who].name;
                let own: Vec<_> = self.said.get(&(who, room.topic)).into_iter().flatten().collect();
                let own: Vec<_> =
                    own.into_iter().filter(|(at, _)| *at == index).map(|(_, text)| text.clone()).collect();
                let mut delivered = Vec::new();
                for envelope in self.peers().arrived(name, &room.topic) {
                    match of_envelope.get(&envelope) {
                        Some((by, at, text)) if *at == index && *by != who && !delivered.contains(*text) => {
                            delivered.push((*text).clone());
                        }
                        _ => {}
                    }
                }
                let shown = self.shown(who, index).await;
                let (of_self, of_others): (Vec<_>, Vec<_>) =
                    shown.into_iter().partition(|text| text.ends_with(name));
                assert_eq!(of_others, delivered, "what others have said in room {index}, at {name}");
                assert_eq!(of_self, own, "what {name} has said in room {index}");
            }
        }
    }

    /// Who has said what in which room by an envelope.
    fn texts_by_envelope(&self) -> HashMap<Vec<u8>, (usize, usize, &String)> {
        let mut of_envelope = HashMap::new();
        for (place, envelopes) in &self.posted {
            let said = self.said.get(place).map_or(&[][..], Vec::as_slice);
            assert_eq!(
                envelopes.len(),
                said.len(),
                "each text is one envelope of {}",
                self.people[place.0].name
            );
            for (envelope, (room, text)) in envelopes.iter().zip(said) {
                assert!(
                    of_envelope.insert(envelope.clone(), (place.0, *room, text)).is_none(),
                    "an envelope has one text"
                );
            }
        }
        of_envelope
    }

    /// What was not taken is what came twice, what is one's own, and what is of others; and nothing was wrong.
    pub(super) fn assert_counted(&self) {
        let of_envelope = self.texts_by_envelope();
        for (who, person) in self.people.iter().enumerate() {
            let rooms: Vec<_> =
                (0..self.rooms.len()).filter(|at| self.rooms[*at].members.contains(&who)).collect();
            let topics: BTreeSet<_> = rooms.iter().map(|at| self.rooms[*at].topic).collect();
            let (mut all, mut first) = (0, BTreeSet::new());
            for topic in topics {
                let arrived = self.peers().arrived(person.name, &topic);
                for envelope in arrived.into_iter().skip(person.before.get(&topic).copied().unwrap_or(0)) {
                    all += 1;
                    let (by, at, _) = of_envelope.get(&envelope).expect("it was posted");
                    if *by != who && rooms.contains(at) {
                        first.insert(envelope);
                    }
                }
            }
            let (new, total) = (first.len() as u64, &person.total);
            assert_eq!((total.invalid, total.undecryptable), (0, 0), "{}", person.name);
            if person.interrupted {
                assert!(
                    total.messages <= new && total.events <= new,
                    "{}: {total:?}, {new} new",
                    person.name
                );
            } else {
                assert_eq!(
                    (total.messages, total.events, total.others),
                    (new, new, all - new),
                    "{} has got {all}, {new} of them new",
                    person.name
                );
            }
        }
    }

    /// What was said last reaches everybody, in each one's order; and no hint was used twice in all that time.
    pub(super) async fn assert_all_read(&self) {
        for (index, room) in self.rooms.iter().enumerate() {
            for by in &room.members {
                let said = self.said.get(&(*by, room.topic)).into_iter().flatten();
                let said: Vec<_> = said.filter(|(at, _)| *at == index).map(|(_, text)| text).collect();
                let last = &said[said.len() - 3..];
                for reader in &room.members {
                    let shown = self.shown(*reader, index).await;
                    let read: Vec<_> = shown.iter().filter(|text| last.contains(text)).collect();
                    assert_eq!(read, last, "room {index}: {} reads {}", NAMES[*reader], NAMES[*by]);
                }
            }
        }
        let mut envelopes = BTreeSet::new();
        for network in &self.homes.networks {
            envelopes.extend(network.topics().iter().flat_map(|topic| network.published(topic)));
        }
        let mut hints = BTreeSet::new();
        for bytes in envelopes {
            let hint = Envelope::decode(&bytes).decoded().expect("an envelope").hint;
            assert!(hints.insert(*hint.as_bytes()), "{hint} was used twice");
        }
    }

    /// All are members, in the same epoch.
    pub(super) async fn assert_one_epoch(&self) {
        let group = self.rooms.last().expect("the group").id;
        let expected = self.client(0).epoch(group).await.expect("a member");
        for (who, name) in NAMES.iter().enumerate().take(self.people.len()).skip(1) {
            assert_eq!(self.client(who).epoch(group).await.expect("a member"), expected, "{name}");
        }
    }
}

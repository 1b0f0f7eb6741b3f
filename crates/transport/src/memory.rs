//! A carrier in memory, for tests: with one order for all, or with loss, delay, another order and duplicates by a seed.
//!
//! Each device has an [endpoint](MemoryNetwork::endpoint), in which it sees what has reached it. The network remembers an endpoint by its name, so a device that
//! is restarted finds it as it was.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tertulia_conversation::topic::ContentTopic;
use tokio::sync::watch;

use crate::{Cursor, Delivery, Page, Position, TransportError};

/// Most of all topics together in one answer, as at a relay: envelopes, and bytes unless the first envelope alone has more.
const MOST: Room =
    Room { envelopes: tertulia_api::relay::MAX_PAGE as usize, bytes: 256 << 10, is_empty: true };

/// What there is room for in an answer.
#[derive(Debug, Clone, Copy)]
struct Room {
    envelopes: usize,
    bytes: usize,
    /// Whether nothing is in the answer yet.
    is_empty: bool,
}

impl Room {
    fn take(&mut self, size: usize) -> bool {
        let is_taken = self.envelopes > 0 && (size <= self.bytes || self.is_empty);
        if is_taken {
            let bytes = self.bytes.saturating_sub(size);
            *self = Self { envelopes: self.envelopes - 1, bytes, is_empty: false };
        }
        is_taken
    }
}

/// What goes wrong in a network without order. Shares are of 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Faults {
    /// The share of envelopes that never reach an endpoint; for each endpoint anew.
    pub loss: f64,
    /// The share that comes twice.
    pub duplication: f64,
    /// How many operations of the network an envelope is under way at most; each its own number, so that later ones overtake it.
    pub delay: u64,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Self = Self { loss: 0.0, duplication: 0.0, delay: 0 };
}

/// A network that exists in this process. Cheap to clone.
#[derive(Clone)]
pub struct MemoryNetwork {
    name: Arc<str>,
    is_ordered: bool,
    state: Arc<Mutex<State>>,
    /// Changes with every change of an endpoint.
    news: watch::Sender<u64>,
}

/// A device's view of the network.
#[derive(Clone)]
pub struct Memory {
    network: MemoryNetwork,
    endpoint: Arc<str>,
    id: Arc<str>,
}

struct State {
    random: StdRng,
    faults: Faults,
    room: Room,
    /// How many operations there were.
    clock: u64,
    /// All that was ever published, for endpoints that come later.
    all: BTreeMap<ContentTopic, Vec<Vec<u8>>>,
    endpoints: HashMap<Arc<str>, Endpoint>,
}

#[derive(Default)]
struct Endpoint {
    arrived: BTreeMap<ContentTopic, Vec<Vec<u8>>>,
    under_way: Vec<(u64, ContentTopic, Vec<u8>)>,
    cut_off: bool,
    /// Answers to publishing that will be lost, though the envelope is taken.
    lost_answers: usize,
}

impl MemoryNetwork {
    /// A network in which all see the same envelopes in the same order, as at a relay.
    pub fn ordered(name: &str) -> Self {
        Self::new(name, true, 0, Faults::NONE)
    }

    /// A network without order, with these faults, which are the same for the same seed and the same operations.
    pub fn with_faults(name: &str, seed: u64, faults: Faults) -> Self {
        Self::new(name, false, seed, faults)
    }

    fn new(name: &str, is_ordered: bool, seed: u64, faults: Faults) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let (all, endpoints) = (BTreeMap::new(), HashMap::new());
        let state = State { random, faults, room: MOST, clock: 0, all, endpoints };
        let state = Arc::new(Mutex::new(state));
        Self { name: name.into(), is_ordered, state, news: watch::Sender::new(0) }
    }

    /// Changes what goes wrong from now on. What is under way stays so; where there is an order nothing ever goes wrong.
    pub fn set_faults(&self, faults: Faults) {
        if !self.is_ordered {
            self.state().faults = faults;
        }
    }

    /// Gives at most so many envelopes in one answer from now on, of all topics together; at least one, and never more than a relay does.
    pub fn set_room(&self, envelopes: usize) {
        self.state().room = Room { envelopes: envelopes.clamp(1, MOST.envelopes), ..MOST };
    }

    /// The endpoint of this name. A new one has all that was published before.
    pub fn endpoint(&self, name: &str) -> Memory {
        let name: Arc<str> = name.into();
        let mut state = self.state();
        if !state.endpoints.contains_key(&name) {
            let endpoint = Endpoint { arrived: state.all.clone(), ..Endpoint::default() };
            state.endpoints.insert(Arc::clone(&name), endpoint);
        }
        Memory { network: self.clone(), endpoint: name, id: format!("memory:{}", self.name).into() }
    }

    /// Cuts these endpoints off, and no others: for them the network cannot be reached, and what is published meanwhile reaches them later.
    pub fn cut_off(&self, endpoints: &[&str]) {
        let cut_off: BTreeSet<&str> = endpoints.iter().copied().collect();
        for (name, endpoint) in &mut self.state().endpoints {
            endpoint.cut_off = cut_off.contains(&**name);
        }
        self.tell();
    }

    /// Loses the answers to the next so many envelopes that this endpoint publishes: they are taken, and it does not learn that.
    pub fn lose_answers(&self, endpoint: &str, answers: usize) {
        if let Some(endpoint) = self.state().endpoints.get_mut(endpoint) {
            endpoint.lost_answers = answers;
        }
    }

    /// Lets everything arrive that is under way.
    pub fn settle(&self) {
        self.state().arrive(u64::MAX);
        self.tell();
    }

    /// All that was published in a topic, in that order.
    pub fn published(&self, topic: &ContentTopic) -> Vec<Vec<u8>> {
        self.state().all.get(topic).cloned().unwrap_or_default()
    }

    /// What has reached an endpoint in a topic, as often and in the order in which it came.
    pub fn arrived(&self, endpoint: &str, topic: &ContentTopic) -> Vec<Vec<u8>> {
        let state = self.state();
        let arrived = state.endpoints.get(endpoint).and_then(|endpoint| endpoint.arrived.get(topic));
        arrived.cloned().unwrap_or_default()
    }

    /// The topics in which something was published.
    pub fn topics(&self) -> Vec<ContentTopic> {
        self.state().all.keys().copied().collect()
    }

    /// Puts bytes into a topic at all endpoints as they are, also such as nobody would publish.
    pub fn inject(&self, topic: &ContentTopic, bytes: &[u8]) {
        let mut state = self.state();
        state.all.entry(*topic).or_default().push(bytes.to_vec());
        for endpoint in state.endpoints.values_mut() {
            endpoint.arrived.entry(*topic).or_default().push(bytes.to_vec());
        }
        drop(state);
        self.tell();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.news.send_modify(|version| *version = version.wrapping_add(1));
    }
}

impl State {
    /// What was to be under way until this moment has arrived.
    fn arrive(&mut self, now: u64) {
        for endpoint in self.endpoints.values_mut() {
            let (due, still): (Vec<_>, Vec<_>) =
                std::mem::take(&mut endpoint.under_way).into_iter().partition(|(at, ..)| *at <= now);
            endpoint.under_way = still;
            for (_, topic, envelope) in due {
                endpoint.arrived.entry(topic).or_default().push(envelope);
            }
        }
    }

    fn tick(&mut self) {
        self.clock += 1;
        self.arrive(self.clock);
    }

    /// What comes next for an endpoint in a topic, as far as there is room.
    fn page(&mut self, endpoint: &str, topic: ContentTopic, after: Option<&Cursor>, room: &mut Room) -> Page {
        self.tick();
        let from: usize = after.and_then(|cursor| cursor.as_str().parse().ok()).unwrap_or(0);
        let arrived = self.endpoints.get(endpoint).and_then(|endpoint| endpoint.arrived.get(&topic));
        let arrived = arrived.map(Vec::as_slice).unwrap_or_default();
        let next = (1..).map(Position).zip(arrived).skip(from);
        let given = next.take_while(|(_, envelope)| room.take(envelope.len()));
        let envelopes: Vec<_> = given.map(|(position, envelope)| (position, envelope.clone())).collect();
        let end = from + envelopes.len();
        let cursor = end.to_string().try_into().expect("digits are a cursor");
        Page { envelopes, cursor, missed: false, more: end < arrived.len() }
    }

    fn publish(&mut self, by: &str, topic: ContentTopic, envelope: &[u8]) -> u64 {
        let Faults { loss, duplication, delay } = self.faults;
        let all = self.all.entry(topic).or_default();
        if let Some(at) = all.iter().position(|other| other == envelope) {
            return at as u64 + 1;
        }
        let position = all.len() as u64 + 1;
        all.push(envelope.to_vec());
        // In the order of their names, so that the same seed is the same network.
        let mut names: Vec<_> = self.endpoints.keys().cloned().collect();
        names.sort_unstable();
        for name in names {
            let Some(endpoint) = self.endpoints.get_mut(&name) else { continue };
            if *name == *by || self.faults == Faults::NONE {
                endpoint.arrived.entry(topic).or_default().push(envelope.to_vec());
                continue;
            }
            if self.random.random_bool(loss) {
                continue;
            }
            let copies = 1 + u32::from(self.random.random_bool(duplication));
            for _ in 0..copies {
                let at = self.clock + self.random.random_range(0..=delay);
                endpoint.under_way.push((at, topic, envelope.to_vec()));
            }
        }
        self.arrive(self.clock);
        position
    }
}

impl Memory {
    fn unreachable(&self, reason: &str) -> TransportError {
        TransportError::Unreachable { hub: self.id.to_string(), reason: reason.to_owned() }
    }

    fn check(&self, state: &State) -> Result<(), TransportError> {
        match state.endpoints.get(&self.endpoint) {
            Some(endpoint) if !endpoint.cut_off => Ok(()),
            _ => Err(self.unreachable("this endpoint is cut off")),
        }
    }

    /// One answer about these topics. As at a relay, one for which those before it have left no room has a page that says that there is more.
    fn pages(
        &self,
        topics: &[(ContentTopic, Option<Cursor>)],
    ) -> Result<Vec<(ContentTopic, Page)>, TransportError> {
        let mut state = self.network.state();
        self.check(&state)?;
        let mut room = state.room;
        let page = |(topic, after): &(ContentTopic, Option<Cursor>)| {
            (*topic, state.page(&self.endpoint, *topic, after.as_ref(), &mut room))
        };
        let mut pages: Vec<_> = topics.iter().map(page).collect();
        pages.retain(|(_, page)| !page.envelopes.is_empty() || page.more);
        Ok(pages)
    }
}

#[async_trait]
impl Delivery for Memory {
    fn id(&self) -> &str {
        &self.id
    }

    fn is_ordered(&self) -> bool {
        self.network.is_ordered
    }

    async fn publish(&self, topic: &ContentTopic, envelope: &[u8]) -> Result<Position, TransportError> {
        let mut state = self.network.state();
        self.check(&state)?;
        state.tick();
        let position = state.publish(&self.endpoint, *topic, envelope);
        let lost = state.endpoints.get_mut(&self.endpoint).is_some_and(|endpoint| {
            let lost = endpoint.lost_answers > 0;
            endpoint.lost_answers = endpoint.lost_answers.saturating_sub(1);
            lost
        });
        drop(state);
        self.network.tell();
        if lost { Err(self.unreachable("the answer was lost")) } else { Ok(Position(position)) }
    }

    async fn fetch(
        &self,
        topic: &ContentTopic,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page, TransportError> {
        let mut state = self.network.state();
        self.check(&state)?;
        let mut room = Room { envelopes: state.room.envelopes.min(limit as usize), ..state.room };
        Ok(state.page(&self.endpoint, *topic, after, &mut room))
    }

    async fn wait(
        &self,
        topics: &[(ContentTopic, Option<Cursor>)],
        at_most: Duration,
    ) -> Result<Vec<(ContentTopic, Page)>, TransportError> {
        let mut news = self.network.news.subscribe();
        let waiting = async {
            loop {
                let found = self.pages(topics)?;
                if !found.is_empty() || news.changed().await.is_err() {
                    return Ok(found);
                }
            }
        };
        tokio::time::timeout(at_most, waiting).await.unwrap_or_else(|_| Ok(Vec::new()))
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNetwork").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({}, {})", self.id, self.endpoint)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tertulia_domain::ConversationId;

    fn topic() -> ContentTopic {
        ContentTopic::of_conversation(&ConversationId::from_bytes([7; 16]))
    }

    async fn all(memory: &Memory, limit: u32) -> Vec<Vec<u8>> {
        let (mut cursor, mut all) = (None, Vec::new());
        loop {
            let page = memory.fetch(&topic(), cursor.as_ref(), limit).await.unwrap();
            all.extend(page.envelopes.into_iter().map(|(_, envelope)| envelope));
            cursor = Some(page.cursor);
            if !page.more {
                return all;
            }
        }
    }

    #[tokio::test]
    async fn where_there_is_an_order_all_see_each_envelope_once_in_it() {
        let network = MemoryNetwork::ordered("relay");
        let (ana, bruno) = (network.endpoint("ana"), network.endpoint("bruno"));
        for number in 0..5_u8 {
            let by = if number % 2 == 0 { &ana } else { &bruno };
            assert_eq!(by.publish(&topic(), &[number]).await.unwrap(), Position(u64::from(number) + 1));
            assert_eq!(by.publish(&topic(), &[number]).await.unwrap(), Position(u64::from(number) + 1));
        }
        let expected: Vec<Vec<u8>> = (0..5).map(|number| vec![number]).collect();
        let late = network.endpoint("late");
        for (endpoint, limit) in [(&ana, 1), (&bruno, 2), (&late, 100)] {
            assert_eq!(all(endpoint, limit).await, expected);
        }
    }

    #[tokio::test]
    async fn faults_are_those_of_the_seed_and_lose_nothing_that_settles() {
        let run = async |seed, loss| {
            let network =
                MemoryNetwork::with_faults("peers", seed, Faults { loss, duplication: 0.3, delay: 20 });
            let (ana, bruno) = (network.endpoint("ana"), network.endpoint("bruno"));
            for number in 0..100 {
                ana.publish(&topic(), &[number]).await.unwrap();
            }
            network.settle();
            all(&bruno, 7).await
        };
        assert_eq!(run(1, 0.3).await, run(1, 0.3).await);
        assert_ne!(run(1, 0.3).await, run(2, 0.3).await);
        let complete = run(3, 0.0).await;
        let distinct: BTreeSet<_> = complete.iter().collect();
        assert_eq!(distinct.len(), 100);
        assert!(complete.len() > 100, "some came twice");
        assert!(!complete.is_sorted(), "some were overtaken");
    }

    #[tokio::test]
    async fn who_is_cut_off_gets_it_later_and_a_lost_answer_is_of_something_taken() {
        let network = MemoryNetwork::ordered("relay");
        let (ana, bruno) = (network.endpoint("ana"), network.endpoint("bruno"));
        network.cut_off(&["bruno"]);
        ana.publish(&topic(), b"one").await.unwrap();
        assert!(matches!(bruno.fetch(&topic(), None, 9).await, Err(TransportError::Unreachable { .. })));
        network.cut_off(&[]);
        network.lose_answers("ana", 1);
        assert!(ana.publish(&topic(), b"two").await.unwrap_err().outcome_unknown());
        assert_eq!(ana.publish(&topic(), b"two").await.unwrap(), Position(2));
        assert_eq!(all(&bruno, 9).await, [b"one", b"two"]);
    }

    #[tokio::test]
    async fn who_waits_is_told_of_the_topic() {
        let network = MemoryNetwork::ordered("relay");
        let (ana, bruno) = (network.endpoint("ana"), network.endpoint("bruno"));
        let waiting = tokio::spawn(async move {
            let topics = [(topic(), None)];
            bruno.wait(&topics, Duration::from_mins(1)).await
        });
        ana.publish(&topic(), b"news").await.unwrap();
        let pages = waiting.await.unwrap().unwrap();
        assert_eq!((pages[0].0, &pages[0].1.envelopes[0].1[..]), (topic(), &b"news"[..]));
        let read = [(topic(), Some("1".parse().unwrap()))];
        assert!(ana.wait(&read, Duration::ZERO).await.unwrap().is_empty());
    }
}

//! The hub, the network, the clock, and what happens.

mod acts;
mod commits;
mod ends;
mod hub;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tertulia_mls::{
    ClientId, CommitOutcome, ConversationId, MlsCommitBundle, MlsCustomConfiguration, SessionConfig,
};
use tokio::sync::oneshot;

use crate::{
    common::{Hub, conversation},
    device::{Device, Operation},
};

const NAMES: [&str; 12] =
    ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory", "niaj"];

/// Things that devices begin, in a life.
const STEPS: usize = 30;

/// How late a message of the hub's log may come to it, in epochs, where devices keep the secrets of three.
const MAX_LATE_EPOCHS: u64 = 2;

/// What happens at a moment. Devices and commits are numbers.
enum Event {
    /// A device begins something.
    Act,
    /// An application message comes to the hub, sent by a device in an epoch.
    Post { from: usize, text: usize, message: Vec<u8> },
    /// The hub's entry at this place comes to a device.
    Deliver { to: usize, place: usize },
    /// A commit comes to the hub.
    Arrive { from: usize, commit: usize, bundle: MlsCommitBundle, is_join: bool, is_refused: bool },
    /// The answer comes to the device, or its patience ends.
    Answer { to: usize, commit: usize, is_lost: bool },
}

struct Scheduled {
    at: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// A commit that a device waits for.
struct InFlight {
    commit: usize,
    operation: Operation,
    answer: Option<oneshot::Sender<CommitOutcome>>,
}

/// An application message.
struct Text {
    sender: usize,
    epoch: u64,
    is_in_log: bool,
}

struct World {
    random: StdRng,
    hub: Hub,
    id: ConversationId,
    devices: Vec<Device>,
    in_flight: Vec<Option<InFlight>>,
    /// Whether messages are handed to the engine as they come, or in the order of the log.
    is_eager: bool,
    clock: u64,
    numbers: u64,
    events: BinaryHeap<Reverse<Scheduled>>,
    commits: usize,
    /// The hub's answers to commits, by their numbers.
    answers: BTreeMap<usize, CommitOutcome>,
    /// What a commit brings along: the text of its message.
    texts: Vec<Text>,
    text_of_commit: BTreeMap<usize, usize>,
    /// The Welcomes, with the length of the log behind their commits.
    welcomes: Vec<(Vec<u8>, usize)>,
    /// The members in each epoch.
    rosters: Vec<BTreeSet<ClientId>>,
    /// The epoch that each device came in with last.
    since: Vec<u64>,
    last_post: Vec<u64>,
    /// How many of the Welcomes each device has tried.
    tried: Vec<usize>,
    delivered: usize,
    /// Proposals of devices that came to the hub.
    proposed: usize,
    /// Nothing is lost, nothing is late, and nobody is told: who wants to know reads the log.
    is_well: bool,
}

/// One life of a conversation, all of whose accidents come from the seed.
pub(crate) fn play(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let hub = Hub::new();
    let id = conversation();
    let is_eager = random.random_bool(0.5);
    // Who takes messages as they come cannot bound how late they come.
    let config = if is_eager {
        let joined = MlsCustomConfiguration {
            out_of_order_tolerance: 1000,
            maximum_forward_distance: 1000,
            prior_epochs: 1000,
            ..MlsCustomConfiguration::default()
        };
        SessionConfig { joined, ..SessionConfig::default() }
    } else {
        SessionConfig::default()
    };
    let number = random.random_range(3..=NAMES.len());
    let devices: Vec<_> = NAMES[..number].iter().map(|name| Device::new(name, &id, config.clone())).collect();
    let mut world = World {
        random,
        hub,
        id,
        in_flight: devices.iter().map(|_| None).collect(),
        since: vec![0; number],
        last_post: vec![0; number],
        tried: vec![0; number],
        devices,
        is_eager,
        clock: 0,
        numbers: 0,
        events: BinaryHeap::new(),
        commits: 0,
        answers: BTreeMap::new(),
        texts: Vec::new(),
        text_of_commit: BTreeMap::new(),
        welcomes: Vec::new(),
        rosters: vec![BTreeSet::new()],
        delivered: 0,
        proposed: 0,
        is_well: true,
    };
    world.begin();
    world.is_well = false;
    for _ in 0..STEPS {
        world.clock += world.random.random_range(1..8);
        world.schedule_at(world.clock, Event::Act);
    }
    world.clock = 0;
    while let Some(Reverse(scheduled)) = world.events.pop() {
        world.clock = scheduled.at;
        world.happen(scheduled.event);
    }
    world.is_well = true;
    world.end();
}

impl World {
    fn schedule_at(&mut self, at: u64, event: Event) {
        self.numbers += 1;
        self.events.push(Reverse(Scheduled { at, number: self.numbers, event }));
    }

    fn schedule(&mut self, delay: u64, event: Event) {
        self.schedule_at(self.clock + delay, event);
    }

    /// Most messages are quick, and some are not.
    fn delay(&mut self) -> u64 {
        if self.random.random_bool(0.85) {
            self.random.random_range(1..6)
        } else {
            self.random.random_range(6..80)
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Act => self.act(),
            Event::Post { from, text, message } => self.posted(from, text, message),
            Event::Deliver { to, place } => self.deliver(to, place),
            Event::Arrive { from, commit, bundle, is_join, is_refused } => {
                self.arrive(from, commit, bundle, is_join, is_refused);
            }
            Event::Answer { to, commit, is_lost } => self.answer(to, commit, is_lost),
        }
    }
}

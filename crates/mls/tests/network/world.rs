//! The hub, the network, the clock, and what happens.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use mls_rs::{MlsMessage, extension::built_in::RatchetTreeExt};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tertulia_mls::{
    ClientId, CommitOutcome, ConversationId, EngineError, MlsCommitBundle, MlsCustomConfiguration,
    MlsTransport as _, Outcome, SessionConfig,
};
use tokio::sync::oneshot;

use crate::{
    common::{Fault, Hub, client_id, conversation},
    device::{Change, Device, Handed, Operation, Read, Replayed},
    wire::{advance, now},
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
    // The beginning and the end, when the network is well.

    /// The first device makes the conversation, and adds some of the others.
    fn begin(&mut self) {
        self.devices[0].create(self.hub.public_key().as_bytes());
        self.rosters[0].insert(self.devices[0].client_id());
        self.at_once(0, self.devices[0].update(None), false);
        let first = self.random.random_range(1..self.devices.len());
        let packages = self.devices[1..=first].iter().map(Device::key_package).collect();
        self.at_once(0, self.devices[0].change(packages, vec![]), false);
        for who in 1..=first {
            self.open_welcome(who);
        }
    }

    fn end(&mut self) {
        for who in 0..self.devices.len() {
            self.in_flight[who] = None;
        }
        // First all commits in doubt are settled and all proposals committed, which may remove somebody; then all come
        // together. Who comes back may owe a proposal still, also of somebody's removal, so that it begins again.
        for _ in 0..5 {
            for _ in 0..3 {
                for who in 0..self.devices.len() {
                    self.come_to_rest(who);
                }
            }
            let mut all_rest = true;
            for who in 0..self.devices.len() {
                if !self.come_to_rest(who) {
                    all_rest = false;
                    let info = self.hub.verifiable_group_info(&self.id);
                    self.at_once(who, self.devices[who].join(info), true);
                }
            }
            if all_rest {
                break;
            }
        }
        for who in 0..self.devices.len() {
            assert!(self.come_to_rest(who));
            self.say(who);
        }
        for who in 0..self.devices.len() {
            assert!(self.come_to_rest(who));
        }
        self.check();
    }

    /// A commit with a perfect network.
    fn at_once(&mut self, who: usize, mut operation: Operation, is_join: bool) {
        let result = if let Some(result) = advance(&mut operation) {
            result
        } else {
            let sent = self.devices[who].wire.take().expect("it waits for the network");
            let outcome = self.order(who, sent.bundle, None, is_join);
            sent.answer.send(outcome).unwrap();
            advance(&mut operation).expect("it has its answer")
        };
        self.committed(who, is_join, result);
    }

    /// Reads everything, settles what is in doubt and commits what is proposed. Whether the device is a member then.
    fn come_to_rest(&mut self, who: usize) -> bool {
        for _ in 0..10 {
            self.fetch(who);
            self.send_proposals(who);
            if self.devices[who].is_pending() {
                let is_join = self.pending_is_join(who);
                let settle = self.devices[who].settle(self.hub.epoch(&self.id));
                self.at_once(who, settle, is_join);
            } else if !self.devices[who].is_member() {
                return false;
            } else if self.devices[who].proposals() == 0 {
                return true;
            } else {
                let before = self.hub.epoch(&self.id);
                self.at_once(who, self.devices[who].commit_proposals(), false);
                if self.hub.epoch(&self.id) == before {
                    // It is about this device: somebody else has to.
                    return false;
                }
            }
        }
        panic!("{} does not come to rest", self.devices[who].name);
    }

    /// All agree, and everybody has read once what was for them.
    fn check(&self) {
        let view = |device: &Device| {
            let view = device.session.conversation(&self.id).unwrap();
            assert!(view.pending_commit().is_none() && view.pending_proposals() == 0);
            let authenticator = view.epoch_authenticator().unwrap();
            let exported = view.export_secret_key(32).unwrap().to_vec();
            (view.epoch(), authenticator, exported, view.client_ids().unwrap())
        };
        let expected = view(&self.devices[0]);
        assert_eq!(expected.0, self.hub.epoch(&self.id));
        let roster: BTreeSet<_> = self.devices.iter().map(Device::client_id).collect();
        assert_eq!(expected.3.iter().cloned().collect::<BTreeSet<_>>(), roster);
        for device in &self.devices {
            assert_eq!(view(device), expected, "{}", device.name);
        }
        let (mut due, mut others) = (0, 0);
        for (number, text) in self.texts.iter().enumerate() {
            for reader in 0..self.devices.len() {
                let has_read = self.devices[reader].memory.read.contains(&number.to_string());
                if text.is_in_log
                    && reader != text.sender
                    && self.stays_since(reader, text.epoch)
                    && self.stays_since(text.sender, text.epoch)
                {
                    let (name, sender) = (&self.devices[reader].name, NAMES[text.sender]);
                    assert!(has_read, "{name} has not read {number} of {sender} in epoch {}", text.epoch);
                    due += 1;
                } else {
                    others += usize::from(has_read);
                }
            }
        }
        println!(
            "{} devices, {}, {} epochs, {} deliveries, {} proposals, {due} messages were due and read, {others} others",
            self.devices.len(),
            if self.is_eager { "eager" } else { "in order" },
            expected.0,
            self.delivered,
            self.proposed
        );
    }

    /// Whether a device has been a member without interruption since before the end of an epoch.
    fn stays_since(&self, who: usize, epoch: u64) -> bool {
        let client = self.devices[who].client_id();
        let from = usize::try_from(epoch).unwrap();
        self.since[who] <= epoch && self.rosters[from..].iter().all(|roster| roster.contains(&client))
    }

    // The clock.

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

    // The hub.

    /// What was appended to the log goes out to everybody.
    fn fan_out(&mut self, from: usize) {
        if self.is_well {
            return;
        }
        for place in from..self.hub.log_len(&self.id) {
            for to in 0..self.devices.len() {
                if self.random.random_bool(0.85) {
                    let delay = self.delay();
                    self.schedule(delay, Event::Deliver { to, place });
                }
                if self.random.random_bool(0.1) {
                    let delay = self.delay();
                    self.schedule(delay, Event::Deliver { to, place });
                }
            }
        }
    }

    fn posted(&mut self, from: usize, text: usize, message: Vec<u8>) {
        let epoch = self.hub.epoch(&self.id);
        let is_member =
            self.rosters.last().is_some_and(|roster| roster.contains(&self.devices[from].client_id()));
        if !is_member || !self.is_eager && epoch > self.texts[text].epoch + MAX_LATE_EPOCHS {
            return;
        }
        self.texts[text].is_in_log = true;
        let place = self.hub.log_len(&self.id);
        self.hub.post(&self.id, message);
        self.fan_out(place);
    }

    fn arrive(
        &mut self,
        from: usize,
        commit: usize,
        bundle: MlsCommitBundle,
        is_join: bool,
        is_refused: bool,
    ) {
        if is_refused {
            self.hub.fail_next(Fault::Refuse);
        }
        let outcome = self.order(from, bundle, Some(commit), is_join);
        self.hub.heal();
        // The first answer is the one that is sent.
        self.answers.entry(commit).or_insert(outcome);
    }

    fn order(
        &mut self,
        from: usize,
        bundle: MlsCommitBundle,
        commit: Option<usize>,
        is_join: bool,
    ) -> CommitOutcome {
        let place = self.hub.log_len(&self.id);
        let outcome = now(self.hub.send_commit_bundle(&self.id, bundle.clone()));
        if outcome != CommitOutcome::Accepted {
            return outcome;
        }
        let epoch = self.hub.epoch(&self.id);
        let roster = roster(&bundle.group_info.payload);
        for (who, device) in self.devices.iter().enumerate() {
            let client = device.client_id();
            let was_in = self.rosters.last().is_some_and(|before| before.contains(&client));
            if roster.contains(&client) && !was_in || is_join && who == from {
                self.since[who] = epoch;
            }
        }
        self.rosters.push(roster);
        if let Some(text) = commit.and_then(|commit| self.text_of_commit.get(&commit)) {
            self.texts[*text].is_in_log = true;
            self.texts[*text].epoch = epoch;
        }
        self.welcomes.extend(bundle.welcome.map(|welcome| (welcome, place + 1)));
        self.fan_out(place);
        outcome
    }

    // The devices' way to the hub.

    /// Posts the proposals that the hub has not got yet, perhaps once more than need be.
    fn send_proposals(&mut self, who: usize) {
        let outgoing = self.devices[who].outgoing();
        if outgoing.is_empty() {
            return;
        }
        if self.rosters.last().is_some_and(|roster| roster.contains(&self.devices[who].client_id())) {
            for proposal in outgoing {
                let place = self.hub.log_len(&self.id);
                self.hub.post(&self.id, proposal);
                self.fan_out(place);
                self.proposed += 1;
            }
            if !self.is_well && self.random.random_bool(0.1) {
                return;
            }
        }
        self.devices[who].sent();
    }

    fn send_commit(&mut self, who: usize, mut operation: Operation, is_join: bool, text: Option<usize>) {
        self.send_proposals(who);
        if let Some(result) = advance(&mut operation) {
            self.committed(who, is_join, result);
            return;
        }
        let sent = self.devices[who].wire.take().expect("it waits for the network");
        let commit = self.commits;
        self.commits += 1;
        if let Some(text) = text {
            self.text_of_commit.insert(commit, text);
        }
        self.in_flight[who] = Some(InFlight { commit, operation, answer: Some(sent.answer) });
        let arrive = |is_refused| Event::Arrive {
            from: who,
            commit,
            bundle: sent.bundle.clone(),
            is_join,
            is_refused,
        };
        let (there, back) = (self.delay(), self.delay());
        let answer = |is_lost| Event::Answer { to: who, commit, is_lost };
        match self.random.random_range(0..20) {
            // The commit is lost.
            0 | 1 => self.schedule(there + back, answer(true)),
            // Its answer is lost.
            2 | 3 => {
                self.schedule(there, arrive(false));
                self.schedule(there + back, answer(true));
            }
            // It comes when nobody waits for it any more.
            4 | 5 => {
                self.schedule(back, answer(true));
                self.schedule(back + there, arrive(false));
            }
            // It comes twice.
            6 => {
                self.schedule(there, arrive(false));
                self.schedule(there + 1, arrive(false));
                self.schedule(there + back, answer(false));
            }
            7 => {
                self.schedule(there, arrive(true));
                self.schedule(there + back, answer(false));
            }
            _ => {
                self.schedule(there, arrive(false));
                self.schedule(there + back, answer(false));
            }
        }
    }

    fn answer(&mut self, who: usize, commit: usize, is_lost: bool) {
        let Some(in_flight) = &mut self.in_flight[who] else { return };
        if in_flight.commit != commit {
            return;
        }
        let outcome = match self.answers.get(&commit) {
            Some(outcome) if !is_lost => outcome.clone(),
            _ => CommitOutcome::Unknown { detail: "timeout".to_owned() },
        };
        let is_join = self.pending_is_join(who);
        let in_flight = self.in_flight[who].as_mut().expect("it was there");
        if let Some(answer) = in_flight.answer.take() {
            answer.send(outcome).unwrap();
        }
        let result = advance(&mut in_flight.operation).expect("it has its answer");
        self.in_flight[who] = None;
        self.committed(who, is_join, result);
    }

    fn pending_is_join(&self, who: usize) -> bool {
        self.devices[who].session.pending_commit(&self.id).unwrap().is_some_and(|pending| pending.is_join)
    }

    /// A commit may lose, or stay in doubt, or meet one in doubt, or change what is not so any more.
    fn committed(&mut self, who: usize, is_join: bool, result: Result<Vec<Replayed>, EngineError>) {
        match result {
            Ok(replayed) => {
                let mut texts = Vec::new();
                self.devices[who].keep(replayed, is_join, &mut texts);
                self.know(who, texts);
            }
            Err(
                EngineError::CommitRejected(_)
                | EngineError::CommitOutcomeUnknown { .. }
                | EngineError::PendingCommit { .. }
                | EngineError::AlreadyMember(_)
                | EngineError::AddedTwice(_)
                | EngineError::NoSuchMember(_)
                | EngineError::OwnRemovalPending,
            ) => {}
            Err(error) => panic!("{}: {error:?}", self.devices[who].name),
        }
    }

    // What devices do.

    fn act(&mut self) {
        let who = self.random.random_range(0..self.devices.len());
        let what = self.random.random_range(0..34);
        if what < 3 {
            // Killed, perhaps while it waits for an answer.
            self.in_flight[who] = None;
            self.devices[who].restart();
            return;
        }
        if self.in_flight[who].is_some() {
            if what < 6 {
                // It waits no longer.
                self.in_flight[who] = None;
            }
            return;
        }
        if what < 6 {
            self.fetch(who);
            return;
        }
        if self.devices[who].is_pending() {
            let is_join = self.pending_is_join(who);
            let settle = self.devices[who].settle(self.hub.epoch(&self.id));
            self.send_commit(who, settle, is_join, None);
            return;
        }
        if !self.devices[who].is_member() {
            self.open_welcome(who);
            if !self.devices[who].is_member() && what < 12 {
                let join = self.devices[who].join(self.hub.verifiable_group_info(&self.id));
                self.send_commit(who, join, true, None);
            }
            return;
        }
        let other = self.random.random_range(0..self.devices.len());
        let other_client = self.devices[other].client_id();
        match what {
            6..=15 => self.say(who),
            16..=18 => self.send_commit(who, self.devices[who].update(None), false, None),
            19 => {
                let text = self.new_text(who);
                let update = self.devices[who].update(Some(text.to_string()));
                self.send_commit(who, update, false, Some(text));
            }
            20..=22 => {
                if !self.devices[other].is_member() {
                    let package = self.devices[other].key_package();
                    self.send_commit(who, self.devices[who].change(vec![package], vec![]), false, None);
                }
            }
            23 | 24 => {
                let members = self.devices[who].members();
                if who != other && members.len() > 2 && members.contains(&other_client) {
                    let remove = self.devices[who].change(vec![], vec![other_client]);
                    self.send_commit(who, remove, false, None);
                }
            }
            25 => {
                let members = self.rosters.last().expect("there is an epoch");
                if members.len() > 2 && members.contains(&other_client) {
                    let place = self.hub.log_len(&self.id);
                    self.hub.propose_removal(&self.id, &other_client);
                    self.fan_out(place);
                }
            }
            26 | 27 => {
                if self.devices[who].proposals() > 0 {
                    self.send_commit(who, self.devices[who].commit_proposals(), false, None);
                }
            }
            30..=33 => self.propose(who, other),
            28 => {
                // It comes back from outside, having read what there is.
                self.fetch(who);
                if self.devices[who].is_member() {
                    let join = self.devices[who].join(self.hub.verifiable_group_info(&self.id));
                    self.send_commit(who, join, true, None);
                }
            }
            _ => self.fetch(who),
        }
    }

    /// A device proposes something, and sends it now or later.
    fn propose(&mut self, who: usize, other: usize) {
        let client = self.devices[other].client_id();
        let change = match self.random.random_range(0..3) {
            0 => Change::Update,
            1 if !self.devices[other].is_member() => Change::Add(self.devices[other].key_package()),
            _ if self.devices[who].members().len() > 2 => Change::Remove(client),
            _ => return,
        };
        match self.devices[who].propose(change) {
            Ok(()) => {
                if self.random.random_bool(0.5) {
                    self.send_proposals(who);
                }
            }
            Err(EngineError::AlreadyMember(_) | EngineError::NoSuchMember(_)) => {}
            Err(error) => panic!("{}: {error:?}", self.devices[who].name),
        }
    }

    fn new_text(&mut self, sender: usize) -> usize {
        self.texts.push(Text { sender, epoch: 0, is_in_log: false });
        self.texts.len() - 1
    }

    /// Encrypts a message and sends it to the hub, perhaps twice.
    fn say(&mut self, who: usize) {
        let text = self.new_text(who);
        let epoch = self.devices[who].epoch();
        self.texts[text].epoch = epoch;
        let message = match self.devices[who].encrypt(&text.to_string()) {
            Ok(message) => message,
            Err(EngineError::PendingProposals { .. } | EngineError::PendingCommit { .. }) => return,
            Err(error) => panic!("{}: {error:?}", self.devices[who].name),
        };
        if self.is_well {
            self.posted(who, text, message);
            return;
        }
        for _ in 0..if self.random.random_bool(0.1) { 2 } else { 1 } {
            let mut at = self.clock + self.delay();
            if !self.is_eager {
                at = at.max(self.last_post[who] + 1);
                self.last_post[who] = at;
            }
            self.schedule_at(at, Event::Post { from: who, text, message: message.clone() });
        }
    }

    // The hub's way to the devices.

    fn deliver(&mut self, to: usize, place: usize) {
        if self.random.random_bool(0.05) {
            let message = self.hub.log_entry(&self.id, place).expect("it is in the log");
            self.devices[to].receive_in_vain(&message);
        }
        if self.is_eager || place < self.devices[to].memory.cursor {
            self.hand(to, place);
        } else {
            while self.devices[to].memory.cursor <= place && self.hand(to, self.devices[to].memory.cursor) {}
        }
    }

    /// Reads the log to its end, gaps first.
    fn fetch(&mut self, who: usize) {
        if !self.devices[who].is_member() {
            self.open_welcome(who);
        }
        let mut place = self.devices[who].memory.cursor;
        while place < self.hub.log_len(&self.id) {
            if !self.devices[who].memory.is_done(place) && !self.hand(who, place) {
                return;
            }
            place = (place + 1).max(self.devices[who].memory.cursor);
        }
    }

    /// Hands one entry of the log to a device. Whether it is done with.
    fn hand(&mut self, who: usize, place: usize) -> bool {
        let message = self.hub.log_entry(&self.id, place).expect("it is in the log");
        self.delivered += 1;
        let was_done = self.devices[who].memory.is_done(place);
        let mut texts = Vec::new();
        let handed = self.devices[who].receive(place, &message, &mut texts);
        self.know(who, texts);
        // No store was copied.
        assert_ne!(handed, Handed::Done(Outcome::OwnMessageUnknown), "{} at {place}", self.devices[who].name);
        if handed == Handed::NotMember {
            self.open_welcome(who);
        }
        let is_buffered = handed == Handed::Done(Outcome::Buffered);
        assert!(self.is_eager || !is_buffered, "nothing is missing before {place}");
        if was_done {
            let again = [Outcome::Application, Outcome::OwnCommitMerged];
            assert!(
                !matches!(&handed, Handed::Done(outcome) if again.contains(outcome)),
                "{handed:?} at {place}"
            );
        }
        matches!(handed, Handed::Done(_) | Handed::Refused)
    }

    /// Whoever reads a text knows who has sent it.
    fn know(&self, who: usize, texts: Vec<Read>) {
        for (text, sender) in texts {
            let number: usize = text.parse().unwrap();
            let expected = client_id(NAMES[self.texts[number].sender]);
            assert_eq!(sender, Some(expected), "{} does not know who says {text}", self.devices[who].name);
        }
    }

    /// Joins by a Welcome, if there is one that opens.
    fn open_welcome(&mut self, who: usize) {
        let untried = self.tried[who]..self.welcomes.len();
        self.tried[who] = self.welcomes.len();
        for at in untried.rev() {
            let (welcome, place) = &self.welcomes[at];
            let mut texts = Vec::new();
            if self.devices[who].welcome(welcome, *place, &mut texts) {
                self.know(who, texts);
                return;
            }
        }
    }
}

/// The members that a group info names.
fn roster(group_info: &[u8]) -> BTreeSet<ClientId> {
    let message = MlsMessage::from_bytes(group_info).unwrap();
    let info = message.as_group_info().unwrap();
    let tree = info.extensions().get_as::<RatchetTreeExt>().unwrap().unwrap();
    let roster = tree.tree_data().roster();
    roster
        .members_iter()
        .map(|member| {
            ClientId::from(member.signing_identity.credential.as_basic().unwrap().identifier.as_slice())
        })
        .collect()
}

//! Random lives of groups that the engine and OpenMLS share.
//!
//! A failure prints the seed, the step and what was done in it. How to replay it and to run more: `README.md`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::{
    Change, Device, GROUP, Style,
    crypto::{Provider, SigningKey},
    engine::EngineDevice,
    hub::Hub,
    identity,
    openmls_member::OpenMlsDevice,
};
use openmls::prelude::{Ciphersuite, ExternalProposal, GroupId, LeafNodeIndex, SenderExtensionIndex};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

/// Per test; with the six tests, 102 in all.
const SEEDS: u64 = 17;
const STEPS: usize = 60;
/// Half of them with the engine, half with OpenMLS.
const DEVICES: usize = 6;

macro_rules! lives {
    ($($name:ident: $suite:literal, $encrypted:literal;)*) => { $(
        #[tokio::test]
        async fn $name() {
            lives(Style { suite: $suite, encrypted: $encrypted }).await;
        }
    )* };
}

lives! {
    suite_1_plaintext: 1, false;
    suite_1_encrypted: 1, true;
    suite_2_plaintext: 2, false;
    suite_2_encrypted: 2, true;
    suite_3_plaintext: 3, false;
    suite_3_encrypted: 3, true;
}

async fn lives(style: Style) {
    let number = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    // Other ones for each test.
    let count = number("SEEDS").unwrap_or(SEEDS);
    let first = (u64::from(style.suite) * 2 + u64::from(style.encrypted)) * count;
    let seeds = number("SEED").map_or(first..first + count, |seed| seed..seed + 1);
    let mut done = Done::default();
    for seed in seeds {
        println!("SEED={seed} {style:?}");
        let mut world = World::new(seed, style).await;
        for step in 0..STEPS {
            world.step(step).await;
        }
        done.add(&world.done);
    }
    println!("{done:?}");
}

/// What was done, by either implementation, so that a run shows what it has tried.
#[derive(Debug, Default)]
struct Done {
    commits: [usize; 2],
    welcomes: [usize; 2],
    external_joins: [usize; 2],
    removals: [usize; 2],
    proposals: [usize; 2],
    /// Of proposals of the engine's members.
    renewals: usize,
    races: usize,
    messages: [usize; 2],
}

impl Done {
    fn add(&mut self, other: &Self) {
        for n in 0..2 {
            self.commits[n] += other.commits[n];
            self.welcomes[n] += other.welcomes[n];
            self.external_joins[n] += other.external_joins[n];
            self.removals[n] += other.removals[n];
            self.messages[n] += other.messages[n];
            self.proposals[n] += other.proposals[n];
        }
        self.renewals += other.renewals;
        self.races += other.races;
    }
}

/// What was proposed.
struct Proposed {
    what: What,
    said: String,
}

enum What {
    Add(usize),
    Remove(usize),
    Update,
}

/// What can be proposed still, to be committed together.
struct Open {
    outsiders: Vec<usize>,
    removable: Vec<usize>,
    updaters: Vec<usize>,
}

impl Open {
    fn new(members: &[usize], outsiders: &[usize], committer: usize) -> Self {
        // Nobody commits their own removal.
        let removable = members.iter().copied().filter(|member| *member != committer).collect();
        Self { outsiders: outsiders.to_vec(), removable, updaters: members.to_vec() }
    }
}

struct World {
    random: StdRng,
    style: Style,
    hub: Hub,
    sender: SigningKey,
    devices: Vec<Box<dyn Device>>,
    done: Done,
}

/// Which implementation: those with even numbers have the engine.
fn kind(device: usize) -> usize {
    device % 2
}

impl World {
    async fn new(seed: u64, style: Style) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let hub = Hub::default();
        let sender = SigningKey::generate(Ciphersuite::try_from(style.suite).unwrap());
        let mut devices: Vec<Box<dyn Device>> = Vec::new();
        for number in 0..DEVICES {
            devices.push(match kind(number) {
                0 => Box::new(EngineDevice::new(&hub, number, style).await),
                _ => Box::new(OpenMlsDevice::new(&hub, number, style)),
            });
        }
        let creator = random.random_range(0..DEVICES);
        devices[creator].create(&sender.public).await;
        let mut world = Self { random, style, hub, sender, devices, done: Done::default() };
        // There is no group info at the hub before the first commit.
        assert!(world.devices[creator].commit(&[], &[]).await);
        world
    }

    async fn step(&mut self, step: usize) {
        let members = self.members();
        let outsiders: Vec<_> = (0..DEVICES).filter(|device| !members.contains(device)).collect();
        let who = *members.choose(&mut self.random).unwrap();
        let action = match self.random.random_range(0..100) {
            0..20 if !outsiders.is_empty() => self.add(who, &outsiders).await,
            20..30 if members.len() > 2 => self.remove(who, &members).await,
            30..45 => self.update(who, &members).await,
            45..60 if !outsiders.is_empty() => self.join(&outsiders).await,
            60..65 => self.rejoin(who).await,
            65..80 => self.propose(&members, &outsiders).await,
            80..87 => self.leave_out(&members, &outsiders).await,
            87..92 => self.race(&members).await,
            92..96 => self.restart(who).await,
            _ => self.chat(&members).await,
        };
        println!("step {step}: {action}");
        self.check().await;
    }

    fn members(&self) -> Vec<usize> {
        (0..DEVICES).filter(|device| self.devices[*device].state().is_some()).collect()
    }

    async fn packages(&mut self, of: &[usize]) -> Vec<Vec<u8>> {
        let mut packages = Vec::new();
        for device in of {
            let bare = self.random.random();
            packages.push(self.devices[*device].key_package(bare).await);
        }
        packages
    }

    async fn welcome(&mut self, new: &[usize]) {
        for device in new {
            self.devices[*device].join_by_welcome().await;
            self.done.welcomes[kind(*device)] += 1;
        }
    }

    async fn add(&mut self, who: usize, outsiders: &[usize]) -> String {
        let count = self.random.random_range(1..=outsiders.len().min(3));
        let new: Vec<_> = outsiders.sample(&mut self.random, count).copied().collect();
        let packages = self.packages(&new).await;
        assert!(self.devices[who].commit(&packages, &[]).await);
        self.done.commits[kind(who)] += 1;
        self.welcome(&new).await;
        format!("{who} adds {new:?}")
    }

    async fn remove(&mut self, who: usize, members: &[usize]) -> String {
        let others: Vec<_> = members.iter().copied().filter(|other| *other != who).collect();
        let gone = *others.choose(&mut self.random).unwrap();
        assert!(self.devices[who].commit(&[], &[identity(gone)]).await);
        self.done.commits[kind(who)] += 1;
        self.done.removals[kind(gone)] += 1;
        self.sync().await;
        assert!(self.devices[gone].state().is_none(), "{gone} is gone");
        format!("{who} removes {gone}")
    }

    /// An update, and a message that another sent before it, and that arrives behind it.
    async fn update(&mut self, who: usize, members: &[usize]) -> String {
        let late = *members.choose(&mut self.random).unwrap();
        let text = "late";
        let ciphertext = self.devices[late].encrypt(text).await;
        assert!(self.devices[who].commit(&[], &[]).await);
        assert_eq!(self.hub.last_is_encrypted(), self.style.encrypted);
        self.done.commits[kind(who)] += 1;
        self.hub.post(Some(late), ciphertext);
        let heard = self.sync().await;
        for member in members.iter().filter(|member| **member != late) {
            assert_eq!(heard[*member], [text], "{member}");
        }
        format!("{who} updates while {late} talks")
    }

    async fn join(&mut self, outsiders: &[usize]) -> String {
        let who = *outsiders.choose(&mut self.random).unwrap();
        let bare = self.random.random();
        self.devices[who].join_externally(bare).await;
        self.done.external_joins[kind(who)] += 1;
        format!("{who} joins from outside")
    }

    async fn rejoin(&mut self, who: usize) -> String {
        let bare = self.random.random();
        self.devices[who].join_externally(bare).await;
        self.done.external_joins[kind(who)] += 1;
        format!("{who} comes back in its own place")
    }

    /// Some proposals by reference, of members and of the hub, and a commit of them by one whom they do not remove.
    async fn propose(&mut self, members: &[usize], outsiders: &[usize]) -> String {
        let committer = *members.choose(&mut self.random).unwrap();
        let mut open = Open::new(members, outsiders, committer);
        let mut made = Vec::new();
        let count = self.random.random_range(1..=3.min(members.len()));
        let proposers: Vec<_> = members.sample(&mut self.random, count).copied().collect();
        for proposer in proposers {
            if let Some(proposal) = self.proposal_of(proposer, &mut open).await {
                made.push(proposal);
            }
        }
        self.sync().await;
        if (made.is_empty() || self.random.random_bool(0.2))
            && let Some(other) = take(&mut open.removable, &mut self.random)
            && self.propose_from_outside(other)
        {
            made.push(Proposed {
                what: What::Remove(other),
                said: format!("the hub proposes to remove {other}"),
            });
            self.sync().await;
        }
        if made.is_empty() {
            return "nobody proposes".to_owned();
        }
        let said = self.commit_all(committer, made).await;
        format!("{said}; {committer} commits")
    }

    /// A member proposes something: to add an outsider, to remove a member, or new keys for itself. No two proposals add,
    /// or remove, the same.
    async fn proposal_of(&mut self, proposer: usize, open: &mut Open) -> Option<Proposed> {
        let (what, said, change) = match self.random.random_range(0..3) {
            0 if open.updaters.contains(&proposer) => {
                (What::Update, format!("{proposer} proposes an update"), Change::Update)
            }
            1 if !open.outsiders.is_empty() => {
                let new = take(&mut open.outsiders, &mut self.random)?;
                let package = self.packages(&[new]).await.remove(0);
                (What::Add(new), format!("{proposer} proposes to add {new}"), Change::Add(package))
            }
            _ => {
                let gone = take(&mut open.removable, &mut self.random)?;
                let change = Change::Remove(identity(gone));
                (What::Remove(gone), format!("{proposer} proposes to remove {gone}"), change)
            }
        };
        self.devices[proposer].propose(change).await;
        assert_eq!(self.hub.last_is_encrypted(), self.style.encrypted);
        self.done.proposals[kind(proposer)] += 1;
        Some(Proposed { what, said })
    }

    /// Commits what is proposed. It comes about, and all of it is described.
    async fn commit_all(&mut self, committer: usize, made: Vec<Proposed>) -> String {
        assert!(self.devices[committer].commit_proposals().await);
        self.done.commits[kind(committer)] += 1;
        for proposed in &made {
            if let What::Add(new) = proposed.what {
                self.welcome(&[new]).await;
            }
        }
        self.sync().await;
        for proposed in &made {
            if let What::Remove(gone) = proposed.what {
                assert!(self.devices[gone].state().is_none(), "{gone} is gone");
                self.done.removals[kind(gone)] += 1;
            }
        }
        made.into_iter().map(|proposed| proposed.said).collect::<Vec<_>>().join(", ")
    }

    /// A member with the engine proposes something, and other members' commits leave it out, once or twice. It proposes
    /// it again each time, and at last somebody commits it.
    async fn leave_out(&mut self, members: &[usize], outsiders: &[usize]) -> String {
        let ours: Vec<_> = members.iter().copied().filter(|member| kind(*member) == 0).collect();
        let (Some(proposer), true) = (ours.choose(&mut self.random).copied(), members.len() > 1) else {
            return "nobody to leave out".to_owned();
        };
        let others: Vec<_> = members.iter().copied().filter(|member| *member != proposer).collect();
        let committer = *members.choose(&mut self.random).unwrap();
        let proposed = self.proposal_of(proposer, &mut Open::new(members, outsiders, committer)).await;
        let Some(proposed) = proposed else { return "nothing to propose".to_owned() };
        let mut said = vec![proposed.said.clone()];
        for _ in 0..self.random.random_range(1..=2) {
            let other = *others.choose(&mut self.random).unwrap();
            let leaves = matches!(proposed.what, What::Remove(gone) if gone == proposer);
            match self.random.random_range(0..4) {
                0 => {
                    // What is new it reads after its commit. The second time it has read it: all read when it was renewed.
                    self.pass_by(other).await;
                    said.push(format!("{other} commits something else"));
                }
                1 if !leaves && kind(other) == 1 => {
                    self.sync().await;
                    self.devices[other].forget_proposals().await;
                    assert!(self.devices[other].overtake().await);
                    assert!(!self.devices[proposer].commit_proposals().await);
                    self.done.commits[kind(other)] += 1;
                    self.done.races += 1;
                    said.push(format!("{other} commits before {proposer} does"));
                }
                2 if !matches!(proposed.what, What::Remove(gone) if gone == other) => {
                    self.rejoin(other).await;
                    said.push(format!("{other} comes back in its own place"));
                }
                _ => {
                    self.sync().await;
                    self.pass_by(other).await;
                    said.push(format!("{other} forgets it and commits"));
                }
            }
            let before = self.hub.log_len();
            self.sync().await;
            assert_eq!(self.hub.log_len(), before + 1, "it is proposed again");
            assert_eq!(self.hub.last_is_encrypted(), self.style.encrypted);
            self.done.renewals += 1;
        }
        self.commit_all(committer, vec![proposed]).await;
        format!("{}; {committer} commits it", said.join("; "))
    }

    /// A commit of something else than what is proposed.
    async fn pass_by(&mut self, committer: usize) {
        self.devices[committer].forget_proposals().await;
        assert!(self.devices[committer].commit(&[], &[]).await);
        self.done.commits[kind(committer)] += 1;
    }

    fn propose_from_outside(&self, gone: usize) -> bool {
        let mut leaves = self.devices.iter().filter_map(|device| device.leaf_of(&identity(gone)));
        let Some(leaf) = leaves.next() else { return false };
        let proposal = ExternalProposal::new_remove::<Provider>(
            LeafNodeIndex::new(leaf),
            GroupId::from_slice(GROUP.as_bytes()),
            self.hub.epoch().into(),
            &self.sender,
            SenderExtensionIndex::new(0),
        );
        self.hub.post(None, proposal.unwrap().to_bytes().unwrap());
        true
    }

    /// Two commits for one epoch: the hub takes the one that comes first, and the other member catches up.
    async fn race(&mut self, members: &[usize]) -> String {
        let mut free = members.to_vec();
        let (Some(late), Some(first)) =
            (take(&mut free, &mut self.random), take(&mut free, &mut self.random))
        else {
            return "nobody to race with".to_owned();
        };
        if !self.devices[first].overtake().await {
            return "no race".to_owned();
        }
        assert!(!self.devices[late].commit(&[], &[]).await);
        self.done.commits[kind(first)] += 1;
        self.done.races += 1;
        format!("{first} commits before {late}")
    }

    async fn restart(&mut self, who: usize) -> String {
        self.devices[who].restart().await;
        format!("{who} restarts")
    }

    /// Each says something, before anybody reads.
    async fn chat(&mut self, members: &[usize]) -> String {
        let mut said = Vec::new();
        for who in members {
            said.push(self.say(*who).await);
        }
        let texts = self.sync().await;
        for who in members {
            let heard: Vec<_> =
                said.iter().filter(|(sender, _)| sender != who).map(|(_, text)| text).collect();
            assert_eq!(texts[*who].iter().collect::<Vec<_>>(), heard);
        }
        "all talk".to_owned()
    }

    async fn say(&mut self, who: usize) -> (usize, String) {
        let length = self.random.random_range(0..600);
        let text = format!("{who} says {}", "x".repeat(length));
        let ciphertext = self.devices[who].encrypt(&text).await;
        self.hub.post(Some(who), ciphertext);
        self.done.messages[kind(who)] += 1;
        (who, text)
    }

    /// What each device reads that is new. What one of them says by that is read as well.
    async fn sync(&mut self) -> Vec<Vec<String>> {
        let mut texts = vec![Vec::new(); DEVICES];
        loop {
            let end = self.hub.log_len();
            for (device, texts) in self.devices.iter_mut().zip(&mut texts) {
                if device.state().is_some() {
                    texts.extend(device.sync().await);
                }
            }
            if self.hub.log_len() == end {
                return texts;
            }
        }
    }

    /// All members are in the same state, and read what one of them says.
    async fn check(&mut self) {
        self.sync().await;
        let members = self.members();
        let expected = self.devices[members[0]].state().unwrap();
        assert_eq!(expected.epoch, self.hub.epoch());
        let mut names = expected.roster.clone();
        names.sort();
        assert_eq!(names, members.iter().map(|member| identity(*member)).collect::<Vec<_>>());
        for member in &members {
            assert_eq!(self.devices[*member].state().unwrap(), expected, "{member}");
        }
        let sender = *members.choose(&mut self.random).unwrap();
        let (_, text) = self.say(sender).await;
        let heard = self.sync().await;
        for member in members.into_iter().filter(|member| *member != sender) {
            assert_eq!(heard[member], [text.as_str()], "{member}");
        }
    }
}

/// Takes one of them out.
fn take(from: &mut Vec<usize>, random: &mut StdRng) -> Option<usize> {
    (!from.is_empty()).then(|| from.swap_remove(random.random_range(0..from.len())))
}

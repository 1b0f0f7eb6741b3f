//! People with the SDK: a group of them in which members come and go while everybody talks.

use crate::{
    Outcome,
    member::PASSWORD,
    world::{PATIENCE, World, count},
};
use futures::StreamExt as _;
use rand::{RngExt as _, rngs::StdRng};
use std::{
    collections::BTreeMap,
    path::Path,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};
use tertulia::{Client, ClientEvent, Conversation, ConversationId, Error, ErrorKind, Handle, MessageQuery};
use tokio::{sync::watch, task::JoinSet};

const GROUP: &str = "In the storm";
/// They are in the group from the beginning and stay. The first two are admins.
const RESIDENTS: [&str; 3] = ["alice", "bob", "carol"];
/// They are added and removed: the first by Alice, the second by Bob.
const GUESTS: [&str; 2] = ["dave", "erin"];

/// All of them.
pub(crate) struct People {
    group: ConversationId,
    residents: Vec<Arc<Person>>,
    guests: Vec<Arc<Person>>,
}

struct Person {
    handle: Handle,
    client: Client,
    said: Mutex<Vec<Said>>,
    /// What the stream of events told, and how much that was.
    told: Mutex<Vec<(u64, String)>>,
    count: watch::Sender<usize>,
}

/// A text, and what became of it as far as its author was told.
struct Said {
    text: String,
    outcome: Told,
}

enum Told {
    /// It has this number in the log.
    Accepted(u64),
    /// It is sent later.
    Queued,
    /// It was not sent, and is not kept.
    Refused,
}

/// A message as it stands in a home.
type Text = (u64, Option<Handle>, String);

impl People {
    /// Signs them up, connects them, and makes their group. Nothing goes wrong yet.
    pub(crate) async fn gather(url: &str, place: &Path) -> Outcome<Self> {
        let mut residents = Vec::new();
        for handle in RESIDENTS {
            residents.push(Arc::new(Person::sign_up(url, place, handle).await?));
        }
        let mut guests = Vec::new();
        for handle in GUESTS {
            guests.push(Arc::new(Person::sign_up(url, place, handle).await?));
        }
        for asking in &residents[..2] {
            for asked in residents.iter().chain(&guests) {
                if asking.handle == asked.handle || asked.handle.as_str() == RESIDENTS[0] {
                    continue;
                }
                asking.client.connect(&asked.handle).await?;
                asked.client.sync().await?;
                asked.client.accept(&asking.handle).await?;
                asking.client.sync().await?;
            }
        }
        let (alice, others) = residents.split_first().ok_or("there are residents")?;
        let members: Vec<_> = others.iter().map(|other| other.handle.clone()).collect();
        let group = alice.client.create_group(GROUP, &members).await?.id;
        alice.client.set_role(group, &others[0].handle, "admin").await?;
        let people = Self { group, residents, guests };
        for person in people.everybody() {
            person.client.sync().await?;
        }
        Ok(people)
    }

    /// They talk, listen, and add and remove one another, until all is over.
    pub(crate) fn begin(
        &self,
        world: &Arc<World>,
        tasks: &mut JoinSet<()>,
        mut random: impl FnMut() -> StdRng,
    ) {
        let group = self.group;
        for person in &self.residents {
            let (person, world, random) = (Arc::clone(person), Arc::clone(world), random());
            tasks.spawn(Arc::clone(&person).listen(Arc::clone(&world), group));
            tasks.spawn(person.talk(world, group, random));
        }
        for (admin, guest) in self.residents.iter().zip(&self.guests) {
            let handle = guest.handle.clone();
            tasks.spawn(Arc::clone(admin).add_and_remove(Arc::clone(world), group, handle, random()));
            tasks.spawn(Arc::clone(guest).visit(Arc::clone(world), group, random()));
        }
    }

    /// While everybody is still: brings all homes up to date, and says what is not as it has to be.
    pub(crate) async fn compare(&self, world: &World) -> Outcome<()> {
        for person in self.everybody() {
            person.catch_up().await?;
        }
        // All are in, and can read what is said now.
        for guest in &self.guests {
            let alice = &self.residents[0];
            patiently("add a guest", async || {
                alice.client.sync().await?;
                let conversation = alice.client.conversation(self.group).await?;
                if !has(&conversation, &guest.handle) {
                    alice.client.add_members(self.group, std::slice::from_ref(&guest.handle)).await?;
                }
                Ok(())
            })
            .await?;
        }
        for person in self.everybody() {
            person.catch_up().await?;
        }
        for person in self.everybody() {
            // Each text is said once.
            let number = world.counts.texts.load(Ordering::Relaxed);
            person.say(world, self.group, format!("{} when all is still, {number}", person.handle)).await;
            person.catch_up().await?;
        }
        for person in self.everybody() {
            person.catch_up().await?;
        }
        self.compare_homes(world).await?;
        self.compare_streams(world).await
    }

    async fn compare_homes(&self, world: &World) -> Outcome<()> {
        let alice = &self.residents[0];
        let (group, texts) = (alice.group(self.group).await?, alice.texts(self.group).await?);
        for person in self.everybody() {
            let handle = &person.handle;
            let theirs = person.group(self.group).await?;
            if theirs != group {
                world.broke(format!("@alice has the group as {group:?}, and @{handle} as {theirs:?}"));
            }
            let own = person.texts(self.group).await?;
            if is_resident(person) && own != texts {
                world.broke(format!(
                    "@{handle} does not have the messages that @alice has{}",
                    differ(&own, &texts)
                ));
            }
            // They were away at times, and came back at the latest for what was said last.
            let last = texts.len().saturating_sub(self.residents.len() + self.guests.len());
            if !own.iter().all(|text| texts.contains(text)) || !own.ends_with(&texts[last..]) {
                world.broke(format!("@{handle} has messages that @alice has not, or not the last ones"));
            }
            if own.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
                world.broke(format!("@{handle} has a message twice"));
            }
        }
        let mut written: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (sequence, _, text) in &texts {
            written.entry(text).or_default().push(*sequence);
        }
        for person in self.everybody() {
            for Said { text, outcome } in person.said().iter() {
                let found = written.get(text.as_str()).map_or(&[][..], Vec::as_slice);
                let is_kept = match outcome {
                    Told::Accepted(sequence) => found == [*sequence],
                    Told::Queued if is_resident(person) => found.len() == 1,
                    // Who was removed before it was sent sends nothing any more.
                    Told::Queued => found.len() <= 1,
                    Told::Refused => found.is_empty(),
                };
                if !is_kept {
                    let promised = outcome.describe();
                    world.broke(format!("\"{text}\" {promised}, and is in the log as {found:?}"));
                }
            }
        }
        Ok(())
    }

    /// Every message was told once to who follows what happens.
    async fn compare_streams(&self, world: &World) -> Outcome<()> {
        for person in &self.residents {
            let texts = person.texts(self.group).await?;
            let mut count = person.count.subscribe();
            let all = count.wait_for(|&count| count >= texts.len());
            let is_late = tokio::time::timeout(PATIENCE, all).await.is_err();
            let mut told = person.told().clone();
            told.sort();
            let wanted: Vec<_> = texts.into_iter().map(|(sequence, _, text)| (sequence, text)).collect();
            if is_late || told != wanted {
                let (told, wanted) = (told.len(), wanted.len());
                world.broke(format!("@{} was told of {told} messages instead of {wanted}", person.handle));
            }
        }
        Ok(())
    }

    fn everybody(&self) -> impl Iterator<Item = &Arc<Person>> {
        self.residents.iter().chain(&self.guests)
    }
}

impl Person {
    async fn sign_up(url: &str, place: &Path, handle: &str) -> Outcome<Self> {
        let client = Client::builder(place.join(handle)).sign_up(url, handle, PASSWORD).await?;
        Ok(Self {
            handle: client.me().handle.clone(),
            client,
            said: Mutex::default(),
            told: Mutex::default(),
            count: watch::Sender::new(0),
        })
    }

    async fn talk(self: Arc<Self>, world: Arc<World>, group: ConversationId, mut random: StdRng) {
        for number in 1.. {
            let Some(working) = world.work().await else { return };
            self.say(&world, group, format!("{} {number}", self.handle)).await;
            if random.random_bool(0.2)
                && let Err(error) = self.client.sync().await
            {
                note(&world, &error);
            }
            drop(working);
            tokio::time::sleep(Duration::from_millis(random.random_range(10..150))).await;
        }
    }

    async fn say(&self, world: &World, group: ConversationId, text: String) {
        let outcome = match self.client.send(group, &text).await {
            Ok(message) => Told::Accepted(message.sequence),
            Err(Error::Queued { cause }) => {
                note(world, &cause);
                Told::Queued
            }
            Err(error) => {
                note(world, &error);
                Told::Refused
            }
        };
        count(&world.counts.texts);
        self.said().push(Said { text, outcome });
    }

    async fn listen(self: Arc<Self>, world: Arc<World>, group: ConversationId) {
        let mut events = pin!(self.client.events());
        loop {
            let next = tokio::select! {
                () = world.ended() => return,
                next = events.next() => next,
            };
            match next {
                Some(Ok(ClientEvent::Message(message))) if message.conversation == group => {
                    self.told().push((message.sequence, message.text));
                    self.count.send_modify(|count| *count += 1);
                }
                Some(Ok(ClientEvent::Suspicion(noticed))) => {
                    world.broke(format!("@{} suspects the hub: {noticed:?}", self.handle));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    return world.broke(format!("the events of @{} ended with: {error}", self.handle));
                }
                None => return world.broke(format!("the events of @{} ended", self.handle)),
            }
        }
    }

    async fn add_and_remove(
        self: Arc<Self>,
        world: Arc<World>,
        group: ConversationId,
        guest: Handle,
        mut random: StdRng,
    ) {
        while let Some(working) = world.work().await {
            if let Err(error) = self.add_or_remove(&world, group, &guest).await {
                note(&world, &error);
            }
            drop(working);
            tokio::time::sleep(Duration::from_millis(random.random_range(50..400))).await;
        }
    }

    /// Adds the guest who is out, removes who is in, and looks whether it came so.
    async fn add_or_remove(&self, world: &World, group: ConversationId, guest: &Handle) -> Result<(), Error> {
        let guests = std::slice::from_ref(guest);
        let is_in = has(&self.client.conversation(group).await?, guest);
        let changed = if is_in {
            self.client.remove_members(group, guests).await?
        } else {
            self.client.add_members(group, guests).await?
        };
        count(&world.counts.commits);
        // Nobody else adds or removes this guest.
        if has(&changed, guest) == is_in {
            world.broke(format!("@{guest} was added or removed by @{}, and that is not so", self.handle));
        }
        Ok(())
    }

    async fn visit(self: Arc<Self>, world: Arc<World>, group: ConversationId, mut random: StdRng) {
        for number in 1.. {
            let Some(working) = world.work().await else { return };
            match self.client.sync().await {
                Ok(_) => {
                    if self.client.conversation(group).await.is_ok_and(|group| group.active) {
                        self.say(&world, group, format!("{} {number}", self.handle)).await;
                    }
                }
                Err(error) => note(&world, &error),
            }
            drop(working);
            tokio::time::sleep(Duration::from_millis(random.random_range(50..300))).await;
        }
    }

    /// Synchronises until there is nothing more to take or to send.
    async fn catch_up(&self) -> Outcome<()> {
        patiently("synchronise", async || {
            loop {
                let report = self.client.sync().await?;
                if report.events == 0 && report.sent == 0 {
                    return Ok(());
                }
            }
        })
        .await
        .map_err(|error| format!("@{}: {error}", self.handle).into())
    }

    /// The epoch and the members, as this home has them.
    async fn group(&self, group: ConversationId) -> Outcome<(u64, Vec<String>)> {
        let members = self.client.conversation(group).await?.members;
        let members = members.into_iter().map(|member| {
            let handle = member.handle.map_or_else(|| member.user.to_string(), |handle| handle.to_string());
            format!("{handle} ({})", member.role)
        });
        Ok((self.client.epoch(group).await?, members.collect()))
    }

    async fn texts(&self, group: ConversationId) -> Outcome<Vec<Text>> {
        let messages = self.client.messages(group, MessageQuery::default()).await?;
        Ok(messages.into_iter().map(|message| (message.sequence, message.from, message.text)).collect())
    }

    fn said(&self) -> MutexGuard<'_, Vec<Said>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, Vec<(u64, String)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn describe(&self) -> String {
        match self {
            Self::Accepted(sequence) => format!("was accepted as {sequence}"),
            Self::Queued => "was queued".to_owned(),
            Self::Refused => "was refused".to_owned(),
        }
    }
}

/// Notes why something did not work. What is wrong with a home or a hub is not what faults may do.
fn note(world: &World, error: &Error) {
    world.refuse_with(error.code());
    if matches!(error.kind(), ErrorKind::LocalState | ErrorKind::Peer) {
        world.broke(format!("a client fails with {}: {error}", error.code()));
    }
}

fn is_resident(person: &Person) -> bool {
    RESIDENTS.contains(&person.handle.as_str())
}

fn has(conversation: &Conversation, handle: &Handle) -> bool {
    conversation.members.iter().any(|member| member.handle.as_ref() == Some(handle))
}

/// The first message in which they differ.
fn differ(own: &[Text], texts: &[Text]) -> String {
    let missing = texts.iter().find(|text| !own.contains(text));
    let excess = own.iter().find(|text| !texts.contains(text));
    format!(": missing is {missing:?}, and more is {excess:?}")
}

/// Does it again while that can help.
async fn patiently(what: &str, work: impl AsyncFn() -> Result<(), Error>) -> Outcome<()> {
    let begun = Instant::now();
    loop {
        match work().await {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Transient && begun.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(format!("cannot {what}: {error}").into()),
        }
    }
}

//! A hub in a storm: what is caused, one kind after the other, and what has to hold after each.

use crate::{
    Outcome,
    audit::{self, Audit},
    disk::SmallDisk,
    hub::{Nodes, Settings},
    ledger::Logged,
    listener::{self, Heard},
    member::{Member, make_group},
    nats::Nats,
    people::People,
    report::{Phase, Progress, Storm as Summary},
    senders,
    world::{PATIENCE, World},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tertulia_testkit::postgres::{self, Shutdown};
use tertulia_transport::EventSocket;
use tokio::{
    task::{JoinSet, block_in_place},
    time::{sleep, timeout},
};

/// What the nodes keep their data in.
pub(crate) enum Storage {
    /// A file each; there is one node.
    Sqlite,
    /// The same, on a disk that is filled.
    SmallDisk(SmallDisk),
    /// A server that is restarted, and NATS between the nodes, which is killed.
    Postgres { server: postgres::Server, nats: Option<Nats> },
}

/// What is set of a storm.
pub(crate) struct Plan {
    /// The hub in a few words, for people.
    pub(crate) name: String,
    pub(crate) binary: PathBuf,
    pub(crate) nodes: usize,
    pub(crate) senders: usize,
    pub(crate) seed: u64,
}

/// Members who listen on a WebSocket.
const LISTENERS: usize = 2;

/// What fails without a reason that a client could understand. It never may.
const NEVER: [&str; 2] = ["internal", "hub-protocol"];

/// A hub, and all who are busy with it.
pub(crate) struct Storm {
    name: String,
    random: StdRng,
    world: Arc<World>,
    nodes: Nodes,
    storage: Storage,
    audit: Audit,
    heard: Vec<Arc<Heard>>,
    listener: Member,
    people: People,
    tasks: JoinSet<()>,
    phases: Vec<Phase>,
    progress: Progress,
}

impl Storm {
    /// Starts the nodes, gathers everybody, and lets them begin.
    pub(crate) async fn begin(plan: Plan, place: &Path, storage: Storage) -> Outcome<Self> {
        let progress = Progress::new();
        Progress::heading(&format!("{}: gathering", plan.name));
        let mut random = StdRng::seed_from_u64(plan.seed);
        let mut settings = Settings {
            binary: plan.binary,
            data: place.join("data"),
            logs: place.join("logs"),
            within: Vec::new(),
            options: Vec::new(),
        };
        match &storage {
            Storage::Sqlite => {}
            Storage::SmallDisk(disk) => {
                settings.data = disk.path().to_owned();
                settings.within = disk.within();
            }
            Storage::Postgres { server, nats } => {
                let database = block_in_place(|| server.create_database())?;
                settings.options.extend(["--database".to_owned(), database.url().to_owned()]);
                if let Some(nats) = nats {
                    settings.options.extend(["--nats".to_owned(), nats.url()]);
                }
            }
        }
        let nodes = Nodes::start(settings, plan.nodes, random.random()).await?;

        let homes = place.join("homes");
        std::fs::create_dir_all(&homes)?;
        let mut members = make_group(&nodes.url(), &homes, plan.senders + LISTENERS + 1).await?;
        let people = People::gather(&nodes.url(), &homes).await?;
        let audit = Audit::new(members.pop().ok_or("a group has members")?);

        let world = World::new();
        let mut tasks = JoinSet::new();
        let mut heard = Vec::new();
        let listener = members.last().cloned().ok_or("a group has members")?;
        for listener in members.split_off(plan.senders) {
            let hears = Heard::new();
            heard.push(Arc::clone(&hears));
            let random = StdRng::seed_from_u64(random.random());
            tasks.spawn(listener::listen(Arc::clone(&world), listener, hears, random));
        }
        for (number, sender) in members.into_iter().enumerate() {
            let random = StdRng::seed_from_u64(random.random());
            tasks.spawn(senders::send(Arc::clone(&world), sender, number, random));
        }
        people.begin(&world, &mut tasks, || StdRng::seed_from_u64(random.random()));
        nodes.begin_to_lose_answers();
        let name = plan.name;
        let phases = Vec::new();
        Ok(Self {
            name,
            random,
            world,
            nodes,
            storage,
            audit,
            heard,
            listener,
            people,
            tasks,
            phases,
            progress,
        })
    }

    /// Kills a node so many times, at any moment while it is at work, and now and then while it starts.
    pub(crate) async fn kill(&mut self, times: u32) -> Outcome<()> {
        let phase = self.open("SIGKILL of a node at work");
        let mut done = 0;
        while done < times {
            self.world.progress(self.random.random_range(1..40)).await?;
            self.pause(80).await;
            let node = self.random.random_range(0..self.nodes.count());
            self.nodes.kill(node)?;
            done += 1;
            self.pause(200).await;
            if done < times && self.random.random_bool(0.1) {
                let after = Duration::from_millis(self.random.random_range(0..60));
                self.nodes.start_and_kill(node, after).await?;
                done += 1;
            }
            self.nodes.start_again(node).await?;
            self.look_at(node).await?;
            self.step(done, times);
        }
        self.close(phase, times, &["unavailable"]).await
    }

    /// Restarts the database server so many times, by turns in good order and at once.
    pub(crate) async fn restart_database(&mut self, times: u32) -> Outcome<()> {
        let phase = self.open("PostgreSQL restarted (fast and immediate)");
        for done in 1..=times {
            self.world.progress(self.random.random_range(1..40)).await?;
            self.pause(80).await;
            let how = if done % 2 == 0 { Shutdown::Fast } else { Shutdown::Immediate };
            self.with_server(|server| server.stop(how))?;
            self.pause(1000).await;
            self.with_server(postgres::Server::start_again)?;
            self.world.progress(1).await?;
            let node = self.random.random_range(0..self.nodes.count());
            self.look_at(node).await?;
            self.step(done, times);
        }
        self.close(phase, times, &[]).await
    }

    /// Kills NATS and lets the nodes do without it for so long.
    pub(crate) async fn without_nats(&mut self, span: Duration) -> Outcome<()> {
        let phase = self.open(&format!("NATS away for {} s (SIGKILL)", span.as_secs()));
        self.with_nats(Nats::kill)?;
        let begun = Instant::now();
        while begun.elapsed() < span {
            self.world.progress(50).await?;
            self.pause(500).await;
            let node = self.random.random_range(0..self.nodes.count());
            self.look_at(node).await?;
        }
        self.hold_still_and_compare().await?;
        self.with_nats(Nats::start_again)?;
        self.world.progress(50).await?;
        self.step(1, 1);
        self.close(phase, 1, &["unavailable"]).await
    }

    /// Fills the disk so many times, sees that all is as it has to be, and makes room again; every second time the node is
    /// killed before.
    pub(crate) async fn fill_disk(&mut self, times: u32) -> Outcome<()> {
        let Storage::SmallDisk(disk) = &self.storage else { return Err("there is no small disk".into()) };
        let phase = self.open(&format!("disk full ({})", disk.kind()));
        let mut refused = BTreeMap::new();
        for done in 1..=times {
            self.world.progress(self.random.random_range(20..60)).await?;
            self.pause(80).await;
            add(&mut refused, self.world.take_refused());
            self.fill().await?;
            // What is there is read on.
            self.look_at(0).await?;
            let anew = self.audit.read_anew(&self.nodes.url_of(0)?).await?;
            self.compare_logs(0, &anew);
            self.world.counts.reads.fetch_add(1, Ordering::Relaxed);
            self.expect_health("200 storage-full").await?;
            let mut stream = self.open_stream().await?;
            if done % 2 == 0 {
                self.nodes.kill(0)?;
            }
            self.with_disk(SmallDisk::free)?;
            if done % 2 == 0 {
                self.nodes.start_again(0).await?;
            }
            self.world.progress(20).await?;
            self.expect_health("200 ok").await?;
            let goes_on = matches!(timeout(PATIENCE, stream.next()).await, Ok(Ok(Some(_))));
            if done % 2 == 1 && !goes_on {
                self.world.broke("a stream that was open while the disk was full has ended");
            }
            self.look_at(0).await?;
            self.step(done, times);
        }
        add(&mut refused, self.world.take_refused());
        for (code, count) in refused {
            for _ in 0..count {
                self.world.refuse_with(&code);
            }
        }
        self.close(phase, times, &["unavailable"]).await
    }

    /// Ends it all, and says what was done.
    pub(crate) async fn end(mut self) -> Outcome<(Vec<Phase>, Summary, Vec<String>)> {
        self.world.end();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(PATIENCE, ended).await.is_err() {
            self.world.broke("not everybody comes to an end");
        }
        if matches!(self.storage, Storage::Sqlite) {
            self.nodes.kill(0)?;
            self.check_file()?;
        }
        let counts = &self.world.counts;
        let ledger = self.world.ledger();
        let (given_up, given_up_in_log) = ledger.unacknowledged(self.audit.log());
        let summary = Summary {
            hub: self.name.clone(),
            acknowledged: ledger.acknowledged(),
            given_up,
            given_up_in_log,
            retried: counts.retried.load(Ordering::Relaxed),
            repeated: counts.repeated.load(Ordering::Relaxed),
            raced: counts.raced.load(Ordering::Relaxed),
            lost_answers: self.nodes.lost_answers(),
            streams_opened: counts.streams.load(Ordering::Relaxed),
            sdk_texts: counts.texts.load(Ordering::Relaxed),
            sdk_commits: counts.commits.load(Ordering::Relaxed),
        };
        drop(ledger);
        let broken = self.world.take_broken();
        Ok((self.phases, summary, broken.into_iter().map(|what| format!("{}: {what}", self.name)).collect()))
    }

    /// What was noticed so far that is not as promised.
    pub(crate) fn broken(&self) -> Vec<String> {
        self.world.take_broken()
    }

    fn open(&self, fault: &str) -> Phase {
        Progress::heading(&format!("{}: {fault}", self.name));
        self.world.take_refused();
        Phase {
            hub: self.name.clone(),
            fault: fault.to_owned(),
            times: 0,
            // For now, when it began.
            seconds: now(),
            acknowledged: self.world.ledger().acknowledged(),
            refused: BTreeMap::new(),
        }
    }

    /// Compares everything, and notes what was done. Codes that this fault does not explain are faults themselves.
    async fn close(&mut self, phase: Phase, times: u32, unexplained: &[&str]) -> Outcome<()> {
        self.hold_still_and_compare().await?;
        let refused = self.world.take_refused();
        for code in refused.keys() {
            if NEVER.contains(&code.as_str()) || unexplained.contains(&code.as_str()) {
                self.world.broke(format!("{}: requests failed with `{code}`", phase.fault));
            }
        }
        let acknowledged = self.world.ledger().acknowledged() - phase.acknowledged;
        self.phases.push(Phase { times, seconds: now() - phase.seconds, acknowledged, refused, ..phase });
        Ok(())
    }

    /// Everybody ends what they have begun; then every log, stream and home is compared with what was promised.
    async fn hold_still_and_compare(&mut self) -> Outcome<()> {
        let world = Arc::clone(&self.world);
        let _still = world.hold_still().await?;
        for node in 0..self.nodes.count() {
            self.look_at(node).await?;
            let anew = self.audit.read_anew(&self.nodes.url_of(node)?).await?;
            self.compare_logs(node, &anew);
        }
        for heard in &self.heard {
            if let Err(error) = heard.compare(self.audit.log()).await {
                world.broke(error);
            }
        }
        self.people.compare(&world).await?;
        for panic in self.nodes.panics()? {
            world.broke(format!("a node has panicked: {panic}"));
        }
        Ok(())
    }

    /// Reads on at a node, and notes what is not as promised.
    async fn look_at(&mut self, node: usize) -> Outcome<()> {
        let broken = self.audit.read_on(&self.nodes.url_of(node)?, &self.world).await?;
        let is_whole = broken.is_empty();
        for broken in broken {
            self.world.broke(format!("after {} phases: {broken}", self.phases.len()));
        }
        if is_whole { Ok(()) } else { Err("a promise is broken".into()) }
    }

    fn compare_logs(&self, node: usize, anew: &[Logged]) {
        // What came in since is more.
        if !anew.starts_with(self.audit.log()) {
            self.world.broke(format!("node {node} has another log than was read before"));
        }
    }

    /// Fills the disk until requests are refused for it.
    async fn fill(&self) -> Outcome<()> {
        let mut refused = std::pin::pin!(self.world.refusals("storage-full", 20));
        loop {
            // What is given back meanwhile, by a checkpoint say, is filled too.
            self.with_disk(SmallDisk::fill)?;
            tokio::select! {
                refused = &mut refused => return refused,
                () = sleep(Duration::from_millis(20)) => {}
            }
        }
    }

    /// A stream of events that begins where the log ends, with an acknowledgement that there may be no room for.
    async fn open_stream(&self) -> Outcome<EventSocket> {
        let hub = self.listener.hub_at(&self.nodes.url_of(0)?)?;
        // A cursor is good for the device alone that it was given to.
        let cursor = audit::end_of_events(&hub).await?;
        let mut stream = hub.event_socket(Some(&cursor)).await?;
        stream.acknowledge(&cursor).await?;
        Ok(stream)
    }

    async fn expect_health(&self, wanted: &str) -> Outcome<()> {
        let health = self.nodes.health(0).await?;
        if health != wanted {
            self.world.broke(format!("/healthz says {health:?} instead of {wanted:?}"));
        }
        Ok(())
    }

    /// Whether SQLite finds its file in order.
    fn check_file(&self) -> Outcome<()> {
        let file = self.nodes.data(0).join("hub.db");
        let database = rusqlite::Connection::open(&file)?;
        let integrity: String = database.query_row("PRAGMA integrity_check", (), |row| row.get(0))?;
        let orphans: i64 =
            database.query_row("SELECT count(*) FROM pragma_foreign_key_check", (), |row| row.get(0))?;
        if integrity != "ok" || orphans != 0 {
            self.world
                .broke(format!("the database is not in order: {integrity}; {orphans} rows without theirs"));
        }
        Ok(())
    }

    fn with_server<T>(
        &mut self,
        work: impl FnOnce(&mut postgres::Server) -> Result<T, tertulia_testkit::Error>,
    ) -> Outcome<T> {
        match &mut self.storage {
            Storage::Postgres { server, .. } => Ok(block_in_place(|| work(server))?),
            _ => Err("there is no PostgreSQL server".into()),
        }
    }

    fn with_nats(&mut self, work: impl FnOnce(&mut Nats) -> Outcome<()>) -> Outcome<()> {
        match &mut self.storage {
            Storage::Postgres { nats: Some(nats), .. } => block_in_place(|| work(nats)),
            _ => Err("there is no NATS server".into()),
        }
    }

    fn with_disk(&self, work: impl FnOnce(&SmallDisk) -> Outcome<()>) -> Outcome<()> {
        match &self.storage {
            Storage::SmallDisk(disk) => block_in_place(|| work(disk)),
            _ => Err("there is no small disk".into()),
        }
    }

    /// Any time up to so many milliseconds, so that faults come at any moment.
    async fn pause(&mut self, longest: u64) {
        sleep(Duration::from_millis(self.random.random_range(0..longest))).await;
    }

    fn step(&self, done: u32, of: u32) {
        let text = format!("({} messages acknowledged)", self.world.ledger().acknowledged());
        self.progress.step(done, of, &text);
    }
}

/// Seconds, from any moment on.
fn now() -> f64 {
    use std::sync::LazyLock;
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGUN.elapsed().as_secs_f64()
}

fn add(all: &mut BTreeMap<String, u64>, more: BTreeMap<String, u64>) {
    for (code, count) in more {
        *all.entry(code).or_default() += count;
    }
}

//! Commits and joins in a group of 1000.

use std::time::{Duration, Instant};

use tempfile::TempDir;
use tertulia_bench::{EngineGroup, RawGroup, RawMember, add};
use tertulia_store::{KeySource, Store, WriterGuard};

use crate::{
    Bench, Outcome,
    report::{self, Row, Value},
    sample::Samples,
};

const MEMBERS: usize = 1000;

/// How often the reader joins.
const JOINS: usize = 12;

/// Whose it is to commit.
#[derive(Clone, Copy)]
enum Turn {
    Engine,
    Library,
}

/// How much longer than the library alone, apart from the writing.
const FACTOR: f64 = 1.3;

pub(crate) fn measure(bench: &mut Bench) -> Outcome<()> {
    if bench.sizes(&[MEMBERS]).is_empty() {
        return Ok(());
    }
    report::note(&format!("making a group of {MEMBERS}"));
    let others = MEMBERS - 1 - JOINS;
    let group =
        bench.runtime.block_on(EngineGroup::with_joins(bench.key_packages[..others].to_vec(), JOINS))?;
    let mut raw = RawGroup::new(&bench.leaves[..MEMBERS - 2])?;

    let mut joined = Samples::default();
    for _ in 1..JOINS {
        joined.push(bench.runtime.block_on(group.rejoin())?);
    }
    let raw_joined = join_on_library(&bench.leaves[..others])?;

    // One after the other, so that whatever else the machine does meets both; and each as often after itself as after the other,
    // for what a core did last, and whether it slept, shows in what comes next.
    let [mut commit, mut process, mut raw_commit, mut raw_process, mut written] =
        std::array::from_fn(|_| Samples::default());
    let disk = Disk::new(bench)?;
    let mut turns = [Turn::Engine, Turn::Library, Turn::Library, Turn::Engine].into_iter().cycle();
    while commit.are_wanted() || raw_commit.are_wanted() {
        match turns.next().unwrap_or(Turn::Engine) {
            Turn::Engine => {
                let begun = Instant::now();
                let message = bench.runtime.block_on(group.commit())?;
                commit.push(begun.elapsed());
                let begun = Instant::now();
                bench.runtime.block_on(group.receive(&message))?;
                process.push(begun.elapsed());
            }
            Turn::Library => {
                let begun = Instant::now();
                let message = raw.commit()?;
                raw_commit.push(begun.elapsed());
                let begun = Instant::now();
                raw.receive(&message)?;
                raw_process.push(begun.elapsed());
                let begun = Instant::now();
                disk.write(&raw.snapshot()?)?;
                written.push(begun.elapsed());
                raw.write()?;
            }
        }
    }
    let snapshot = written.median();
    bench.report.push(Row::median("one snapshot write", &written, 1).members(MEMBERS));
    let mut row = |operation: &str, samples: &Samples, raw: Duration| {
        let bar = raw.mul_f64(FACTOR) + snapshot;
        bench
            .report
            .push(Row::median(operation, samples, 1).members(MEMBERS).raw(raw).at_most(Value::Time(bar)));
    };

    row("join by Welcome", &joined, raw_joined.median());
    row("own commit: renew own keys", &commit, raw_commit.median());
    row("process another's commit", &process, raw_process.median());
    Ok(())
}

fn join_on_library(others: &[mls_rs::MlsMessage]) -> Outcome<Samples> {
    let joiners = (0..JOINS).map(|_| RawMember::random()).collect::<Result<Vec<_>, _>>()?;
    let mut key_packages = others.to_vec();
    for joiner in &joiners {
        key_packages.push(joiner.key_package()?);
    }
    let mut group = RawMember::random()?.create()?;
    let welcome = add(&mut group, &key_packages)?.welcome_messages[0].to_bytes()?;
    let mut samples = Samples::default();
    for joiner in &joiners {
        let begun = Instant::now();
        joiner.join(&welcome)?;
        samples.push(begun.elapsed());
    }
    Ok(samples)
}

/// An encrypted store for the library's snapshots.
struct Disk {
    _home: TempDir,
    store: Store,
    writer: WriterGuard,
}

impl Disk {
    fn new(bench: &Bench) -> Outcome<Self> {
        let home = TempDir::new()?;
        let store = Store::create(home.path(), &KeySource::File)?;
        let writer = bench.runtime.block_on(store.lock())?;
        Ok(Self { _home: home, store, writer })
    }

    /// One durable write of a whole snapshot.
    fn write(&self, snapshot: &[u8]) -> Outcome<()> {
        Ok(self.store.write(&self.writer, |tx| tx.put_group_state(b"a group", 1, snapshot))?)
    }
}

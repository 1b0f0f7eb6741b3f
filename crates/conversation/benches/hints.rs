//! What looking a hint up costs, and what the table takes: 1,000 conversations of 10 senders, each in its current epoch alone, and in that
//! and the last three.
//!
//! A rebuild is what `load` takes: the keys of all senders, and the hints of the current epochs. Those of past epochs come with the first hint that is not among these,
//! which is measured beside it; the other figures are of a table that has them all.
//!
//! `cargo xtask bench hints`. It prints figures beside the bars that they have to meet, writes them to the file that `--json` names, and
//! fails when one is not met. Times are medians: a look-up's of batches of 1,000, a rebuild's of five.

use std::{fs, hint::black_box, process::ExitCode, time::Instant};

use cap::Cap;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use tertulia_conversation::{
    EpochId, EpochSecrets, conversation_id,
    hint::{EpochStart, Hint, HintTable, Origin},
    types::{ConversationType as _, GroupV1},
    wire::{Envelope, GroupFrame},
};

#[global_allocator]
static ALLOCATOR: Cap<std::alloc::System> = Cap::new(std::alloc::System, usize::MAX);

const CONVERSATIONS: usize = 1000;
const SENDERS: u32 = 10;
const BATCH: usize = 1000;
const BATCHES: usize = 300;
const REBUILDS: usize = 5;

#[derive(serde::Serialize)]
struct Figures {
    conversations: usize,
    senders: u32,
    epochs: u64,
    hints: usize,
    found_ns: f64,
    not_found_ns: f64,
    memory_mb: f64,
    rebuild_ms: f64,
    past_ms: f64,
    cores: usize,
}

fn main() -> ExitCode {
    let mut met = true;
    let mut all = Vec::new();
    for epochs in [1, 4] {
        let figures = measure(epochs);
        met &= figures.found_ns <= 1000.0 && figures.memory_mb <= 20.0 && figures.rebuild_ms <= 200.0;
        print(&figures);
        all.push(figures);
    }
    let mut arguments = std::env::args().skip_while(|argument| argument != "--json").skip(1);
    if let Some(file) = arguments.next() {
        let json = serde_json::to_string_pretty(&all).expect("figures can be written");
        fs::write(file, json).expect("the file can be written");
    }
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(epochs: u64) -> Figures {
    let random = &mut StdRng::seed_from_u64(1);
    let mut records = Vec::new();
    let mut expected = Vec::new();
    for _ in 0..CONVERSATIONS {
        let conversation = conversation_id(GroupV1::DESCRIPTOR.id, &random.random());
        let mut receiver = HintTable::new(0);
        for epoch in 0..epochs {
            let epoch = EpochId { conversation, conversation_type: GroupV1::DESCRIPTOR.id, epoch };
            let secrets = EpochSecrets::derive(&random.random(), &epoch);
            let senders: Vec<_> = (1..=SENDERS).collect();
            let start = EpochStart {
                epoch,
                secrets: &secrets,
                own_sender: 0,
                senders: &senders,
                origin: Origin::Own,
            };
            receiver.begin_epoch(&start).expect("an epoch");
            // Some envelope of each epoch, by one of the senders.
            let mut sender = HintTable::new(0);
            let own_sender = random.random_range(1..=SENDERS);
            let start =
                EpochStart { epoch, secrets: &secrets, own_sender, senders: &[], origin: Origin::Own };
            sender.begin_epoch(&start).expect("an epoch");
            for _ in 0..random.random_range(1..8) {
                let frame = GroupFrame::Content(vec![1; 10]);
                let sealed = sender.seal::<GroupV1>(&conversation, &frame, random).expect("a hint");
                let envelope = Envelope::decode(sealed.envelope()).decoded().expect("an envelope");
                expected.push(envelope.hint);
            }
        }
        records.push(receiver.record(&conversation).expect("a record").to_vec());
    }
    expected.shuffle(random);

    let unknown = Hint::from_bytes(random.random());
    let (mut rebuilds, mut pasts): (Vec<_>, Vec<_>) =
        (1..REBUILDS).map(|_| rebuild(&records, &unknown).1).unzip();
    let before = ALLOCATOR.allocated();
    let (table, (last, past)) = rebuild(&records, &unknown);
    #[allow(clippy::cast_precision_loss)] // figures for people
    let memory_mb = (ALLOCATOR.allocated() - before) as f64 / 1e6;
    rebuilds.push(last);
    pasts.push(past);

    let unknown: Vec<_> = (0..10_000).map(|_| Hint::from_bytes(random.random())).collect();
    Figures {
        conversations: CONVERSATIONS,
        senders: SENDERS,
        epochs,
        hints: table.len(),
        found_ns: per_look_up(&table, &expected, true),
        not_found_ns: per_look_up(&table, &unknown, false),
        memory_mb,
        rebuild_ms: median(rebuilds),
        past_ms: median(pasts),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// The table, and how many milliseconds it took to make, and then to look for a hint that is of no current epoch.
fn rebuild(records: &[Vec<u8>], unknown: &Hint) -> (HintTable, (f64, f64)) {
    let begun = Instant::now();
    let table = HintTable::new(0).load(records).expect("the records are in order");
    let loaded = begun.elapsed();
    assert!(table.look_up(unknown).is_none());
    let looked_up = begun.elapsed().saturating_sub(loaded);
    (table, (loaded.as_secs_f64() * 1e3, looked_up.as_secs_f64() * 1e3))
}

/// Nanoseconds.
fn per_look_up(table: &HintTable, hints: &[Hint], found: bool) -> f64 {
    let mut hints = hints.iter().cycle();
    let mut batch = || {
        let begun = Instant::now();
        for hint in hints.by_ref().take(BATCH) {
            assert_eq!(black_box(table.look_up(black_box(hint))).is_some(), found);
        }
        #[allow(clippy::cast_precision_loss)]
        let each = begun.elapsed().as_secs_f64() * 1e9 / BATCH as f64;
        each
    };
    median((0..BATCHES).map(|_| batch()).collect())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[allow(clippy::print_stdout)] // that is what it is for
fn print(figures: &Figures) {
    let Figures { epochs, hints, found_ns, not_found_ns, memory_mb, rebuild_ms, past_ms, .. } = figures;
    println!("{CONVERSATIONS} conversations, {SENDERS} senders, {epochs} epochs: {hints} hints");
    println!("  found      {found_ns:>8.0} ns   bar 1000");
    println!("  not found  {not_found_ns:>8.0} ns");
    println!("  memory     {memory_mb:>8.1} MB   bar 20");
    println!("  rebuild    {rebuild_ms:>8.1} ms   bar 200");
    println!("  then past  {past_ms:>8.1} ms");
}

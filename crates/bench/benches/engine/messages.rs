//! Application messages in groups of all sizes.

use std::time::{Duration, Instant};

use tertulia_bench::{EngineGroup, RawGroup};

use crate::{
    Bench, Outcome,
    report::{self, Row, Value},
    sample::Samples,
};

const SIZES: [usize; 5] = [2, 10, 100, 1000, 10_000];

/// 1 KiB.
const TEXT: [u8; 1024] = [b'x'; 1024];

/// How many go into one transaction.
const BATCH: u32 = 50;

const ONE: Duration = Duration::from_micros(250);
const OF_BATCH: Duration = Duration::from_micros(60);

/// The time in the largest group by that in the group of [`SMALL`].
const GROWTH: f64 = 1.5;
const SMALL: usize = 10;

/// The medians of one operation, by size.
type Medians = Vec<(usize, Duration)>;

pub(crate) fn measure(bench: &mut Bench) -> Outcome<()> {
    let (mut encrypt, mut decrypt) = (Medians::new(), Medians::new());
    for members in bench.sizes(&SIZES) {
        report::note(&format!("making a group of {members}"));
        let others = bench.key_packages[..members - 2].to_vec();
        let group = bench.runtime.block_on(EngineGroup::new(others))?;
        let mut raw = RawGroup::new(&bench.leaves[..members - 2])?;

        let samples = Samples::of(|| bench.runtime.block_on(group.encrypt(&TEXT)).map(drop))?;
        let library = Samples::of(|| raw.encrypt(&TEXT).map(drop))?.median();
        encrypt.push((members, samples.median()));
        bench.report.push(
            Row::median("encrypt 1 KiB", &samples, 1).members(members).raw(library).at_most(Value::Time(ONE)),
        );

        let samples = decrypt_one_by_one(bench, &group)?;
        let library = decrypt_on_library(&mut raw)?.median();
        decrypt.push((members, samples.median()));
        bench.report.push(
            Row::median("decrypt 1 KiB", &samples, 1).members(members).raw(library).at_most(Value::Time(ONE)),
        );

        let count = BATCH as usize;
        let samples = Samples::of(|| bench.runtime.block_on(group.encrypt_many(&TEXT, count)).map(drop))?;
        bench.report.push(
            Row::median("encrypt 1 KiB, 50 in one transaction", &samples, BATCH)
                .members(members)
                .at_most(Value::Time(OF_BATCH)),
        );
        // Those that nobody has decrypted would be skipped, one key after the other.
        let group = fresh_epoch(bench, group)?;
        let mut samples = Samples::default();
        while samples.are_wanted() {
            let messages = bench.runtime.block_on(group.encrypt_many(&TEXT, count))?;
            let begun = Instant::now();
            bench.runtime.block_on(group.receive_many(&messages))?;
            samples.push(begun.elapsed());
        }
        bench.report.push(
            Row::median("decrypt 1 KiB, 50 in one transaction", &samples, BATCH)
                .members(members)
                .at_most(Value::Time(OF_BATCH)),
        );
    }
    growth(bench, "encrypt 1 KiB", &encrypt);
    growth(bench, "decrypt 1 KiB", &decrypt);
    Ok(())
}

fn decrypt_one_by_one(bench: &Bench, group: &EngineGroup) -> Outcome<Samples> {
    let mut samples = Samples::default();
    bench.runtime.block_on(async {
        let commit = group.commit().await?;
        group.receive(&commit).await?;
        while samples.are_wanted() {
            for message in group.encrypt_many(&TEXT, 10).await? {
                let begun = Instant::now();
                group.receive(&message).await?;
                samples.push(begun.elapsed());
            }
        }
        Ok(samples)
    })
}

fn decrypt_on_library(raw: &mut RawGroup) -> Outcome<Samples> {
    let commit = raw.commit()?;
    raw.receive(&commit)?;
    raw.write()?;
    let mut samples = Samples::default();
    while samples.are_wanted() {
        let message = raw.encrypt(&TEXT)?;
        let begun = Instant::now();
        raw.receive(&message)?;
        samples.push(begun.elapsed());
    }
    Ok(samples)
}

fn fresh_epoch(bench: &Bench, group: EngineGroup) -> Outcome<EngineGroup> {
    bench.runtime.block_on(async {
        let commit = group.commit().await?;
        group.receive(&commit).await?;
        Ok(group)
    })
}

fn growth(bench: &mut Bench, operation: &str, medians: &[(usize, Duration)]) {
    let of = |wanted: usize| medians.iter().find(|(members, _)| *members == wanted);
    let largest = SIZES[SIZES.len() - 1];
    if let (Some((_, small)), Some((_, large))) = (of(SMALL), of(largest)) {
        let ratio = Value::Ratio(large.as_secs_f64() / small.as_secs_f64());
        bench.report.push(
            Row::new(format!("{operation}, {largest} by {SMALL} members"), ratio)
                .at_most(Value::Ratio(GROWTH)),
        );
    }
}

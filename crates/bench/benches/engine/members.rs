//! Adding many members at once to a new group.

use std::time::{Duration, Instant};

use tertulia_bench::{EngineGroup, RawMember, add};

use crate::{
    Bench, Outcome,
    report::{self, Row, Value},
    sample::Samples,
};

/// How many are added, in what time at most, and how often it is measured.
const ADDS: [(usize, Duration, usize); 2] =
    [(1000, Duration::from_millis(250), 5), (10_000, Duration::from_secs(6), 1)];

pub(crate) fn measure(bench: &mut Bench) -> Outcome<()> {
    for (count, bar, times) in ADDS {
        if bench.sizes(&[count]).is_empty() {
            continue;
        }
        report::note(&format!("adding {count} members"));
        let mut samples = Samples::default();
        for _ in 0..times {
            // The reader is the last of them.
            let others = bench.key_packages[..count - 1].to_vec();
            samples.push_cold(bench.runtime.block_on(EngineGroup::new(others))?.adding());
        }
        let raw = add_on_library(bench, count)?;
        bench.report.push(
            Row::median(format!("add {count} members to a new group"), &samples, 1)
                .members(count + 1)
                .raw(raw)
                .at_most(Value::Time(bar)),
        );
    }
    Ok(())
}

/// All in one commit.
fn add_on_library(bench: &Bench, count: usize) -> Outcome<Duration> {
    let mut group = RawMember::random()?.create()?;
    let begun = Instant::now();
    add(&mut group, &bench.leaves[..count])?;
    group.apply_pending_commit()?;
    Ok(begun.elapsed())
}

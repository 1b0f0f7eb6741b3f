//! How much memory a loaded group takes.

use std::process::Command;

use tertulia_bench::EngineGroup;

use crate::{
    Bench, Outcome,
    report::{self, Row, Value},
};

const MEMBERS: usize = 1000;
const BAR: u64 = 1_500_000;

pub(crate) fn measure(bench: &mut Bench) -> Outcome<()> {
    if bench.sizes(&[MEMBERS]).is_empty() {
        return Ok(());
    }
    report::note("weighing a group");
    let group = bench.runtime.block_on(EngineGroup::new(bench.key_packages[..MEMBERS - 2].to_vec()))?;
    // In a process of its own, whose allocator counts.
    let weighed = Command::new(env!("CARGO_BIN_EXE_engine-memory")).arg(group.reader_home()).output()?;
    if !weighed.status.success() {
        return Err(String::from_utf8_lossy(&weighed.stderr).into());
    }
    let bytes = str::from_utf8(&weighed.stdout)?.trim().parse()?;
    bench.report.push(
        Row::new("live memory of a loaded group", Value::Bytes(bytes))
            .members(MEMBERS)
            .at_most(Value::Bytes(BAR)),
    );
    Ok(())
}

//! What a process uses, as Linux tells it.

use crate::Outcome;
use std::{fs, time::Duration};

/// What a process has used until now.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    /// Resident memory, in bytes.
    pub(crate) memory: u64,
    /// Time on a processor, its own and the kernel's.
    pub(crate) time: Duration,
}

/// Linux counts time on a processor in hundredths of a second, whatever the clock of the kernel.
const TICK: Duration = Duration::from_millis(10);

pub(crate) fn usage(process: u32) -> Outcome<Usage> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let memory = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok())
        .ok_or("the process has ended")?;
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in parentheses, may have spaces in it.
    let (_, fields) = stat.rsplit_once(')').ok_or("the process has no times")?;
    let ticks: u32 = fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<u32>).sum();
    Ok(Usage { memory: memory * 1024, time: TICK * ticks })
}

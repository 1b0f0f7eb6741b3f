//! What one durable write costs on this disk, without which no figure of durable messages says anything.

use crate::Outcome;
use std::{
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

const WRITES: usize = 200;

/// The median time of writing 4 KiB at the end of a file in this directory and having it on disk.
pub(crate) fn durable_write(directory: &Path) -> Outcome<Duration> {
    let mut file = File::create(directory.join("durable-write"))?;
    let mut times = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let begun = Instant::now();
        file.write_all(&[b'x'; 4096])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[WRITES / 2])
}

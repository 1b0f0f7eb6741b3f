//! What was measured: a table for people, JSON for programs.

use crate::{Arguments, Outcome, Sent};
use comfy_table::{Table, presets};
use serde::Serialize;
use std::{fs, path::Path, thread, time::Duration};

/// The result. Latencies are from the first byte of the request to the last of the answer, which is given once the message
/// is on disk.
#[derive(Serialize)]
pub(crate) struct Report {
    members: usize,
    senders: usize,
    message_bytes: usize,
    messages: usize,
    cores: usize,
    /// One write of 4 KiB with its fsync, the median.
    durable_write_ms: f64,
    seconds: f64,
    messages_per_second: f64,
    latency_ms: Latency,
}

#[derive(Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Report {
    pub(crate) fn new(arguments: &Arguments, durable_write: Duration, sent: Vec<Sent>) -> Self {
        let begun = sent.iter().map(|sent| sent.begun).min().expect("there is a sender");
        let ended = sent.iter().map(|sent| sent.ended).max().expect("there is a sender");
        let mut latencies: Vec<u64> = sent.into_iter().flat_map(|sent| sent.latencies).collect();
        latencies.sort_unstable();
        let seconds = (ended - begun).as_secs_f64();
        let at = |per_mille: usize| {
            let index = (latencies.len() * per_mille / 1000).min(latencies.len().saturating_sub(1));
            latencies.get(index).map_or(0.0, |&micros| precise(micros) / 1e3)
        };
        Self {
            members: arguments.members,
            senders: arguments.senders,
            message_bytes: arguments.bytes,
            messages: latencies.len(),
            cores: thread::available_parallelism().map_or(0, usize::from),
            durable_write_ms: durable_write.as_secs_f64() * 1e3,
            seconds,
            messages_per_second: precise(latencies.len() as u64) / seconds,
            latency_ms: Latency { p50: at(500), p90: at(900), p99: at(990), max: at(1000) },
        }
    }

    #[expect(clippy::print_stdout, reason = "printing is what this program does")]
    pub(crate) fn print(&self) {
        let Latency { p50, p90, p99, max } = &self.latency_ms;
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.add_row(["accepted durably".to_owned(), format!("{:.0} messages/s", self.messages_per_second)]);
        table.add_row(["messages".to_owned(), format!("{} of {} bytes", self.messages, self.message_bytes)]);
        table.add_row(["senders".to_owned(), format!("{} in a group of {}", self.senders, self.members)]);
        table.add_row(["cores, load included".to_owned(), self.cores.to_string()]);
        table.add_row(["a durable write of 4 KiB".to_owned(), format!("{:.2} ms", self.durable_write_ms)]);
        table.add_row(["latency, median".to_owned(), format!("{p50:.2} ms")]);
        table.add_row(["latency, 90 %".to_owned(), format!("{p90:.2} ms")]);
        table.add_row(["latency, 99 %".to_owned(), format!("{p99:.2} ms")]);
        table.add_row(["latency, longest".to_owned(), format!("{max:.2} ms")]);
        println!("{table}");
    }

    pub(crate) fn write(&self, file: &Path) -> Outcome<()> {
        fs::write(file, serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }
}

/// Numbers of messages and of microseconds are far below 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn precise(number: u64) -> f64 {
    number as f64
}

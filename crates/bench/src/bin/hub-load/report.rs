//! What was measured, beside what it is to be: a table for people, JSON for programs.

use crate::{
    Arguments, Outcome,
    messages::{Growth, Throughput},
    nodes::Nodes,
    sockets::Sockets,
    starting::Start,
    synapse::Synapse,
};
use comfy_table::{Table, presets};
use serde::Serialize;
use std::{fs, path::Path, thread, time::Duration};

/// The result. What was not measured is absent.
#[derive(Serialize)]
pub(crate) struct Report {
    members: u32,
    message_bytes: usize,
    /// Those of the machine, which the load is on too.
    cores: usize,
    /// One write of 4 KiB with its fsync, the median.
    durable_write_ms: f64,
    pub(crate) start: Option<Start>,
    pub(crate) sqlite: Option<Throughput>,
    pub(crate) postgres: Option<Throughput>,
    pub(crate) growth: Option<Growth>,
    pub(crate) sockets: Option<Sockets>,
    pub(crate) nodes: Option<Nodes>,
    pub(crate) synapse: Option<Synapse>,
}

/// What something is to be.
enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

impl Report {
    pub(crate) fn new(arguments: &Arguments, durable_write: Duration) -> Self {
        Self {
            members: arguments.members,
            message_bytes: arguments.bytes,
            cores: thread::available_parallelism().map_or(0, usize::from),
            durable_write_ms: durable_write.as_secs_f64() * 1e3,
            start: None,
            sqlite: None,
            postgres: None,
            growth: None,
            sockets: None,
            nodes: None,
            synapse: None,
        }
    }

    #[expect(clippy::print_stdout, reason = "printing is what this program does")]
    pub(crate) fn print(&self) {
        println!(
            "messages of {} bytes in a group of {} members; {} cores, the load on the same; a durable write of 4 KiB takes {:.2} ms",
            self.message_bytes, self.members, self.cores, self.durable_write_ms
        );
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["", "measured", "bar", ""]);
        for (what, measured, unit, bar) in self.rows() {
            let (bar, met) = match bar {
                Bar::AtLeast(least) => (format!("≥ {} {unit}", number(least)), measured >= least),
                Bar::AtMost(most) => (format!("≤ {} {unit}", number(most)), measured <= most),
            };
            let met = if met { "met" } else { "NOT MET" };
            table.add_row([what, format!("{} {unit}", number(measured)), bar, met.to_owned()]);
        }
        println!("{table}");
        if let Some(synapse) = &self.synapse {
            self.compare(synapse);
        }
    }

    fn rows(&self) -> Vec<(String, f64, &'static str, Bar)> {
        let mut rows = Vec::new();
        let mut row = |what: String, measured, unit, bar| rows.push((what, measured, unit, bar));
        let databases = [("SQLite", &self.sqlite, 8000.0), ("PostgreSQL", &self.postgres, 3000.0)];
        for (name, measured, least) in databases {
            let Some(Throughput { many, few, catch_up }) = measured else { continue };
            let what = format!("accepted durably, {} senders, {name}", many.senders);
            row(what, many.per_second, "messages/s", Bar::AtLeast(least));
            let what = |of| format!("a send, {} senders, {name}, {of}", few.senders);
            row(what("median"), few.latency_ms.p50, "ms", Bar::AtMost(3.0));
            row(what("99 %"), few.latency_ms.p99, "ms", Bar::AtMost(20.0));
            let what = format!("catching up {} events, {name}", catch_up.events);
            row(what, catch_up.seconds, "s", Bar::AtMost(0.5));
        }
        if let Some(growth) = &self.growth {
            let what = format!("cost of a message, {} members by {}", growth.members, self.members);
            row(what, growth.ratio, "×", Bar::AtMost(1.2));
        }
        if let Some(nodes) = &self.nodes {
            let what = format!("from one node to a socket of another at {}/s, 99 %", nodes.per_second);
            row(what, nodes.arrival_ms.p99, "ms", Bar::AtMost(25.0));
        }
        if let Some(start) = &self.start {
            row(
                "start of an empty hub to its first answer".into(),
                start.first_answer_ms,
                "ms",
                Bar::AtMost(150.0),
            );
            row("memory of an idle hub".into(), start.memory_mb, "MB", Bar::AtMost(40.0));
        }
        if let Some(sockets) = &self.sockets {
            let what = format!("memory of a socket, {} open", sockets.open);
            row(what, sockets.bytes_each / 1e3, "KB", Bar::AtMost(25.0));
            let what = "the same after a message to all".into();
            row(what, sockets.bytes_each_after / 1e3, "KB", Bar::AtMost(25.0));
            #[expect(clippy::cast_precision_loss, reason = "some thousands")]
            let (reached, open) = (sockets.reached as f64, sockets.open as f64);
            row(
                format!("sockets that it reached, in {:.0} ms", sockets.reached_all_ms),
                reached,
                "",
                Bar::AtLeast(open),
            );
        }
        rows
    }

    #[expect(clippy::print_stdout, reason = "printing is what this program does")]
    fn compare(&self, synapse: &Synapse) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["", "Tertulia", &format!("Synapse {}", synapse.version), "ratio"]);
        let mut row = |what: &str, ours: f64, theirs: f64, better: f64| {
            table.add_row([what.to_owned(), number(ours), number(theirs), format!("{better:.1} ×")]);
        };
        if let Some(Throughput { many, few, .. }) = &self.sqlite {
            let (other_many, other_few) = (&synapse.many, &synapse.few);
            row(
                "accepted, messages/s",
                many.per_second,
                other_many.per_second,
                many.per_second / other_many.per_second,
            );
            let (ours, theirs) = (few.latency_ms, other_few.latency_ms);
            row("a send, 8 senders, median, ms", ours.p50, theirs.p50, theirs.p50 / ours.p50);
            row("a send, 8 senders, 99 %, ms", ours.p99, theirs.p99, theirs.p99 / ours.p99);
        }
        if let Some(start) = &self.start {
            let other = &synapse.start;
            row("memory, idle, MB", start.memory_mb, other.memory_mb, other.memory_mb / start.memory_mb);
            row(
                "start to first answer, ms",
                start.first_answer_ms,
                other.first_answer_ms,
                other.first_answer_ms / start.first_answer_ms,
            );
        }
        println!("\n{table}");
    }

    pub(crate) fn write(&self, file: &Path) -> Outcome<()> {
        fs::write(file, serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }
}

/// Three digits of it, or all before the point.
fn number(number: f64) -> String {
    match number {
        100.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

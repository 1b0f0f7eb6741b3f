//! `hub-load`: what a hub does under load, durably, over HTTP as any client speaks it.
//!
//! The hub is the shipped program in a process of its own, on new data. Devices send into one group, each the next message when
//! the one before was accepted. At the end the hub is killed (SIGKILL) and started again, and every message that it had accepted
//! has to be there. Further parts measure how it starts, what sockets cost, how a device catches up, what a large group costs,
//! and what goes between two nodes; and, for comparison, the same load on another server.
//!
//! The data is in the directory for temporary files; set `TMPDIR` to measure another disk.

mod crowd;
mod disk;
mod http;
mod hub;
mod latency;
mod load;
mod messages;
mod nodes;
mod people;
mod process;
mod report;
mod sockets;
mod starting;
mod synapse;

use clap::{Parser, ValueEnum};
use report::Report;
use std::{env, error::Error, path::PathBuf, time::Duration};

/// Measures what a hub does under load.
#[derive(Parser)]
struct Arguments {
    /// Measure these parts only.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Members of the group.
    #[arg(long, default_value_t = 10)]
    members: u32,
    /// Devices of the members that send, all at once.
    #[arg(long, default_value_t = 64)]
    senders: u32,
    /// For how long they send, in seconds.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Length of a message before encryption, in bytes.
    #[arg(long, default_value_t = 1024)]
    bytes: usize,
    /// Events that a device catches up with.
    #[arg(long, default_value_t = 10_000)]
    events: usize,
    /// Members of the large group.
    #[arg(long, default_value_t = 10_000)]
    crowd: u32,
    /// Sockets that are open at once.
    #[arg(long, default_value_t = 5000)]
    sockets: u32,
    /// The hub's program; by default `tertulia` beside this one.
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// The Python that has Synapse, to measure it too.
    #[arg(long, value_name = "FILE")]
    synapse: Option<PathBuf>,
    /// Write the result as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What can be measured by itself.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// How an empty hub starts.
    Start,
    /// Messages, with the database in a file.
    Sqlite,
    /// Messages, with the database on a PostgreSQL server.
    Postgres,
    /// What a message costs in a large group.
    Growth,
    /// Sockets that are open at once.
    Sockets,
    /// What goes from one node to another.
    Nodes,
    /// Another server, for comparison.
    Synapse,
}

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    let place = tempfile::tempdir()?;
    let (place, wants) = (place.path(), |part| arguments.only.is_empty() || arguments.only.contains(&part));
    let mut report = Report::new(&arguments, disk::durable_write(place)?);
    if wants(Part::Start) {
        report.start = Some(starting::measure(&arguments, place).await?);
    }
    if wants(Part::Sqlite) {
        report.sqlite = Some(messages::on_sqlite(&arguments, place).await?);
    }
    if wants(Part::Postgres) {
        report.postgres = Some(messages::on_postgres(&arguments, place).await?);
    }
    if wants(Part::Growth) {
        report.growth = Some(messages::growth(&arguments, place).await?);
    }
    if wants(Part::Sockets) {
        report.sockets = Some(sockets::measure(&arguments, place).await?);
    }
    if wants(Part::Nodes) {
        report.nodes = nodes::measure(&arguments, place).await?;
    }
    if wants(Part::Synapse)
        && let Some(python) = &arguments.synapse
    {
        report.synapse = Some(synapse::measure(&arguments, python, place).await?);
    }
    report.print();
    if let Some(file) = &arguments.json {
        report.write(file)?;
    }
    Ok(())
}

impl Arguments {
    fn server(&self) -> Outcome<PathBuf> {
        match &self.server {
            Some(server) => Ok(server.clone()),
            None => Ok(env::current_exe()?.with_file_name("tertulia")),
        }
    }

    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds.max(2))
    }
}

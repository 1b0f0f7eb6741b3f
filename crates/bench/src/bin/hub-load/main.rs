//! `hub-load`: how many messages a second a hub takes, durably.
//!
//! A hub runs in a process of its own, on a new data directory. Some members of one group send messages that they have
//! encrypted before, each the next one when the one before was accepted, all over HTTP as any client does. At the end the
//! hub is killed (SIGKILL) and started again, and every message that it had accepted has to be there.
//!
//! The data is in the directory for temporary files; set `TMPDIR` to measure another disk.

mod disk;
mod hub;
mod people;
mod report;

use clap::Parser;
use hub::HubProcess;
use people::{Person, make_group};
use report::Report;
use std::{error::Error, path::PathBuf, time::Instant};

/// Measures how many messages a second a hub takes, durably.
#[derive(Parser)]
struct Arguments {
    /// Members of the group.
    #[arg(long, default_value_t = 10)]
    members: usize,
    /// Members who send, all at once.
    #[arg(long, default_value_t = 8)]
    senders: usize,
    /// Messages of each sender.
    #[arg(long, default_value_t = 3000)]
    messages: u64,
    /// Length of a message before encryption, in bytes.
    #[arg(long, default_value_t = 1024)]
    bytes: usize,
    /// Write the result as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Be the hub, with this data directory.
    #[arg(long, hide = true)]
    serve: Option<PathBuf>,
}

/// Messages of each sender before the clock runs: connections are opened, and the hub's caches filled.
const WARM_UP: u64 = 100;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    if let Some(data) = &arguments.serve {
        return hub::serve(data).await;
    }
    if arguments.senders == 0 || arguments.senders > arguments.members || arguments.members < 2 {
        return Err("there are at least two members and one sender, and no more senders than members".into());
    }
    let place = tempfile::tempdir()?;
    let durable_write = disk::durable_write(place.path())?;
    let mut hub = HubProcess::start(place.path().join("hub"))?;
    let people = make_group(&hub.url(), place.path(), arguments.members).await?;

    let text = vec![b'x'; arguments.bytes];
    let mut loads = Vec::new();
    for person in &people[..arguments.senders] {
        loads.push((person.clone(), person.encrypt(&text, WARM_UP + arguments.messages).await?));
    }
    let report = Report::new(&arguments, durable_write, load(loads).await?);

    hub.kill()?;
    hub.start_again()?;
    let reader = people.last().expect("there are at least two");
    let kept = reader.at(&hub.url())?.count_messages().await?;
    let accepted = (WARM_UP + arguments.messages) * arguments.senders as u64;
    if kept != accepted {
        return Err(format!("the hub accepted {accepted} messages, and after a SIGKILL it has {kept}").into());
    }
    report.print();
    if let Some(file) = &arguments.json {
        report.write(file)?;
    }
    Ok(())
}

/// What one sender has measured, in microseconds.
struct Sent {
    begun: Instant,
    ended: Instant,
    latencies: Vec<u64>,
}

/// Sends everybody's messages at once.
async fn load(loads: Vec<(Person, Vec<Vec<u8>>)>) -> Outcome<Vec<Sent>> {
    let start = std::sync::Arc::new(tokio::sync::Barrier::new(loads.len()));
    let mut senders = tokio::task::JoinSet::new();
    for (person, messages) in loads {
        let start = start.clone();
        senders.spawn(async move {
            let mut messages = messages.into_iter();
            for message in messages.by_ref().take(usize::try_from(WARM_UP)?) {
                person.send(message).await?;
            }
            start.wait().await;
            let begun = Instant::now();
            let mut latencies = Vec::with_capacity(messages.len());
            for message in messages {
                let sent = Instant::now();
                person.send(message).await?;
                latencies.push(u64::try_from(sent.elapsed().as_micros())?);
            }
            Outcome::Ok(Sent { begun, ended: Instant::now(), latencies })
        });
    }
    let mut all = Vec::new();
    while let Some(sent) = senders.join_next().await {
        all.push(sent??);
    }
    Ok(all)
}

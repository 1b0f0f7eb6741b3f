//! How long an empty hub takes to answer, and what it holds while nothing happens.

use crate::{Arguments, Outcome, http::Http, hub::HubCommand, load::precise, process};
use serde::Serialize;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// How often it is started, each time with nothing.
const STARTS: usize = 5;

/// How long nothing happens before the memory is looked at.
const REST: Duration = Duration::from_secs(3);

/// A server that has just started.
#[derive(Debug, Serialize)]
pub(crate) struct Start {
    /// From the start of the process to its first answer, in milliseconds, the median.
    pub(crate) first_answer_ms: f64,
    /// Resident memory a few seconds later, in MB.
    pub(crate) memory_mb: f64,
}

pub(crate) async fn measure(arguments: &Arguments, place: &Path) -> Outcome<Start> {
    let program = arguments.server()?;
    let mut all = Vec::new();
    for number in 0..STARTS {
        let command = HubCommand::new(&program, place.join(format!("start-{number}")));
        let begun = Instant::now();
        let hub = command.start()?;
        hub.connect().await?.get("/healthz", None).await?;
        let time = begun.elapsed();
        sleep(REST).await;
        all.push((time, hub.usage()?.memory));
    }
    Ok(Start::median(all))
}

impl Start {
    pub(crate) fn median(mut all: Vec<(Duration, u64)>) -> Self {
        all.sort_unstable();
        let (time, memory) = all[all.len() / 2];
        Self { first_answer_ms: time.as_secs_f64() * 1e3, memory_mb: megabytes(memory) }
    }

    /// Of a process that is asked until it answers.
    pub(crate) async fn of(
        process: u32,
        begun: Instant,
        address: &str,
        path: &str,
    ) -> Outcome<(Duration, u64)> {
        loop {
            let asked = async { Http::connect(address.to_owned()).await?.get(path, None).await };
            if asked.await.is_ok() {
                break;
            }
            process::usage(process)?; // an error once it has ended
            sleep(Duration::from_millis(5)).await;
        }
        let time = begun.elapsed();
        sleep(REST).await;
        Ok((time, process::usage(process)?.memory))
    }
}

/// Bytes as megabytes of a million.
pub(crate) fn megabytes(bytes: u64) -> f64 {
    precise(usize::try_from(bytes).unwrap_or(usize::MAX)) / 1e6
}

//! Senders who each send the next message when the one before was accepted, for a time.

use crate::{
    Outcome,
    http::{Head, Http},
    latency::Latency,
};
use serde::Serialize;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Barrier, task::JoinSet};

/// Connections are opened and caches filled before the clock runs.
const WARM_UP: Duration = Duration::from_secs(1);

/// What a sender sends. It is asked for each message.
pub(crate) trait Load: Clone + Send + 'static {
    /// A message's method and path, and its body with its media type.
    fn next(&mut self) -> (&'static str, String, Vec<u8>, &'static str);

    /// The sender's token.
    fn token(&self) -> &str;
}

/// What was accepted in the time that was measured. Latencies are from the first byte of the request to the last of the answer,
/// which is given once the message is on disk.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Accepted {
    pub(crate) senders: usize,
    pub(crate) messages: usize,
    pub(crate) per_second: f64,
    pub(crate) latency_ms: Latency,
    /// With those before the clock ran.
    pub(crate) in_all: usize,
}

pub(crate) async fn run<L: Load>(address: &str, loads: Vec<L>, time: Duration) -> Outcome<Accepted> {
    let senders = loads.len();
    let start = Arc::new(Barrier::new(senders));
    let mut tasks = JoinSet::new();
    for load in loads {
        let (start, http) = (Arc::clone(&start), Http::connect(address.to_owned()).await?);
        tasks.spawn(async move {
            start.wait().await;
            sender(http, load, time).await
        });
    }
    let (mut times, mut in_all) = (Vec::new(), 0);
    while let Some(done) = tasks.join_next().await {
        let (measured, all) = done??;
        times.extend(measured);
        in_all += all;
    }
    let messages = times.len();
    Ok(Accepted {
        senders,
        messages,
        per_second: precise(messages) / time.as_secs_f64(),
        latency_ms: Latency::of(times),
        in_all,
    })
}

async fn sender<L: Load>(mut http: Http, mut load: L, time: Duration) -> Outcome<(Vec<Duration>, usize)> {
    let begun = Instant::now();
    let (mut times, mut all) = (Vec::new(), 0);
    loop {
        let (method, path, body, media_type) = load.next();
        let sent = Instant::now();
        if sent.duration_since(begun) > WARM_UP + time {
            return Ok((times, all));
        }
        http.call(Head { method, path: &path, token: Some(load.token()), media_type }, body).await?;
        all += 1;
        // It counts where its answer falls.
        let answered = begun.elapsed();
        if answered > WARM_UP && answered <= WARM_UP + time {
            times.push(sent.elapsed());
        }
    }
}

/// Numbers of messages are far below 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub(crate) fn precise(number: usize) -> f64 {
    number as f64
}

//! Numbers for Prometheus. Each hub has its own, also where several run in one process.

use crate::{shutdown::Shutdown, storage::Batch};
use http::Method;
use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::sleep;

/// Upper bounds of the buckets for request times, in seconds.
const SECONDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Upper bounds of the buckets for jobs in a transaction.
const JOBS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// How often what was measured is added up. Until then each request and each transaction costs some bytes.
const ADD_UP_EVERY: Duration = Duration::from_secs(2);

static METADATA: Metadata<'static> = Metadata::new("tertulia", Level::INFO, None);

/// The numbers of one hub.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    messages: Counter,
    commits: Counter,
    sockets: Gauge,
    pushed: Counter,
    fetched: Counter,
    cut: Counter,
    found: Counter,
    relay: RelayNumbers,
    waiting: Gauge,
    database: Gauge,
}

/// The numbers of a relay.
struct RelayNumbers {
    new: Counter,
    known: Counter,
    pushed: Counter,
    fetched: Counter,
    cut: Counter,
}

/// A live connection is counted as long as this is held.
pub(crate) struct OpenSocketCount(Gauge);

impl Drop for OpenSocketCount {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Where the writer tells of its transactions.
pub(crate) struct WriterNumbers {
    jobs: Histogram,
    seconds: Histogram,
    failures: Counter,
}

impl WriterNumbers {
    pub(crate) fn record(&self, batch: Batch) {
        self.jobs.record(f64::from(u32::try_from(batch.jobs).unwrap_or(u32::MAX)));
        self.seconds.record(batch.time.as_secs_f64());
        if !batch.stored {
            self.failures.increment(1);
        }
    }
}

/// All counters with what they count. `docs/operations.md` has them too, and a test compares.
const COUNTERS: [(&str, &str); 11] = [
    ("tertulia_requests_total", "Requests, by method, path and status."),
    ("tertulia_messages_accepted_total", "Application messages accepted."),
    ("tertulia_commits_accepted_total", "Commits accepted."),
    ("tertulia_events_delivered_total", "Events given to devices, by the way: pushed or fetched."),
    (
        "tertulia_entries_cut_total",
        "Entries of logs and events cut out because they were kept for long enough.",
    ),
    ("tertulia_refused_total", "Requests refused for being too many, by the limit."),
    ("tertulia_writer_failures_total", "Transactions that failed; nothing of them was stored."),
    (
        "tertulia_relay_envelopes_total",
        "Envelopes that the relay has taken: new ones, and those that were there.",
    ),
    (
        "tertulia_relay_delivered_total",
        "Envelopes given to readers of the relay, by the way: pushed or fetched.",
    ),
    (
        "tertulia_relay_cut_total",
        "Envelopes that the relay has cut out because they were kept for long enough.",
    ),
    ("tertulia_wake_ups_found_total", "Times that what another node stored was found in the log, late."),
];

/// The one number that only the database knows.
const DATABASE_BYTES: &str = "tertulia_database_bytes";

const GAUGES: [(&str, &str); 7] = [
    ("tertulia_sockets_open", "WebSockets that are open."),
    ("tertulia_relay_places_taken", "Requests and sockets that the relay has in hand."),
    ("tertulia_writer_queue", "Requests that wait for a place in a transaction."),
    (DATABASE_BYTES, "Size of the database."),
    ("tertulia_nats_connected", "1 while there is a connection with NATS; absent without --nats."),
    ("tertulia_start_time_seconds", "When the hub started, in seconds since 1970."),
    ("tertulia_build_info", "1, with the version."),
];

const HISTOGRAMS: [(&str, Unit, &str); 3] = [
    ("tertulia_request_seconds", Unit::Seconds, "Time until the answer's head, by method and path."),
    ("tertulia_writer_batch_jobs", Unit::Count, "Requests that shared one durable transaction."),
    ("tertulia_writer_batch_seconds", Unit::Seconds, "Time of a transaction until it was durable."),
];

impl Metrics {
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new();
        // Fails for an empty list of bounds only; without bounds the times would become summaries.
        let builder = builder.set_buckets(&SECONDS).unwrap_or_else(|_| PrometheusBuilder::new());
        let jobs = metrics_exporter_prometheus::Matcher::Full("tertulia_writer_batch_jobs".into());
        let recorder = match builder.set_buckets_for_metric(jobs, &JOBS) {
            Ok(builder) => builder.build_recorder(),
            Err(_) => PrometheusBuilder::new().build_recorder(),
        };
        for (name, what) in COUNTERS {
            recorder.describe_counter(name.into(), Some(Unit::Count), SharedString::const_str(what));
        }
        for (name, what) in GAUGES {
            recorder.describe_gauge(name.into(), None, SharedString::const_str(what));
        }
        for (name, unit, what) in HISTOGRAMS {
            recorder.describe_histogram(name.into(), Some(unit), SharedString::const_str(what));
        }
        let way = |way| counter(&recorder, "tertulia_events_delivered_total", Some(Label::new("way", way)));
        let envelopes =
            |what| counter(&recorder, "tertulia_relay_envelopes_total", Some(Label::new("what", what)));
        let delivered =
            |way| counter(&recorder, "tertulia_relay_delivered_total", Some(Label::new("way", way)));
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(); // a clock before 1970 reads 0
        gauge(&recorder, "tertulia_start_time_seconds", None).set(since.as_secs_f64());
        let version = Label::new("version", env!("CARGO_PKG_VERSION"));
        gauge(&recorder, "tertulia_build_info", Some(version)).set(1.0);
        Self {
            handle: recorder.handle(),
            messages: counter(&recorder, "tertulia_messages_accepted_total", None),
            commits: counter(&recorder, "tertulia_commits_accepted_total", None),
            sockets: gauge(&recorder, "tertulia_sockets_open", None),
            pushed: way("pushed"),
            fetched: way("fetched"),
            cut: counter(&recorder, "tertulia_entries_cut_total", None),
            found: counter(&recorder, "tertulia_wake_ups_found_total", None),
            relay: RelayNumbers {
                new: envelopes("new"),
                known: envelopes("known"),
                pushed: delivered("pushed"),
                fetched: delivered("fetched"),
                cut: counter(&recorder, "tertulia_relay_cut_total", None),
            },
            waiting: gauge(&recorder, "tertulia_writer_queue", None),
            database: gauge(&recorder, DATABASE_BYTES, None),
            recorder,
        }
    }

    /// Counts an answered request. `path` is the route's pattern, so that its values are few.
    pub(crate) fn request(&self, method: &'static str, path: &str, status: u16, time: Duration) {
        let mut labels = vec![Label::new("method", method), Label::new("path", path.to_owned())];
        let key = Key::from_parts("tertulia_request_seconds", labels.clone());
        self.recorder.register_histogram(&key, &METADATA).record(time.as_secs_f64());
        labels.push(Label::new("status", status.to_string()));
        let key = Key::from_parts("tertulia_requests_total", labels);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// Counts an accepted application message.
    pub(crate) fn message_accepted(&self) {
        self.messages.increment(1);
    }

    /// Counts an accepted commit.
    pub(crate) fn commit_accepted(&self) {
        self.commits.increment(1);
    }

    /// Counts a socket that is open until the answer is dropped.
    pub(crate) fn socket_opened(&self) -> OpenSocketCount {
        self.sockets.increment(1.0);
        OpenSocketCount(self.sockets.clone())
    }

    /// Counts an event that was written to a socket.
    pub(crate) fn event_pushed(&self) {
        self.pushed.increment(1);
    }

    /// Counts events that were put on a page.
    pub(crate) fn events_fetched(&self, events: usize) {
        self.fetched.increment(events as u64);
    }

    /// Counts what was cut out of the logs.
    pub(crate) fn entries_cut(&self, entries: u64) {
        self.cut.increment(entries);
    }

    /// Counts a time that something which another node has stored was found in the log, because it had not told.
    pub(crate) fn wake_ups_found(&self) {
        self.found.increment(1);
    }

    /// Counts an envelope that the relay has taken, or has had.
    pub(crate) fn envelope_taken(&self, known: bool) {
        (if known { &self.relay.known } else { &self.relay.new }).increment(1);
    }

    /// Counts envelopes that were written to a socket.
    pub(crate) fn envelopes_pushed(&self, envelopes: usize) {
        self.relay.pushed.increment(envelopes as u64);
    }

    /// Counts envelopes that were put on a page.
    pub(crate) fn envelopes_fetched(&self, envelopes: usize) {
        self.relay.fetched.increment(envelopes as u64);
    }

    /// Counts envelopes that the relay has cut out.
    pub(crate) fn envelopes_cut(&self, envelopes: u64) {
        self.relay.cut.increment(envelopes);
    }

    /// Where it is counted how much the relay has in hand.
    pub(crate) fn relay_places(&self) -> Gauge {
        gauge(&self.recorder, "tertulia_relay_places_taken", None)
    }

    /// Where it is said whether there is a connection with NATS.
    pub(crate) fn nats(&self) -> Gauge {
        let connected = gauge(&self.recorder, "tertulia_nats_connected", None);
        connected.set(0.0);
        connected
    }

    /// Where the limit of this name counts what it refuses.
    pub(crate) fn refused(&self, limit: &'static str) -> Counter {
        counter(&self.recorder, "tertulia_refused_total", Some(Label::new("limit", limit)))
    }

    /// Where the writer tells of its transactions.
    pub(crate) fn writer(&self) -> WriterNumbers {
        let histogram = |name| self.recorder.register_histogram(&Key::from_static_name(name), &METADATA);
        WriterNumbers {
            jobs: histogram("tertulia_writer_batch_jobs"),
            seconds: histogram("tertulia_writer_batch_seconds"),
            failures: counter(&self.recorder, "tertulia_writer_failures_total", None),
        }
    }

    /// Everything in Prometheus's text format, with what is looked up only now: how many requests wait for the writer, and
    /// how large the database is, in bytes. If that is not known it is left out.
    pub(crate) fn render(&self, waiting: usize, database: Option<u64>) -> String {
        #[expect(clippy::cast_precision_loss, reason = "nobody reads a size to the byte")]
        self.database.set(database.unwrap_or_default() as f64);
        self.waiting.set(f64::from(u32::try_from(waiting).unwrap_or(u32::MAX)));
        self.handle.run_upkeep();
        let numbers = self.handle.render();
        if database.is_some() {
            return numbers;
        }
        // A size from before would look like one of now.
        numbers.split_inclusive('\n').filter(|line| !line.contains(DATABASE_BYTES)).collect()
    }

    /// Adds up what was measured, again and again, until the hub is to stop. Without it every single measurement would be kept
    /// until somebody asks for the numbers, and most never ask.
    pub(crate) async fn see_to(self: Arc<Self>, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = sleep(ADD_UP_EVERY) => self.handle.run_upkeep(),
                () = shutdown.requested() => return,
            }
        }
    }

    /// Whether so many seconds of requests have been added up, and nothing else of them.
    #[cfg(test)]
    pub(crate) fn has_added_up(&self, seconds: f64) -> bool {
        // The library's own words: to ask it for the numbers would add them up.
        format!("{:?}", self.handle).contains(&format!("sum: {seconds:?} "))
    }
}

/// The method, if it is one of the few that there are: a client can make up any.
pub(crate) fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn counter(recorder: &PrometheusRecorder, name: &'static str, label: Option<Label>) -> Counter {
    recorder.register_counter(&Key::from_parts(name, label.into_iter().collect::<Vec<_>>()), &METADATA)
}

fn gauge(recorder: &PrometheusRecorder, name: &'static str, label: Option<Label>) -> Gauge {
    recorder.register_gauge(&Key::from_parts(name, label.into_iter().collect::<Vec<_>>()), &METADATA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_manual_has_every_number() {
        let manual = include_str!("../../../docs/operations.md");
        let names = COUNTERS.iter().chain(&GAUGES).map(|(name, _)| *name);
        for name in names.chain(HISTOGRAMS.iter().map(|(name, ..)| *name)) {
            assert!(manual.contains(&format!("`{name}`")), "{name} is not in docs/operations.md");
        }
    }
}

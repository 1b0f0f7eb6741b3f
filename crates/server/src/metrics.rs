//! Numbers for Prometheus. Each hub has its own, also where several run in one process.

use http::Method;
use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::time::Duration;

/// Upper bounds of the buckets for request times, in seconds.
const SECONDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Upper bounds of the buckets for jobs in a transaction.
const JOBS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

static METADATA: Metadata<'static> = Metadata::new("tertulia", Level::INFO, None);

/// The numbers of one hub.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    messages: Counter,
    commits: Counter,
    sockets: Gauge,
}

/// A live connection is counted as long as this is held.
pub(crate) struct OpenSocketCount(Gauge);

impl Drop for OpenSocketCount {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

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
        for (name, what) in [
            ("tertulia_requests_total", "Requests, by method, path and status."),
            ("tertulia_messages_accepted_total", "Application messages accepted."),
            ("tertulia_commits_accepted_total", "Commits accepted."),
        ] {
            recorder.describe_counter(name.into(), Some(Unit::Count), SharedString::const_str(what));
        }
        recorder.describe_gauge("tertulia_sockets_open".into(), None, "WebSockets that are open.".into());
        recorder.describe_histogram(
            "tertulia_request_seconds".into(),
            Some(Unit::Seconds),
            "Time until the answer's head, by method and path.".into(),
        );
        recorder.describe_histogram(
            "tertulia_writer_batch_jobs".into(),
            Some(Unit::Count),
            "Requests that shared one durable transaction.".into(),
        );
        Self {
            handle: recorder.handle(),
            messages: counter(&recorder, "tertulia_messages_accepted_total"),
            commits: counter(&recorder, "tertulia_commits_accepted_total"),
            sockets: recorder.register_gauge(&Key::from_static_name("tertulia_sockets_open"), &METADATA),
            recorder,
        }
    }

    /// Counts an answered request. `path` is the route's pattern, so that its values are few.
    pub(crate) fn request(&self, method: &Method, path: &str, status: u16, time: Duration) {
        let mut labels = vec![Label::new("method", known(method)), Label::new("path", path.to_owned())];
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

    /// Where the writer records the sizes of its batches.
    pub(crate) fn writer_batches(&self) -> Histogram {
        self.recorder.register_histogram(&Key::from_static_name("tertulia_writer_batch_jobs"), &METADATA)
    }

    /// Everything in Prometheus's text format.
    pub(crate) fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }
}

/// The method, if it is one of the few that there are: a client can make up any.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn counter(recorder: &PrometheusRecorder, name: &'static str) -> Counter {
    recorder.register_counter(&Key::from_static_name(name), &METADATA)
}

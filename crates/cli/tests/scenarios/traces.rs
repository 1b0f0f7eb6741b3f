//! Traces, as a collector gets them over OTLP.

use crate::support::Hub;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind},
};
use prost::Message as _;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

/// How often a hub sends spans, in milliseconds: oftener than by default, so that a test sees several batches.
const OFTEN: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "50");

/// A collector: it takes what it is sent and says so. Its threads end with the process.
struct Collector {
    url: String,
    received: Receiver<Export>,
}

/// One request to it.
struct Export {
    path: String,
    headers: Vec<String>,
    body: ExportTraceServiceRequest,
}

impl Collector {
    fn start() -> Self {
        Self::refusing(0)
    }

    /// One that refuses so many batches before it takes any.
    fn refusing(batches: usize) -> Self {
        let left = Arc::new(AtomicUsize::new(batches));
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, received) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (sender, left) = (sender.clone(), Arc::clone(&left));
                thread::spawn(move || answer(&stream, &sender, &left));
            }
        });
        Self { url, received }
    }
}

fn answer(stream: &TcpStream, exports: &Sender<Export>, refusals: &AtomicUsize) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap() == 0 {
                return;
            }
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let length =
            head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.expect("the exporter says how long its body is")];
        reader.read_exact(&mut body).unwrap();
        let path = head[0].split(' ').nth(1).unwrap().to_owned();
        let body = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
        exports.send(Export { path, headers: head, body }).unwrap();
        let refuses = refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let status = if refuses.is_ok() { "403 Forbidden" } else { "200 OK" };
        let (mut stream, media) = (stream, "content-type: application/x-protobuf");
        write!(stream, "HTTP/1.1 {status}\r\n{media}\r\ncontent-length: 0\r\n\r\n").unwrap();
    }
}

/// An attribute as text.
fn attribute(span: &Span, key: &str) -> Option<String> {
    let value = span.attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?;
    Some(match value.value? {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

#[test]
fn each_request_is_a_span_with_its_route_and_not_with_whom_it_is_about() {
    let collector = Collector::start();
    let mut hub = Hub::start_with(&[
        "--otlp-endpoint",
        &collector.url,
        "--otlp-header",
        "authorization: Bearer opensesame",
    ]);
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    alice.send("@bob", "a word in private");
    let (me, list) = (alice.run(&["whoami"]).one(), alice.run(&["list"]).one());
    assert!(hub.terminate().success());
    // What the hub had to send it has sent before it ended.
    let exports: Vec<Export> = collector.received.try_iter().collect();
    let spans: Vec<&Span> = exports
        .iter()
        .flat_map(|export| &export.body.resource_spans)
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scope| &scope.spans)
        .collect();

    for export in &exports {
        assert_eq!(export.path, "/v1/traces");
        assert!(
            export.headers.iter().any(|header| header == "authorization: Bearer opensesame"),
            "{:?}",
            export.headers
        );
        for resource in &export.body.resource_spans {
            let text = format!("{:?}", resource.resource);
            assert!(text.contains("tertulia-hub"), "{text}");
        }
    }
    let named = |name: &str| spans.iter().find(|span| span.name == name);
    let sent = named("POST /v1/conversations/{conversation}/messages").expect("a message was sent");
    assert_eq!(sent.kind(), SpanKind::Server);
    assert_eq!(attribute(sent, "http.response.status_code").as_deref(), Some("201"));
    assert_eq!(attribute(sent, "http.request.method").as_deref(), Some("POST"));
    assert_eq!(attribute(sent, "http.route").as_deref(), Some("/v1/conversations/{conversation}/messages"));
    // Where its time went is inside it.
    let inside = |of: &Span| -> Vec<&str> {
        let children = spans.iter().filter(|span| span.parent_span_id == of.span_id);
        children.map(|span| span.name.as_str()).collect()
    };
    assert_eq!(inside(sent), ["write"]);
    let looked = named("GET /v1/self").expect("somebody asked who they are");
    assert!(inside(looked).contains(&"read"), "{:?}", inside(looked));
    assert!(named("POST /v1/accounts").is_some());

    let everything = format!("{spans:?}");
    let id = |value: &serde_json::Value, key: &str| {
        value[key].as_str().unwrap_or_else(|| panic!("{key}: {value}")).to_owned()
    };
    for secret in [id(&me, "user"), id(&list, "conversation"), "a word in private".into(), "alice".into()] {
        assert!(!everything.contains(&secret), "{secret} is in a span");
    }
}

/// What the hub says when it cannot send traces, and when it can again.
const AWAY: &str = "traces cannot be sent";
const BACK: &str = "traces are sent again";

/// How often the hub has logged this.
fn times(hub: &Hub, what: &str) -> usize {
    hub.log().matches(what).count()
}

fn wait_until_logged(hub: &Hub, what: &str) {
    while times(hub, what) == 0 {
        thread::sleep(Duration::from_millis(20)); // nothing tells
    }
}

#[test]
fn a_collector_that_is_not_there_holds_up_nobody_and_is_missed_once() {
    let collector = ["--otlp-endpoint", "http://me:secret@127.0.0.1:9", "--otlp-header", "x: y"];
    let mut hub = Hub::start_in(&collector, &[OFTEN]);
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    wait_until_logged(&hub, AWAY);
    alice.befriend(&bob);
    alice.send("@bob", "hello");
    assert!(hub.terminate().success());
    assert_eq!((times(&hub, AWAY), times(&hub, BACK)), (1, 0), "{}", hub.log());
    assert!(!hub.log().contains("secret"), "{}", hub.log());
}

#[test]
fn a_collector_that_refuses_is_told_once_and_also_when_it_takes_traces_again() {
    let collector = Collector::refusing(2);
    let mut hub = Hub::start_in(&["--otlp-endpoint", &collector.url], &[OFTEN]);
    let alice = hub.sign_up("alice");
    wait_until_logged(&hub, AWAY);
    // Each command is a batch at least.
    while times(&hub, BACK) == 0 {
        alice.run(&["whoami"]).done();
        alice.run(&["sync"]).done();
    }
    assert!(hub.terminate().success());
    assert_eq!((times(&hub, AWAY), times(&hub, BACK)), (1, 1), "{}", hub.log());
    assert!(hub.log().contains("403"), "{}", hub.log());
    assert!(collector.received.try_iter().count() > 2);
}

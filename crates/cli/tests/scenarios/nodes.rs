//! Several nodes of one hub, as processes, on PostgreSQL and NATS.

use crate::support::{Answer, Hub, signal, tertulia};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead as _, BufReader},
    thread,
    time::Duration,
};
use tertulia_testkit::{nats, postgres};

/// What the nodes share, for as long as they run.
struct Services {
    database: postgres::Database,
    nats: nats::Server,
    _postgres: postgres::Server,
}

impl Services {
    fn start() -> Self {
        let postgres = postgres::Server::for_tests().unwrap();
        let database = postgres.create_database().unwrap();
        Self { database, nats: nats::Server::start().unwrap(), _postgres: postgres }
    }

    fn node(&self) -> Hub {
        Hub::start_with(&["--database", self.database.url(), "--nats", &self.nats.url()])
    }
}

/// Waits until a node has logged this.
fn logged(node: &Hub, what: &str) {
    while !node.log().contains(what) {
        thread::sleep(Duration::from_millis(20)); // nothing tells
    }
}

#[test]
fn who_was_at_a_node_that_is_killed_goes_on_at_another_and_misses_nothing() {
    const TEXTS: usize = 24;
    let services = Services::start();
    let (mut first, second) = (services.node(), services.node());
    let (alice, bob) = (first.sign_up("alice"), first.sign_up("bob"));
    alice.befriend(&bob);

    let mut follower = bob.spawn(&["read", "@alice", "--follow"]);
    let lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut texts = lines.map(|line| {
        serde_json::from_str::<Value>(&line.unwrap()).unwrap()["text"].as_str().unwrap().to_owned()
    });
    let sender = alice.clone();
    let sending = thread::spawn(move || {
        for n in 0..TEXTS {
            let answer = sender.run(&["send", "@bob", &n.to_string()]);
            // What was under way when the node died stays in the outbox.
            if answer.status() != 0 {
                assert_eq!(answer.code(), "queued", "{answer:?}");
            }
        }
    });
    let mut received: Vec<String> = texts.by_ref().take(TEXTS / 3).collect();
    first.fail_over_to(&second);
    sending.join().unwrap();
    alice.run(&["sync"]).done();
    received.extend(texts.by_ref().take(TEXTS - TEXTS / 3));
    assert_eq!(received, (0..TEXTS).map(|n| n.to_string()).collect::<Vec<_>>());

    // The node comes back, and hears what the other accepts.
    first.start_again();
    let carol = second.sign_up("carol");
    carol.befriend(&alice);
    carol.send("@alice", "hello");
    assert_eq!(alice.texts("@carol"), ["hello"]);
    signal(&follower, "INT");
    assert!(follower.wait().unwrap().success());
    assert_eq!(texts.count(), 0, "nothing was shown twice");
}

#[test]
fn the_ways_to_the_database_and_to_nats_are_encrypted_if_their_addresses_say_so() {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());

    let postgres =
        postgres::Server::start_with_tls(&made.cert.pem(), &made.signing_key.serialize_pem()).unwrap();
    let database = postgres.create_database().unwrap();
    let (port, name) = (postgres.tls_port().unwrap(), database.name());
    let nats = nats::Server::start_with(&["--tls", "--tlscert", certificate, "--tlskey", key]).unwrap();
    let at_nats = format!("tls://localhost:{}", nats.url().rsplit(':').next().unwrap());
    let root = certificate.replace('/', "%2F");
    let at = |host: &str| format!("postgres://postgres@{host}:{port}/{name}?sslmode=verify-full");
    let given = format!("{}&sslrootcert={root}", at("localhost"));

    // Whose certificate this machine does not believe is not connected with, nor one that is for another host.
    for wrong in [at("localhost"), format!("{}&sslrootcert={root}", at("127.0.0.1"))] {
        let mut hub = tertulia();
        hub.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(directory.path().join("none"));
        hub.args(["--database", &wrong]);
        let answer = Answer::new("operator", &["serve"], hub.output().unwrap());
        assert_eq!(answer.code(), "data-unusable");
        assert!(answer.stderr().contains("certificate"), "{}", answer.stderr());
    }

    let options = ["--database", &given, "--nats", &at_nats];
    let trusting = Hub::start_in(&options, &[("SSL_CERT_FILE", certificate)]);
    logged(&trusting, "connected with NATS");
    trusting.sign_up("alice");
    let unencrypted = "SELECT count(*) FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid)
                       WHERE a.application_name = 'tertulia' AND NOT s.ssl";
    let encrypted = unencrypted.replace("NOT s.ssl", "s.ssl");
    let mut client = database.connect().unwrap();
    let mut count = |sql: &str| client.query_one(sql, &[]).unwrap().get::<_, i64>(0);
    assert_eq!(count(unencrypted), 0);
    assert!(count(&encrypted) > 0);

    // Without NATS, because nobody vouches for it, the node serves all the same.
    let doubting = Hub::start_with(&options);
    doubting.log_in("alice");
    assert!(!doubting.log().contains("connected with NATS"));
}

#[test]
fn secrets_of_the_addresses_stand_in_no_log_and_in_no_refusal() {
    let services = Services::start();
    let nats = format!("nats://hub:opensesame@{}", services.nats.address());
    let node = Hub::start_with(&[
        "-vv",
        "--log-filter",
        "trace",
        "--database",
        services.database.url(),
        "--nats",
        &nats,
    ]);
    logged(&node, "connected with NATS");
    node.sign_up("alice");
    assert!(!node.log().contains("opensesame"));

    let directory = tempfile::tempdir().unwrap();
    let refusal = |nats: &str| {
        let mut hub = tertulia();
        hub.args(["serve", "--listen", "127.0.0.1:0", "--nats", nats, "--data"]).arg(directory.path());
        Answer::new("operator", &["serve"], hub.output().unwrap())
    };
    let alone = refusal(&nats);
    assert_eq!(alone.code(), "nats-without-database");
    let wrong = refusal("http://hub:opensesame@nats.example");
    wrong.usage();
    assert!(wrong.stderr().contains("tls://"), "{}", wrong.stderr());
    for answer in [alone, wrong] {
        assert!(!answer.stderr().contains("opensesame"), "{}", answer.stderr());
    }
}

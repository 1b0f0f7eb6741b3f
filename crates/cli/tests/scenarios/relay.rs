//! `tertulia relay`: a process of its own that is killed at work and flooded, and that says nothing of anybody.

use crate::support::{signal, tertulia};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tertulia_conversation::{
    hint::{Hint, Salt},
    topic::ContentTopic,
    wire::{EncryptedBytes, Envelope},
};
use tertulia_transport::{Cursor, Position, Relay as Client, RelayNews, RelaySocket};
use tokio::runtime::Runtime;

/// A relay with data that stay when it is killed.
struct Relay {
    directory: TempDir,
    options: Vec<String>,
    process: Child,
    address: String,
}

impl Relay {
    fn start(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        let (process, address) = run(&directory, &options);
        Self { directory, options, process, address }
    }

    fn client(&self) -> Client {
        Client::new(&self.address).unwrap()
    }

    /// SIGKILL, and a start on the same data.
    fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        (self.process, self.address) = run(&self.directory, &self.options);
    }

    fn log(&self) -> String {
        fs::read_to_string(log(&self.directory)).unwrap()
    }

    /// The most memory that it has used, in bytes.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn log(directory: &TempDir) -> PathBuf {
    directory.path().join("relay.log")
}

/// Starts a relay on a free port; its first line says on which.
fn run(directory: &TempDir, options: &[String]) -> (Child, String) {
    let log = File::options().create(true).append(true).open(log(directory)).unwrap();
    let mut command = tertulia();
    command.args(["relay", "--listen", "127.0.0.1:0", "--data"]).arg(directory.path().join("data"));
    let mut process =
        command.args(options).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address =
        line.trim_end().rsplit_once(" on ").unwrap_or_else(|| panic!("it says {line:?}")).1.to_owned();
    (process, address)
}

#[allow(clippy::print_stdout, reason = "the seed replays a failure")]
fn random() -> StdRng {
    let seed = std::env::var("TERTULIA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    println!("TERTULIA_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// An envelope that nobody can open.
fn envelope(random: &mut StdRng) -> Vec<u8> {
    let mut ciphertext = vec![0; 1024 + 16];
    random.fill(&mut ciphertext[..]);
    let body = EncryptedBytes::EpochSealed { key_salt: random.random(), ciphertext };
    Envelope { hint: Hint::from_bytes(random.random()), salt: Salt::NONE, body }.encode()
}

fn topic(number: u16) -> ContentTopic {
    ContentTopic::from_number(number).unwrap()
}

async fn next(socket: &mut RelaySocket) -> (Position, Vec<u8>) {
    loop {
        match socket.next().await.unwrap().expect("the relay is there") {
            RelayNews::Envelope { position, bytes, .. } => return (position, bytes),
            RelayNews::CaughtUp { .. } => {}
            other => panic!("not an envelope: {other:?}"),
        }
    }
}

async fn all(relay: &Client, topic: ContentTopic) -> BTreeMap<Position, Vec<u8>> {
    let (mut found, mut cursor) = (BTreeMap::new(), None);
    loop {
        let page = relay.page(&topic, cursor, 256).await.unwrap();
        found.extend(page.envelopes);
        if !page.more {
            return found;
        }
        cursor = Some(page.cursor);
    }
}

const FREE: [&str; 6] = ["--difficulty", "0", "--rate-posts", "none", "--rate-reads", "none"];

#[test]
fn a_relay_that_is_killed_at_work_has_all_that_it_has_acknowledged_and_nothing_twice() {
    let runtime = Runtime::new().unwrap();
    let (mut relay, mut random) = (Relay::start(&FREE), random());
    let (mut acknowledged, mut unknown) = (BTreeMap::new(), Vec::new());
    for _ in 0..5 {
        let (acknowledge, acknowledgements) = mpsc::channel();
        let posted: Vec<_> = (0..400).map(|_| envelope(&mut random)).collect();
        let client = relay.client();
        let posting: Vec<_> = posted
            .chunks(40)
            .map(|part| {
                let (client, acknowledge, part) = (client.clone(), acknowledge.clone(), part.to_vec());
                runtime.spawn(async move {
                    let mut answers = Vec::new();
                    for envelope in part {
                        let answer = client.post(&topic(1), &envelope).await;
                        if answer.is_ok() {
                            let _ = acknowledge.send(()); // later ones nobody waits for
                        }
                        answers.push((envelope, answer.ok()));
                    }
                    answers
                })
            })
            .collect();
        // In the midst of it.
        let enough = random.random_range(20..300);
        for _ in 0..enough {
            acknowledgements.recv().unwrap();
        }
        relay.restart();
        for task in posting {
            for (envelope, answer) in runtime.block_on(task).unwrap() {
                match answer {
                    Some(position) => {
                        assert!(acknowledged.insert(position, envelope).is_none(), "given out twice");
                    }
                    None => unknown.push(envelope),
                }
            }
        }
        let kept = runtime.block_on(all(&relay.client(), topic(1)));
        assert_eq!(
            kept.keys().map(|position| position.0).collect::<Vec<_>>(),
            (1..=kept.len() as u64).collect::<Vec<_>>()
        );
        for (position, envelope) in &acknowledged {
            assert_eq!(kept.get(position), Some(envelope), "what was acknowledged is gone");
        }
    }
    assert!(!unknown.is_empty(), "the relay was killed in the midst of it");
    // What nobody knows of is said again: it has its place or gets one, and there is none twice.
    let client = relay.client();
    for envelope in unknown {
        let position = runtime.block_on(client.post(&topic(1), &envelope)).unwrap();
        assert!(acknowledged.insert(position, envelope).is_none());
    }
    assert_eq!(runtime.block_on(all(&client, topic(1))), acknowledged);
    assert_eq!(acknowledged.len(), 2000);
}

/// How many envelopes a flood has.
const FLOOD: u64 = 100_000;

#[test]
fn a_flood_of_junk_costs_bounded_memory_and_what_is_real_still_comes() {
    let runtime = Runtime::new().unwrap();
    let (relay, mut random) = (Relay::start(&FREE), random());
    let inbox = topic(0);
    let client = relay.client();
    runtime.block_on(async {
        let mut reader = client.subscribe(&[(inbox, None)]).await.unwrap();
        let begun = Instant::now();
        let floods: Vec<_> = (0..16)
            .map(|_| {
                let (client, mut random) = (client.clone(), StdRng::from_rng(&mut random));
                tokio::spawn(async move {
                    for _ in 0..FLOOD / 16 {
                        client.post(&inbox, &envelope(&mut random)).await.unwrap();
                    }
                })
            })
            .collect();
        // Somebody reads all of it, and in the midst of it something real is said, again and again.
        let (mut seen, mut waits, mut last) = (0_u64, Vec::new(), 0);
        let mut real: BTreeMap<Vec<u8>, Instant> = BTreeMap::new();
        let total = FLOOD / 16 * 16;
        let mut said = 0;
        while seen < total + said {
            let (position, bytes) = next(&mut reader).await;
            seen += 1;
            assert_eq!(position.0, last + 1, "one is missing, or came twice");
            last = position.0;
            if let Some(at) = real.remove(&bytes) {
                waits.push(at.elapsed());
            }
            if seen.is_multiple_of(total / 20) && said < 10 {
                said += 1;
                let invitation = envelope(&mut random);
                let (client, posted) = (client.clone(), invitation.clone());
                real.insert(invitation, Instant::now());
                tokio::spawn(async move { client.post(&inbox, &posted).await });
            }
        }
        for flood in floods {
            flood.await.unwrap();
        }
        assert!(real.is_empty(), "what was real has not come");
        let took = begun.elapsed();
        // And once more, now that the topic is full of it.
        let (invitation, at) = (envelope(&mut random), Instant::now());
        client.post(&inbox, &invitation).await.unwrap();
        assert_eq!(next(&mut reader).await, (Position(last + 1), invitation));
        let slowest = waits.iter().max().copied().unwrap_or(Duration::ZERO);
        println!(
            "{total} envelopes in {took:?}; real ones came after {slowest:?} at most, afterwards after {:?}; {} MiB",
            at.elapsed(),
            relay.peak() >> 20
        );
    });
    // It holds what is in hand, not what it has.
    assert!(relay.peak() < 256 << 20, "{} bytes", relay.peak());
}

#[test]
fn the_log_has_neither_topics_nor_addresses_nor_envelopes_in_it() {
    let runtime = Runtime::new().unwrap();
    let mut options = FREE.to_vec();
    options.extend(["-vv", "--log-filter", "trace"]);
    let (mut relay, mut random) = (Relay::start(&options), random());
    let envelope = envelope(&mut random);
    let client = relay.client();
    runtime.block_on(async {
        client.post(&topic(300), &envelope).await.unwrap();
        client.post(&topic(300), b"no envelope").await.unwrap_err();
        let mut socket = client.subscribe(&[(topic(300), None)]).await.unwrap();
        assert_eq!(next(&mut socket).await.1, envelope);
        client.wait(&[(topic(300), Some(Cursor::newest()))], Duration::from_secs(1)).await.unwrap();
    });
    signal(&relay.process, "TERM");
    assert!(relay.process.wait().unwrap().success());
    let log = relay.log();
    assert!(log.contains("/v1/relay/envelopes") && log.contains("stopping"), "{log}");
    for secret in ["talk-44", "/tertulia/1/", "127.0.0.1", &hex::encode(&envelope[80..96])] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

#[test]
fn a_relay_is_configured_like_a_hub() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("relay.toml");
    fs::write(&file, "difficulty = 21\nretention = '7d'\nmax-envelope = '64KiB'\n").unwrap();
    let mut print = tertulia();
    print.args(["relay", "--print-config", "--difficulty", "20", "--config"]).arg(&file);
    let text = printed(print.env("TERTULIA_RELAY_MAX_STORAGE", "6GiB"));
    for line in [
        "difficulty = 20 # flag",
        "retention = \"7d\" # file",
        "max-envelope = \"64KiB\" # file",
        "max-storage = \"6GiB\" # environment",
        "listen = \"127.0.0.1:8441\" # default",
        "# tls-cert # not set",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
    fs::write(&file, "dificulty = 21\n").unwrap();
    let refused = tertulia().args(["relay", "--config"]).arg(&file).output().unwrap();
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && error.contains("is `difficulty` meant?"), "{error}");

    let text =
        printed(tertulia().args(["serve", "--print-config", "--relay", "off", "--relay-difficulty", "3"]));
    assert!(
        text.contains("relay = \"off\" # flag") && text.contains("relay-difficulty = 3 # flag"),
        "{text}"
    );
}

fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

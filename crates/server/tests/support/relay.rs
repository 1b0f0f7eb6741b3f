//! Relays, and what is posted to them.

use super::hub::Answer;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;
use tertulia_api::relay::{ENVELOPE_MEDIA_TYPE, STAMP_HEADER, TOPIC_HEADER};
use tertulia_conversation::{
    hint::{Hint, Salt},
    topic::ContentTopic,
    wire::{EncryptedBytes, Envelope},
    work::{Stamp, difficulty_of},
};
use tertulia_server::{Rate, RelayConfig, RelayLimits, RelayServer, ServerError};
use tokio::{sync::oneshot, task::JoinHandle};

/// A relay that is no hub, on a free port.
pub struct Alone {
    pub dir: TempDir,
    pub base: String,
    numbers_at: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), ServerError>>,
}

impl Alone {
    pub async fn start() -> Self {
        Self::start_with(tempfile::tempdir().unwrap(), |_| ()).await
    }

    pub async fn start_with(dir: TempDir, change: impl FnOnce(&mut RelayLimits)) -> Self {
        let mut config = RelayConfig::new(([127, 0, 0, 1], 0).into(), dir.path());
        config.metrics = Some(([127, 0, 0, 1], 0).into());
        config.limits = easy();
        change(&mut config.limits);
        let server = RelayServer::bind(config).await.unwrap();
        let base = format!("http://{}", server.local_addr());
        let numbers_at = server.metrics_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { dir, base, numbers_at, stop, running }
    }

    /// Stops in good order.
    pub async fn stop(self) -> TempDir {
        let _ = self.stop.send(());
        self.running.await.unwrap().unwrap();
        self.dir
    }

    /// Tells the relay to stop, and leaves the waiting to who has something open.
    pub fn request_stop(self) -> (TempDir, JoinHandle<Result<(), ServerError>>) {
        let _ = self.stop.send(());
        (self.dir, self.running)
    }

    /// A number that it tells of itself.
    pub async fn number(&self, name: &str) -> f64 {
        let numbers = reqwest::get(format!("http://{}/metrics", self.numbers_at)).await.unwrap();
        let numbers = numbers.text().await.unwrap();
        let line = numbers.lines().find(|line| line.rsplit_once(' ').is_some_and(|(of, _)| of == name));
        line.and_then(|line| line.rsplit(' ').next()).map_or(0.0, |number| number.parse().unwrap())
    }
}

/// The terms of a test: little work, and no rates.
pub fn easy() -> RelayLimits {
    let (posts, reads) = (Rate::UNLIMITED, Rate::UNLIMITED);
    RelayLimits { difficulty: 4, posts, reads, places_per_address: 1024, ..RelayLimits::default() }
}

/// Envelopes that nobody can open, none like another, of which the seed is printed.
pub struct Envelopes(StdRng);

impl Envelopes {
    #[allow(clippy::print_stdout, reason = "the seed replays a failure")]
    pub fn new() -> Self {
        let seed = std::env::var("TERTULIA_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(rand::random);
        println!("TERTULIA_SEED={seed}");
        Self(StdRng::seed_from_u64(seed))
    }

    /// The next of the smallest size class.
    pub fn next(&mut self) -> Vec<u8> {
        self.of_class(1024)
    }

    /// The next of a size class.
    pub fn of_class(&mut self, class: usize) -> Vec<u8> {
        let mut ciphertext = vec![0; class + 16];
        self.0.fill(&mut ciphertext[..]);
        let body = EncryptedBytes::EpochSealed { key_salt: self.0.random(), ciphertext };
        Envelope { hint: Hint::from_bytes(self.0.random()), salt: Salt::NONE, body }.encode()
    }
}

/// The topic of this number.
pub fn topic(number: u16) -> ContentTopic {
    ContentTopic::from_number(number).unwrap()
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// Enough work for what the tests' relays ask for.
pub fn stamp(topic: ContentTopic, envelope: &[u8]) -> String {
    shown(Stamp::make(&topic, envelope, difficulty_of(4, envelope.len()), now()).unwrap())
}

pub fn shown(stamp: Stamp) -> String {
    format!("{}:{}", stamp.hour, stamp.number)
}

/// Posts, with whatever stands there.
pub async fn post(base: &str, topic: &str, stamp: &str, body: Vec<u8>) -> Answer {
    let request = reqwest::Client::new()
        .post(format!("{base}/v1/relay/envelopes"))
        .header(TOPIC_HEADER, topic)
        .header(STAMP_HEADER, stamp)
        .header("content-type", ENVELOPE_MEDIA_TYPE)
        .body(body);
    let response = request.send().await.unwrap();
    Answer { status: response.status(), body: response.bytes().await.unwrap().to_vec() }
}

/// Posts with enough work.
pub async fn post_worked(base: &str, topic: ContentTopic, envelope: &[u8]) -> Answer {
    post(base, &topic.to_string(), &stamp(topic, envelope), envelope.to_vec()).await
}

/// Asks to read.
pub async fn read(base: &str, what: serde_json::Value) -> Answer {
    let response =
        reqwest::Client::new().post(format!("{base}/v1/relay/read")).json(&what).send().await.unwrap();
    Answer { status: response.status(), body: response.bytes().await.unwrap().to_vec() }
}

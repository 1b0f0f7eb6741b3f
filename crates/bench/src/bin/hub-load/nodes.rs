//! Two nodes of one hub: what is sent at one arrives at a device that is online at the other.

use crate::{
    Arguments, Outcome,
    http::{Head, Http},
    hub::HubCommand,
    latency::Latency,
    people::Group,
    sockets,
};
use serde::Serialize;
use std::{
    collections::HashMap,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tertulia_api::{
    conversation::MLS_MEDIA_TYPE,
    event::{Event, EventBody},
};
use tertulia_testkit::postgres;
use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

/// Messages a second.
const RATE: u32 = 500;

/// How long an arrival is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What went from one node to the other.
#[derive(Debug, Serialize)]
pub(crate) struct Nodes {
    pub(crate) per_second: u32,
    pub(crate) messages: usize,
    /// From the moment at which a message is to be sent at one node to its arrival at a device's WebSocket at the other.
    pub(crate) arrival_ms: Latency,
}

/// Nothing if this hub cannot have several nodes.
pub(crate) async fn measure(arguments: &Arguments, place: &Path) -> Outcome<Option<Nodes>> {
    let program = arguments.server()?;
    let help = Command::new(&program).args(["serve", "--help"]).output()?;
    if !String::from_utf8_lossy(&help.stdout).contains("--nats") {
        return Ok(None);
    }
    let services = tokio::task::spawn_blocking(|| {
        let postgres = postgres::Server::start()?;
        let database = postgres.create_database()?;
        Ok::<_, tertulia_testkit::Error>((postgres, database))
    });
    let (postgres, database) = services.await??;
    let nats = Broker::start().await?;
    let node = |name: &str| {
        let command = HubCommand::new(&program, place.join(name));
        command.arg("--database").arg(database.url()).arg("--nats").arg(&nats.url).start()
    };
    let measured = match (node("node-a"), node("node-b")) {
        (Ok(a), Ok(b)) => {
            let home = place.join("nodes-home");
            std::fs::create_dir_all(&home)?;
            let group =
                Group::make(&a.url(), &home, (arguments.members, arguments.senders), arguments.bytes).await?;
            across(&group, a.address(), b.address(), arguments.time()).await
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    tokio::task::block_in_place(|| drop(postgres));
    measured.map(Some)
}

/// A NATS server of our own. It is killed when dropped.
struct Broker {
    process: Child,
    url: String,
}

impl Broker {
    async fn start() -> Outcome<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("nats-server");
        command
            .args(["-a", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = command
            .spawn()
            .map_err(|_| "nats-server is not installed; Debian's package of this name has it")?;
        let broker = Self { process, url: format!("nats://127.0.0.1:{port}") };
        let begun = Instant::now();
        // It has no other way to say that it is ready than to answer.
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if begun.elapsed() > PATIENCE {
                return Err("nats-server does not answer".into());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(broker)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn across(group: &Group, from: &str, to: &str, time: Duration) -> Outcome<Nodes> {
    let mut socket = sockets::open(to, group.tokens.last().ok_or("nobody is in the group")?).await?;
    let count = usize::try_from(u64::from(RATE) * time.as_secs())?;
    // What the making of the group sent.
    sockets::next(&mut socket).await?;
    let receiver = tokio::spawn(async move {
        let mut arrived = HashMap::with_capacity(count);
        while arrived.len() < count {
            let text = timeout(PATIENCE, sockets::next(&mut socket))
                .await
                .map_err(|_| "a message did not arrive")??;
            let now = Instant::now();
            let event: Event = serde_json::from_str(&text)?;
            if let EventBody::Message { message, .. } = event.body {
                arrived.insert(message.0, now);
            }
        }
        Outcome::Ok(arrived)
    });

    // Each sender takes the next message, and there are more than are ever sending.
    let mut senders = JoinSet::new();
    let mut queues = Vec::new();
    for token in group.tokens.iter().take(32) {
        let token = token.clone();
        let (queue, mut messages) = mpsc::unbounded_channel::<Vec<u8>>();
        let (mut http, path) = (Http::connect(from.to_owned()).await?, group.path());
        senders.spawn(async move {
            while let Some(message) = messages.recv().await {
                let head =
                    Head { method: "POST", path: &path, token: Some(&token), media_type: MLS_MEDIA_TYPE };
                http.call(head, message).await?;
            }
            Outcome::Ok(())
        });
        queues.push(queue);
    }
    let mut tick = interval(Duration::from_secs(1) / RATE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = Vec::with_capacity(count);
    for number in 0..count {
        let due = tick.tick().await;
        let message = group.message();
        sent.push((due.into_std(), message.clone()));
        queues[number % queues.len()].send(message).map_err(|_| "a sender has failed")?;
    }
    drop(queues);
    while let Some(done) = senders.join_next().await {
        done??;
    }
    let arrived = receiver.await??;
    let mut times = Vec::with_capacity(count);
    for (due, message) in &sent {
        times.push(arrived.get(message).ok_or("a message did not arrive")?.duration_since(*due));
    }
    Ok(Nodes { per_second: RATE, messages: count, arrival_ms: Latency::of(times) })
}

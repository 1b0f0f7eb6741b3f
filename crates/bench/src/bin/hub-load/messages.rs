//! Members of one group who send, on either database.

use crate::{
    Arguments, Outcome, crowd,
    hub::{Hub, HubCommand},
    load::{self, Accepted, Load, precise},
    people::Group,
};
use serde::Serialize;
use std::{path::Path, time::Duration};
use tertulia_api::{conversation::MLS_MEDIA_TYPE, event::EventBody};
use tertulia_testkit::postgres;

/// A few senders, whose latency is of interest.
const FEW: u32 = 8;

/// What a group takes.
#[derive(Debug, Serialize)]
pub(crate) struct Throughput {
    pub(crate) many: Accepted,
    pub(crate) few: Accepted,
    /// How long it takes to read so many events over HTTP, in seconds.
    pub(crate) catch_up: CatchUp,
}

/// A device that was away.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CatchUp {
    pub(crate) events: usize,
    pub(crate) seconds: f64,
}

/// What a message costs in a group and in a large one.
#[derive(Debug, Serialize)]
pub(crate) struct Growth {
    pub(crate) members: u32,
    /// Time of the hub on a processor for each message, in microseconds.
    pub(crate) small_us: f64,
    pub(crate) large_us: f64,
    /// The second by the first.
    pub(crate) ratio: f64,
    pub(crate) small_per_second: f64,
    pub(crate) large_per_second: f64,
}

/// A member's device that sends.
#[derive(Clone)]
pub(crate) struct Sender {
    group: Group,
    token: String,
}

impl Load for Sender {
    fn next(&mut self) -> (&'static str, String, Vec<u8>, &'static str) {
        ("POST", self.group.path(), self.group.message(), MLS_MEDIA_TYPE)
    }

    fn token(&self) -> &str {
        &self.token
    }
}

/// So many of the group's devices.
pub(crate) fn senders(group: &Group, count: u32) -> Vec<Sender> {
    let tokens = group.tokens.iter().take(count as usize);
    tokens.map(|token| Sender { group: group.clone(), token: token.clone() }).collect()
}

/// With the database in a file. Afterwards the hub is killed, and has to have everything that it accepted.
pub(crate) async fn on_sqlite(arguments: &Arguments, place: &Path) -> Outcome<Throughput> {
    measure(arguments, place, &HubCommand::new(&arguments.server()?, place.join("sqlite"))).await
}

/// With the database on a PostgreSQL server of our own, on this machine.
pub(crate) async fn on_postgres(arguments: &Arguments, place: &Path) -> Outcome<Throughput> {
    let server = tokio::task::spawn_blocking(postgres::Server::start).await??;
    let database = tokio::task::block_in_place(|| server.create_database())?;
    let hub =
        HubCommand::new(&arguments.server()?, place.join("postgres")).arg("--database").arg(database.url());
    let measured = measure(arguments, &place.join("postgres"), &hub).await;
    tokio::task::block_in_place(|| drop(server));
    measured
}

async fn measure(arguments: &Arguments, place: &Path, command: &HubCommand) -> Outcome<Throughput> {
    let hub = command.start()?;
    std::fs::create_dir_all(place)?;
    let group =
        Group::make(&hub.url(), place, (arguments.members, arguments.senders), arguments.bytes).await?;
    let many = load::run(hub.address(), senders(&group, arguments.senders), arguments.time()).await?;
    let few = load::run(hub.address(), senders(&group, FEW.min(arguments.senders)), arguments.time()).await?;
    let catch_up = catch_up(&hub, &group, arguments.events).await?;

    hub.kill()?;
    let hub = command.start()?;
    let accepted = many.in_all + few.in_all + 1; // with the first one of the group
    let kept = cursors(&hub, &group).await?.len();
    if kept != accepted {
        return Err(format!("the hub accepted {accepted} messages, and after a SIGKILL it has {kept}").into());
    }
    Ok(Throughput { many, few, catch_up })
}

/// The same group with its few members and with very many, by turns, so that what the machine does besides meets both.
pub(crate) async fn growth(arguments: &Arguments, place: &Path) -> Outcome<Growth> {
    const TURNS: usize = 3;
    let (mut small, mut large) = (Vec::new(), Vec::new());
    let program = arguments.server()?;
    let commands = ["small", "large"].map(|name| HubCommand::new(&program, place.join(name)));
    let mut groups = Vec::new();
    for (command, members) in commands.iter().zip([0, arguments.crowd]) {
        let hub = command.start()?;
        let home = place.join(format!("members-{members}"));
        std::fs::create_dir_all(&home)?;
        let group =
            Group::make(&hub.url(), &home, (arguments.members, arguments.senders), arguments.bytes).await?;
        hub.kill()?;
        crowd::fill(&command.database(), group.conversation, members)?;
        groups.push((command.start()?, group));
    }
    for _ in 0..TURNS {
        for ((hub, group), all) in groups.iter().zip([&mut small, &mut large]) {
            let before = hub.usage()?.time;
            let accepted =
                load::run(hub.address(), senders(group, arguments.senders), arguments.time() / 2).await?;
            let spent = hub.usage()?.time.saturating_sub(before);
            all.push((spent.as_secs_f64() * 1e6 / precise(accepted.in_all), accepted.per_second));
        }
    }
    let median = |all: &mut Vec<(f64, f64)>| {
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all[TURNS / 2]
    };
    let ((small_us, small_per_second), (large_us, large_per_second)) =
        (median(&mut small), median(&mut large));
    let (members, ratio) = (arguments.crowd, large_us / small_us);
    Ok(Growth { members, small_us, large_us, ratio, small_per_second, large_per_second })
}

/// Reads the last so many events as a device does that was away: page by page, each as large as a page can be.
async fn catch_up(hub: &Hub, group: &Group, events: usize) -> Outcome<CatchUp> {
    let cursors = cursors(hub, group).await?;
    let since = cursors.len().checked_sub(events + 1).map(|index| cursors[index].clone());
    let mut times = Vec::new();
    for _ in 0..3 {
        let begun = std::time::Instant::now();
        let read = read(hub, group, since.clone()).await?.len();
        times.push((begun.elapsed(), read));
    }
    times.sort_unstable();
    let (time, events): (Duration, usize) = times[1];
    Ok(CatchUp { events, seconds: time.as_secs_f64() })
}

/// The cursors of all messages that a device has in its stream.
async fn cursors(hub: &Hub, group: &Group) -> Outcome<Vec<String>> {
    read(hub, group, None).await
}

async fn read(hub: &Hub, group: &Group, mut since: Option<String>) -> Outcome<Vec<String>> {
    let token = group.tokens.last().ok_or("nobody is in the group")?;
    let mut http = hub.connect().await?;
    let mut cursors = Vec::new();
    loop {
        let since_query = since.as_ref().map_or_else(String::new, |cursor| format!("&since={cursor}"));
        let page = http.get(&format!("/v1/events?limit=1000{since_query}"), Some(token)).await?;
        let page: tertulia_api::event::EventPage = serde_json::from_slice(&page)?;
        let messages =
            page.events.into_iter().filter(|event| matches!(event.body, EventBody::Message { .. }));
        cursors.extend(messages.map(|event| event.cursor));
        if !page.more {
            return Ok(cursors);
        }
        since = Some(page.cursor);
    }
}

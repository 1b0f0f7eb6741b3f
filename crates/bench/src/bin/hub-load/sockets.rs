//! Very many devices that are online at once, all in one group.

use crate::{Arguments, Outcome, crowd, http::Head, hub::HubCommand, load::precise, people::Group};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tertulia_api::conversation::MLS_MEDIA_TYPE;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{ClientRequestBuilder, Message, protocol::WebSocketConfig},
};

/// Sockets that are being opened at the same time.
const OPENING: usize = 32;

/// How long nothing happens before the memory is looked at.
const REST: Duration = Duration::from_secs(5);

/// How long a message may take to all of them.
const PATIENCE: Duration = Duration::from_mins(1);

/// Sockets that were open at once.
#[derive(Debug, Serialize)]
pub(crate) struct Sockets {
    pub(crate) open: usize,
    /// Growth of the hub's resident memory by the sockets, in bytes each.
    pub(crate) bytes_each: f64,
    /// The same once a message had gone to all.
    pub(crate) bytes_each_after: f64,
    /// Sockets that a message reached.
    pub(crate) reached: usize,
    /// From the sending to the arrival at the last of them, in milliseconds.
    pub(crate) reached_all_ms: f64,
}

pub(crate) async fn measure(arguments: &Arguments, place: &Path) -> Outcome<Sockets> {
    let command = HubCommand::new(&arguments.server()?, place.join("sockets"));
    let hub = command.start()?;
    let home = place.join("sockets-home");
    std::fs::create_dir_all(&home)?;
    let group =
        Group::make(&hub.url(), &home, (arguments.members, arguments.members), arguments.bytes).await?;
    hub.kill()?;
    let tokens = crowd::fill(&command.database(), group.conversation, arguments.members + arguments.sockets)?;
    let hub = command.start()?;
    let mut http = hub.connect().await?;
    let token = group.tokens[0].as_str();
    // What the hub needs for anybody at all is there before the first socket.
    for _ in 0..100 {
        send(&mut http, &group, token).await?;
    }
    sleep(REST).await;
    let before = hub.usage()?.memory;

    let opening = tokens.iter().map(|token| open(hub.address(), token));
    let mut sockets: Vec<Socket> = stream::iter(opening).buffer_unordered(OPENING).try_collect().await?;
    // They have what was said before, so that what comes next is the message.
    stream::iter(&mut sockets)
        .map(|socket| arrivals(socket, 100))
        .buffer_unordered(OPENING)
        .try_collect::<()>()
        .await?;
    sleep(REST).await;
    let idle = hub.usage()?.memory;

    let sent = Instant::now();
    let waiting: Vec<_> = sockets
        .into_iter()
        .map(|mut socket| {
            tokio::spawn(async move {
                let arrived = timeout(PATIENCE, arrivals(&mut socket, 1)).await;
                (arrived.is_ok_and(|done| done.is_ok()).then(|| sent.elapsed()), socket)
            })
        })
        .collect();
    send(&mut http, &group, token).await?;
    let (mut times, mut open) = (Vec::new(), Vec::new());
    for socket in waiting {
        let (time, socket) = socket.await?;
        times.extend(time);
        open.push(socket);
    }
    sleep(REST).await;
    let after = hub.usage()?.memory;
    let each = |memory: u64| {
        precise(usize::try_from(memory.saturating_sub(before)).unwrap_or(usize::MAX)) / precise(open.len())
    };
    Ok(Sockets {
        open: open.len(),
        bytes_each: each(idle),
        bytes_each_after: each(after),
        reached: times.len(),
        reached_all_ms: times.iter().max().map_or(0.0, |time| time.as_secs_f64() * 1e3),
    })
}

async fn send(http: &mut crate::http::Http, group: &Group, token: &str) -> Outcome<()> {
    let path = group.path();
    let head = Head { method: "POST", path: &path, token: Some(token), media_type: MLS_MEDIA_TYPE };
    http.call(head, group.message()).await?;
    Ok(())
}

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// A device's event stream, with little kept on our side.
pub(crate) async fn open(address: &str, token: &str) -> Outcome<Socket> {
    let request = ClientRequestBuilder::new(format!("ws://{address}/v1/events/stream").parse()?)
        .with_header("Authorization", format!("Bearer {token}"));
    let config = WebSocketConfig::default().read_buffer_size(2048).write_buffer_size(0);
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(client_async_with_config(request, stream, Some(config)).await?.0)
}

/// Waits for so many messages.
async fn arrivals(socket: &mut Socket, messages: usize) -> Outcome<()> {
    for _ in 0..messages {
        next(socket).await?;
    }
    Ok(())
}

/// The next message of a group, as JSON.
pub(crate) async fn next(socket: &mut Socket) -> Outcome<String> {
    loop {
        match socket.next().await.ok_or("the hub closed a socket")?? {
            Message::Text(text) if text.contains(r#""type":"conversation.message""#) => {
                return Ok(text.to_string());
            }
            Message::Close(_) => return Err("the hub closed a socket".into()),
            _ => {}
        }
    }
}

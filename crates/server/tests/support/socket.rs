//! The event stream over a WebSocket.

use super::{answers, hub::Person};
use futures::StreamExt as _;
use reqwest::Method;
use tertulia_api::event::Event;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{ClientRequestBuilder, Error, Message, protocol::frame::coding::CloseCode},
};

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub async fn try_open(person: &Person, query: &str) -> Result<Socket, Error> {
    let address = format!("{}/v1/events/stream{query}", person.base.replacen("http", "ws", 1));
    let request = ClientRequestBuilder::new(address.parse().unwrap())
        .with_header("Authorization", format!("Bearer {}", person.token));
    let opened = connect_async(request).await;
    if let Err(Error::Http(response)) = &opened {
        let body = response.body().as_deref().unwrap_or_default();
        answers::note(&Method::GET, "/v1/events/stream", response.status(), body);
    }
    opened.map(|(socket, _)| socket)
}

pub async fn open(person: &Person, query: &str) -> Socket {
    try_open(person, query).await.unwrap()
}

/// The next event, with heartbeats passed over.
pub async fn next(socket: &mut Socket) -> Event {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) => {}
            other => panic!("not an event: {other:?}"),
        }
    }
}

/// The code that the hub closes the socket with.
pub async fn closed(socket: &mut Socket) -> CloseCode {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Close(Some(frame)) => return frame.code,
            Message::Text(_) | Message::Ping(_) => {}
            other => panic!("not a close frame: {other:?}"),
        }
    }
}

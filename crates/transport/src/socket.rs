//! The live stream of a device's events.

use crate::{Hub, TransportError};
use futures::{SinkExt as _, StreamExt as _};
use std::time::Duration;
use tertulia_api::{
    Problem,
    event::{ClientFrame, Event},
    typing::{TransientFrame, Typing},
};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        Error as SocketError, Message, Utf8Bytes,
        client::ClientRequestBuilder,
        http::{Uri, header},
        protocol::WebSocketConfig,
    },
};
use url::Url;

/// The hub sends a ping every 30 s; a connection that is silent for longer than two of them is dead.
const SILENCE: Duration = Duration::from_secs(75);
/// The largest frame that is taken: a commit bundle of 8 MiB in Base64, and what stands around it. An envelope of a relay is shorter.
const MAX_FRAME: usize = 16 << 20;

/// A WebSocket on which the hub sends the device's events as they happen.
#[derive(Debug)]
pub struct EventSocket {
    socket: Socket,
    hub: Hub,
}

/// What the hub says on the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// Something happened.
    Event(Box<Event>),
    /// Somebody is typing, or no longer.
    Typing(Typing),
}

/// Reads a frame. Nearly all are events; only one without a cursor is anything else.
fn read(text: &str) -> Result<Frame, serde_json::Error> {
    match serde_json::from_str(text) {
        Ok(event) => Ok(Frame::Event(Box::new(event))),
        Err(error) => match serde_json::from_str(text) {
            Ok(TransientFrame::Typing(typing)) => Ok(Frame::Typing(typing)),
            _ => Err(error),
        },
    }
}

impl Hub {
    /// Opens the live stream of events after `since`, or after the last acknowledged one.
    ///
    /// # Errors
    ///
    /// Those of every request: see [`TransportError`].
    pub async fn event_socket(&self, since: Option<&str>) -> Result<EventSocket, TransportError> {
        let mut url = self.url("v1/events/stream")?;
        if let Some(since) = since {
            url.query_pairs_mut().append_pair("since", since);
        }
        Ok(EventSocket { socket: open(self, url).await?, hub: self.clone() })
    }
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// Opens a WebSocket at an address of the hub, with its session if it has one.
pub(crate) async fn open(hub: &Hub, mut url: Url) -> Result<Socket, TransportError> {
    let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
    url.set_scheme(scheme).map_err(|()| hub.protocol("its address has no WebSocket form".to_owned()))?;
    let uri: Uri = url.as_str().parse().map_err(|error| hub.protocol(format!("{error}")))?;
    let mut request = ClientRequestBuilder::new(uri);
    if let Some(token) = hub.token() {
        request = request.with_header(header::AUTHORIZATION.as_str(), format!("Bearer {}", token.expose()));
    }
    let config = WebSocketConfig::default().max_message_size(Some(MAX_FRAME)).max_frame_size(Some(MAX_FRAME));
    match connect_async_with_config(request, Some(config), true).await {
        Ok((socket, _)) => Ok(Socket(socket)),
        Err(SocketError::Http(response)) => {
            let problem =
                response.body().as_deref().and_then(|body| serde_json::from_slice::<Problem>(body).ok());
            Err(problem.map_or_else(
                || hub.protocol(format!("status {} to a WebSocket request", response.status())),
                |problem| TransportError::Refused(Box::new(problem)),
            ))
        }
        Err(error) => Err(hub.unreachable(&error)),
    }
}

impl Socket {
    /// The next text frame; `None` when the other side closed. Safe to cancel.
    pub(crate) async fn hear(&mut self, hub: &Hub) -> Result<Option<Utf8Bytes>, TransportError> {
        loop {
            let frame = tokio::time::timeout(SILENCE, self.0.next()).await.map_err(|_| {
                TransportError::Unreachable {
                    hub: hub.address().to_string(),
                    reason: "the connection fell silent".to_owned(),
                }
            })?;
            match frame {
                None | Some(Ok(Message::Close(_))) => return Ok(None),
                Some(Ok(Message::Text(text))) => return Ok(Some(text)),
                // Pings are answered by the library.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(hub.unreachable(&error)),
            }
        }
    }

    /// Sends a text frame.
    pub(crate) async fn say(&mut self, hub: &Hub, text: String) -> Result<(), TransportError> {
        self.0.send(Message::text(text)).await.map_err(|error| hub.unreachable(&error))
    }
}

impl EventSocket {
    /// The next event or passing notice; `None` when the hub closed the stream. Safe to cancel.
    ///
    /// # Errors
    ///
    /// [`TransportError::Unreachable`] when the connection broke or fell silent, [`TransportError::Protocol`] when what came is
    /// not an event.
    pub async fn next(&mut self) -> Result<Option<Frame>, TransportError> {
        let Some(text) = self.socket.hear(&self.hub).await? else { return Ok(None) };
        read(&text).map(Some).map_err(|error| self.hub.protocol(format!("{error}")))
    }

    /// Tells the hub that everything up to this cursor is safe on the device.
    ///
    /// # Errors
    ///
    /// [`TransportError::Unreachable`] when the connection broke.
    pub async fn acknowledge(&mut self, cursor: &str) -> Result<(), TransportError> {
        let frame = serde_json::to_string(&ClientFrame::Acknowledge { cursor: cursor.to_owned() })
            .expect("a frame of strings is always JSON");
        self.socket.say(&self.hub, frame).await
    }
}

//! NATS: where it is, and what comes and goes.

use super::{Bus, Message};
use crate::state::AppState;
use async_nats::{Client, ConnectOptions, Event, ServerAddr, connection::State};
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};
use std::{
    fmt, io,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tertulia_api::typing::Typing;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use url::Url;
use zeroize::Zeroizing;

/// How often NATS is asked whether it is there. After two answers that do not come, the connection is made anew.
const PING: Duration = Duration::from_secs(5);

/// Messages of other nodes that wait to be read; of more, the latest are lost, and what they say is found in the log.
const UNREAD: usize = 4096;

/// Notices of other nodes that wait until it was looked up whom they are for; of more, the latest are lost.
const NOTICES: usize = 256;

/// How long the last messages may take on their way when the node stops.
const LAST: Duration = Duration::from_secs(1);

/// Where NATS is, and as whom to connect: `nats://user:password@host:4222`, with `tls://` for a connection that is encrypted, or
/// several of them with commas, of one cluster. Its `Debug` shows no password.
#[derive(Clone)]
pub struct NatsUrl {
    servers: Vec<ServerAddr>,
    credentials: Credentials,
}

#[derive(Clone, PartialEq, Eq)]
enum Credentials {
    None,
    Token(Zeroizing<String>),
    User(String, Zeroizing<String>),
}

/// Why the address of NATS cannot be used. It is never shown, since a password may stand in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsUrlError {
    /// It is no URL. Write it like `nats://host:4222`.
    #[error("it is no URL: {0}")]
    Url(#[source] url::ParseError),
    /// It is a URL of something else. NATS is at `nats://…`, or at `tls://…` if the connection is to be encrypted.
    #[error("it begins with `nats://`, or with `tls://` for an encrypted connection")]
    Scheme,
    /// It has more in it than host, port and credentials. Leave that out.
    #[error("it has a host, a port and credentials, and nothing more")]
    Excess,
    /// The servers of a cluster do not take the same credentials. Write them at the first address alone.
    #[error("the addresses have different credentials; those of the first count for all")]
    Credentials,
    /// The user name or password is no text. Percent-encode it as UTF-8.
    #[error("the credentials are not UTF-8")]
    NotUtf8,
    /// The library does not take the address. Its message says why.
    #[error("it cannot be used: {0}")]
    Address(#[source] io::Error),
}

impl FromStr for NatsUrl {
    type Err = NatsUrlError;

    fn from_str(text: &str) -> Result<Self, NatsUrlError> {
        let (mut servers, mut credentials) = (Vec::new(), None);
        for part in text.split(',') {
            let mut url: Url = part.trim().parse().map_err(NatsUrlError::Url)?;
            if !["nats", "tls"].contains(&url.scheme()) {
                return Err(NatsUrlError::Scheme);
            }
            let has_more =
                !["", "/"].contains(&url.path()) || url.query().is_some() || url.fragment().is_some();
            if has_more || !url.has_host() {
                return Err(NatsUrlError::Excess);
            }
            let own = Credentials::of(&url)?;
            match &credentials {
                None => credentials = Some(own),
                Some(first) if own == Credentials::None || own == *first => {}
                Some(_) => return Err(NatsUrlError::Credentials),
            }
            // The library logs addresses.
            let stripped = url.set_username("").and_then(|()| url.set_password(None));
            stripped.map_err(|()| NatsUrlError::Excess)?;
            servers.push(ServerAddr::from_url(url).map_err(NatsUrlError::Address)?);
        }
        Ok(Self { servers, credentials: credentials.unwrap_or(Credentials::None) })
    }
}

impl Credentials {
    fn of(url: &Url) -> Result<Self, NatsUrlError> {
        let decode = |text: &str| {
            let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
            decoded.map(|text| Zeroizing::new(text.into_owned())).map_err(|_| NatsUrlError::NotUtf8)
        };
        Ok(match (url.username(), url.password()) {
            ("", None) => Self::None,
            (token, None) => Self::Token(decode(token)?),
            (user, Some(password)) => Self::User(decode(user)?.to_string(), decode(password)?),
        })
    }
}

impl fmt::Debug for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.servers.iter().map(ServerAddr::as_url_str).collect();
        f.debug_struct("NatsUrl").field("servers", &servers).finish_non_exhaustive()
    }
}

/// Where the nodes of a hub meet. It tells a hub apart from the others at one NATS, and says nothing of it.
pub(super) fn subject(hub_key: &[u8]) -> String {
    let hash = Sha256::new().chain_update(b"tertulia nats subject 1\0").chain_update(hub_key).finalize();
    format!("tertulia.{}", hex::encode(&hash[..16]))
}

/// Begins to connect, and to send what is in the outbox until nobody can put anything into it any more. Whether NATS is there
/// shows later; meanwhile, and whenever it is away, what is to be sent is thrown away.
pub(super) async fn connect(
    url: &NatsUrl,
    subject: String,
    outbox: mpsc::Receiver<Message>,
    state: &AppState,
    bus: &Bus,
) -> JoinHandle<()> {
    let (wake, connected) = (state.wake.clone(), state.metrics.nats());
    let said = Arc::new(AtomicBool::new(false)); // that NATS is not there
    let event = move |event| {
        let (wake, connected, said) = (wake.clone(), connected.clone(), Arc::clone(&said));
        async move {
            match event {
                Event::Connected => {
                    connected.set(1.0);
                    said.store(false, Ordering::Relaxed);
                    tracing::info!("connected with NATS");
                    // Nobody knows what was told meanwhile.
                    wake.everybody();
                }
                Event::Disconnected | Event::Closed => {
                    connected.set(0.0);
                    tracing::warn!(
                        "NATS is away; what other nodes store is found in the log until it is back"
                    );
                }
                Event::ClientError(error) if !said.swap(true, Ordering::Relaxed) => {
                    tracing::warn!(%error, "NATS cannot be reached; it is tried on");
                }
                Event::SlowConsumer(_) => {
                    tracing::warn!("wake-ups came faster than they were read; the rest is found in the log");
                }
                Event::ServerError(error) => tracing::warn!(%error, "NATS refuses"),
                Event::ClientError(error) => tracing::debug!(%error, "NATS cannot be reached"),
                Event::LameDuckMode | Event::Draining => tracing::info!("NATS is going to stop"),
            }
        }
    };
    let options = ConnectOptions::new()
        .name("tertulia")
        .no_echo()
        .retry_on_initial_connect()
        .max_reconnects(None)
        .ping_interval(PING)
        .subscription_capacity(UNREAD)
        .event_callback(event);
    let options = match &url.credentials {
        Credentials::None => options,
        Credentials::Token(token) => options.token(token.to_string()),
        Credentials::User(user, password) => options.user_and_password(user.clone(), password.to_string()),
    };
    let connected = options.connect(url.servers.as_slice()).await;
    let client = match connected {
        Ok(client) => client,
        // Only for what does not pass, and what there is of that was found out when the address was read.
        Err(error) => {
            tracing::error!(%error, "there is no connection with NATS");
            return tokio::spawn(async {});
        }
    };
    tokio::spawn(receive(client.clone(), subject.clone(), state.clone(), bus.clone()));
    tokio::spawn(send(client, subject, outbox))
}

async fn send(client: Client, subject: String, mut outbox: mpsc::Receiver<Message>) {
    while let Some(message) = outbox.recv().await {
        if client.connection_state() != State::Connected {
            continue;
        }
        let Some(bytes) = message.to_bytes() else { continue };
        if let Err(error) = client.publish(subject.clone(), bytes.into()).await {
            tracing::debug!(%error, "a wake-up was not sent");
        }
    }
    let _ = timeout(LAST, client.flush()).await; // what is lost is found in the log
}

async fn receive(client: Client, subject: String, state: AppState, bus: Bus) {
    let mut subscriber = match client.subscribe(subject).await {
        Ok(subscriber) => subscriber,
        Err(error) => {
            tracing::error!(%error, "what other nodes tell is not heard");
            return;
        }
    };
    let (notices, waiting) = mpsc::channel(NOTICES);
    tokio::spawn(tell(state.clone(), waiting));
    let mut said = false;
    loop {
        let message = tokio::select! {
            message = subscriber.next() => message,
            () = state.shutdown.requested() => return,
        };
        let Some(message) = message else { return };
        match Message::from_bytes(&message.payload) {
            Ok(Message::Change(change)) => bus.heard(change),
            Ok(Message::Typing(notice)) => {
                if state.wake.is_followed(notice.conversation) {
                    let _ = notices.try_send(notice); // stored nowhere, and soon said again
                }
            }
            // Once, however often somebody sends such.
            Err(error) if !said => {
                said = true;
                tracing::warn!(%error, "what came over NATS cannot be read; are all nodes of one version?");
            }
            Err(_) => {}
        }
    }
}

/// Passes on who is typing, to whom the database says it is for.
async fn tell(state: AppState, mut notices: mpsc::Receiver<Typing>) {
    while let Some(notice) = notices.recv().await {
        let Typing { conversation, user, .. } = notice;
        let others = state.storage.read(move |db| crate::delivery::typing::others(db, conversation, user));
        // Refused to whom may not, be it that somebody else has written it, or that they have left since.
        if let Ok(others) = others.await {
            state.typing.tell(others, notice);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> NatsUrl {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_like_those_of_other_programs_and_its_secrets_are_kept_apart() {
        let url = read("nats://hub:open%20sesame@a.example:4223, tls://b.example");
        assert!(url.credentials == Credentials::User("hub".into(), Zeroizing::new("open sesame".into())));
        assert_eq!(url.servers.iter().map(ServerAddr::port).collect::<Vec<_>>(), [4223, 4222]);
        assert!(url.servers[1].tls_required());
        let shown = format!("{url:?}");
        assert!(!shown.contains("sesame") && shown.contains("a.example"), "{shown}");
        assert!(read("nats://t0ken@a").credentials == Credentials::Token(Zeroizing::new("t0ken".into())));
        assert!(read("nats://[::1]:4222").credentials == Credentials::None);
    }

    #[test]
    fn an_address_that_cannot_be_used_is_refused_without_being_shown() {
        for wrong in [
            "",
            "a.example",
            "http://u:sesame@a",
            "ws://a",
            "nats://a/subject",
            "nats://a?tls=sesame",
            "nats://u:sesame@a,nats://u:other@b",
            "nats://u:%ff@a",
            "nats://u:sesame@a:70000",
            "nats:a",
            "nats://a,",
        ] {
            let error = wrong.parse::<NatsUrl>().unwrap_err().to_string();
            assert!(!error.contains("sesame"), "{error}");
        }
    }

    #[test]
    fn each_hub_has_a_subject_of_its_own_and_keeps_it() {
        insta::assert_snapshot!(subject(&[7; 32]), @"tertulia.c02f007ffe11bf638c32e7a320df1930");
        assert_ne!(subject(&[7; 32]), subject(&[8; 32]));
    }
}

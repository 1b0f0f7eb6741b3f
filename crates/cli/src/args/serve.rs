//! The arguments of `tertulia serve`.

use std::{net::SocketAddr, time::Duration};

use bytesize::ByteSize;
use clap::{Args, value_parser};
use tertulia::Domain;
use tertulia_server::{DatabaseUrl, Limits, NatsUrl, Rate};
use url::Url;
use zeroize::Zeroizing;

use super::{
    HubRelayArgs, ServingArgs, StartArgs, Switch,
    link::{short_span, span},
};

/// `serve`.
///
/// Every setting can be given by a flag, by an environment variable, and in the file of --config, under the flag's name; the
/// first of these counts.
#[derive(Args)]
#[command(after_help = super::help::SERVE)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) start: StartArgs,

    /// Address and port to listen on; port 0 takes a free one
    ///
    /// Plain HTTP is served on loopback addresses only, unless --behind-proxy says that something in front of the hub
    /// does TLS.
    #[arg(
        long,
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:8440",
        env = "TERTULIA_LISTEN",
        hide_env_values = true
    )]
    pub(crate) listen: SocketAddr,

    /// Address of a PostgreSQL database that keeps the hub's data [default: a file in the data directory]
    ///
    /// Like `postgres://USER:PASSWORD@HOST/DATABASE`, with `?sslmode=verify-full` for an encrypted connection. Any number of hubs on
    /// one database are one hub, each with a data directory of its own.
    #[arg(long, value_name = "URL", env = "TERTULIA_DATABASE", hide_env_values = true)]
    pub(crate) database: Option<DatabaseUrl>,

    /// Address of NATS, over which the hubs on one database tell one another that there is something new [default: none]
    ///
    /// Like `nats://USER:PASSWORD@HOST:4222`, with `tls://` for an encrypted connection, or several of one cluster with commas. Without
    /// it, what another hub has accepted comes up to two seconds later.
    #[arg(long, value_name = "URL", env = "TERTULIA_NATS", hide_env_values = true)]
    pub(crate) nats: Option<NatsUrl>,

    /// Domain of the hub, part of every user's identity [default: localhost, later the one of the first start]
    ///
    /// It is fixed at the first start; a later start with another one fails.
    #[arg(long, value_name = "DOMAIN", env = "TERTULIA_DOMAIN", hide_env_values = true)]
    pub(crate) domain: Option<Domain>,

    #[command(flatten)]
    pub(crate) common: ServingArgs,

    /// Address and port, such as `0.0.0.0:80`, where plain HTTP leads people to HTTPS [default: nowhere]
    ///
    /// Only what a browser asks for is led there. Programs are told to use HTTPS from the beginning.
    #[arg(long, value_name = "ADDR:PORT", env = "TERTULIA_REDIRECT_HTTP", hide_env_values = true)]
    pub(crate) redirect_http: Option<SocketAddr>,

    /// Largest database file, such as 20GiB; when it is full, the hub refuses what would have to be stored [default: the disk]
    ///
    /// Not with `--database`: the size of a PostgreSQL database is bounded where PostgreSQL runs.
    #[arg(long, value_name = "SIZE", env = "TERTULIA_MAX_STORAGE", hide_env_values = true)]
    pub(crate) max_storage: Option<ByteSize>,

    /// After how many hours a guest's account ends, 720 at most; 0: no guests
    ///
    /// A guest has no password and can only be in conversations that admit guests.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 24,
        env = "TERTULIA_GUEST_HOURS",
        hide_env_values = true,
        value_parser = value_parser!(u64).range(0..=720)
    )]
    pub(crate) guest_hours: u64,

    /// For how long a join link can be used whose maker says nothing, such as 7d
    #[arg(
        long,
        value_name = "TIME",
        default_value = "7d",
        value_parser = span,
        env = "TERTULIA_LINK_EXPIRES",
        hide_env_values = true
    )]
    pub(crate) link_expires: Duration,

    /// Longest time for which a join link can be used
    #[arg(
        long,
        value_name = "TIME",
        default_value = "365d",
        value_parser = span,
        env = "TERTULIA_LINK_LONGEST",
        hide_env_values = true
    )]
    pub(crate) link_longest: Duration,

    /// Collector to send traces to over OTLP (HTTP, Protobuf), such as `http://127.0.0.1:4318` [default: none]
    #[arg(long, value_name = "URL", env = "TERTULIA_OTLP_ENDPOINT", hide_env_values = true)]
    pub(crate) otlp_endpoint: Option<Url>,

    /// Header that the collector wants, such as `authorization: Bearer …`; better in the environment or a file
    #[arg(
        long,
        value_name = "HEADER",
        value_parser = header,
        env = "TERTULIA_OTLP_HEADER",
        hide_env_values = true
    )]
    pub(crate) otlp_header: Option<SecretHeader>,

    /// Whether the hub is a relay, too, which keeps envelopes for whoever comes for them, without an account
    #[arg(
        long,
        value_name = "SWITCH",
        value_enum,
        default_value_t,
        env = "TERTULIA_RELAY",
        hide_env_values = true
    )]
    pub(crate) relay: Switch,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    #[command(flatten)]
    pub(crate) relay_limits: HubRelayArgs,
}

/// What the hub allows.
#[derive(Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Most devices of a user
    #[arg(
        long,
        value_name = "N",
        default_value_t = Limits::default().devices_per_user,
        env = "TERTULIA_MAX_DEVICES",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) max_devices: usize,

    /// Most places in which one device reads events or other answers of more than 64 KiB, or waits for events, at once
    #[arg(
        long,
        value_name = "N",
        default_value_t = 32,
        value_parser = value_parser!(u16).range(1..),
        env = "TERTULIA_MAX_READERS",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) max_readers: u16,

    /// Memory for what is being sent to the hub at once, of what is longer than 64 KiB; one address has a quarter of it
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "256MiB",
        env = "TERTULIA_MAX_UPLOADS",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) max_uploads: ByteSize,

    /// Most that one user's messages may take, or `unlimited`; beyond it no more of them are taken until old ones go
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "4GiB",
        value_parser = size_or_unlimited,
        env = "TERTULIA_MAX_USER_BYTES",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) max_user_bytes: ByteSize,

    /// Most groups and channels of one user's making
    #[arg(
        long,
        value_name = "N",
        default_value_t = Limits::default().conversations_per_user,
        env = "TERTULIA_MAX_USER_CONVERSATIONS",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) max_user_conversations: u64,

    /// For how long events are kept for devices that have not read them, or `forever`
    ///
    /// A device that was away for longer is told what it misses, and goes on. What a conversation shares with who comes later
    /// is kept for as long as it is shared.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "28d",
        value_parser = span_or_forever,
        env = "TERTULIA_EVENT_RETENTION",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) event_retention: Duration,

    /// For how long a session that is not used stays, or `forever`; each use begins it anew
    ///
    /// A device whose session has ended goes on after `tertulia login`, with all that it has.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "180d",
        value_parser = span_or_forever,
        env = "TERTULIA_SESSION_IDLE",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) session_idle: Duration,

    /// For how long a session's token is good for anything but being exchanged for another, or `forever`
    ///
    /// Devices exchange theirs once a week, without the password. A token that was stolen is of no use from then on; if the thief
    /// exchanges it, the device is logged out, and its user sees that.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "90d",
        value_parser = span_or_forever,
        env = "TERTULIA_TOKEN_LIFETIME",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) token_lifetime: Duration,

    /// Longest time for the head of a request to arrive
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        value_parser = span,
        env = "TERTULIA_HEADER_TIMEOUT",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) header_timeout: Duration,

    /// Longest time for an event over a WebSocket, or for anything of an answer, to be taken by who reads it
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1m",
        value_parser = span,
        env = "TERTULIA_EVENT_TIMEOUT",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) event_timeout: Duration,

    /// Longest application message
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "256KiB",
        env = "TERTULIA_MAX_MESSAGE",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) max_message: ByteSize,

    /// Longest commit, with what is sent beside it
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "8MiB",
        env = "TERTULIA_MAX_COMMIT",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) max_commit: ByteSize,

    /// Longest time for a request, from its head to the head of the answer
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        value_parser = span,
        env = "TERTULIA_REQUEST_TIMEOUT",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) request_timeout: Duration,

    /// Requests of one session: so many at once, then one for each time; or `none`, without limit
    #[arg(
        long,
        value_name = "RATE",
        default_value = "2000/1ms",
        value_parser = rate,
        env = "TERTULIA_RATE_REQUESTS",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) rate_requests: Rate,

    /// Requests from one address with tokens that are nobody's
    #[arg(
        long,
        value_name = "RATE",
        default_value = "100/100ms",
        value_parser = rate,
        env = "TERTULIA_RATE_UNKNOWN_TOKENS",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) rate_unknown_tokens: Rate,

    /// Searches of one user
    #[arg(
        long,
        value_name = "RATE",
        default_value = "60/1s",
        value_parser = rate,
        env = "TERTULIA_RATE_SEARCHES",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) rate_searches: Rate,

    /// Handles that one user asks for in full, also to connect with whose they are
    #[arg(
        long,
        value_name = "RATE",
        default_value = "200/200ms",
        value_parser = rate,
        env = "TERTULIA_RATE_LOOK_UPS",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) rate_look_ups: Rate,

    /// Notices of typing from one device
    #[arg(
        long,
        value_name = "RATE",
        default_value = "20/1s",
        value_parser = rate,
        env = "TERTULIA_RATE_TYPING",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) rate_typing: Rate,

    /// Sign-ups from one address
    #[arg(
        long,
        value_name = "RATE",
        default_value = "100/1s",
        value_parser = rate,
        env = "TERTULIA_RATE_SIGN_UPS",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) rate_sign_ups: Rate,

    /// Log-ins to one account from one address
    #[arg(
        long,
        value_name = "RATE",
        default_value = "10/10s",
        value_parser = rate,
        env = "TERTULIA_RATE_LOG_INS",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) rate_log_ins: Rate,

    /// Log-ins from one address, to whatever accounts
    #[arg(
        long,
        value_name = "RATE",
        default_value = "200/1s",
        value_parser = rate,
        env = "TERTULIA_RATE_ADDRESS_LOG_INS",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) rate_address_log_ins: Rate,

    /// People whom one user adds to conversations
    #[arg(
        long,
        value_name = "RATE",
        default_value = "20000/100ms",
        value_parser = rate,
        env = "TERTULIA_RATE_ADDS",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) rate_adds: Rate,

    /// Attempts of one user to come into conversations by links or by asking
    #[arg(
        long,
        value_name = "RATE",
        default_value = "20/10s",
        value_parser = rate,
        env = "TERTULIA_RATE_JOINS",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) rate_joins: Rate,
}

impl LimitArgs {
    /// The hub's limits, those that have no flag as by default.
    pub(crate) fn limits(&self) -> Limits {
        let bytes = |size: ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        Limits {
            devices_per_user: self.max_devices,
            readers_per_device: usize::from(self.max_readers),
            upload_bytes: bytes(self.max_uploads),
            message_bytes: bytes(self.max_message),
            commit_bytes: bytes(self.max_commit),
            bytes_per_user: Some(self.max_user_bytes.as_u64()).filter(|bytes| *bytes < u64::MAX),
            conversations_per_user: self.max_user_conversations,
            adds: self.rate_adds,
            event_retention: Some(self.event_retention).filter(|time| *time < Duration::MAX),
            session_idle: self.session_idle,
            token_lifetime: self.token_lifetime,
            header_timeout: self.header_timeout,
            event_timeout: self.event_timeout,
            request_timeout: self.request_timeout,
            requests: self.rate_requests,
            unknown_tokens: self.rate_unknown_tokens,
            searches: self.rate_searches,
            look_ups: self.rate_look_ups,
            typing: self.rate_typing,
            sign_ups: self.rate_sign_ups,
            log_ins: self.rate_log_ins,
            log_ins_per_address: self.rate_address_log_ins,
            joins: self.rate_joins,
            ..Limits::default()
        }
    }
}

/// A header with a secret in it. It is never printed.
#[derive(Clone)]
pub(crate) struct SecretHeader {
    pub(crate) name: String,
    pub(crate) value: Zeroizing<String>,
}

/// A time, or one that never comes.
fn span_or_forever(text: &str) -> Result<Duration, String> {
    if text == "forever" { Ok(Duration::MAX) } else { span(text) }
}

fn size_or_unlimited(text: &str) -> Result<ByteSize, String> {
    if text == "unlimited" { Ok(ByteSize(u64::MAX)) } else { text.parse() }
}

/// A rate as it is written: so many at once, then one for each time.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    if text == "none" {
        return Ok(Rate::UNLIMITED);
    }
    let wrong = || "write it like 60/1s: 60 at once, then one a second; or none".to_owned();
    let (burst, period) = text.split_once('/').ok_or_else(wrong)?;
    let burst = burst.parse().ok().filter(|burst| *burst > 0).ok_or_else(wrong)?;
    Ok(Rate { burst, period: short_span(period).map_err(|_| wrong())? })
}

/// `NAME: VALUE`.
fn header(text: &str) -> Result<SecretHeader, String> {
    let wrong = || "write it like `authorization: Bearer …`".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let (name, value) = (name.trim(), value.trim());
    http::HeaderName::try_from(name).map_err(|_| wrong())?;
    http::HeaderValue::try_from(value).map_err(|_| wrong())?;
    Ok(SecretHeader { name: name.to_owned(), value: Zeroizing::new(value.to_owned()) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    #[test]
    fn what_the_command_line_says_by_default_is_what_the_hub_does_by_default() {
        let Command::Serve(args) = Cli::parse_from(["tertulia", "serve"]).command else { panic!("serve") };
        assert_eq!(format!("{:?}", args.limits.limits()), format!("{:?}", Limits::default()));
        assert_eq!(args.common.connections(), Limits::default().connections);
    }

    #[test]
    fn the_limits_on_readers_and_on_tokens_that_are_nobodys_can_be_set() {
        let limits = |args: &[&str]| {
            let args = ["tertulia", "serve"].iter().chain(args);
            let Command::Serve(args) = Cli::try_parse_from(args).ok()?.command else { panic!("serve") };
            Some(args.limits.limits())
        };
        let set = limits(&["--max-readers", "3", "--rate-unknown-tokens", "5/1s"]).unwrap();
        assert_eq!(set.readers_per_device, 3);
        assert_eq!(set.unknown_tokens, Rate { burst: 5, period: Duration::from_secs(1) });
        assert_eq!(
            limits(&["--rate-unknown-tokens", "none"]).map(|limits| limits.unknown_tokens),
            Some(Rate::UNLIMITED)
        );
        assert!(limits(&["--max-readers", "0"]).is_none(), "no device could read anything");
    }

    #[test]
    fn a_rate_is_how_many_at_once_and_how_long_for_one_more() {
        assert_eq!(rate("60/1s"), Ok(Rate { burst: 60, period: Duration::from_secs(1) }));
        assert_eq!(rate("3/250ms"), Ok(Rate { burst: 3, period: Duration::from_millis(250) }));
        assert_eq!(rate("none"), Ok(Rate::UNLIMITED));
        for wrong in ["", "60", "60/", "/1s", "0/1s", "-1/1s", "60/0s", "60/1", "many/1s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}

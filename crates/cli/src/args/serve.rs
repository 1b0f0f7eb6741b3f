//! The arguments of `tertulia serve`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use bytesize::ByteSize;
use clap::{Args, ValueEnum, ValueHint, builder::FalseyValueParser, value_parser};
use tertulia::Domain;
use tertulia_server::{DatabaseUrl, Limits, Rate};
use url::Url;
use zeroize::Zeroizing;

use super::link::{short_span, span};
use crate::configuration::Origins;

/// `serve`.
///
/// Every setting can be given by a flag, by an environment variable, and in the file of --config, under the flag's name; the
/// first of these counts.
#[derive(Args)]
#[command(after_help = super::help::SERVE)]
pub(crate) struct ServeArgs {
    /// File with settings, TOML; its keys are the names of the flags
    #[arg(long, value_name = "FILE", env = "TERTULIA_CONFIG", hide_env_values = true, value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,

    /// Print all settings with where each comes from, as a file for --config, and start nothing
    #[arg(long)]
    pub(crate) print_config: bool,

    /// Where each setting comes from.
    #[arg(skip)]
    pub(crate) origins: Origins,

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

    /// Directory of the hub's data [default: the platform's data directory]
    #[arg(long, value_name = "DIR", env = "TERTULIA_DATA", hide_env_values = true, value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,

    /// Address of a PostgreSQL database that keeps the hub's data [default: a file in the data directory]
    ///
    /// Like `postgres://USER:PASSWORD@HOST/DATABASE`. The connection is not encrypted: use a socket, this machine or a network of your own. One hub on one database for now.
    #[arg(long, value_name = "URL", env = "TERTULIA_DATABASE", hide_env_values = true)]
    pub(crate) database: Option<DatabaseUrl>,

    /// Domain of the hub, part of every user's identity [default: localhost, later the one of the first start]
    ///
    /// It is fixed at the first start; a later start with another one fails.
    #[arg(long, value_name = "DOMAIN", env = "TERTULIA_DOMAIN", hide_env_values = true)]
    pub(crate) domain: Option<Domain>,

    /// Certificate chain for HTTPS, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "TERTULIA_TLS_CERT",
        hide_env_values = true,
        value_hint = ValueHint::FilePath
    )]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Private key of the certificate, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "TERTULIA_TLS_KEY",
        hide_env_values = true,
        value_hint = ValueHint::FilePath
    )]
    pub(crate) tls_key: Option<PathBuf>,

    /// A proxy in front of the hub does TLS: serve plain HTTP on any address
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        env = "TERTULIA_BEHIND_PROXY",
        hide_env_values = true,
        hide_default_value = true,
        hide_possible_values = true,
        action = clap::ArgAction::Set,
        value_parser = FalseyValueParser::new()
    )]
    pub(crate) behind_proxy: bool,

    /// Largest database, such as 20GiB; when it is full, the hub refuses what would have to be stored [default: the disk]
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

    /// Address and port to serve numbers for Prometheus on, at /metrics; a port alone is on loopback [default: nowhere]
    ///
    /// The numbers tell when people write, and how much: keep the address from others.
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = port_or_address, env = "TERTULIA_METRICS", hide_env_values = true)]
    pub(crate) metrics: Option<SocketAddr>,

    /// Form of the log on standard error
    #[arg(
        long,
        visible_alias = "log",
        value_name = "FORM",
        value_enum,
        default_value_t,
        env = "TERTULIA_LOG_FORMAT",
        hide_env_values = true
    )]
    pub(crate) log_format: LogFormat,

    /// What is logged, such as `warn,tertulia_server::http=debug`
    ///
    /// A level for everything, and levels for modules. Libraries never log more than is told at level `info`: what they say
    /// beyond that has content in it.
    #[arg(
        long,
        value_name = "DIRECTIVES",
        default_value = "info",
        value_parser = crate::logging::directives,
        env = "TERTULIA_LOG_FILTER",
        hide_env_values = true
    )]
    pub(crate) log_filter: String,

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

    #[command(flatten)]
    pub(crate) limits: LimitArgs,
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

    /// Longest time for an event to be taken by who reads events over a WebSocket
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
            message_bytes: bytes(self.max_message),
            commit_bytes: bytes(self.max_commit),
            session_idle: self.session_idle,
            header_timeout: self.header_timeout,
            event_timeout: self.event_timeout,
            request_timeout: self.request_timeout,
            requests: self.rate_requests,
            searches: self.rate_searches,
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

/// How log lines are written.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// A port, which is on loopback, or an address with one.
fn port_or_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| "write it like 9464 or 10.0.0.5:9464".to_owned())
}

/// A time, or one that never comes.
fn span_or_forever(text: &str) -> Result<Duration, String> {
    if text == "forever" { Ok(Duration::MAX) } else { span(text) }
}

/// A rate as it is written: so many at once, then one for each time.
fn rate(text: &str) -> Result<Rate, String> {
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

    #[test]
    fn a_port_alone_is_on_loopback() {
        assert_eq!(port_or_address("9464"), Ok(([127, 0, 0, 1], 9464).into()));
        assert_eq!(port_or_address("[::1]:0"), Ok("[::1]:0".parse().unwrap()));
        assert!(port_or_address("70000").is_err());
        assert!(port_or_address("localhost:1").is_err());
    }
}

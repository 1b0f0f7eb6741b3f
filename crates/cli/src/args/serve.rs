//! The arguments of `tertulia serve`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::{Args, ValueEnum, ValueHint, builder::FalseyValueParser, value_parser};
use tertulia::Domain;

use super::link::span;

/// `serve`.
///
/// Every flag can be given by an environment variable, as service managers and containers do.
#[derive(Args)]
#[command(after_help = super::help::SERVE)]
pub(crate) struct ServeArgs {
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

    /// Domain of the hub, part of every user's identity [default: localhost, later the one of the first start]
    ///
    /// It is fixed at the first start; a later start with another one fails.
    #[arg(long, value_name = "DOMAIN", env = "TERTULIA_DOMAIN", hide_env_values = true)]
    pub(crate) domain: Option<Domain>,

    /// Certificate chain for HTTPS, PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        env = "TERTULIA_TLS_CERT",
        hide_env_values = true,
        value_hint = ValueHint::FilePath
    )]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Private key of the certificate, PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        env = "TERTULIA_TLS_KEY",
        hide_env_values = true,
        value_hint = ValueHint::FilePath
    )]
    pub(crate) tls_key: Option<PathBuf>,

    /// A proxy in front of the hub does TLS: serve plain HTTP on any address
    #[arg(long, env = "TERTULIA_BEHIND_PROXY", hide_env_values = true, value_parser = FalseyValueParser::new())]
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

    /// Form of the log on standard error
    #[arg(
        long,
        value_name = "FORM",
        value_enum,
        default_value_t,
        env = "TERTULIA_LOG",
        hide_env_values = true
    )]
    pub(crate) log: LogFormat,
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

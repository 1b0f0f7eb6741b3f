//! The arguments that `tertulia serve` and `tertulia relay` share.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use clap::{Args, ValueEnum, ValueHint, builder::FalseyValueParser, value_parser};
use tertulia::Domain;
use tertulia_server::{Acme, Tls, TlsFiles};
use url::Url;

use crate::configuration::Origins;

/// Where the settings are.
#[derive(Args)]
pub(crate) struct StartArgs {
    /// File with settings, TOML; its keys are the names of the flags
    #[arg(long, value_name = "FILE", env = "TERTULIA_CONFIG", hide_env_values = true, value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,

    /// Print all settings with where each comes from, as a file for --config, and start nothing
    #[arg(long)]
    pub(crate) print_config: bool,

    /// Where each setting comes from.
    #[arg(skip)]
    pub(crate) origins: Origins,
}

/// Where the data are, how it is encrypted on the way, and what is told of it.
#[derive(Args)]
pub(crate) struct ServingArgs {
    /// Directory of the server's data [default: the platform's data directory]
    #[arg(long, value_name = "DIR", env = "TERTULIA_DATA", hide_env_values = true, value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,

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

    #[command(flatten)]
    pub(crate) acme: AcmeArgs,

    /// A proxy in front of the server does TLS: serve plain HTTP on any address
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

    /// Address and port to serve numbers for Prometheus on, at /metrics; a port alone is on loopback [default: nowhere]
    ///
    /// The numbers tell when people write, and how much: keep the address from others.
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = port_or_address, env = "TERTULIA_METRICS", hide_env_values = true)]
    pub(crate) metrics: Option<SocketAddr>,

    /// Most connections at once; an address has a quarter of them, unless a proxy stands in front
    ///
    /// Each is an open file. The system's limit has to be above it.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 32_768,
        value_parser = value_parser!(u32).range(4..),
        env = "TERTULIA_MAX_CONNECTIONS",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) max_connections: u32,

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
}

impl ServingArgs {
    /// Most connections at once.
    pub(crate) fn connections(&self) -> usize {
        usize::try_from(self.max_connections).unwrap_or(usize::MAX)
    }

    /// The certificate, or who issues one; none for plain HTTP.
    pub(crate) fn tls(&self) -> Option<Tls> {
        let files = self.tls_cert.clone().zip(self.tls_key.clone());
        let files = files.map(|(cert, key)| Tls::from(TlsFiles::new(cert, key)));
        files.or_else(|| self.acme.authority().map(Tls::from))
    }
}

/// Certificates from an authority.
#[derive(Args)]
pub(crate) struct AcmeArgs {
    /// Names to have a certificate issued for, such as `chat.example.org`, by an authority that speaks ACME
    ///
    /// It is Let's Encrypt unless --acme-directory says otherwise; you agree to its terms. It asks the hub itself, as port 443 of
    /// each name. The certificate is renewed in time, and kept in the data directory.
    #[arg(
        long = "acme-names",
        id = "acme_names",
        value_name = "NAME[,NAME…]",
        conflicts_with_all = ["tls_cert", "tls_key"],
        value_parser = names,
        env = "TERTULIA_ACME_NAMES",
        hide_env_values = true
    )]
    names: Option<Names>,

    /// Address of mail that the certificate authority may write to
    #[arg(
        long = "acme-contact",
        id = "acme_contact",
        value_name = "MAIL",
        env = "TERTULIA_ACME_CONTACT",
        hide_env_values = true,
        hide_short_help = true
    )]
    contact: Option<String>,

    /// Address of the directory of another certificate authority
    #[arg(
        long = "acme-directory",
        id = "acme_directory",
        value_name = "URL",
        env = "TERTULIA_ACME_DIRECTORY",
        hide_env_values = true,
        hide_short_help = true
    )]
    directory: Option<Url>,

    /// Root certificate of a certificate authority of one's own, PEM
    #[arg(
        long = "acme-root",
        id = "acme_root",
        value_name = "FILE",
        env = "TERTULIA_ACME_ROOT",
        hide_env_values = true,
        hide_short_help = true,
        value_hint = ValueHint::FilePath
    )]
    root: Option<PathBuf>,
}

/// One or more names of a hub.
#[derive(Clone)]
struct Names(Vec<Domain>);

impl AcmeArgs {
    /// The authority, if there is to be one.
    pub(crate) fn authority(&self) -> Option<Acme> {
        let mut acme = Acme::new(self.names.clone()?.0);
        acme.contact.clone_from(&self.contact);
        acme.root.clone_from(&self.root);
        if let Some(directory) = &self.directory {
            acme.directory = directory.to_string();
        }
        Some(acme)
    }
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

/// Names with commas between them.
fn names(text: &str) -> Result<Names, String> {
    let wrong =
        |name: &str| format!("`{name}` is no name of a host; write it like chat.example.org,example.org");
    let name = |name: &str| match name.trim().parse::<Domain>() {
        Ok(domain) if name.contains('.') && !name.contains(':') => Ok(domain),
        _ => Err(wrong(name)),
    };
    text.split(',').map(name).collect::<Result<_, _>>().map(Names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_port_alone_is_on_loopback() {
        assert_eq!(port_or_address("9464"), Ok(([127, 0, 0, 1], 9464).into()));
        assert_eq!(port_or_address("[::1]:0"), Ok("[::1]:0".parse().unwrap()));
        assert!(port_or_address("70000").is_err());
        assert!(port_or_address("localhost:1").is_err());
    }
}

use crate::storage::DatabaseUrl;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tertulia_domain::{Domain, limits};

/// How a hub is run.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where to listen. Port 0 takes a free one; [`Server::local_addr`](crate::Server::local_addr) tells which.
    pub listen: SocketAddr,
    /// The directory that holds everything that the hub keeps. Created if it is not there, for its owner alone.
    pub data: PathBuf,
    /// A PostgreSQL database that keeps the hub's data instead of a file in `data`. One hub uses it at a time: another loses
    /// nothing, but their devices do not hear of one another at once.
    pub database: Option<DatabaseUrl>,
    /// The hub's domain, part of every device's identity. It is fixed at the first start, as `localhost` unless given,
    /// and a later start with another one fails.
    pub domain: Option<Domain>,
    /// The certificate for HTTPS. Without it the hub speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Whether something in front of the hub terminates TLS. Only then may plain HTTP be spoken on an address that
    /// others can reach.
    pub behind_proxy: bool,
    /// Where to serve numbers for Prometheus, at `/metrics`, over plain HTTP; nowhere by default. Counters that can be read at
    /// any time tell when people write, and how much: who can reach this address learns that.
    pub metrics: Option<SocketAddr>,
    /// How long guests are let in, at most 30 days; none if they are not. A day by default: on a hub where everybody can make
    /// an account, somebody without one comes no closer to anybody.
    pub guest_lifetime: Option<Duration>,
    /// What the hub allows.
    pub limits: Limits,
}

/// Files for TLS, both PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate and those that lead to its root.
    pub cert: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// How often to look whether the files have changed. A new certificate is then used without a restart.
    pub look_every: Duration,
}

impl TlsFiles {
    /// These files, looked at twice a minute.
    pub fn new(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { cert: cert.into(), key: key.into(), look_every: Duration::from_secs(30) }
    }
}

/// What a hub allows. The defaults are those of [`tertulia_domain::limits`] and generous rates.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest database, in bytes; a page or two more with what waits to be moved into it. Without it the disk is the limit.
    pub database_bytes: Option<u64>,
    /// Longest application message, in bytes.
    pub message_bytes: usize,
    /// Longest commit bundle, in bytes.
    pub commit_bytes: usize,
    /// Longest JSON body that carries no key packages, in bytes.
    pub json_bytes: usize,
    /// Longest upload of key packages, in bytes of JSON.
    pub key_packages_bytes: usize,
    /// Most devices of a user.
    pub devices_per_user: usize,
    /// Most connections and open requests of a user.
    pub connections_per_user: usize,
    /// Most key packages kept for a device, the last-resort one not counted.
    pub key_packages_per_device: usize,
    /// Key packages of a device below which its owner is told.
    pub key_packages_low: u32,
    /// Longest pairwise message with all its ciphertexts, in bytes of JSON.
    pub pairwise_message_bytes: usize,
    /// Most one-time keys for pairwise sessions kept for a device.
    pub one_time_keys_per_device: usize,
    /// One-time keys of a device below which its owner is told.
    pub one_time_keys_low: u32,
    /// Most users in one claim of key packages, and devices in one of keys for pairwise sessions.
    pub users_per_request: usize,
    /// For how long a session that is not used stays, to the day. Each use begins it anew.
    pub session_idle: Duration,
    /// Longest time for the head of a request to arrive, also on a connection that is kept open for it.
    pub header_timeout: Duration,
    /// Longest time for an event to be taken by who reads events over a WebSocket. Who reads more slowly has to connect anew.
    pub event_timeout: Duration,
    /// Longest time that a request may take, the waiting for an event aside.
    pub request_timeout: Duration,
    /// Longest lifetime of a key package.
    pub key_package_lifetime: Duration,
    /// For how long a join link can be used, unless its maker says.
    pub link_validity: Duration,
    /// Longest time for which a join link can be used.
    pub longest_link_validity: Duration,
    /// Requests of one session.
    pub requests: Rate,
    /// Searches of one user.
    pub searches: Rate,
    /// Notices of one device that its user is typing, or no longer.
    pub typing: Rate,
    /// Sign-ups from one address.
    pub sign_ups: Rate,
    /// Log-ins to one handle from one address, with whatever password.
    pub log_ins: Rate,
    /// Log-ins from one address, to whatever handles. Each costs the time and memory of a password hash.
    pub log_ins_per_address: Rate,
    /// Attempts of one user to come into conversations by links or by asking, with whatever password.
    pub joins: Rate,
}

/// How often something may be done: `burst` times at once, and then once for every `period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How often at once. 0 is without limit.
    pub burst: u32,
    /// The time after which it may be done once more.
    pub period: Duration,
}

impl Rate {
    /// Without limit.
    pub const UNLIMITED: Self = Self { burst: 0, period: Duration::ZERO };
}

impl ServerConfig {
    /// A hub that listens at `listen` and keeps its data in `data`, with everything else as by default.
    pub fn new(listen: SocketAddr, data: impl AsRef<Path>) -> Self {
        Self {
            listen,
            data: data.as_ref().to_owned(),
            database: None,
            domain: None,
            tls: None,
            behind_proxy: false,
            metrics: None,
            guest_lifetime: Some(limits::GUEST_LIFETIME),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            database_bytes: None,
            message_bytes: limits::MAX_MESSAGE_BYTES,
            commit_bytes: limits::MAX_COMMIT_BUNDLE_BYTES,
            json_bytes: limits::MAX_JSON_BYTES,
            key_packages_bytes: 1024 * 1024, // 200 of some hundred bytes each, in Base64, with room
            devices_per_user: limits::MAX_DEVICES_PER_USER,
            connections_per_user: limits::MAX_CONNECTIONS,
            key_packages_per_device: limits::MAX_KEY_PACKAGES,
            key_packages_low: limits::KEY_PACKAGES_LOW,
            pairwise_message_bytes: limits::MAX_PAIRWISE_MESSAGE_BYTES,
            one_time_keys_per_device: limits::MAX_ONE_TIME_KEYS,
            one_time_keys_low: limits::ONE_TIME_KEYS_LOW,
            users_per_request: limits::MAX_USERS_PER_REQUEST,
            session_idle: Duration::from_hours(180 * 24),
            header_timeout: Duration::from_secs(30),
            event_timeout: Duration::from_mins(1),
            request_timeout: Duration::from_secs(30),
            key_package_lifetime: Duration::from_hours(84 * 24),
            link_validity: Duration::from_hours(7 * 24),
            longest_link_validity: Duration::from_hours(365 * 24),
            requests: Rate { burst: 2000, period: Duration::from_millis(1) },
            searches: Rate { burst: 60, period: Duration::from_secs(1) },
            typing: Rate { burst: 20, period: Duration::from_secs(1) },
            sign_ups: Rate { burst: 100, period: Duration::from_secs(1) },
            log_ins: Rate { burst: 10, period: Duration::from_secs(10) },
            log_ins_per_address: Rate { burst: 200, period: Duration::from_secs(1) },
            joins: Rate { burst: 20, period: Duration::from_secs(10) },
        }
    }
}

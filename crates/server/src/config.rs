use crate::{NatsUrl, storage::DatabaseUrl};
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
    /// A PostgreSQL database that keeps the hub's data instead of a file in `data`. Any number of nodes may use it, each with a
    /// `data` of its own; any of them serves any request.
    pub database: Option<DatabaseUrl>,
    /// Where the nodes on one database tell one another that there is something new. Without it that shows up to two seconds
    /// later, and who is typing on another node not at all.
    pub nats: Option<NatsUrl>,
    /// The hub's domain, part of every device's identity. It is fixed at the first start, as `localhost` unless given,
    /// and a later start with another one fails.
    pub domain: Option<Domain>,
    /// Where the certificate for HTTPS comes from. Without one the hub speaks plain HTTP.
    pub tls: Option<Tls>,
    /// Where to lead people from plain HTTP to HTTPS; nowhere by default. Only of use with `tls`.
    pub redirect_http: Option<SocketAddr>,
    /// Whether something in front of the hub terminates TLS. Only then may plain HTTP be spoken on an address that
    /// others can reach.
    pub behind_proxy: bool,
    /// Where to serve numbers for Prometheus, at `/metrics`, over plain HTTP; nowhere by default. Counters that can be read at
    /// any time tell when people write, and how much: who can reach this address learns that.
    pub metrics: Option<SocketAddr>,
    /// How long guests are let in, at most 30 days; none if they are not. A day by default: on a hub where everybody can make
    /// an account, somebody without one comes no closer to anybody.
    pub guest_lifetime: Option<Duration>,
    /// On what terms the hub is a relay, too; none if it is not. It is by default.
    pub relay: Option<RelayLimits>,
    /// What the hub allows.
    pub limits: Limits,
}

/// How a relay is run that is no hub.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    /// Where to listen. Port 0 takes a free one; [`RelayServer::local_addr`](crate::RelayServer::local_addr) tells which.
    pub listen: SocketAddr,
    /// The directory that holds everything that the relay keeps. Created if it is not there, for its owner alone.
    pub data: PathBuf,
    /// Where the certificate for HTTPS comes from. Without one the relay speaks plain HTTP.
    pub tls: Option<Tls>,
    /// Whether something in front of the relay terminates TLS. Only then may plain HTTP be spoken on an address that others can
    /// reach.
    pub behind_proxy: bool,
    /// Where to serve numbers for Prometheus, as in [`ServerConfig::metrics`].
    pub metrics: Option<SocketAddr>,
    /// Largest database, in bytes. Without it the disk is the limit.
    pub database_bytes: Option<u64>,
    /// Most connections at once, as in [`Limits::connections`].
    pub connections: usize,
    /// Longest time for the head of a request to arrive.
    pub header_timeout: Duration,
    /// Longest time that a request may take, the waiting for an envelope aside.
    pub request_timeout: Duration,
    /// On what terms it takes envelopes.
    pub limits: RelayLimits,
}

impl RelayConfig {
    /// A relay that listens at `listen` and keeps its data in `data`, with everything else as by default.
    pub fn new(listen: SocketAddr, data: impl AsRef<Path>) -> Self {
        let Limits { connections, header_timeout, request_timeout, .. } = Limits::default();
        Self {
            listen,
            data: data.as_ref().to_owned(),
            tls: None,
            behind_proxy: false,
            metrics: None,
            database_bytes: None,
            connections,
            header_timeout,
            request_timeout,
            limits: RelayLimits::default(),
        }
    }
}

/// On what terms a relay takes envelopes, and how long it keeps them. Who posts and who reads is known by nothing but an address.
#[derive(Debug, Clone)]
pub struct RelayLimits {
    /// The zero bits that the stamp of an envelope shorter than 4 KiB needs, 0 to 28; longer ones need a few more. Each doubles the work.
    pub difficulty: u8,
    /// Longest envelope, in bytes.
    pub max_envelope: usize,
    /// For how long envelopes are kept. At least three hours, or a stamp could be used twice.
    pub retention: Duration,
    /// What is younger is never cut for want of room.
    pub spare: Duration,
    /// Most bytes of envelopes in one topic. What is more than half of it is cut once it may be.
    pub topic_bytes: u64,
    /// Most bytes of envelopes in all. What is more than half of it is cut once it may be.
    pub bytes: u64,
    /// Most requests and sockets in hand at once. Each holds a page, or an envelope if that is longer.
    pub places: usize,
    /// The same from one address.
    pub places_per_address: usize,
    /// Envelopes from one address.
    pub posts: Rate,
    /// Reads, and sockets that are opened, from one address.
    pub reads: Rate,
    /// Longest time for a request's body to arrive, or for what a client says first on a socket.
    pub body_timeout: Duration,
    /// Longest time for an envelope to be taken by who reads over a WebSocket, and at a relay that is no hub the longest in which nothing
    /// of any answer is taken. Who reads more slowly has to connect anew.
    pub reader_timeout: Duration,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            difficulty: 18,
            max_envelope: 1024 * 1024 + 112, // the size class of 1 MiB, with what stands around it
            retention: Duration::from_hours(14 * 24),
            spare: Duration::from_hours(24),
            topic_bytes: 512 << 20,
            bytes: 4 << 30,
            places: 2048,
            places_per_address: 128,
            posts: Rate { burst: 300, period: Duration::from_millis(200) },
            reads: Rate { burst: 1000, period: Duration::from_millis(100) },
            body_timeout: Duration::from_secs(10),
            reader_timeout: Duration::from_secs(30),
        }
    }
}

/// Where a certificate for HTTPS comes from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Tls {
    /// From files that somebody else writes.
    Files(TlsFiles),
    /// From a certificate authority.
    Acme(Acme),
}

impl From<TlsFiles> for Tls {
    fn from(files: TlsFiles) -> Self {
        Self::Files(files)
    }
}

impl From<Acme> for Tls {
    fn from(acme: Acme) -> Self {
        Self::Acme(acme)
    }
}

/// Certificates that an authority issues by ACME (RFC 8555), and renews when a third of their time is left. It asks the hub itself,
/// over TLS (RFC 8737): it has to reach the hub as port 443 of each of the names. Account and certificate are kept in the data
/// directory, in `acme`.
#[derive(Debug, Clone)]
pub struct Acme {
    /// The names that the certificate is for.
    pub names: Vec<Domain>,
    /// The address of the authority's directory.
    pub directory: String,
    /// An address of mail that the authority may write to.
    pub contact: Option<String>,
    /// The authority's own root certificate, PEM, if it is not one that everybody trusts.
    pub root: Option<PathBuf>,
    /// When it is tried again after a failure: first after this time, then ever more seldom.
    pub retry: Duration,
}

impl Acme {
    /// The directory of Let's Encrypt.
    pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

    /// Certificates of Let's Encrypt for these names. Who uses it agrees to its terms.
    pub fn new(names: impl IntoIterator<Item = Domain>) -> Self {
        Self {
            names: names.into_iter().collect(),
            directory: Self::LETS_ENCRYPT.to_owned(),
            contact: None,
            root: None,
            retry: Duration::from_mins(2),
        }
    }
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
    /// Largest database, in bytes; a page or two more with what waits to be moved into it. Without it the disk is the limit. Only
    /// for a hub that keeps its data in a file.
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
    /// Most bytes of a user's messages, commits and proposals in the logs, and of key packages; without it there is no limit. Beyond it no
    /// more messages of the user are taken. Commits are: who cannot say anything can still leave. Key packages are refused when they
    /// alone are more.
    pub bytes_per_user: Option<u64>,
    /// Most groups and channels that a user has made and that have not ended.
    pub conversations_per_user: u64,
    /// For how long events stay for devices that have not read them; for ever without it. What a conversation shares with who comes
    /// later stays as long as it is shared.
    pub event_retention: Option<Duration>,
    /// For how long a session that is not used stays, to the day. Each use begins it anew.
    pub session_idle: Duration,
    /// For how long a session's token is good. Then it can only be exchanged for another, which devices do by themselves, and long
    /// before.
    pub token_lifetime: Duration,
    /// Most connections at once; an address has a quarter of them, unless a proxy stands in front. Each holds up to 64 KiB of a request's
    /// head before it is known whose it is. Those to the numbers do not count.
    pub connections: usize,
    /// Longest time for the head of a request to arrive, also on a connection that is kept open for it.
    pub header_timeout: Duration,
    /// Longest time for an event to be taken by who reads events over a WebSocket, and the longest in which nothing of any answer is
    /// taken. Who reads more slowly has to connect anew.
    pub event_timeout: Duration,
    /// Most requests for events, WebSockets and other answers of more than 64 KiB of one device at once. Each holds a page, or what it
    /// answers.
    pub readers_per_device: usize,
    /// Most bytes of requests' bodies that are in hand at once, of those that are longer than 64 KiB; an address has a quarter of it.
    /// There is room for the longest body that the other limits allow in any case.
    pub upload_bytes: usize,
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
    /// Requests from one address with tokens that are nobody's. Whose token was found good before is not kept out by them.
    pub unknown_tokens: Rate,
    /// Searches of one user.
    pub searches: Rate,
    /// Handles that one user asks for in full, also to connect with whose they are.
    pub look_ups: Rate,
    /// Notices of one device that its user is typing, or no longer.
    pub typing: Rate,
    /// Sign-ups from one address.
    pub sign_ups: Rate,
    /// Log-ins to one handle from one address, with whatever password.
    pub log_ins: Rate,
    /// Log-ins from one address, to whatever handles. Each costs the time and memory of a password hash.
    pub log_ins_per_address: Rate,
    /// People whom one user adds to conversations. The burst is also the most in one commit.
    pub adds: Rate,
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
            nats: None,
            domain: None,
            tls: None,
            redirect_http: None,
            behind_proxy: false,
            metrics: None,
            guest_lifetime: Some(limits::GUEST_LIFETIME),
            relay: Some(RelayLimits::default()),
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
            bytes_per_user: Some(4 << 30),
            conversations_per_user: 1000,
            event_retention: Some(limits::EVENT_RETENTION),
            session_idle: Duration::from_hours(180 * 24),
            token_lifetime: Duration::from_hours(90 * 24),
            connections: 32 * 1024,
            header_timeout: Duration::from_secs(30),
            event_timeout: Duration::from_mins(1),
            readers_per_device: 32,
            upload_bytes: 256 * 1024 * 1024,
            request_timeout: Duration::from_secs(30),
            key_package_lifetime: limits::MAX_KEY_PACKAGE_LIFETIME,
            link_validity: Duration::from_hours(7 * 24),
            longest_link_validity: Duration::from_hours(365 * 24),
            requests: Rate { burst: 2000, period: Duration::from_millis(1) },
            unknown_tokens: Rate { burst: 100, period: Duration::from_millis(100) },
            searches: Rate { burst: 60, period: Duration::from_secs(1) },
            look_ups: Rate { burst: 200, period: Duration::from_millis(200) },
            typing: Rate { burst: 20, period: Duration::from_secs(1) },
            sign_ups: Rate { burst: 100, period: Duration::from_secs(1) },
            log_ins: Rate { burst: 10, period: Duration::from_secs(10) },
            log_ins_per_address: Rate { burst: 200, period: Duration::from_secs(1) },
            adds: Rate { burst: 20_000, period: Duration::from_millis(100) },
            joins: Rate { burst: 20, period: Duration::from_secs(10) },
        }
    }
}

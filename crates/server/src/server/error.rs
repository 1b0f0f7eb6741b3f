//! What can go wrong with a server.

use crate::storage::StorageError;
use std::{io, net::SocketAddr, path::PathBuf};
use tertulia_domain::Domain;

/// Why a hub does not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Passwords and tokens would cross the network readable.
    #[error(
        "refusing plain HTTP on {listen}, which others can reach: give a TLS certificate and key, listen on a loopback \
         address, or say that a proxy in front terminates TLS"
    )]
    PlainHttp {
        /// The address.
        listen: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("cannot use the TLS file {}: {source}", path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not go together.
    #[error("cannot use the TLS certificate with its key: {0}")]
    Tls(#[from] rustls::Error),
    /// A file or directory cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a hub's data in a file, too, which would be passed over: all its accounts would be gone. Move it with
    /// `tertulia admin copy-database`, or put the file elsewhere if nobody needs it.
    #[error(
        "{} holds a hub's data, which a hub with another database would pass over: `tertulia admin copy-database` \
         moves it there; if nobody needs it, put the file elsewhere", path.display()
    )]
    TwoDatabases {
        /// The file.
        path: PathBuf,
    },
    /// Another hub runs on the data directory.
    #[error("another hub uses the data directory {}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The file with the hub's MLS key is damaged.
    #[error("the hub's key in {} is damaged; groups know this key, so bring it back from a backup", path.display())]
    HubKey {
        /// The file.
        path: PathBuf,
    },
    /// The file with the hub's MLS key is not there, and groups know that key. Bring it from where the database comes from, or from a
    /// backup.
    #[error(
        "the hub's key {} is missing; groups know this key, so bring it from where the database comes from, or from a backup",
        path.display()
    )]
    NoHubKey {
        /// Where the file is to be.
        path: PathBuf,
    },
    /// The domain is part of every device's identity and cannot change.
    #[error("this hub's domain is {stored} since its first start; it cannot become {given}")]
    DomainFixed {
        /// The domain in the database.
        stored: Domain,
        /// The domain in the configuration.
        given: Domain,
    },
    /// There is a way to other nodes, and the data are in a file, which only one node can use. Leave out NATS, or keep the data
    /// in PostgreSQL.
    #[error(
        "NATS is for the nodes of a hub on one PostgreSQL database, and this hub keeps its data in a file, as its only node: \
         give it a database, or leave out NATS"
    )]
    NatsWithoutDatabase,
    /// A largest size of the database is given, and the data are in PostgreSQL, whose size this program does not bound. Leave it
    /// out, and bound the database where PostgreSQL runs.
    #[error(
        "a largest size is for the file that a hub keeps its data in, and this hub keeps them in PostgreSQL: leave it out, and \
         give the database a disk of its own"
    )]
    SizeOfDatabase,
    /// Plain HTTP is to lead to HTTPS, and there is none. Give a certificate, or names to have one issued for.
    #[error(
        "there is no HTTPS that plain HTTP could lead to: give a TLS certificate and key, or names to have one issued for"
    )]
    RedirectWithoutTls,
    /// The database cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The groups of a restored hub could not be begun anew. Look into the log, and start it again.
    #[error("the hub was restored, and its groups could not be begun anew")]
    AfterRestore,
    /// The identity of what a relay keeps cannot be read or written. Look into the log, and start it again.
    #[error("the relay's data cannot be used")]
    RelayLog,
    /// Passwords cannot be hashed, for want of randomness.
    #[error("passwords cannot be hashed: {0}")]
    Passwords(#[source] argon2::password_hash::Error),
    /// There is no randomness to make the hub's key of.
    #[error("the hub's key cannot be made, for want of randomness")]
    NoRandomness,
    /// Serving failed.
    #[error("serving failed: {0}")]
    Serve(#[source] io::Error),
}

impl ServerError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::PlainHttp { .. } => "plain-http-refused",
            Self::Listen { .. } => "cannot-listen",
            Self::TlsFile { .. } | Self::Tls(_) => "invalid-tls-files",
            Self::File { .. } => "data-io",
            Self::TwoDatabases { .. } => "two-databases",
            Self::InUse { .. } => "data-in-use",
            Self::HubKey { .. } => "damaged-hub-key",
            Self::NoHubKey { .. } => "missing-hub-key",
            Self::DomainFixed { .. } => "domain-fixed",
            Self::NatsWithoutDatabase => "nats-without-database",
            Self::SizeOfDatabase => "size-of-database",
            Self::RedirectWithoutTls => "redirect-without-tls",
            Self::Storage(_) | Self::RelayLog => "data-unusable",
            Self::AfterRestore => "restore-unfinished",
            Self::Passwords(_) | Self::NoRandomness => "no-randomness",
            Self::Serve(_) => "serving-failed",
        }
    }
}

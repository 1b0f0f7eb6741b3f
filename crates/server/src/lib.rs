//! The hub: accounts, connections, and the delivery of conversations that it cannot read.
//!
//! It **owns** the HTTP API, its storage (one SQLite or PostgreSQL database), the order of messages and commits, the event stream of
//! every device, and the checks of MLS (RFC 9420) that can be made without a secret. It **leaves to others** the rules
//! (`tertulia-domain`), the shapes on the wire (`tertulia-api`), and everything inside the messages, which only the
//! members' devices can decrypt.
//!
//! A hub is one node, or several on one PostgreSQL database, each of which serves any request; `bus` is how they hear of one another.
//!
//! From the outside inwards: `http` reads requests and answers, `delivery` is what happens in a conversation, `mls` looks
//! at MLS messages, `storage` keeps. Everything that a request changes is one transaction, and is durable before the
//! answer. Beside them stands the `relay`, which takes opaque envelopes of anybody and shares nothing with the rest but the writer; it also
//! runs alone ([`RelayServer`]).
//!
//! ```
//! use tertulia_server::{Server, ServerConfig};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let data = tempfile::tempdir()?;
//! let server = Server::bind(ServerConfig::new(([127, 0, 0, 1], 0).into(), data.path())).await?;
//! println!("listening on http://{}", server.local_addr());
//!
//! // Runs until the future given to it resolves; a program would give `tokio::signal::ctrl_c`.
//! server.run(async {}).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod accepting;
mod admin;
mod answers;
mod backup;
mod bus;
mod config;
mod copy;
mod cursors;
mod delivery;
mod ended;
mod error;
mod files;
mod guests;
mod http;
mod hub_key;
mod limits;
mod metrics;
mod mls;
mod password;
mod places;
mod relay;
mod removals;
mod restore;
mod restored;
mod retention;
mod server;
mod sessions;
mod shutdown;
mod state;
mod storage;
mod tls;
mod typing;
mod uploads;
mod wake;

/// The target of the spans that are made for traces: one for each request, named by its route, and inside it those that say
/// where the time goes. They have no ids of anybody in them. What writes log lines leaves them out.
pub const TRACE_TARGET: &str = "tertulia_trace";

pub use admin::{
    AccountInfo, AdminError, Answer, DeviceInfo, Numbers, Pruned, SessionInfo, Task, administer,
};
pub use backup::{BackupError, BackupInfo, back_up};
pub use bus::{NatsUrl, NatsUrlError};
pub use config::{Acme, Limits, Rate, RelayConfig, RelayLimits, ServerConfig, Tls, TlsFiles};
pub use copy::{CopyError, CopyInfo, CopyProgress, copy_database};
pub use relay::RelayServer;
pub use restore::restore;
pub use restored::{RestoredDatabase, RestoredDatabaseError, after_database_restore};
pub use server::{Server, ServerError};
pub use storage::{DatabaseUrl, StorageError};
pub use tls::Reload;

//! The services that tests and benchmarks start for themselves, so that nothing on the machine is used that was there before: a
//! private PostgreSQL server in a directory of its own, reached over a socket in it, a private NATS, and a certificate authority.
//! With the feature `commits` also the engine's way to a hub, for members that are no homes of the SDK.
//!
//! ```no_run
//! let server = tertulia_testkit::postgres::Server::start()?;
//! let database = server.create_database()?;
//! println!("{}", database.url());
//! # Ok::<(), tertulia_testkit::Error>(())
//! ```

#[cfg(feature = "commits")]
pub mod commits;
pub mod nats;
pub mod pebble;
pub mod ports;
pub mod postgres;

use std::{io, process::ExitStatus};

/// Why a service does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program is not installed. Debian's package of this name has it.
    #[error("{program} is not installed; `apt-get install {package}` brings it")]
    Missing {
        /// What was looked for.
        program: &'static str,
        /// Where it comes from.
        package: &'static str,
    },
    /// The program cannot be run, or a file not written. The cause says why.
    #[error("{what}: {source}")]
    Io {
        /// What was to be done.
        what: String,
        /// Why it was not.
        source: io::Error,
    },
    /// The program ended by itself. What it said stands in the log.
    #[error("{program} ended with {status}; it says:\n{log}")]
    Ended {
        /// Which.
        program: &'static str,
        /// How.
        status: ExitStatus,
        /// What it said.
        log: String,
    },
    /// The service does not answer in time. What it said stands in the log.
    #[error("{program} does not answer; it says:\n{log}")]
    Silent {
        /// Which.
        program: &'static str,
        /// What it said.
        log: String,
    },
    /// The server refuses. Its message says why.
    #[error(transparent)]
    Postgres(#[from] ::postgres::Error),
    /// A certificate cannot be made. The cause says why.
    #[error(transparent)]
    Certificate(#[from] rcgen::Error),
}

fn io(what: &str) -> impl FnOnce(io::Error) -> Error {
    let what = what.to_owned();
    move |source| Error::Io { what, source }
}

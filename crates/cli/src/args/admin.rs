//! `admin` and its commands.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueHint};
use tertulia::{DeviceId, Handle};
use tertulia_server::DatabaseUrl;

use super::link::span;

/// `admin`.
#[derive(Args)]
pub(crate) struct AdminArgs {
    /// Directory of the hub's data [default: the platform's data directory]
    #[arg(
        long,
        value_name = "DIR",
        env = "TERTULIA_DATA",
        hide_env_values = true,
        global = true,
        value_hint = ValueHint::DirPath
    )]
    pub(crate) data: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: AdminCommand,
}

#[derive(Subcommand)]
pub(crate) enum AdminCommand {
    /// List accounts, show, lock or delete one
    #[command(subcommand)]
    Users(UsersCommand),
    /// List the devices of an account, or remove one
    #[command(subcommand)]
    Devices(DevicesCommand),
    /// List the sessions of an account, or end them
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// Count accounts, conversations and what else there is
    Statistics,
    /// Delete what has run out: expired key packages, invitations and links, ended conversations, events kept for long enough
    Prune {
        /// Also events that are older than this, such as 7d: devices that have not read them miss them [default: what the hub
        /// is to keep them for, if it runs]
        #[arg(long, value_name = "TIME", value_parser = span_or_now)]
        events_older_than: Option<Duration>,
    },
    /// Copy the hub's data into a new directory, while the hub runs or not
    ///
    /// The copy is one moment, with everything that the hub acknowledged before it, or is not there at all. It holds password
    /// hashes and the hub's key: only its owner can read it.
    Backup {
        /// The directory, which must not exist
        #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
        destination: PathBuf,
    },
    /// Move a hub's data from the file in the data directory into a PostgreSQL database; the hub must not run
    ///
    /// The database must be empty. What was copied is read back and compared; then the file is put aside, into a directory beside
    /// it. A copy that was interrupted is begun again by the same command, and until then no hub uses the database.
    CopyDatabase {
        /// The address of the database, like `postgres://USER:PASSWORD@HOST/DATABASE`
        #[arg(long, value_name = "URL", env = "TERTULIA_DATABASE", hide_env_values = true)]
        to: DatabaseUrl,
    },
    /// Tell a hub that its PostgreSQL database was brought back to an earlier state; no node of it may run
    ///
    /// After `pg_restore`, after a recovery to a moment in the past, and when a standby takes over that was behind: devices may
    /// know more than the database. Nothing that was given out since is given out again, and when the hub starts all groups are
    /// begun anew with the members and roles that the database has.
    AfterRestore {
        /// The address of the database, like `postgres://USER:PASSWORD@HOST/DATABASE`
        #[arg(long, value_name = "URL", env = "TERTULIA_DATABASE", hide_env_values = true)]
        database: DatabaseUrl,
    },
    /// Make a hub's data from a backup; the hub must not run
    ///
    /// What was sent since the backup is lost to the hub, not to the devices that had it. When the hub starts, all groups are
    /// begun anew with the members and roles that the backup has.
    Restore {
        /// The backup
        #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
        source: PathBuf,
        /// Put data that are there already aside, into a directory among them
        #[arg(long)]
        replace: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum UsersCommand {
    /// List all accounts
    List,
    /// Show an account
    Show {
        /// Its handle
        handle: Handle,
    },
    /// Lock an account: its sessions end, and nobody logs in to it
    Lock {
        /// Its handle
        handle: Handle,
    },
    /// Open a locked account again
    Unlock {
        /// Its handle
        handle: Handle,
    },
    /// Delete an account for good; its handle stays taken
    Delete {
        /// Its handle
        handle: Handle,
        /// Really
        #[arg(long, required = true)]
        yes: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum DevicesCommand {
    /// List the devices of an account
    List {
        /// The account's handle
        handle: Handle,
    },
    /// Remove a device: its sessions end, and members take it out of their groups
    Remove {
        /// The account's handle
        handle: Handle,
        /// The device
        device: DeviceId,
    },
}

#[derive(Subcommand)]
pub(crate) enum SessionsCommand {
    /// List the sessions of an account
    List {
        /// The account's handle
        handle: Handle,
    },
    /// End a session, or all; devices go on after `tertulia login`
    #[command(group(clap::ArgGroup::new("which").required(true)))]
    End {
        /// The account's handle
        handle: Handle,
        /// The session
        #[arg(group = "which")]
        session: Option<String>,
        /// All of them
        #[arg(long, group = "which")]
        all: bool,
    },
}

/// Reads a time such as `7d`, or `0s`: whatever there is.
fn span_or_now(text: &str) -> Result<Duration, String> {
    if text == "0s" { Ok(Duration::ZERO) } else { span(text) }
}

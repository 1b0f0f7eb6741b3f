//! `password`, `device`: what concerns the account and needs its password once more.

use clap::{Args, Subcommand};
use tertulia::DeviceId;

/// Where the password comes from that proves that it is you.
#[derive(Args)]
pub(crate) struct ProofArgs {
    /// Take the password from standard input, a line
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

/// `password`.
#[derive(Args)]
pub(crate) struct ChangePasswordArgs {
    /// Take the present and the new password from standard input, a line each
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

/// `device` and its commands.
#[derive(Subcommand)]
pub(crate) enum DeviceCommand {
    /// List the devices of the account
    List,
    /// Remove a device, such as one that is lost
    ///
    /// It is logged out at once, nothing is delivered to it any more, and the others in your conversations take it out of
    /// them. What it holds already stays on it. It cannot come back; its user can log in with another home.
    Remove {
        /// The device, as `tertulia device list` shows it
        device: DeviceId,
        #[command(flatten)]
        proof: ProofArgs,
    },
}

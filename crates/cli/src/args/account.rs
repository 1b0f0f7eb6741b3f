//! `profile`, `search`, `password`, `device`, `account`: the account, its devices, and who else there is.

use clap::{Args, Subcommand};
use tertulia::{DeviceId, DisplayName, Handle, Locale};

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

/// `session` and its commands.
#[derive(Subcommand)]
pub(crate) enum SessionCommand {
    /// List the sessions of the account: which devices are logged in, since when, and when they were last there
    List,
    /// End a session, or all but this one; the devices go on after `tertulia login`
    #[command(group(clap::ArgGroup::new("whose").required(true)))]
    End {
        /// The session, as `tertulia session list` shows it
        #[arg(group = "whose")]
        session: Option<String>,
        /// All but the one of this home
        #[arg(long, group = "whose")]
        others: bool,
    },
}

/// `account` and its commands.
#[derive(Subcommand)]
pub(crate) enum AccountCommand {
    /// Delete the account, for good
    ///
    /// You leave all conversations, your contacts are told, and nobody gets your handle again. What the homes of your devices
    /// hold stays there.
    Delete {
        #[command(flatten)]
        proof: ProofArgs,
    },
}

/// `profile`.
#[derive(Args)]
pub(crate) struct ProfileArgs {
    /// Whose; your own when absent
    #[arg(conflicts_with_all = ["name", "no_name", "locale", "no_locale"])]
    pub(crate) handle: Option<Handle>,

    /// Say what people call you; everybody sees it
    #[arg(long, conflicts_with = "no_name")]
    pub(crate) name: Option<DisplayName>,

    /// Take the name back
    #[arg(long)]
    pub(crate) no_name: bool,

    /// Say which language you prefer, such as `es-MX`; people whom you are connected with see it
    #[arg(long, value_name = "TAG", conflicts_with = "no_locale")]
    pub(crate) locale: Option<Locale>,

    /// Take the language back
    #[arg(long)]
    pub(crate) no_locale: bool,
}

/// `search`.
#[derive(Args)]
pub(crate) struct SearchArgs {
    /// How their handles begin, two characters at least
    pub(crate) beginning: Handle,
}

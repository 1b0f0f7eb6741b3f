//! `home` and its commands.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueHint};

#[derive(Subcommand)]
pub(crate) enum HomeCommand {
    /// Copy this home into another directory, as a backup
    ///
    /// The copy has a key of its own and is complete or not there at all. It can be made while the home is used. Do not
    /// use it beside this home: a further device is made by `tertulia login`.
    Export(ExportArgs),
    /// Give this home another key
    ///
    /// Everything is encrypted anew; the old key or passphrase opens the home no more, but still opens older copies of it.
    /// A process that has the home open (`tertulia read --follow`) has to be started again.
    Rekey(RekeyArgs),
}

/// `home export`.
#[derive(Args)]
pub(crate) struct ExportArgs {
    /// The directory, which must not exist or be empty
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) destination: PathBuf,

    /// Protect the copy with a passphrase, the next line of standard input
    ///
    /// Otherwise its key is in a file of the copy that only its owner can read.
    #[arg(long)]
    pub(crate) new_passphrase_stdin: bool,
}

/// `home rekey`.
#[derive(Args)]
#[command(group(ArgGroup::new("new key").required(true)))]
pub(crate) struct RekeyArgs {
    /// Derive the key from a passphrase, the next line of standard input
    #[arg(long, group = "new key")]
    pub(crate) new_passphrase_stdin: bool,

    /// Take a new random key, kept in a file of the home that only its owner can read
    #[arg(long, group = "new key")]
    pub(crate) key_file: bool,
}

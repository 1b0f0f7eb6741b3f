//! `init`, `intro`, `meet`: homes without an account, and how strangers find each other.

use clap::{Args, ValueHint, builder::NonEmptyStringValueParser};
use std::path::PathBuf;
use tertulia::Handle;
use url::Url;

use super::client::hub_url;

/// `init`.
#[derive(Args)]
pub(crate) struct InitArgs {
    /// Address of a relay, such as `https://relay.example`; several times for several
    #[arg(long = "relay", value_name = "URL", required = true, value_parser = hub_url)]
    pub(crate) relays: Vec<Url>,

    /// What your other devices call this one
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) label: Option<String>,
}

/// `intro`.
#[derive(Args)]
pub(crate) struct IntroArgs {
    /// Also write it as a QR code into this PNG file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) qr: Option<PathBuf>,

    /// Also draw it as a QR code here
    #[arg(long)]
    pub(crate) draw: bool,

    /// For one person: only the first who uses it can be accepted
    #[arg(long)]
    pub(crate) once: bool,
}

/// `meet`.
#[derive(Args)]
pub(crate) struct MeetArgs {
    /// What the other's `tertulia intro` has printed
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) bundle: String,

    /// What to call them here: 2 to 32 of a-z, 0-9, '_', '.', '-'
    #[arg(long)]
    pub(crate) name: Option<Handle>,
}

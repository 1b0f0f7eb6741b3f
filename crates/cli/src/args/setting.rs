//! The arguments of what is set for all members of a group, and of what one sets for oneself.

use std::time::Duration;

use clap::{Args, builder::NonEmptyStringValueParser};
use jiff::{Span, SpanRelativeTo, Unit};

use super::OfflineArg;

/// `list`.
#[derive(Args)]
pub(crate) struct ListArgs {
    /// List the archived and hidden ones too
    #[arg(long, conflicts_with = "archived")]
    pub(crate) all: bool,

    /// List the archived ones
    #[arg(long)]
    pub(crate) archived: bool,

    #[command(flatten)]
    pub(crate) offline: OfflineArg,
}

/// `mute`, `archive`, `hide`.
#[derive(Args)]
pub(crate) struct OwnSettingArgs {
    /// @handle, or a conversation's name if only one has it, or its id
    #[arg(value_name = "CONVERSATION", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) target: String,

    /// Take it back
    #[arg(long)]
    pub(crate) off: bool,

    /// Keep this with it, for your other devices to see: until when, or why; at most 256 bytes
    #[arg(long, value_name = "TEXT", conflicts_with = "off")]
    pub(crate) reference: Option<String>,

    #[command(flatten)]
    pub(crate) offline: OfflineArg,
}

/// For how long messages stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timer(pub(crate) Option<Duration>);

/// Reads `off`, or a time such as `30s`, `12h` or `7d`. A day has 24 hours.
pub(super) fn timer(text: &str) -> Result<Timer, String> {
    if text == "off" {
        return Ok(Timer(None));
    }
    let seconds = text
        .parse::<Span>()
        .and_then(|span| span.total((Unit::Second, SpanRelativeTo::days_are_24_hours())))
        .map_err(|_| "write a time like 30s, 12h or 7d, or off".to_owned())?;
    let timer = Duration::try_from_secs_f64(seconds).map_err(|_| "a time is not negative".to_owned())?;
    Ok(Timer(Some(timer)))
}

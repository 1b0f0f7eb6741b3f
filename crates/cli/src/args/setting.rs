//! The arguments of what is set for all members of a group, and of what one sets for oneself.

use std::time::Duration;

use clap::{Args, builder::NonEmptyStringValueParser};
use jiff::{Span, SpanRelativeTo, Unit};
use tertulia::{History, HistoryDepth};

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

/// What those who come later may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shared(pub(crate) History);

/// Reads `none`, `unlimited`, or a time such as `12h` or `7d`.
pub(super) fn history(text: &str) -> Result<Shared, String> {
    if let ("none" | "unlimited", Ok(history)) = (text, text.parse()) {
        return Ok(Shared(history));
    }
    let span = span(text).map_err(|()| "write a time like 12h or 7d, none, or unlimited".to_owned())?;
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let depth = HistoryDepth::try_from(millis).map_err(|_| "write a second to 3650 days".to_owned())?;
    Ok(Shared(History::Depth(depth)))
}

/// Reads `off`, or a time such as `30s`, `12h` or `7d`. A day has 24 hours.
pub(super) fn timer(text: &str) -> Result<Timer, String> {
    if text == "off" {
        return Ok(Timer(None));
    }
    span(text)
        .map(|timer| Timer(Some(timer)))
        .map_err(|()| "write a time like 30s, 12h or 7d, or off".to_owned())
}

/// A time that is not negative. A day has 24 hours.
fn span(text: &str) -> Result<Duration, ()> {
    let seconds = text
        .parse::<Span>()
        .and_then(|span| span.total((Unit::Second, SpanRelativeTo::days_are_24_hours())))
        .map_err(drop)?;
    Duration::try_from_secs_f64(seconds).map_err(drop)
}

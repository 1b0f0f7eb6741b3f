//! `link` and its commands, `join`, and what says who is admitted.

use std::{str::FromStr, time::Duration};

use clap::{Args, Subcommand};
use jiff::{Span, SpanRelativeTo};
use tertulia::{AccessMode, AccessRole, ConversationId, JoinLink, JoinLinkError};

use super::{ConversationArg, OfflineArg};

/// `link` and its commands.
#[derive(Subcommand)]
pub(crate) enum LinkCommand {
    /// Make a link with which people come into a group, in the place of the one before
    ///
    /// Whoever has the link can come in until it expires or is revoked: give it to those who are meant, in a way that you
    /// trust. The hub does not have it.
    Create {
        #[command(flatten)]
        conversation: ConversationArg,
        #[command(flatten)]
        password: LinkPasswordArgs,
        /// For how long it can be used, such as 12h, 7d or 4w [default: as the hub is configured]
        #[arg(long, value_name = "TIME", value_parser = span)]
        expires: Option<Duration>,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// Show the link of a group; whole in the home where it was made, elsewhere only that there is one
    Show {
        #[command(flatten)]
        conversation: ConversationArg,
    },
    /// Take the link of a group back: nobody comes in by it any more, nor who waits
    Revoke {
        #[command(flatten)]
        conversation: ConversationArg,
    },
}

impl LinkCommand {
    /// The group that the command is about.
    pub(crate) fn target(&self) -> &str {
        match self {
            Self::Create { conversation, .. }
            | Self::Show { conversation }
            | Self::Revoke { conversation } => &conversation.target,
        }
    }
}

/// The password of a link.
#[derive(Args)]
pub(crate) struct LinkPasswordArgs {
    /// With a password, which is asked for without echo unless `TERTULIA_LINK_PASSWORD` has it
    #[arg(long)]
    pub(crate) password: bool,

    /// Take the link's password from standard input, a line
    #[arg(long, conflicts_with = "password")]
    pub(crate) password_stdin: bool,
}

/// `join`.
#[derive(Args)]
pub(crate) struct JoinArgs {
    /// The link, in quotes; or the id of a group that is open to all who ask. Without either, list what you wait for
    #[arg(value_name = "LINK")]
    pub(crate) target: Option<JoinTarget>,

    #[command(flatten)]
    pub(crate) password: LinkPasswordArgs,

    /// Show where the link leads and whether it takes a password, and ask for nothing; nobody is told
    #[arg(long, requires = "target", conflicts_with_all = ["cancel", "password", "password_stdin"])]
    pub(crate) preview: bool,

    /// Take back that you want to come in
    #[arg(long, requires = "target")]
    pub(crate) cancel: bool,
}

/// By what one comes in.
#[derive(Clone)]
pub(crate) enum JoinTarget {
    /// The link.
    Link(JoinLink),
    /// An open conversation.
    Id(ConversationId),
}

impl JoinTarget {
    /// The conversation.
    pub(crate) fn conversation(&self) -> ConversationId {
        match self {
            Self::Link(link) => link.conversation(),
            Self::Id(id) => *id,
        }
    }
}

impl FromStr for JoinTarget {
    type Err = JoinLinkError;

    fn from_str(text: &str) -> Result<Self, JoinLinkError> {
        match text.trim().parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => text.parse().map(Self::Link),
        }
    }
}

/// Who is admitted.
#[derive(Args)]
pub(crate) struct AccessArgs {
    /// In which ways people come in: `private` alone, or some of `invite`, `code`, `link`, with commas between
    ///
    /// `invite`: members add them. `code`: they have the link that `tertulia link create` makes. `link`: they ask by the
    /// group's id, and any member's device lets them in on the hub's word alone, so that a hub that lies can let in whom
    /// it likes.
    #[arg(long, value_name = "MODE,…", value_delimiter = ',')]
    pub(crate) modes: Vec<AccessMode>,

    /// Who is admitted: some of `team_member`, `non_team_member`, `guest`, `service`, with commas between
    ///
    /// Members who are no longer admitted are removed, but for you.
    #[arg(long, value_name = "ROLE,…", value_delimiter = ',')]
    pub(crate) roles: Vec<AccessRole>,
}

/// Reads a time such as `12h` or `7d`: at least a second.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "write it like 12h, 7d or 4w".to_owned();
    short_span(text).ok().filter(|span| span.as_secs() > 0).ok_or_else(wrong)
}

/// The same, with times below a second too.
pub(super) fn short_span(text: &str) -> Result<Duration, String> {
    let wrong = || "write it like 250ms, 10s or 1h".to_owned();
    let span: Span = text.parse().map_err(|_| wrong())?;
    let span = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    Duration::try_from(span).ok().filter(|span| !span.is_zero()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_people_write_it() {
        for (text, hours) in [("12h", 12), ("7d", 168), ("4w", 672), ("1d 12h", 36), ("365 days", 8760)] {
            assert_eq!(span(text), Ok(Duration::from_hours(hours)), "{text}");
        }
        for wrong in ["", "7", "0s", "-1d", "soon", "1 month"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}

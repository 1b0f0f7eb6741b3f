//! `channel` and its commands.

use clap::{Subcommand, builder::NonEmptyStringValueParser};
use tertulia::Handle;

use super::client::{GroupHandshake, GroupProtocol, OfflineArg};

#[derive(Subcommand)]
pub(crate) enum ChannelCommand {
    /// Make a channel of your team
    ///
    /// Its name is not encrypted: the hub and the whole team see it, and how many members there are. What is said in it only
    /// the members can read. Owners and admins of a team make channels. `tertulia group` manages a channel as it does a group.
    Create {
        /// What the channel is called, for the hub and the whole team to see
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
        /// Whom to add at once: team mates, or people whom you are connected with
        #[arg(value_name = "HANDLE")]
        members: Vec<Handle>,
        /// How messages are encrypted
        #[arg(long, value_enum, default_value_t)]
        protocol: GroupProtocol,
        /// Whether commits are encrypted too, for good
        #[arg(long, value_enum, default_value_t)]
        handshake: GroupHandshake,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// List the channels of your team, whether you are in them or not
    List,
}

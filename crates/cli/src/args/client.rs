//! The arguments of the client's commands.

use super::setting::{Shared, Timer, history, timer};
use clap::{
    Args, Subcommand, ValueEnum,
    builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser as _},
    value_parser,
};
use tertulia::{
    AddPermission, DisplayName, Handle, Handshake, Protocol, ReceiptMode, RoleName, SubconversationName,
};
use url::Url;

use super::link::AccessArgs;

/// `signup`.
#[derive(Args)]
pub(crate) struct SignUpArgs {
    /// The name others find you by: 2 to 32 of a-z, 0-9, '_', '.', '-'
    pub(crate) handle: Handle,
    /// The account is a program's, a bot's: everybody sees it
    #[arg(long)]
    pub(crate) service: bool,
    #[command(flatten)]
    pub(crate) password: PasswordArgs,
}

/// `guest`.
#[derive(Args)]
pub(crate) struct GuestArgs {
    /// What the others are to call you
    #[arg(long)]
    pub(crate) name: DisplayName,
    #[command(flatten)]
    pub(crate) hub: HubArgs,
}

/// `login`.
#[derive(Args)]
pub(crate) struct LogInArgs {
    /// The account's handle
    pub(crate) handle: Handle,
    #[command(flatten)]
    pub(crate) password: PasswordArgs,
}

/// Where the account is and what proves that it is one's own.
#[derive(Args)]
pub(crate) struct PasswordArgs {
    /// Address of the hub, such as `https://hub.example`
    #[arg(long, value_name = "URL", env = "TERTULIA_HUB", hide_env_values = true, value_parser = hub_url)]
    pub(crate) hub: Url,

    /// Take the password from standard input, a line
    #[arg(long)]
    pub(crate) password_stdin: bool,

    /// What your other devices call this one
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) label: Option<String>,
}

/// Where a guest comes in.
#[derive(Args)]
pub(crate) struct HubArgs {
    /// Address of the hub, such as `https://hub.example`
    #[arg(
        id = "address",
        long = "hub",
        value_name = "URL",
        env = "TERTULIA_HUB",
        hide_env_values = true,
        value_parser = hub_url
    )]
    pub(crate) address: Url,
}

/// `connect`, `accept` and the others.
#[derive(Args)]
pub(crate) struct ConnectionArgs {
    /// The other person
    pub(crate) handle: Handle,
}

/// For commands that bring the home up to date first.
#[derive(Args)]
pub(crate) struct OfflineArg {
    /// Do not bring this home up to date first
    #[arg(long)]
    pub(crate) offline: bool,
}

/// `group` and its commands.
#[derive(Subcommand)]
pub(crate) enum GroupCommand {
    /// Make a group
    Create {
        /// What the group is called
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
        /// Whom to add at once; you must be connected with each
        #[arg(value_name = "HANDLE")]
        members: Vec<Handle>,
        /// How messages are encrypted
        #[arg(long, value_enum, default_value_t)]
        protocol: GroupProtocol,
        /// Whether commits are encrypted too, for good
        #[arg(long, value_enum, default_value_t)]
        handshake: GroupHandshake,
        /// Make it one of your team: who leaves the team leaves it
        #[arg(long)]
        team: bool,
        /// Make it under this conversation of yours: @handle, a name if only one has it, or an id
        #[arg(long, value_name = "CONVERSATION", value_parser = NonEmptyStringValueParser::new())]
        parent: Option<String>,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// Take a pairwise group to MLS, with its messages
    Migrate {
        #[command(flatten)]
        conversation: ConversationArg,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// Add people; you must be connected with each
    Add {
        #[command(flatten)]
        conversation: ConversationArg,
        /// Whom to add
        #[arg(value_name = "HANDLE", required = true)]
        members: Vec<Handle>,
        /// The role that they get: admin, member, or one that your team defines
        #[arg(long, default_value = "member")]
        role: RoleName,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// Remove people; they can read nothing that is sent later
    Remove {
        #[command(flatten)]
        conversation: ConversationArg,
        /// Whom to remove
        #[arg(value_name = "HANDLE", required = true)]
        members: Vec<Handle>,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// Leave a group
    Leave {
        #[command(flatten)]
        conversation: ConversationArg,
        /// Who becomes admin if you are the last, who must name somebody; where another admin remains, nobody follows you
        #[arg(long, value_name = "HANDLE")]
        successor: Option<Handle>,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// Delete a group for everybody in it; what each has received stays with them
    Delete {
        #[command(flatten)]
        conversation: ConversationArg,
        /// Really
        #[arg(long, required = true)]
        yes: bool,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// Give a group another name
    Rename {
        #[command(flatten)]
        conversation: ConversationArg,
        /// The new name
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// Give a member another role
    Role {
        #[command(flatten)]
        conversation: ConversationArg,
        /// Whose role
        handle: Handle,
        /// The new role: admin, member, or one that your team defines
        role: RoleName,
        /// Who becomes admin, if you take that role from the last one
        #[arg(long, value_name = "HANDLE")]
        successor: Option<Handle>,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// Say who may add people: admins, or everyone
    Adders {
        #[command(flatten)]
        conversation: ConversationArg,
        /// Who may
        #[arg(value_parser = PossibleValuesParser::new(["admins", "everyone"]).map(|who| who.parse::<AddPermission>().expect("both are names of one")))]
        who: AddPermission,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// Set how long messages stay once they were read, for those that are sent from now on
    ///
    /// Each message says for itself when it is to be deleted, and the programs of the others do it. Nothing makes them.
    Timer {
        #[command(flatten)]
        conversation: ConversationArg,
        /// From a second to 365 days, such as `30s`, `12h` or `7d`; or `off`
        #[arg(value_name = "TIME", value_parser = timer)]
        timer: Timer,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// Say whether members tell each other what they have read
    Receipts {
        #[command(flatten)]
        conversation: ConversationArg,
        /// Whether they do
        #[arg(value_parser = PossibleValuesParser::new(["off", "on"]).map(|mode| mode.parse::<ReceiptMode>().expect("both are names of one")))]
        mode: ReceiptMode,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// Say what those who come later may read of the messages from before
    ///
    /// For admins, of groups on MLS. Nothing from before it was first shared is ever in it. The members see that it is shared: as
    /// long as it is, whoever gets hold of a device and of what the hub has stored can read back to where it began.
    History {
        #[command(flatten)]
        conversation: ConversationArg,
        /// `none`, `unlimited`, or how old a message may be when somebody comes: a second to 3650 days, such as `12h` or `7d`
        #[arg(value_name = "HOW FAR", value_parser = history)]
        history: Shared,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// Show or change who is admitted to a group, and in which ways
    Access {
        #[command(flatten)]
        conversation: ConversationArg,
        #[command(flatten)]
        access: AccessArgs,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// Begin a group's encryption anew, when its devices cannot go on: same members, new keys
    ///
    /// The last resort of an admin, or of either person in a 1:1. Everybody's devices join the new MLS group without being
    /// asked, and are told who asked for it. A single device that is out of step needs none of this: `tertulia sync` heals it.
    Reset {
        #[command(flatten)]
        conversation: ConversationArg,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// Go back into a group that this device keeps out of, whoever is in it now
    Trust {
        #[command(flatten)]
        conversation: ConversationArg,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// List the members with their roles
    Members {
        #[command(flatten)]
        conversation: ConversationArg,
        #[command(flatten)]
        offline: OfflineArg,
    },
}

/// How the messages of a new group are encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum GroupProtocol {
    /// In one group of all devices (RFC 9420)
    #[default]
    Mls,
    /// From device to device, for up to 128 members; `group migrate` leads to mls
    Pairwise,
}

/// Whether the commits of a new group are encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum GroupHandshake {
    /// The hub reads and checks who adds and removes whom
    #[default]
    Plaintext,
    /// The hub sees who is in the group, and not how it came about; the members' devices check it
    Ciphertext,
}

impl From<GroupHandshake> for Handshake {
    fn from(handshake: GroupHandshake) -> Self {
        match handshake {
            GroupHandshake::Plaintext => Self::Plaintext,
            GroupHandshake::Ciphertext => Self::Ciphertext,
        }
    }
}

impl From<GroupProtocol> for Protocol {
    fn from(protocol: GroupProtocol) -> Self {
        match protocol {
            GroupProtocol::Mls => Self::Mls,
            GroupProtocol::Pairwise => Self::Pairwise,
        }
    }
}

impl GroupCommand {
    /// The group that the command is about, unless it is yet to be made.
    pub(crate) fn target(&self) -> Option<&str> {
        match self {
            Self::Create { .. } => None,
            Self::Add { conversation, .. }
            | Self::Migrate { conversation, .. }
            | Self::Remove { conversation, .. }
            | Self::Leave { conversation, .. }
            | Self::Delete { conversation, .. }
            | Self::Rename { conversation, .. }
            | Self::Role { conversation, .. }
            | Self::Reset { conversation, .. }
            | Self::Adders { conversation, .. }
            | Self::Timer { conversation, .. }
            | Self::Receipts { conversation, .. }
            | Self::History { conversation, .. }
            | Self::Access { conversation, .. }
            | Self::Trust { conversation, .. }
            | Self::Members { conversation, .. } => Some(&conversation.target),
        }
    }
}

/// `direct` and its commands.
#[derive(Subcommand)]
pub(crate) enum DirectCommand {
    /// Have the messages go from device to device; before the first one
    Pairwise {
        #[command(flatten)]
        conversation: ConversationArg,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// Take pairwise messages to MLS, with what was said
    Migrate {
        #[command(flatten)]
        conversation: ConversationArg,
        #[command(flatten)]
        offline: OfflineArg,
    },
}

impl DirectCommand {
    /// The conversation that the command is about.
    pub(crate) fn target(&self) -> &str {
        match self {
            Self::Pairwise { conversation, .. } | Self::Migrate { conversation, .. } => &conversation.target,
        }
    }
}

/// `sub` and its commands.
#[derive(Subcommand)]
pub(crate) enum SubCommand {
    /// Join with this device; the first that joins begins it
    Join(SubArgs),
    /// Leave with this device; the last that leaves ends it
    Leave(SubArgs),
    /// End it for everybody; in a group it takes the right to delete the group
    Delete(SubArgs),
    /// List those of a conversation that devices are in
    List {
        /// @handle, or a conversation's name if only one has it, or its id
        #[arg(value_name = "CONVERSATION", value_parser = NonEmptyStringValueParser::new())]
        target: String,
        #[command(flatten)]
        offline: OfflineArg,
    },
    /// Print a key that the devices in it share, in hexadecimal digits
    ///
    /// It changes whenever somebody joins or leaves.
    Key {
        #[command(flatten)]
        sub: SubArgs,
        /// How many bytes
        #[arg(long, value_name = "BYTES", default_value_t = 32, value_parser = value_parser!(u16).range(1..=1024))]
        length: u16,
    },
}

impl SubCommand {
    /// The conversation that the command is about.
    pub(crate) fn target(&self) -> &str {
        match self {
            Self::Join(sub) | Self::Leave(sub) | Self::Delete(sub) | Self::Key { sub, .. } => &sub.target,
            Self::List { target, .. } => target,
        }
    }
}

/// A subconversation as a person names it.
#[derive(Args)]
pub(crate) struct SubArgs {
    /// @handle, or a conversation's name if only one has it, or its id
    #[arg(value_name = "CONVERSATION", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) target: String,
    /// What the subconversation is called there: 1 to 255 printable ASCII characters without spaces
    pub(crate) name: SubconversationName,
    #[command(flatten)]
    pub(crate) offline: OfflineArg,
}

/// A conversation as a person names it.
#[derive(Args)]
pub(crate) struct ConversationArg {
    /// The group: its name if only one has it, or its id
    #[arg(value_name = "CONVERSATION", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) target: String,
}

/// `send`.
#[derive(Args)]
pub(crate) struct SendArgs {
    /// @handle, or a conversation's name if only one has it, or its id
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) target: String,

    /// The text; from standard input when absent
    pub(crate) text: Option<String>,

    /// Keep the message in this home; the next `tertulia sync` sends it
    #[arg(long)]
    pub(crate) offline: bool,
}

/// `read`.
#[derive(Args)]
pub(crate) struct ReadArgs {
    /// @handle, or a conversation's name if only one has it, or its id
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) target: String,

    /// Go on printing what arrives, until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Print the newest N messages only
    #[arg(short = 'n', long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,

    /// Do not bring this home up to date first
    #[arg(long, conflicts_with = "follow")]
    pub(crate) offline: bool,
}

/// Reads the address of a hub: what is no `http` or `https` URL is a slip of the keyboard, not a hub that is down.
pub(super) fn hub_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|fault| format!("{fault}; write it like https://hub.example"))?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(url)
    } else {
        Err("the address of a hub starts with https:// or http://".to_owned())
    }
}

//! The command line as types: the one place that names every command and flag. Help, completions, man pages and
//! `docs/cli.md` are made from it.

mod account;
mod admin;
mod channel;
mod client;
mod help;
mod home;
mod intro;
mod link;
mod relay;
mod role;
mod serve;
mod serving;
mod setting;
mod team;

pub(crate) use account::{
    AccountCommand, ChangePasswordArgs, DeviceCommand, ProfileArgs, ProofArgs, SearchArgs, SessionCommand,
};
pub(crate) use admin::{AdminArgs, AdminCommand, DevicesCommand, SessionsCommand, UsersCommand};
pub(crate) use channel::ChannelCommand;
pub(crate) use client::{
    ConnectionArgs, ConversationArg, DirectCommand, GroupCommand, GuestArgs, LogInArgs, OfflineArg,
    PasswordArgs, ReadArgs, SendArgs, SignUpArgs, SubArgs, SubCommand,
};
pub(crate) use help::{command, command_for_manual, reference};
pub(crate) use home::{ExportArgs, HomeCommand, RekeyArgs};
pub(crate) use intro::{InitArgs, IntroArgs, MeetArgs};
pub(crate) use link::{AccessArgs, JoinArgs, JoinTarget, LinkCommand, LinkPasswordArgs};
pub(crate) use relay::{HubRelayArgs, RelayArgs, Switch};
pub(crate) use role::RoleCommand;
pub(crate) use serve::ServeArgs;
pub(crate) use serving::{LogFormat, ServingArgs, StartArgs};
pub(crate) use setting::{ListArgs, OwnSettingArgs};
pub(crate) use team::{TeamCommand, team_role};

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

/// End-to-end encrypted conversations on a server of your own.
#[derive(Parser)]
#[command(
    name = "tertulia",
    version,
    long_about = "End-to-end encrypted conversations on a server of your own.\n\n\
        One program is both: `tertulia serve` is the hub, everything else is a client. The hub passes messages on \
        and cannot read them; the keys are in the home of each device.",
    after_help = help::EXAMPLES,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every client command takes, before or after its name.
#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Directory of this device: its keys and messages [default: the platform's data directory]
    ///
    /// Each home is one device of one user. Several on one machine work side by side.
    #[arg(
        long,
        value_name = "DIR",
        env = "TERTULIA_HOME",
        hide_env_values = true,
        global = true,
        value_hint = ValueHint::DirPath
    )]
    pub(crate) home: Option<PathBuf>,

    /// Print one JSON object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Open the home with a passphrase, the first line of standard input
    ///
    /// Given when the home is made, the database key is derived from it and it is needed by every later command.
    /// Otherwise the key is in a file of the home that only its owner can read. A terminal asks for it without echo.
    #[arg(long, global = true)]
    pub(crate) passphrase_stdin: bool,

    /// Log to standard error; twice for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a hub, the server that people connect to
    // Boxed, for it is far larger than the others.
    Serve(Box<ServeArgs>),
    /// Run a relay: it keeps envelopes for whoever comes for them, and knows no accounts
    ///
    /// Every hub is a relay, too; this is one without a hub.
    Relay(Box<RelayArgs>),
    /// Look after a hub on this machine: accounts, sessions, backups
    ///
    /// It works on the hub's data directory, whether the hub runs or not; only to restore a backup it must not run.
    #[command(after_help = help::ADMIN)]
    Admin(AdminArgs),

    /// Make an account on a hub, with this home as its first device
    #[command(name = "signup", after_help = help::PASSWORD)]
    SignUp(SignUpArgs),
    /// Come in as a guest: without a password, and for a while
    ///
    /// A guest has no other device, is not found, and can neither connect with people nor make groups. The account ends by
    /// itself, a day later unless the hub says otherwise, and with it the keys in this home are of no use any more.
    Guest(GuestArgs),
    /// Add this home to an account as a further device
    #[command(name = "login", after_help = help::PASSWORD)]
    LogIn(LogInArgs),
    /// Make a home without an account: you are a key, and talk through relays that know nobody
    ///
    /// Nothing is asked and nobody is told. Every relay gets all that you send, encrypted, so that it is enough if one of them is up.
    #[command(after_help = help::INIT)]
    Init(InitArgs),
    /// Show who this home is
    Whoami,
    /// List the devices of the account, or remove one
    #[command(subcommand, after_help = help::DEVICE)]
    Device(DeviceCommand),
    /// List the sessions of the account, or end them
    ///
    /// A device that is lost is removed with `tertulia device remove`. To end its session only logs it out: whoever has it and the
    /// password comes back.
    #[command(subcommand)]
    Session(SessionCommand),
    /// Change the password of the account
    ///
    /// Your other devices are logged out; they go on after `tertulia login` on their homes, with all that they have.
    #[command(after_help = help::NEW_PASSWORD)]
    Password(ChangePasswordArgs),
    /// Show or change what you say of yourself, or show what somebody else does
    #[command(after_help = help::PROFILE)]
    Profile(ProfileArgs),
    /// Delete the account
    #[command(subcommand, after_help = help::ACCOUNT)]
    Account(AccountCommand),
    /// Fetch what is new and send what waits
    Sync,
    /// Copy this home, or give it another key
    #[command(subcommand, after_help = help::HOME)]
    Home(HomeCommand),

    /// Search people by the beginning of their handles
    Search(SearchArgs),
    /// Print what others need to write to this home, which has no account
    ///
    /// It is valid for 14 days. Who has it can ask you, and learns who this home is; they cannot read anything.
    #[command(after_help = help::INTRO)]
    Intro(IntroArgs),
    /// Ask somebody to talk, by what their `tertulia intro` has printed
    #[command(after_help = help::INTRO)]
    Meet(MeetArgs),
    /// List the requests of others that wait for your answer: to talk, or to come into a group
    ///
    /// For homes without an account. An answer is to a person, and goes for all that they have asked. You are not asked into groups by people whom
    /// you are connected with.
    Requests(OfflineArg),
    /// Ask somebody for a connection
    Connect(ConnectionArgs),
    /// Accept somebody's request: from then on you can talk, or are in the group
    Accept(ConnectionArgs),
    /// Leave somebody's request unanswered; they are not told
    Ignore(ConnectionArgs),
    /// Hear nothing from somebody any more; they are not told
    Block(ConnectionArgs),
    /// Take a block back
    Unblock(ConnectionArgs),
    /// Take your own request back
    Cancel(ConnectionArgs),
    /// List connections and requests
    Connections(OfflineArg),

    /// Make a team, invite people, and manage it
    #[command(subcommand, after_help = help::TEAM)]
    Team(TeamCommand),
    /// Define roles for the groups of your team
    #[command(subcommand, after_help = help::ROLE)]
    Role(RoleCommand),

    /// List conversations
    #[command(after_help = help::LIST)]
    List(ListArgs),
    /// Be left alone by a conversation; only your own devices know
    Mute(OwnSettingArgs),
    /// Put a conversation away, where `list --archived` shows it; only your own devices know
    Archive(OwnSettingArgs),
    /// Leave a conversation out of `list`; only your own devices know
    Hide(OwnSettingArgs),
    /// Make groups and manage them
    #[command(subcommand, after_help = help::GROUP)]
    Group(GroupCommand),
    /// Make groups that your whole team sees, and list them
    #[command(subcommand, after_help = help::CHANNEL)]
    Channel(ChannelCommand),
    /// Make the link with which people come into a group, show it, or take it back
    #[command(subcommand, after_help = help::LINK)]
    Link(LinkCommand),
    /// Come into a group by its link
    ///
    /// The members are told, and the first of their devices that is online lets you in.
    #[command(after_help = help::JOIN)]
    Join(JoinArgs),
    /// Choose how the messages between you and one person are encrypted
    #[command(subcommand, after_help = help::DIRECT)]
    Direct(DirectCommand),
    /// Take part in something within a conversation, such as a call
    #[command(subcommand, after_help = help::SUB)]
    Sub(SubCommand),
    /// Send a text
    #[command(after_help = help::SEND)]
    Send(SendArgs),
    /// List what looks as if the hub did not do as it should
    Warnings(OfflineArg),
    /// Print the messages of a conversation and mark it as read
    #[command(after_help = help::READ)]
    Read(ReadArgs),

    /// List the types of conversations: how each is encrypted, and who can be in it
    #[command(after_help = help::TYPES)]
    Types,
    /// Print a completion script for a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write one for each command
    #[command(after_help = help::MAN)]
    Man {
        /// Write `tertulia.1`, `tertulia-send.1` and so on into this directory
        #[arg(value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
    /// Print the reference of all commands as Markdown
    #[command(hide = true)]
    Reference,
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    /// What a shell would make of the line; `'…'` keeps words together.
    fn parse(line: &str) -> Result<Cli, ErrorKind> {
        let words = line.split('\'').enumerate().flat_map(|(number, part)| match number % 2 {
            0 => part.split_whitespace().collect(),
            _ => vec![part],
        });
        Cli::try_parse_from(std::iter::once("tertulia").chain(words)).map_err(|error| error.kind())
    }

    #[test]
    fn the_commands_of_the_contract_are_understood() {
        for line in [
            "serve",
            "serve --listen 127.0.0.1:8440 --data d --domain hub.example --tls-cert c --tls-key k --log json",
            "serve --listen [::1]:0 --behind-proxy",
            "serve --relay off",
            "serve --relay-difficulty 20 --relay-retention 7d --relay-max-storage 4GiB --rate-relay-posts none",
            "relay",
            "relay --listen [::1]:0 --data d --difficulty 0 --retention 30d --max-envelope 64KiB --print-config",
            "--home d --json signup alice --hub http://127.0.0.1:8440",
            "signup alice --hub https://hub.example --password-stdin --label laptop --passphrase-stdin --json --home d",
            "signup alice --hub https://hub.example --service",
            "guest --name 'Ana García' --hub https://hub.example --json",
            "serve --guest-hours 0",
            "admin users list --data d",
            "admin --data d users show @alice --json",
            "admin users lock alice",
            "admin users unlock alice",
            "admin users delete alice --yes",
            "admin devices list alice",
            "admin devices remove alice 00c0ffee00c0ffee",
            "admin sessions list alice",
            "admin sessions end alice 0123456789abcdef",
            "admin sessions end alice --all",
            "admin statistics --json",
            "admin prune",
            "admin backup /backups/monday",
            "admin restore /backups/monday --data d --replace",
            "serve --config hub.toml --print-config --json",
            "serve --metrics 9464 --log-format json --log-filter warn,tertulia_server::http=debug",
            "serve --otlp-endpoint http://127.0.0.1:4318 --otlp-header 'authorization: Bearer x'",
            "serve --rate-joins none --rate-log-ins 5/1m --max-message 64KiB",
            "login @Alice --hub https://hub.example",
            "whoami -v",
            "init --relay https://relay.example --relay http://127.0.0.1:8441 --home d",
            "intro --qr me.png --json",
            "intro --once --draw",
            "meet tertulia_intro_1_AAAA --name bruno",
            "requests --json",
            "device list",
            "device remove 00c0ffee00c0ffee",
            "device remove 00c0ffee00c0ffee --password-stdin --json",
            "account delete --password-stdin",
            "profile",
            "profile @bob",
            "profile --name 'Alice Munro' --locale es-mx",
            "profile --no-name --no-locale --json",
            "search @ali",
            "team join -A_kZ26c35lNgrBXW-mSqigS0gyWuxFApfJeqI1fRkc --json",
            "password",
            "password --password-stdin",
            "link create Thursday",
            "link create Thursday --password --expires 12h --json",
            "link create Thursday --password-stdin --expires '2 weeks'",
            "link show Thursday",
            "link revoke Thursday",
            "join",
            "join https://hub.example/join#01890a5d-ac96-4774-bcce-b302099a8057.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA --password",
            "join https://hub.example/join#01890a5d-ac96-4774-bcce-b302099a8057.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA --preview",
            "join 01890a5d-ac96-4774-bcce-b302099a8057 --cancel",
            "group access Thursday",
            "group access Thursday --modes invite,code --roles team_member,guest",
            "serve --link-expires 1d --link-longest 30d",
            "list --offline",
            "connections --offline --json",
            "sync",
            "home export backup --new-passphrase-stdin --passphrase-stdin",
            "home rekey --key-file",
            "home rekey --new-passphrase-stdin",
            "connect @bob",
            "accept bob",
            "ignore bob",
            "block bob",
            "unblock bob",
            "cancel bob",
            "team create 'Café Gijón'",
            "team show",
            "team invite --days 1",
            "team join aBc-_9",
            "team members --json",
            "team role @bob admin",
            "team remove bob",
            "team leave",
            "role create scribe modify_name leave",
            "role create silent",
            "role list --json",
            "role delete scribe",
            "group role Thursday @bob scribe",
            "channel create Announcements",
            "channel create Announcements @bob carol --protocol pairwise --json",
            "channel list",
            "channel create News --handshake ciphertext",
            "group create Thursday @bob --handshake ciphertext",
            "group create Thursday --team @bob",
            "group create Thursday",
            "group create 'Book club' @bob carol",
            "group create Thursday --protocol pairwise @bob",
            "group migrate Thursday",
            "direct pairwise @bob --json",
            "direct migrate @bob --offline",
            "group add Thursday @bob @carol",
            "group remove Thursday bob",
            "group leave Thursday --successor @bob",
            "group delete Thursday --yes",
            "group rename Thursday 'Book club'",
            "group role Thursday @bob admin",
            "group members Thursday --offline",
            "group reset Thursday",
            "sub join Thursday call",
            "sub leave @bob call --offline",
            "sub delete Thursday call",
            "sub list Thursday --json",
            "sub key Thursday call --length 16",
            "group adders Thursday everyone",
            "group timer Thursday 7d",
            "group timer Thursday '1h 30m'",
            "group timer Thursday off --json",
            "group receipts Thursday on",
            "group history Thursday 7d",
            "group history Thursday unlimited --json",
            "group create Minutes --parent Thursday @bob",
            "list --all",
            "list --archived --json",
            "mute @bob",
            "mute Thursday --reference 'until Monday'",
            "archive Thursday --off",
            "hide Thursday --offline",
            "group trust Thursday",
            "warnings --offline --json",
            "send @bob",
            "send @bob 'Shall we?' --offline",
            "send @bob -- --help",
            "read @bob --follow --limit 20",
            "read f3b0c4a2-7d1e-4c55-9a38-2b6e0d9f1c47 --offline",
            "completions zsh",
            "man",
            "man pages",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
        }
    }

    #[test]
    fn a_wrong_command_line_is_refused_before_anything_is_done() {
        for (line, kind) in [
            ("", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("dance", ErrorKind::InvalidSubcommand),
            ("profile bob --name Bob", ErrorKind::ArgumentConflict),
            ("profile --name A --no-name", ErrorKind::ArgumentConflict),
            ("profile --locale klingonese-of-the-homeworld-and-beyond", ErrorKind::ValueValidation),
            ("search a", ErrorKind::ValueValidation),
            ("account", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("team create", ErrorKind::MissingRequiredArgument),
            ("team invite --days 31", ErrorKind::ValueValidation),
            ("team role bob king", ErrorKind::InvalidValue),
            ("device remove", ErrorKind::MissingRequiredArgument),
            ("device remove phone", ErrorKind::ValueValidation),
            ("home rekey", ErrorKind::MissingRequiredArgument),
            ("home rekey --key-file --new-passphrase-stdin", ErrorKind::ArgumentConflict),
            ("connect", ErrorKind::MissingRequiredArgument),
            ("connect b", ErrorKind::ValueValidation),
            ("connect 'bob smith'", ErrorKind::ValueValidation),
            ("connect @@bob", ErrorKind::ValueValidation),
            ("group create '' @bob", ErrorKind::InvalidValue),
            ("group add Thursday", ErrorKind::MissingRequiredArgument),
            ("group timer Thursday soon", ErrorKind::ValueValidation),
            ("group timer Thursday -1d", ErrorKind::UnknownArgument),
            ("group receipts Thursday maybe", ErrorKind::InvalidValue),
            ("group history Thursday some", ErrorKind::ValueValidation),
            ("group history Thursday 3651d", ErrorKind::ValueValidation),
            ("list --all --archived", ErrorKind::ArgumentConflict),
            ("mute Thursday --off --reference x", ErrorKind::ArgumentConflict),
            ("group create Thursday @bob josé", ErrorKind::ValueValidation),
            ("group role Thursday @bob Owner", ErrorKind::ValueValidation),
            ("link create Thursday --expires soon", ErrorKind::ValueValidation),
            ("link create Thursday --password --password-stdin", ErrorKind::ArgumentConflict),
            ("join https://hub.example/join#cut", ErrorKind::ValueValidation),
            ("join Thursday", ErrorKind::ValueValidation),
            ("join --cancel", ErrorKind::MissingRequiredArgument),
            ("join --preview", ErrorKind::MissingRequiredArgument),
            ("join 01890a5d-ac96-4774-bcce-b302099a8057 --preview --cancel", ErrorKind::ArgumentConflict),
            ("join 01890a5d-ac96-4774-bcce-b302099a8057 --preview --password", ErrorKind::ArgumentConflict),
            ("group access Thursday --modes door", ErrorKind::ValueValidation),
            ("group access Thursday --roles everybody", ErrorKind::ValueValidation),
            ("sub join Thursday 'two words'", ErrorKind::ValueValidation),
            ("sub key Thursday call --length 0", ErrorKind::ValueValidation),
            ("role create scribe dance", ErrorKind::ValueValidation),
            ("role delete 'a scribe'", ErrorKind::ValueValidation),
            ("send ''", ErrorKind::InvalidValue),
            ("send @bob two words", ErrorKind::UnknownArgument),
            ("read @bob --limit 0", ErrorKind::ValueValidation),
            ("read @bob --follow --offline", ErrorKind::ArgumentConflict),
            ("signup alice --hub hub.example", ErrorKind::ValueValidation),
            ("signup alice --hub ftp://hub.example", ErrorKind::ValueValidation),
            ("guest --hub https://hub.example", ErrorKind::MissingRequiredArgument),
            ("guest --name '' --hub https://hub.example", ErrorKind::ValueValidation),
            ("serve --guest-hours 721", ErrorKind::ValueValidation),
            ("serve --listen 8440", ErrorKind::ValueValidation),
            ("serve --domain 'not a domain'", ErrorKind::ValueValidation),
            ("serve --rate-joins 20", ErrorKind::ValueValidation),
            ("admin users delete alice", ErrorKind::MissingRequiredArgument),
            ("admin sessions end alice", ErrorKind::MissingRequiredArgument),
            ("admin sessions end alice 0123 --all", ErrorKind::ArgumentConflict),
            ("admin backup", ErrorKind::MissingRequiredArgument),
            ("serve --log-filter tertulia=loud", ErrorKind::ValueValidation),
            ("serve --otlp-header secret", ErrorKind::ValueValidation),
        ] {
            assert_eq!(parse(line).err(), Some(kind), "{line}");
        }
    }
}

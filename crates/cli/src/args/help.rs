//! What `--help` says beyond the arguments themselves: examples, and the commands in groups.

use std::fmt::Write as _;

use clap::{
    Command, CommandFactory,
    builder::styling::{AnsiColor, Styles},
};

use super::Cli;

pub(super) const EXAMPLES: &str = "\
Examples:
  tertulia serve                                     a hub on this machine
  tertulia signup alice --hub http://127.0.0.1:8440  an account on it
  tertulia connect @bob                              ask bob, who then types:
  tertulia accept @alice
  tertulia send @bob 'Shall we meet on Thursday?'
  tertulia read @bob --follow
  tertulia group create Thursday @bob @carol

Exit status: 0 done, 1 refused or failed, 2 wrong usage. With 1, standard
error says `error[CODE]: SENTENCE`; the codes are stable.";

pub(super) const SERVE: &str = "\
Examples:
  tertulia serve
  tertulia serve --listen 0.0.0.0:443 --domain hub.example \\
      --tls-cert chain.pem --tls-key key.pem
  tertulia serve --listen 0.0.0.0:443 --domain hub.example \\
      --acme-names hub.example
  tertulia serve --listen 10.0.0.5:8440 --domain hub.example --behind-proxy
  tertulia serve --config /etc/tertulia/hub.toml --print-config

A setting is taken from its flag, else from its environment variable, else
from the file, whose keys are the flags' names: `max-storage = \"20GiB\"`.

The log is on standard error. -v tells more, as --log-filter chooses.
SIGINT and SIGTERM end the hub once the running requests are answered; a
second one ends it at once.";

pub(super) const RELAY: &str = "\
Examples:
  tertulia relay
  tertulia relay --listen 0.0.0.0:443 --acme-names relay.example
  tertulia relay --listen 10.0.0.5:8441 --behind-proxy --difficulty 20
  tertulia relay --config /etc/tertulia/relay.toml --print-config

A setting is taken from its flag, else from its environment variable, else
from the file, whose keys are the flags' names: `retention = \"7d\"`.

The log is on standard error, and has neither topics nor addresses in it.";

pub(super) const ADMIN: &str = "\
Examples:
  tertulia admin users list
  tertulia admin users lock alice
  tertulia admin sessions end alice --all
  tertulia admin backup /backups/tertulia-monday
  tertulia admin restore /backups/tertulia-monday --data /var/lib/tertulia";

pub(super) const PASSWORD: &str = "\
The password is asked for without echo, unless TERTULIA_PASSWORD has it or
--password-stdin is given. With --passphrase-stdin too, standard input has
the passphrase in its first line and the password in the second.";

pub(super) const INIT: &str = "\
Examples:
  tertulia init --relay https://relay.example
  tertulia intro                      # what others need, who then type:
  tertulia meet tertulia_intro_1_… --name ana
  tertulia requests                   # what they call you is up to them
  tertulia accept @key-1f0c9a3b
  tertulia send @key-1f0c9a3b 'Shall we meet on Thursday?'";

pub(super) const INTRO: &str = "\
Examples:
  tertulia intro --qr me.png
  tertulia intro --json | jq -r .bundle
  tertulia meet tertulia_intro_1_… --name bruno

That what you were given is theirs, nothing but the way it came to you says.";

pub(super) const DEVICE: &str = "\
Examples:
  tertulia device list
  tertulia device remove 00c0ffee00c0ffee

To remove a device takes the password. It is asked for without echo, unless
TERTULIA_PASSWORD has it or --password-stdin is given.";

pub(super) const ACCOUNT: &str = "\
To delete the account takes the password. It is asked for without echo, unless
TERTULIA_PASSWORD has it or --password-stdin is given.";

pub(super) const PROFILE: &str = "\
Examples:
  tertulia profile --name 'Alice Munro' --locale en-CA
  tertulia profile --no-locale
  tertulia profile @bob";

pub(super) const NEW_PASSWORD: &str = "\
Both passwords are asked for without echo, unless TERTULIA_PASSWORD has the
present and TERTULIA_NEW_PASSWORD the new one, or --password-stdin is given:
then standard input has the present one in a line and the new one in the next.";

pub(super) const HOME: &str = "\
Examples:
  tertulia home export ~/backups/tertulia-monday
  tertulia home rekey --new-passphrase-stdin
  tertulia home rekey --passphrase-stdin --key-file

With --passphrase-stdin, standard input has the passphrase of this home in
its first line and the new one in the second. A terminal asks without echo.";

pub(super) const TEAM: &str = "\
Examples:
  tertulia team create 'Café Gijón'
  tertulia team invite                # prints a code, for one person, who types:
  tertulia team join CODE
  tertulia team role @bob admin
  tertulia group create Minutes @bob --team";

pub(super) const ROLE: &str = "\
Examples:
  tertulia role create scribe modify_name leave
  tertulia group role Minutes @bob scribe
  tertulia role list

Actions: add_member, remove_member, modify_name, modify_message_timer,
modify_receipt_mode, modify_access, modify_other_member,
modify_add_permission, leave, delete.";

pub(super) const GROUP: &str = "\
Examples:
  tertulia group create Thursday @bob @carol
  tertulia group add Thursday @dave
  tertulia group role Thursday @bob admin
  tertulia group leave Thursday --successor @bob
  tertulia group delete Thursday --yes
  tertulia group timer Thursday 7d
  tertulia group receipts Thursday on
  tertulia group history Thursday 7d
  tertulia group access Thursday --modes invite,code
  tertulia group create Friday --protocol pairwise @bob
  tertulia group migrate Friday";

pub(super) const CHANNEL: &str = "\
Examples:
  tertulia channel create Announcements @bob @carol
  tertulia channel list
  tertulia group add Announcements @dave
  tertulia group rename Announcements News

The name of a channel is not encrypted: the hub knows it, and shows it to
the whole team. The name of a group only its members can read.";

pub(super) const LIST: &str = "\
Examples:
  tertulia list
  tertulia archive Thursday
  tertulia list --archived
  tertulia mute @bob --reference 'until Monday'

What you mute, archive or hide, your other devices are told, encrypted; the
hub and the others in the conversation are not.";
pub(super) const LINK: &str = "\
Examples:
  tertulia link create Thursday
  tertulia link create Thursday --password --expires 12h
  tertulia link show Thursday
  tertulia link revoke Thursday

A group has one link. With --password it is asked for without echo, unless
TERTULIA_LINK_PASSWORD has it or --password-stdin is given.";

pub(super) const JOIN: &str = "\
Examples:
  tertulia join 'https://hub.example/join#…' --preview
  tertulia join 'https://hub.example/join#…'
  tertulia join 'https://hub.example/join#…' --password
  tertulia join                       # what you wait for
  tertulia join ID --cancel

The link is a secret: quote it, for a shell takes # for a comment. The hub
says where it leads; what the group is called, only its members know.";

pub(super) const DIRECT: &str = "\
Examples:
  tertulia direct pairwise @bob
  tertulia direct migrate @bob

A conversation of two is on MLS unless one of you chooses otherwise before
anything is said. Either may, and either takes it to MLS later, for good.
Without an account it is pairwise until one of you takes it to MLS.";

pub(super) const SUB: &str = "\
Examples:
  tertulia sub join Thursday call
  tertulia sub list Thursday
  tertulia sub key Thursday call --length 16
  tertulia sub leave Thursday call
  tertulia sub delete Thursday call

Each device joins and leaves for itself, and only while it is in the
conversation. Messages, calls and the like are for applications to make
of it: what it has is members and a key.";

pub(super) const SEND: &str = "\
Examples:
  tertulia send @bob 'Shall we meet on Thursday?'
  tertulia send Thursday < minutes.txt
  tertulia send @bob -- '-1 from me'";

pub(super) const READ: &str = "\
Examples:
  tertulia read @bob
  tertulia read Thursday --limit 20 --follow
  tertulia read Thursday --json | jq -r .text";

pub(super) const TYPES: &str = "\
Examples:
  tertulia types
  tertulia types --json | jq 'select(.title == \"GroupV1\")'

docs/conversation-types.md has all that is said of each.";

pub(super) const COMPLETIONS: &str = "\
Examples:
  tertulia completions zsh > ~/.zfunc/_tertulia
  tertulia completions fish > ~/.config/fish/completions/tertulia.fish
  source <(tertulia completions bash)";

pub(super) const MAN: &str = "\
Examples:
  tertulia man | man -l -
  tertulia man ~/.local/share/man/man1";

/// The commands in the order and company in which somebody new needs them.
const GROUPS: [(&str, &[&str]); 6] = [
    (
        "This device",
        &[
            "signup", "guest", "login", "init", "whoami", "profile", "device", "session", "password",
            "account", "sync", "warnings", "home",
        ],
    ),
    (
        "People",
        &[
            "search",
            "intro",
            "meet",
            "requests",
            "connect",
            "accept",
            "ignore",
            "block",
            "unblock",
            "cancel",
            "connections",
        ],
    ),
    ("Teams", &["team", "role"]),
    (
        "Conversations",
        &[
            "list", "send", "read", "group", "channel", "link", "join", "mute", "archive", "hide", "direct",
            "sub",
        ],
    ),
    ("Server", &["serve", "relay", "admin"]),
    ("More", &["types", "completions", "man", "help"]),
];

/// Header lines green and literals cyan: what `cargo` looks like.
const STYLES: Styles = Styles::styled()
    .header(AnsiColor::BrightGreen.on_default().bold())
    .usage(AnsiColor::BrightGreen.on_default().bold())
    .literal(AnsiColor::BrightCyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Commands that have no home and no objects to print: they take the global options and make nothing of them.
const WITHOUT_HOME: [&str; 4] = ["serve", "completions", "man", "reference"];

/// The whole command line, with the commands of its help in groups: clap itself knows one list only.
pub(crate) fn command() -> Command {
    prepared(Cli::command())
}

/// The same without the commands `help`, which would double every page of a manual.
pub(crate) fn command_for_manual() -> Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    for inner in command.get_subcommands_mut() {
        *inner = std::mem::take(inner).disable_help_subcommand(true);
    }
    prepared(command)
}

fn prepared(command: Command) -> Command {
    let command = command.styles(STYLES).max_term_width(100);
    let overview = overview(&command);
    let mut command = command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{overview}{header}Global options:{header:#}\n{{options}}\
         {{after-help}}\n",
        header = STYLES.get_header(),
    ));
    // Only when it is built has every command its global options.
    command.build();
    for inner in command.get_subcommands_mut() {
        if WITHOUT_HOME.contains(&inner.get_name()) {
            hide_global(inner);
        }
    }
    command
}

/// Leaves the global options out of the command's help.
fn hide_global(command: &mut Command) {
    let hidden = std::mem::take(command).mut_args(|arg| {
        let global = arg.is_global_set() && arg.get_id() != "verbose";
        if global { arg.hide(true) } else { arg }
    });
    *command = hidden;
}

/// One heading for each group, one line for each of its commands.
fn overview(command: &Command) -> String {
    let (header, literal) = (STYLES.get_header(), STYLES.get_literal());
    let mut text = String::new();
    for (heading, names) in GROUPS {
        let _ = writeln!(text, "{header}{heading}:{header:#}");
        for &name in names {
            let about = match command.find_subcommand(name).and_then(Command::get_about) {
                Some(about) => about.to_string(),
                // clap adds `help` only when it parses.
                None => "Print this, or the help of a command".to_owned(),
            };
            let _ = writeln!(text, "  {literal}{name:<13}{literal:#}{about}");
        }
        text.push('\n');
    }
    text
}

/// The help of every command, as Markdown.
pub(crate) fn reference() -> String {
    let mut text = String::from(
        "# The command line\n\n\
         What `--help` says of each command; the global options are with the first and can be given to all that have a \
         home.\nThis file is made by `tertulia reference > docs/cli.md`.\n",
    );
    append(&mut text, &mut command_for_manual(), "tertulia");
    text
}

fn append(text: &mut String, command: &mut Command, path: &str) {
    let mut shown = command.clone().term_width(100).mut_args(|arg| {
        // Said once is enough.
        if arg.get_id() == "help" { arg.hide(true) } else { arg }
    });
    if path != "tertulia" {
        hide_global(&mut shown);
        shown = shown.mut_arg("verbose", |arg| arg.hide(true));
    }
    let help = shown.render_long_help().to_string();
    let help: Vec<_> = help.trim_end().lines().map(str::trim_end).collect();
    let _ = write!(text, "\n## `{path}`\n\n```text\n{}\n```\n", help.join("\n"));
    for inner in command.get_subcommands_mut() {
        if !inner.is_hide_set() {
            let path = format!("{path} {}", inner.get_name());
            append(text, inner, &path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_command_is_in_one_group_of_the_help() {
        let mut visible: Vec<_> = command()
            .get_subcommands()
            .filter(|c| !c.is_hide_set())
            .map(|c| c.get_name().to_owned())
            .collect();
        let mut grouped: Vec<_> =
            GROUPS.iter().flat_map(|(_, names)| *names).map(|&n| n.to_owned()).collect();
        visible.sort();
        grouped.sort();
        assert_eq!(visible, grouped);
    }

    #[test]
    fn the_documented_reference_is_the_one_in_the_source() {
        let documented = include_str!("../../../../docs/cli.md");
        assert!(
            documented == reference(),
            "docs/cli.md is out of date; write it with `tertulia reference > docs/cli.md`"
        );
    }

    #[test]
    fn the_help_does_not_show_the_environment() {
        // It may hold addresses and directories that are nobody else's business, and the reference must not depend on it.
        for command in all(&command()) {
            for argument in command.get_arguments().filter(|a| a.get_env().is_some()) {
                assert!(argument.is_hide_env_values_set(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }

    fn all(command: &Command) -> Vec<Command> {
        command.get_subcommands().flat_map(all).chain([command.clone()]).collect()
    }
}

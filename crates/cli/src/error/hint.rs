use tertulia::Handle;

use crate::{
    args::{AdminCommand, Command, GroupCommand, JoinArgs, SubCommand},
    output::{text::one_line, view::address},
};

/// What is likely to help, for this error of this command.
pub(super) fn hint(code: &str, command: &Command) -> Option<String> {
    let target = target(command).map(shown);
    let text = match (code, command) {
        ("not-connected", _) => match target.filter(|target| target.starts_with('@')) {
            Some(person) => {
                format!("`tertulia connections` shows how it stands, `tertulia connect {person}` asks")
            }
            None => "`tertulia connections` shows how it stands, `tertulia connect @HANDLE` asks".into(),
        },
        ("unknown-target", _) => {
            match target.filter(|target| target.parse::<Handle>().is_ok() && !target.starts_with('@')) {
                Some(name) => {
                    format!("a person is written with an @: @{name}; `tertulia list` shows the conversations")
                }
                None => "`tertulia list` shows the conversations, `tertulia connections` the people".into(),
            }
        }
        ("ambiguous-target", _) => "`tertulia list` shows the ids".into(),
        ("unknown-user", Command::Admin(_)) => "`tertulia admin users list` shows the accounts".into(),
        ("unknown-user", _) => "nobody on this hub has that handle; is it spelled right?".into(),
        ("hub-unreachable", Command::Send(_)) => {
            "`--offline` keeps the message here, and the next `tertulia sync` sends it".into()
        }
        (
            "hub-unreachable",
            Command::Read(_)
            | Command::List(_)
            | Command::Connections(_)
            | Command::Group(GroupCommand::Members { .. }),
        ) => "`--offline` shows what this home already has".into(),
        ("hub-unreachable", Command::SignUp(_) | Command::LogIn(_) | Command::Guest(_)) => {
            "is the hub running? `tertulia serve` starts one on this machine".into()
        }
        ("queued", _) => "do not send it again; `tertulia sync` sends what waits".into(),
        ("insecure-hub-address", _) => "plain http is for hubs on this machine only".into(),
        ("not-signed-in" | "no-home", _) => {
            "`tertulia signup HANDLE --hub URL` makes an account, `tertulia login` adds this home to one"
                .into()
        }
        ("home-in-use", _) => {
            "`--home DIR` (or TERTULIA_HOME) takes another directory; each is one device of one user".into()
        }
        ("passphrase-needed", _) => {
            "`--passphrase-stdin` takes it from the first line of standard input".into()
        }
        ("no-hub-data", Command::Admin(args)) if matches!(args.command, AdminCommand::AfterRestore { .. }) => {
            "`--database URL` (or TERTULIA_DATABASE) says which database it is".into()
        }
        ("no-hub-data", _) => "`--data DIR` (or TERTULIA_DATA) says where the hub keeps its data".into(),
        ("data-in-use", Command::Admin(_)) => "stop the hub first".into(),
        ("destination-in-use", Command::Admin(args)) if matches!(args.command, AdminCommand::Restore { .. }) => {
            "`--replace` puts what is there aside".into()
        }
        ("destination-in-use", _) => "choose a directory that does not exist yet".into(),
        ("key-changed", _) => "start it again; it opens the home with its new key".into(),
        ("given-key-needed", _) => "open it with the application that keeps its key".into(),
        ("no-passphrase-wanted", _) => "leave out `--passphrase-stdin`".into(),
        ("handle-taken", Command::SignUp(args)) => {
            format!(
                "is it yours? `tertulia login {} --hub {}` adds this home to it",
                args.handle,
                address(&args.password.hub)
            )
        }
        ("invalid-credentials", Command::LogIn(args)) => {
            format!("no account yet? `tertulia signup {} --hub {}`", args.handle, address(&args.password.hub))
        }
        ("device-removed", _) => {
            "`--offline` still shows what this home has; `tertulia login` with another `--home` makes a new device"
                .into()
        }
        ("no-account", _) => "it takes an account: `tertulia signup HANDLE --hub URL` in another `--home` makes one".into(),
        ("has-account", _) => "`tertulia init --relay URL` in another `--home` makes one without an account".into(),
        ("expired-bundle" | "invalid-bundle", _) => "ask for a new one: they type `tertulia intro`".into(),
        ("name-taken", _) => "`--name NAME` calls them something else".into(),
        ("guest-denied", _) => "it takes an account: `tertulia signup HANDLE --hub URL` in another `--home` makes one".into(),
        ("guests-off", _) => "`tertulia signup HANDLE --hub URL` makes an account".into(),
        ("unauthenticated", _) => {
            "the session has ended, as by a changed password; `tertulia login HANDLE --hub URL` on this home begins another"
                .into()
        }
        ("not-found", Command::Device(_)) => "`tertulia device list` shows the devices".into(),
        ("not-found", Command::Session(_)) => "`tertulia session list` shows the sessions".into(),
        ("no-team", _) => {
            "`tertulia team create NAME` makes a team, `tertulia team join CODE` accepts an invitation".into()
        }
        ("unknown-role", _) => {
            "the roles are admin, member, and what your team defines: `tertulia role list`".into()
        }
        ("role-in-use", _) => "give its members another role first: `tertulia group role`".into(),
        ("already-in-team", _) => "`tertulia team leave` leaves it".into(),
        ("last-owner", _) => "make somebody else owner first: `tertulia team role HANDLE owner`".into(),
        ("same-team", _) => "you are connected with everybody in your team; `tertulia team members` shows them".into(),
        ("action-denied", Command::Channel(_)) => {
            "owners and admins of a team make channels; `tertulia team members` shows who they are".into()
        }
        ("action-denied", Command::Team(_)) => "`tertulia team members` shows who is owner or admin".into(),
        ("no-secret", Command::Password(_)) => {
            "TERTULIA_PASSWORD and TERTULIA_NEW_PASSWORD, or two lines of standard input with `--password-stdin`, \
             give the passwords"
                .into()
        }
        ("no-secret", Command::SignUp(_) | Command::LogIn(_) | Command::Device(_) | Command::Account(_)) => {
            "TERTULIA_PASSWORD or a line of standard input with `--password-stdin` gives the password".into()
        }
        ("no-conversation-code", _) => {
            "links expire and are revoked; ask for a new one, and look whether all of it was copied".into()
        }
        ("invalid-conversation-password", Command::Join(JoinArgs { password, .. }))
            if !password.password && !password.password_stdin =>
        {
            "this link has a password: `--password` asks for it".into()
        }
        ("invalid-conversation-password", _) => "is it spelled right? Who gave you the link knows it".into(),
        ("not-admitted", Command::Join(_)) => {
            "who manages the group says who is admitted: `tertulia group access`".into()
        }
        ("not-admitted", Command::Group(_)) => match target {
            Some(group) => format!("`tertulia group access {group}` shows and changes who is admitted"),
            None => return None,
        },
        ("no-conversation", Command::Join(_)) => {
            "by its id one comes only into a group that is open; otherwise it takes a link".into()
        }
        ("link-of-other-hub", _) => {
            "each hub has accounts of its own; `tertulia signup` with another `--home` makes one there".into()
        }
        ("link-replaced", _) => "ask who made it for theirs, or make another one".into(),
        ("invalid-password", Command::Link(_)) => "the password of a link has 8 to 1024 bytes".into(),
        ("no-secret", Command::Link(_) | Command::Join(_)) => {
            "TERTULIA_LINK_PASSWORD or a line of standard input with `--password-stdin` gives the password".into()
        }
        ("last-admin", Command::Group(GroupCommand::Leave { .. })) => {
            "`--successor HANDLE` names the next admin".into()
        }
        ("last-admin", _) => {
            "make somebody else admin first: `tertulia group role CONVERSATION HANDLE admin`".into()
        }
        ("invalid-protocol-transition", Command::Direct(_)) => {
            "pairwise is chosen before anything is said; from then on it goes to mls only".into()
        }
        ("devices-outside", Command::Direct(direct)) => format!(
            "once those devices have synchronised, `tertulia direct migrate {}` goes on where it stands",
            shown(direct.target())
        ),
        ("devices-outside", _) => match target {
            Some(group) => format!(
                "once those devices have synchronised, `tertulia group migrate {group}` goes on where it stands"
            ),
            None => return None,
        },
        ("wrong-protocol", _) => "the conversation has moved on; `tertulia sync` and try again".into(),
        ("member-limit", _) => {
            "a pairwise group has at most 128 members; `tertulia group migrate` lifts that".into()
        }
        ("distrusted", _) => {
            "`tertulia warnings` shows why; `tertulia group trust CONVERSATION` goes back in".into()
        }
        ("action-denied", _) => match target {
            Some(group) => format!("`tertulia group members {group}` shows who is admin"),
            None => return None,
        },
        ("parent-not-joined", _) => "`tertulia sync` brings this device into the conversation first".into(),
        ("subconversation-limit", _) => "use a name that the conversation has had before".into(),
        ("no-conversation", Command::Sub(SubCommand::Key { sub, .. })) => {
            format!("`tertulia sub join {} {}` joins it", shown(&sub.target), shown(sub.name.as_str()))
        }
        ("invalid-timer", _) => "from a second to 365 days: `30s`, `12h`, `7d`; or `off`".into(),
        ("invalid-configuration", _) => {
            "`tertulia serve --print-config` prints all settings as a file, `tertulia serve --help` what they mean"
                .into()
        }
        ("plain-http-refused", _) => {
            "`--tls-cert FILE --tls-key FILE`, `--acme-names NAME`, or `--behind-proxy` if a proxy in front does TLS".into()
        }
        ("cannot-listen", _) => {
            "`--listen ADDR:PORT` chooses another address; port 0 takes a free one".into()
        }
        ("redirect-without-tls", _) => "`--tls-cert` and `--tls-key`, or `--acme-names`, have the hub speak HTTPS".into(),
        ("nats-without-database", _) => "`--database postgres://…` (or TERTULIA_DATABASE) says where the nodes keep their data".into(),
        ("domain-fixed", _) => "without `--domain` it starts as it is".into(),
        ("rate-limited", _) => "wait a little and try again".into(),
        _ => return None,
    };
    Some(text)
}

/// What the command is about, as the person wrote it.
fn target(command: &Command) -> Option<&str> {
    match command {
        Command::Send(args) => Some(&args.target),
        Command::Read(args) => Some(&args.target),
        Command::Mute(args) | Command::Archive(args) | Command::Hide(args) => Some(&args.target),
        Command::Group(group) => group.target(),
        Command::Link(link) => Some(link.target()),
        Command::Direct(direct) => Some(direct.target()),
        Command::Sub(sub) => Some(sub.target()),
        _ => None,
    }
}

/// The target as it can be typed again, quoted for a shell if need be.
fn shown(target: &str) -> String {
    let target = one_line(target);
    if target.chars().all(|c| c.is_alphanumeric() || "@._-".contains(c)) {
        target.into_owned()
    } else {
        format!("'{}'", target.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn hints_say_what_to_type() {
        for (code, line, part) in [
            ("not-connected", "send @bob hi", "`tertulia connect @bob`"),
            ("not-connected", "group add Thursday @bob", "`tertulia connect @HANDLE`"),
            ("unknown-target", "send bob hi", "@bob"),
            ("unknown-target", "send @bob hi", "`tertulia connections`"),
            ("hub-unreachable", "send @bob hi", "`--offline` keeps"),
            ("hub-unreachable", "read @bob", "`--offline` shows"),
            (
                "handle-taken",
                "signup bob --hub http://localhost:1",
                "`tertulia login bob --hub http://localhost:1`",
            ),
            ("last-admin", "group leave Thursday", "--successor"),
            ("no-conversation", "sub key Thursday call", "`tertulia sub join Thursday call`"),
            ("parent-not-joined", "sub join Thursday call", "`tertulia sync`"),
            ("devices-outside", "group migrate Thursday", "`tertulia group migrate Thursday`"),
            ("devices-outside", "direct migrate @bob", "`tertulia direct migrate @bob`"),
            ("invalid-protocol-transition", "direct pairwise @bob", "before anything is said"),
            ("member-limit", "group add Thursday @bob", "`tertulia group migrate`"),
            ("action-denied", "group rename Thursday-club Friday", "members Thursday-club"),
            ("action-denied", "link create Thursday", "members Thursday"),
            ("not-admitted", "group add Thursday @bob", "`tertulia group access Thursday`"),
            (
                "no-conversation-code",
                "join https://h.example/join#01890a5d-ac96-4774-bcce-b302099a8057.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                "ask for a new one",
            ),
            (
                "invalid-conversation-password",
                "join https://h.example/join#01890a5d-ac96-4774-bcce-b302099a8057.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                "`--password`",
            ),
            (
                "invalid-conversation-password",
                "join https://h.example/join#01890a5d-ac96-4774-bcce-b302099a8057.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA --password",
                "spelled right",
            ),
        ] {
            let command = Cli::parse_from(["tertulia"].into_iter().chain(line.split(' '))).command;
            let hint = hint(code, &command).unwrap_or_default();
            assert!(hint.contains(part), "{code}, {line}: {hint}");
        }
    }

    #[test]
    fn what_is_quoted_can_be_typed() {
        for (target, quoted) in
            [("@bob", "@bob"), ("Book club", "'Book club'"), ("it's", r"'it'\''s'"), ("$HOME", "'$HOME'")]
        {
            assert_eq!(shown(target), quoted);
        }
    }

    #[test]
    fn no_hint_is_better_than_a_wrong_one() {
        let command = Cli::parse_from(["tertulia", "sync"]).command;
        assert_eq!(hint("hub-unreachable", &command), None);
        assert_eq!(hint("internal", &command), None);
    }
}

//! Settings of the hub from a file, beside flags and environment variables, and where each comes from.
//!
//! A key of the file is the name of a flag, and its value is read as the flag's would be: there is one list of settings, that
//! of the command line, and one place where each is checked.

mod file;
mod print;

use std::{collections::BTreeMap, ffi::OsString, io, path::PathBuf};

use clap::{
    Arg, ArgMatches, Args as _, Command, FromArgMatches as _,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

pub(crate) use self::print::print;
use crate::args::{Cli, Command as Asked, RelayArgs, ServeArgs, StartArgs};

/// What has settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// A hub.
    Serve,
    /// A relay that is no hub.
    Relay,
}

impl Program {
    const fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Relay => "relay",
        }
    }

    /// Which one is to run, with where its settings are.
    fn of(command: &mut Asked) -> Option<(Self, &mut StartArgs)> {
        match command {
            Asked::Serve(serve) => Some((Self::Serve, &mut serve.start)),
            Asked::Relay(relay) => Some((Self::Relay, &mut relay.start)),
            _ => None,
        }
    }

    /// What can be set, as arguments of the command line.
    fn arguments(self) -> impl Iterator<Item = Arg> {
        let command = Command::new(self.name());
        let command = match self {
            Self::Serve => ServeArgs::augment_args(command),
            Self::Relay => RelayArgs::augment_args(command),
        };
        let of_the_file = |arg: &&Arg| !["config", "print_config"].contains(&arg.get_id().as_str());
        command.get_arguments().filter(of_the_file).cloned().collect::<Vec<_>>().into_iter()
    }

    /// The names of all settings.
    fn settings(self) -> impl Iterator<Item = String> {
        self.arguments().filter_map(|arg| arg.get_long().map(str::to_owned))
    }
}

/// Why the settings of a hub cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("{} cannot be read: {cause}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// The file is not TOML.
    // The cause itself quotes the line, in which a secret may stand.
    #[error("{}, line {line}: this is not TOML: {}", path.display(), cause.message())]
    Syntax { path: PathBuf, line: usize, cause: toml::de::Error },
    /// There is no such setting.
    #[error("{}, line {line}: there is no setting `{key}`{}", path.display(), similar_to(similar.as_deref()))]
    UnknownKey { path: PathBuf, line: usize, key: String, similar: Option<String> },
    /// The setting takes no such value.
    #[error("{}, line {line}: `{key}` cannot be this: {reason}", path.display())]
    Value { path: PathBuf, line: usize, key: String, reason: String },
}

fn similar_to(similar: Option<&str>) -> String {
    similar.map(|similar| format!("; is `{similar}` meant?")).unwrap_or_default()
}

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Environment,
    File,
    Default,
    /// From nowhere: it is not set.
    Unset,
}

impl Origin {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
            Self::Unset => "not set",
        }
    }
}

/// All settings, as they were written, with where each comes from.
#[derive(Clone, Default)]
pub(crate) struct Origins(BTreeMap<String, (Option<String>, Origin)>);

/// Settings that nobody who sees the configuration should see.
const SECRET: [&str; 4] = ["database", "nats", "otlp-header", "to"];

/// Settings that are of no use without another one.
const NEEDED: [(&str, &str); 6] = [
    ("tls-cert", "tls-key"),
    ("tls-key", "tls-cert"),
    ("acme-contact", "acme-names"),
    ("acme-directory", "acme-names"),
    ("acme-root", "acme-names"),
    ("otlp-header", "otlp-endpoint"),
];

/// Settings of the file that do not count because a flag or the environment gives another one, of the same purpose.
const REPLACED: [(&str, &[&str]); 6] = [
    ("tls-cert", &["acme-names"]),
    ("tls-key", &["acme-names"]),
    ("acme-names", &["tls-cert", "tls-key"]),
    ("acme-contact", &["tls-cert", "tls-key"]),
    ("acme-directory", &["tls-cert", "tls-key"]),
    ("acme-root", &["tls-cert", "tls-key"]),
];

/// Reads the command line, and with it the file of settings that a hub or a relay is given. Ends the process when the command line
/// is wrong, as clap does.
pub(crate) fn read(command: &Command, arguments: &[OsString]) -> (Cli, Result<(), ConfigError>) {
    let given = matches(command, arguments);
    let mut cli = parsed(&given);
    let Some((program, start)) = Program::of(&mut cli.command) else { return (cli, Ok(())) };
    let Some(own) = given.subcommand_matches(program.name()) else { return (cli, Ok(())) };
    let from_file = match &start.config {
        None => Vec::new(),
        Some(path) => match file::settings(program, path) {
            Ok(entries) => entries.into_iter().filter(|entry| !is_overridden(own, &entry.key)).collect(),
            Err(error) => return (cli, Err(error)),
        },
    };
    let added = from_file.iter().map(|entry| entry.argument().into());
    let all = matches(command, &arguments.iter().cloned().chain(added).collect::<Vec<_>>());
    let mut cli = parsed(&all);
    if let (Some((_, start)), Some(own)) =
        (Program::of(&mut cli.command), all.subcommand_matches(program.name()))
    {
        start.origins = origins(program, own, &from_file);
        // By its value, for that it is off stands in every file that was printed.
        if own.contains_id("acme_names") && own.get_one::<bool>("behind_proxy") == Some(&true) {
            let text = "`acme-names` cannot be used with `behind-proxy`";
            command.clone().error(ErrorKind::ArgumentConflict, text).exit();
        }
        let has = |key: &str| program.settings().any(|setting| setting == key);
        for (key, needed) in NEEDED.into_iter().filter(|(key, _)| has(key)) {
            let set = |key: &str| own.contains_id(&id(key));
            if set(key) && !set(needed) {
                let text = format!("`{key}` is of no use without `{needed}`");
                command.clone().error(ErrorKind::MissingRequiredArgument, text).exit();
            }
        }
    }
    (cli, Ok(()))
}

fn matches(command: &Command, arguments: &[OsString]) -> ArgMatches {
    command.clone().try_get_matches_from(arguments).unwrap_or_else(|mut error| {
        let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
        if SECRET.iter().any(|secret| argument.starts_with(&format!("--{secret} "))) {
            error.insert(ContextKind::InvalidValue, ContextValue::String("(not shown)".to_owned()));
        }
        error.exit()
    })
}

fn parsed(matches: &ArgMatches) -> Cli {
    Cli::from_arg_matches(matches).unwrap_or_else(|error| error.exit())
}

/// Whether a flag or the environment says it, so that the file does not count.
fn is_given(matches: &ArgMatches, key: &str) -> bool {
    matches!(matches.value_source(&id(key)), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// Whether what the file says of it does not count.
fn is_overridden(matches: &ArgMatches, key: &str) -> bool {
    let mut replaced = REPLACED.iter().filter(|(replaced, _)| *replaced == key);
    is_given(matches, key) || replaced.any(|(_, by)| by.iter().any(|other| is_given(matches, other)))
}

fn origins(program: Program, matches: &ArgMatches, from_file: &[file::Entry]) -> Origins {
    let origin = |key: &str| match matches.value_source(&id(key)) {
        _ if from_file.iter().any(|entry| entry.key == key) => Origin::File,
        Some(ValueSource::CommandLine) => Origin::Flag,
        Some(ValueSource::EnvVariable) => Origin::Environment,
        Some(_) => Origin::Default,
        None => Origin::Unset,
    };
    let value = |key: &str| {
        let mut raw = matches.get_raw(&id(key))?;
        raw.next().map(|value| value.to_string_lossy().into_owned())
    };
    Origins(program.settings().map(|key| (key.clone(), (value(&key), origin(&key)))).collect())
}

/// The name that clap knows a setting by.
fn id(key: &str) -> String {
    key.replace('-', "_")
}

//! The file of settings.

use std::{collections::BTreeMap, error::Error as _, fs, path::Path};

use clap::{
    Command,
    builder::Resettable,
    error::{ContextKind, ContextValue},
};
use toml::{Spanned, Value};

use super::{ConfigError, Program};

/// One setting of the file.
pub(super) struct Entry {
    pub(super) key: String,
    value: String,
}

impl Entry {
    /// The same as an argument of the command line.
    pub(super) fn argument(&self) -> String {
        format!("--{}={}", self.key, self.value)
    }
}

/// Reads and checks the whole file, so that a mistake is found whatever flags say.
pub(super) fn settings(program: Program, path: &Path) -> Result<Vec<Entry>, ConfigError> {
    let text = fs::read_to_string(path).map_err(|cause| ConfigError::Read { path: path.into(), cause })?;
    let table: BTreeMap<Spanned<String>, Spanned<Value>> = toml::from_str(&text).map_err(|cause| {
        let line = cause.span().map_or(1, |span| line_of(&text, span.start));
        ConfigError::Syntax { path: path.into(), line, cause }
    })?;
    let line = |at: usize| line_of(&text, at);
    let entry = |(key, value): (Spanned<String>, Spanned<Value>)| {
        let (line, key) = (line(key.span().start), key.into_inner());
        if !program.arguments().any(|arg| arg.get_long() == Some(&key)) {
            let similar = similar(program, &key);
            return Err(ConfigError::UnknownKey { path: path.into(), line, key, similar });
        }
        let wrong = |reason: String| ConfigError::Value { path: path.into(), line, key: key.clone(), reason };
        let value = match value.into_inner() {
            Value::String(text) => text,
            Value::Integer(number) => number.to_string(),
            Value::Boolean(truth) => truth.to_string(),
            _ => return Err(wrong("a setting is a text, a whole number, or true or false".into())),
        };
        let entry = Entry { key: key.clone(), value };
        check(program, &entry).map_err(wrong)?;
        Ok(entry)
    };
    table.into_iter().map(entry).collect()
}

/// The line that a byte stands in, counted from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).map_or(1, |before| before.matches('\n').count() + 1)
}

/// Whether the flag takes the value; if not, why.
fn check(program: Program, entry: &Entry) -> Result<(), String> {
    let Err(error) = flags(program).try_get_matches_from([entry.argument()]) else { return Ok(()) };
    if let Some(cause) = error.source() {
        return Err(cause.to_string());
    }
    Err(match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) => format!("it is one of {}", values.join(", ")),
        _ => "the flag of this name takes no such value".into(),
    })
}

/// The setting that looks like this one: clap knows how to find it.
fn similar(program: Program, key: &str) -> Option<String> {
    let error = flags(program).try_get_matches_from([format!("--{key}=")]).err()?;
    match error.get(ContextKind::SuggestedArg)? {
        ContextValue::String(flag) => flag.split(['=', ' ']).next()?.strip_prefix("--").map(str::to_owned),
        _ => None,
    }
}

/// All flags that are settings, and nothing that the environment says. Not one alone: flags name one another as those that they do not go with.
fn flags(program: Program) -> Command {
    Command::new("serve")
        .no_binary_name(true)
        .disable_help_flag(true)
        .args(program.arguments().map(|arg| arg.env(Resettable::Reset)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.toml");
        fs::write(&path, text).unwrap();
        let place = format!("{}/", directory.path().display());
        let entries =
            settings(Program::Serve, &path).map_err(|error| error.to_string().replace(&place, ""))?;
        Ok(entries.iter().map(Entry::argument).collect())
    }

    #[test]
    fn a_file_has_the_names_of_flags_with_their_values() {
        let text =
            "# a hub\nlisten = \"[::1]:0\"\nbehind-proxy = true\nguest-hours = 0\nrate-joins = 'none'\n";
        assert_eq!(
            read(text).unwrap(),
            ["--behind-proxy=true", "--guest-hours=0", "--listen=[::1]:0", "--rate-joins=none"]
        );
        assert_eq!(read("").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        for (text, error) in [
            (
                "\nlisten = '127.0.0.1:1'\nlistn = '127.0.0.1:2'",
                "hub.toml, line 3: there is no setting `listn`; is `listen` meant?",
            ),
            ("colour = 'red'", "hub.toml, line 1: there is no setting `colour`"),
            ("config = 'other.toml'", "hub.toml, line 1: there is no setting `config`"),
            ("guest-hours = 721", "hub.toml, line 1: `guest-hours` cannot be this: 721 is not in 0..=720"),
            ("log-format = 'xml'", "hub.toml, line 1: `log-format` cannot be this: it is one of text, json"),
            ("listen = 8440", "hub.toml, line 1: `listen` cannot be this: invalid socket address syntax"),
            ("[limits]\nmax-devices = 3", "hub.toml, line 1: there is no setting `limits`"),
            (
                "max-devices = 3.5",
                "hub.toml, line 1: `max-devices` cannot be this: a setting is a text, a whole number, or true or false",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), error, "{text}");
        }
        assert!(read("listen = ").unwrap_err().contains("is not TOML"));
        assert!(read("max-devices = 1\nmax-devices = 2").unwrap_err().contains("is not TOML"));
    }
}

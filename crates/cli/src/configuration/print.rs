//! The effective settings, to be read, and to be kept as a file.

use std::fmt::Write as _;

use serde_json::{Map, json};
use toml::Value;
use url::Url;

use super::{Origin, Origins, Program, SECRET};
use crate::output::Output;

/// What stands for what is not shown.
const HIDDEN: &str = "(not shown)";

impl Origins {
    /// Says what a setting is when nobody sets it and that depends on the machine.
    pub(crate) fn by_default(&mut self, key: &str, value: String) {
        if let Some(entry) = self.0.get_mut(key)
            && entry.0.is_none()
        {
            *entry = (Some(value), Origin::Default);
        }
    }
}

/// All settings with where they come from: as TOML that `--config` takes, or as JSON.
pub(crate) fn print(program: Program, origins: &Origins, output: Output) -> String {
    let all = program.settings().filter_map(|key| {
        let (value, origin) = origins.0.get(&key)?;
        Some((key, value.as_deref(), *origin))
    });
    match output {
        Output::Human => all.fold(String::new(), |mut text, (key, value, origin)| {
            let from = origin.as_str();
            let _ = match value.map(|value| (literal(value), is_secret(&key, value))) {
                Some((literal, false)) => writeln!(text, "{key} = {literal} # {from}"),
                Some((_, true)) => writeln!(text, "# {key} = {HIDDEN} # {from}"),
                None => writeln!(text, "# {key} # {from}"),
            };
            text
        }),
        Output::Json => {
            let object: Map<_, _> = all
                .map(|(key, value, origin)| {
                    let value = value.map(|value| if is_secret(&key, value) { HIDDEN } else { value });
                    (key, json!({ "value": value, "from": origin.as_str() }))
                })
                .collect();
            format!("{}\n", serde_json::Value::Object(object))
        }
    }
}

/// Whether the setting is a secret or, as a URL, holds one.
fn is_secret(key: &str, value: &str) -> bool {
    SECRET.contains(&key) || Url::parse(value).is_ok_and(|url| url.password().is_some())
}

/// As TOML writes it.
fn literal(value: &str) -> String {
    match (value.parse::<i64>(), value) {
        (Ok(number), _) if number.to_string() == value => value.to_owned(),
        (_, "true" | "false") => value.to_owned(),
        _ => Value::from(value).to_string(),
    }
}

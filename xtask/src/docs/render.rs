//! The tables.

use super::{
    matches::Outcome,
    source::{ErrorEnum, Source, Variant},
};
use crate::command::Failure;
use std::fmt::Write as _;

/// One crate's errors: its kinds, then a table per enum.
pub(super) fn section(out: &mut String, title: &str, source: &Source) -> Result<(), Failure> {
    write_section(out, title, source).map_err(|_| Failure::message("a table could not be written"))
}

fn write_section(out: &mut String, title: &str, source: &Source) -> std::fmt::Result {
    writeln!(out, "\n## {title}\n")?;
    for (kind, meaning) in &source.kinds {
        writeln!(out, "- **{}**: {}", words(kind), without_links(meaning))?;
    }
    for errors in &source.enums {
        table(out, errors)?;
    }
    Ok(())
}

fn table(out: &mut String, errors: &ErrorEnum) -> std::fmt::Result {
    writeln!(out, "\n### `{}`\n\n{}\n", errors.name, without_links(&errors.about))?;
    let mut columns = vec!["error"];
    columns.extend(errors.has_codes.then_some("code"));
    columns.extend(errors.has_kinds.then_some("kind"));
    columns.extend(["message", "meaning", "what the application does"]);
    writeln!(out, "| {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len()))?;
    for variant in &errors.variants {
        writeln!(out, "| {} |", cells(errors, variant).join(" | "))?;
    }
    Ok(())
}

fn cells(errors: &ErrorEnum, variant: &Variant) -> Vec<String> {
    let mut cells = vec![format!("`{}`", variant.signature)];
    if errors.has_codes {
        cells.push(listed(&variant.codes, |code| format!("`{code}`")));
    }
    if errors.has_kinds {
        cells.push(listed(&variant.kinds, words));
    }
    cells.extend([&variant.message, &variant.meaning, &variant.remedy].map(|text| without_links(text)));
    cells.iter().map(|cell| cell.replace('|', "\\|")).collect()
}

fn listed(outcomes: &[Outcome], shown: impl Fn(&str) -> String) -> String {
    let one = |outcome: &Outcome| {
        let value = outcome.value.as_deref().map_or_else(|| "of what is inside".to_owned(), &shown);
        match outcome.condition.as_deref() {
            None if outcomes.len() > 1 => format!("otherwise {value}"),
            None => value,
            Some("otherwise") => format!("otherwise {value}"),
            Some(condition) => format!("{value} (`{condition}`)"),
        }
    };
    outcomes.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `LocalState` as `local state`.
fn words(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// Links of the documentation to other items lead nowhere here: only their text stays.
fn without_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('[') {
        let Some((shown, behind)) = behind.split_once(']') else { break };
        let target = behind.strip_prefix('(').and_then(|behind| behind.split_once(')'));
        out.push_str(before);
        out.push_str(shown);
        rest = target.map_or(behind, |(_, behind)| behind);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_link_the_text_stays() {
        assert_eq!(without_links("Call [`a`](Self::a) or [`b`], not `c`."), "Call `a` or `b`, not `c`.");
        assert_eq!(without_links("half a [link"), "half a [link");
    }

    #[test]
    fn names_become_words() {
        assert_eq!(words("LocalState"), "local state");
    }
}

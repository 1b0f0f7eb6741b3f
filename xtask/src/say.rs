//! What a person sees: headings, results, failures. Coloured where the terminal is.

use anstream::{eprintln, println};
use anstyle::{AnsiColor, Style};
use std::{fmt::Display, time::Duration};

const HEADING: Style = AnsiColor::Cyan.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const FAINT: Style = Style::new().dimmed();

/// Announces what comes next.
pub(crate) fn heading(text: impl Display) {
    println!("\n{HEADING}== {text}{HEADING:#}");
}

/// A line of explanation.
pub(crate) fn note(text: impl Display) {
    println!("{FAINT}{text}{FAINT:#}");
}

/// A plain line.
pub(crate) fn line(text: impl Display) {
    println!("{text}");
}

/// A line that ends well.
pub(crate) fn good(text: impl Display) {
    println!("{GOOD}{text}{GOOD:#}");
}

/// A line that does not.
pub(crate) fn bad(text: impl Display) {
    println!("{BAD}{text}{BAD:#}");
}

/// Why the whole command failed.
pub(crate) fn failure(failure: impl Display) {
    eprintln!("\n{BAD}error:{BAD:#} {failure}");
}

/// A duration as people write it: `0.4 s`, `38 s`, `4 min 05 s`.
pub(crate) fn duration(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..60 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (millis, text) in [(0, "0.0 s"), (420, "0.4 s"), (38_900, "38 s"), (245_000, "4 min 05 s")] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }
}

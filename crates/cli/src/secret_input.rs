//! What comes from standard input, and what a person types without echo.
//!
//! Standard input carries, in this order and as far as it is asked for: the passphrase (a line), the password or the new
//! passphrase (a line), the new password (a line), the text of a message (the rest). So a script can give all of them to one command.

use std::io::{self, BufRead, IsTerminal as _, Read as _};

use zeroize::{Zeroize as _, Zeroizing};

use crate::error::CliError;

/// Longest secret, in bytes of UTF-8. The hub and the store have their own, narrower rules.
const MAX_SECRET_BYTES: usize = 4096;

/// Longest text, in bytes of UTF-8: more than any hub takes, and little enough to hold.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// How often somebody may try to type the same secret twice.
const ATTEMPTS: usize = 3;

/// Standard input, read piece by piece in the order above.
pub(crate) struct Input<R> {
    reader: R,
    is_terminal: bool,
}

impl Input<io::StdinLock<'static>> {
    /// The standard input of this process.
    pub(crate) fn stdin() -> Self {
        let stdin = io::stdin();
        Self { is_terminal: stdin.is_terminal(), reader: stdin.lock() }
    }
}

impl<R: BufRead> Input<R> {
    /// The passphrase of the home. `new`: the home is about to be made with it, so a person types it twice.
    pub(crate) fn passphrase(&mut self, new: bool) -> Result<Zeroizing<String>, CliError> {
        if self.is_terminal { ask("Passphrase of this home", new) } else { self.line("passphrase") }
    }

    /// The passphrase that the home, or a copy of it, is about to get. A person types it twice.
    pub(crate) fn new_passphrase(&mut self) -> Result<Zeroizing<String>, CliError> {
        if self.is_terminal { ask("New passphrase", true) } else { self.line("new passphrase") }
    }

    /// The password as a line of standard input. `new`: it is being chosen, so a person types it twice.
    pub(crate) fn password(&mut self, new: bool) -> Result<Zeroizing<String>, CliError> {
        if self.is_terminal { ask("Password", new) } else { self.line("password") }
    }

    /// The password that the account is about to get, the line after the present one. A person types it twice.
    pub(crate) fn new_password(&mut self) -> Result<Zeroizing<String>, CliError> {
        if self.is_terminal { ask("New password", true) } else { self.line("new password") }
    }

    /// The rest, as the text of a message; the line end that `echo` and editors put behind it does not count.
    pub(crate) fn text(&mut self) -> Result<String, CliError> {
        if self.is_terminal {
            crate::output::note("Type the message; Ctrl-D on a line of its own sends it.");
        }
        let mut bytes = Vec::new();
        let limit = MAX_TEXT_BYTES as u64 + 1;
        self.reader.by_ref().take(limit).read_to_end(&mut bytes).map_err(CliError::Input)?;
        if bytes.len() > MAX_TEXT_BYTES {
            return Err(CliError::TextTooLong { max: MAX_TEXT_BYTES });
        }
        let mut text = String::from_utf8(bytes).map_err(|_| CliError::NotUtf8 { what: "text" })?;
        let kept = text
            .strip_suffix('\n')
            .map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line))
            .len();
        text.truncate(kept);
        Ok(text)
    }

    /// A line without its end.
    fn line(&mut self, what: &'static str) -> Result<Zeroizing<String>, CliError> {
        // Room for all of it from the start: a buffer that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 2));
        let limit = MAX_SECRET_BYTES as u64 + 2;
        self.reader.by_ref().take(limit).read_until(b'\n', &mut bytes).map_err(CliError::Input)?;
        if bytes.is_empty() {
            return Err(CliError::MissingLine { what });
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if bytes.len() > MAX_SECRET_BYTES {
            return Err(CliError::SecretTooLong { what, max: MAX_SECRET_BYTES });
        }
        if bytes.is_empty() {
            return Err(CliError::EmptySecret { what });
        }
        String::from_utf8(std::mem::take(&mut *bytes)).map(Zeroizing::new).map_err(|fault| {
            fault.into_bytes().zeroize();
            CliError::NotUtf8 { what }
        })
    }
}

/// Where the password comes from when standard input does not carry it: `TERTULIA_PASSWORD`, or somebody at the terminal.
pub(crate) fn password_from_environment_or_terminal(new: bool) -> Result<Zeroizing<String>, CliError> {
    from_environment("TERTULIA_PASSWORD", "password").unwrap_or_else(|| ask("Password", new))
}

/// The same for the password that is to come: `TERTULIA_NEW_PASSWORD`.
pub(crate) fn new_password_from_environment_or_terminal() -> Result<Zeroizing<String>, CliError> {
    from_environment("TERTULIA_NEW_PASSWORD", "new password").unwrap_or_else(|| ask("New password", true))
}

/// The same for the password of a join link: `TERTULIA_LINK_PASSWORD`.
pub(crate) fn link_password_from_environment_or_terminal(new: bool) -> Result<Zeroizing<String>, CliError> {
    from_environment("TERTULIA_LINK_PASSWORD", "link's password")
        .unwrap_or_else(|| ask("Password of the link", new))
}

fn from_environment(name: &str, what: &'static str) -> Option<Result<Zeroizing<String>, CliError>> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
    Some(value.into_string().map(Zeroizing::new).map_err(|_| CliError::NotUtf8 { what }))
}

/// Asks on the terminal, without echo; twice if the secret is new.
fn ask(what: &'static str, new: bool) -> Result<Zeroizing<String>, CliError> {
    let prompt =
        |text: &str| rpassword::prompt_password(text).map(Zeroizing::new).map_err(CliError::NoTerminal);
    for _ in 0..ATTEMPTS {
        let first = prompt(&format!("{what}: "))?;
        if first.is_empty() {
            return Err(CliError::EmptySecret { what: "entry" });
        }
        if !new || *prompt(&format!("{what}, once more: "))? == *first {
            return Ok(first);
        }
        crate::output::note("The two are not the same.");
    }
    Err(CliError::EntriesDiffer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn input(bytes: &[u8]) -> Input<&[u8]> {
        Input { reader: bytes, is_terminal: false }
    }

    #[test]
    fn passphrase_password_and_text_come_in_this_order() {
        let mut all = input(b"open sesame\ncorrect horse\nfirst line\n\nlast line\n");
        assert_eq!(*all.passphrase(true).unwrap(), "open sesame");
        assert_eq!(*all.password(true).unwrap(), "correct horse");
        assert_eq!(all.text().unwrap(), "first line\n\nlast line");
    }

    #[test]
    fn what_is_not_asked_for_takes_no_line() {
        assert_eq!(*input(b"correct horse\n").password(false).unwrap(), "correct horse");
        let mut two = input(b"open sesame\nhello\n");
        two.passphrase(false).unwrap();
        assert_eq!(two.text().unwrap(), "hello");
    }

    #[test]
    fn only_the_line_end_is_dropped() {
        assert_eq!(*input(b"  spaced \r\n").password(false).unwrap(), "  spaced ");
        assert_eq!(*input(b"no end").password(false).unwrap(), "no end");
        for (bytes, text) in [("a\n\n", "a\n"), ("a\r\n", "a"), ("a", "a"), (" a ", " a "), ("", "")] {
            assert_eq!(input(bytes.as_bytes()).text().unwrap(), text);
        }
    }

    #[test]
    fn a_missing_an_empty_and_an_endless_secret_are_told_apart() {
        assert!(matches!(input(b"").password(false), Err(CliError::MissingLine { what: "password" })));
        assert!(matches!(input(b"\n").passphrase(false), Err(CliError::EmptySecret { what: "passphrase" })));
        assert!(matches!(input(b"\xff\n").password(false), Err(CliError::NotUtf8 { what: "password" })));
        let longest = "x".repeat(MAX_SECRET_BYTES);
        assert_eq!(*input(format!("{longest}\r\n").as_bytes()).password(false).unwrap(), longest);
        for end in ["", "\n"] {
            let too_long = format!("{longest}x{end}");
            assert!(matches!(
                input(too_long.as_bytes()).password(false),
                Err(CliError::SecretTooLong { .. })
            ));
        }
    }

    #[test]
    fn a_text_is_bounded_and_is_utf_8() {
        assert!(matches!(input(b"caf\xe9").text(), Err(CliError::NotUtf8 { what: "text" })));
        assert_eq!(input(&vec![b'x'; MAX_TEXT_BYTES]).text().unwrap().len(), MAX_TEXT_BYTES);
        assert!(matches!(input(&vec![b'x'; MAX_TEXT_BYTES + 1]).text(), Err(CliError::TextTooLong { .. })));
        // Two bytes a character, so that the bound cuts one in the middle.
        let split = format!("x{}", "é".repeat(MAX_TEXT_BYTES));
        assert!(matches!(input(split.as_bytes()).text(), Err(CliError::TextTooLong { .. })));
    }
}

//! Why a command fails, as its user sees it: a stable code, a sentence, and a hint where one is likely to help.

mod hint;

use std::{fmt::Write as _, io, path::PathBuf};

use tertulia_server::{AdminError, BackupError, CopyError, RestoredDatabaseError, ServerError};

use crate::{
    args::Command,
    configuration::ConfigError,
    logging::TelemetryError,
    output::text::{lines, one_line},
};

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The client failed, or was refused.
    #[error(transparent)]
    Client(#[from] tertulia::Error),
    /// The hub could not start, or stopped.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Standard input does not carry a line that was announced.
    #[error("standard input has no line with the {what}")]
    MissingLine { what: &'static str },
    /// A secret is empty.
    #[error("the {what} is empty")]
    EmptySecret { what: &'static str },
    /// A secret is longer than anything that would be taken.
    #[error("the {what} is longer than {max} bytes")]
    SecretTooLong { what: &'static str, max: usize },
    /// What was read is not UTF-8.
    #[error("the {what} is not UTF-8")]
    NotUtf8 { what: &'static str },
    /// Somebody could not type the same twice.
    #[error("the two entries were not the same")]
    EntriesDiffer,
    /// A secret has to be asked for, and there is nobody to ask.
    #[error("there is no terminal to ask for the password on ({0})")]
    NoTerminal(#[source] io::Error),
    /// The text on standard input is longer than anything that would be taken.
    #[error("the text has more than {max} bytes")]
    TextTooLong { max: usize },
    /// The platform does not say where data belongs.
    #[error("the platform names no directory for data ({0})")]
    NoDataDirectory(#[source] etcetera::HomeDirError),
    /// Standard input failed.
    #[error("standard input cannot be read: {0}")]
    Input(#[source] io::Error),
    /// Standard output failed.
    #[error("standard output cannot be written: {0}")]
    Output(#[source] io::Error),
    /// Whoever read standard output has seen enough. Not a failure to anybody.
    #[error("standard output is closed")]
    OutputClosed,
    /// A file that was asked for cannot be written.
    #[error("{} cannot be written: {cause}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// What is to be admitted cannot be.
    #[error("{0}")]
    Access(#[from] tertulia::AccessError),
    /// Only a link says where it leads before one asks to come in.
    #[error("that is the id of a group and no link; only links are shown before one joins")]
    NoLink,
    /// What an operator asked for was not done.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// No backup was made or restored.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// No hub was moved.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A database that was brought back was left as it is.
    #[error(transparent)]
    RestoredDatabase(#[from] RestoredDatabaseError),
    /// The settings of a hub cannot be used.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// Traces cannot be sent.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The process cannot be set up.
    #[error("this process cannot be set up: {0}")]
    Process(#[source] io::Error),
}

impl CliError {
    /// An error of standard output.
    pub(crate) fn output(cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Output(cause),
        }
    }

    /// The stable code.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Client(error) => error.code(),
            Self::Server(error) => error.code(),
            Self::Admin(error) => error.code(),
            Self::Backup(error) => error.code(),
            Self::Copy(error) => error.code(),
            Self::RestoredDatabase(error) => error.code(),
            Self::MissingLine { .. } | Self::EmptySecret { .. } | Self::NoTerminal(_) => "no-secret",
            Self::SecretTooLong { .. } | Self::NotUtf8 { .. } | Self::NoLink => "bad-input",
            Self::EntriesDiffer => "entries-differ",
            Self::TextTooLong { .. } => "text-too-long",
            Self::Access(_) => "bad-request",
            Self::Configuration(_) => "invalid-configuration",
            Self::Telemetry(_) => "invalid-collector",
            Self::NoDataDirectory(_) => "no-data-directory",
            Self::Input(_) | Self::Output(_) | Self::OutputClosed | Self::Write { .. } | Self::Process(_) => {
                "io"
            }
        }
    }

    /// What standard error gets. Hubs take part in writing it, so it is made harmless first.
    pub(crate) fn report(&self, command: &Command) -> String {
        let error = crate::output::ERROR;
        let mut report = format!(
            "{error}error[{}]:{error:#} {}\n",
            one_line(self.code()),
            lines(&self.to_string(), "error".len())
        );
        if let Some(hint) = hint::hint(self.code(), command) {
            let style = crate::output::HINT;
            let _ = writeln!(report, "{style}hint:{style:#} {hint}");
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;

    fn report(error: &CliError) -> String {
        let command = Cli::parse_from(["tertulia", "list"]).command;
        anstream::adapter::strip_str(&error.report(&command)).to_string()
    }

    #[test]
    fn an_error_has_its_code_and_a_sentence() {
        assert_eq!(
            report(&CliError::MissingLine { what: "password" }),
            "error[no-secret]: standard input has no line with the password\n"
        );
    }

    #[test]
    fn what_a_hub_wrote_does_not_act_on_the_terminal() {
        let forged = io::Error::other("\u{1b}[2J\nerror[ok]: all is well");
        assert_eq!(
            report(&CliError::Input(forged)),
            "error[io]: standard input cannot be read: ␛[2J\n     error[ok]: all is well\n"
        );
    }

    #[test]
    fn a_closed_output_is_told_apart_from_a_failing_one() {
        assert!(matches!(CliError::output(io::ErrorKind::BrokenPipe.into()), CliError::OutputClosed));
        assert!(matches!(CliError::output(io::ErrorKind::StorageFull.into()), CliError::Output(_)));
    }
}

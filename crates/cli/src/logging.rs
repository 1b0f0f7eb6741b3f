//! Log lines, on standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::args::{Cli, Command, LogFormat};

/// Starts logging: a hub at level `info`, a client not at all unless asked to.
pub(crate) fn start(cli: &Cli) {
    let (format, level) = match (&cli.command, cli.global.verbose) {
        (Command::Serve(serve), 0) => (serve.log, "info"),
        (Command::Serve(serve), 1) => (serve.log, "info,tertulia=debug"),
        (Command::Serve(serve), _) => (serve.log, "debug,tertulia=trace"),
        (_, 0) => return,
        (_, 1) => (LogFormat::Text, "warn,tertulia=debug"),
        (_, _) => (LogFormat::Text, "debug,tertulia=trace"),
    };
    // `tertulia` also stands for every crate whose name begins with it.
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => {
            EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse_lossy(directives)
        }
        _ => EnvFilter::new(level),
    };
    let colours =
        io::stderr().is_terminal() && anstream::stderr().current_choice() != anstream::ColorChoice::Never;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}

//! What the process tells of itself: log lines on standard error, and traces for a collector.

mod traces;

use std::io::{self, IsTerminal as _};

use tokio::runtime::Handle;
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry,
    filter::{FilterExt as _, LevelFilter, filter_fn},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

pub(crate) use self::traces::TelemetryError;
use self::traces::Traces;
use crate::args::{Cli, Command, LogFormat, ServingArgs};

/// What has to be ended before the process does.
pub(crate) struct Telemetry(Option<Traces>);

impl Telemetry {
    /// Sends what is left.
    pub(crate) fn end(self) {
        if let Some(traces) = self.0 {
            traces.end();
        }
    }
}

/// Starts logging: a hub at level `info`, a client not at all unless asked to.
pub(crate) fn start(cli: &Cli, runtime: &Handle) -> Result<Telemetry, TelemetryError> {
    // `tertulia` also stands for every crate whose name begins with it.
    let (format, level) = match (&cli.command, cli.global.verbose) {
        (Command::Serve(serve), verbose) => told(&serve.common, verbose),
        (Command::Relay(relay), verbose) => told(&relay.common, verbose),
        (_, 0) => return Ok(Telemetry(None)),
        (_, 1) => (LogFormat::Text, "warn,tertulia=debug".to_owned()),
        (_, _) => (LogFormat::Text, "info,tertulia=trace".to_owned()),
    };
    let filter = match (&cli.command, std::env::var("RUST_LOG")) {
        // A hub has a setting for it, which `--print-config` shows.
        (Command::Serve(_) | Command::Relay(_), _) => EnvFilter::new(level),
        (_, Ok(directives)) if !directives.is_empty() => {
            EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse_lossy(directives)
        }
        _ => EnvFilter::new(level),
    };
    let colours =
        io::stderr().is_terminal() && anstream::stderr().current_choice() != anstream::ColorChoice::Never;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colours);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let lines = lines.with_filter(filter.and(filter_fn(may_be_logged)));
    let traces = match &cli.command {
        Command::Serve(serve) => Traces::of(serve, runtime)?,
        _ => None,
    };
    let layer = traces.as_ref().map(Traces::layer::<Registry>);
    // The layer for traces is nearest to the registry, whose type it names.
    tracing_subscriber::registry().with(layer).with(lines).init();
    Ok(Telemetry(traces))
}

/// How a server logs, and what.
fn told(args: &ServingArgs, verbose: u8) -> (LogFormat, String) {
    (args.log_format, louder(&args.log_filter, verbose))
}

/// What a server logs, with what `-v` adds.
fn louder(filter: &str, verbose: u8) -> String {
    match verbose {
        0 => filter.to_owned(),
        1 => format!("{filter},tertulia=debug"),
        _ => format!("{filter},tertulia=trace"),
    }
}

/// What libraries say below `info` is theirs to choose, and some say all that they send and receive.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let most = match target.split("::").next() {
        Some(ours) if ours.starts_with("tertulia") => Level::TRACE,
        // Each attempt to connect, which the hub tells once.
        Some("async_nats") => Level::WARN,
        _ => Level::INFO,
    };
    target != tertulia_server::TRACE_TARGET && *metadata.level() <= most
}

/// Levels for everything and for modules.
pub(crate) fn directives(text: &str) -> Result<String, String> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_levels_for_everything_and_for_modules() {
        for text in ["info", "warn,tertulia_server::http=debug", "off", "trace"] {
            assert_eq!(directives(text).as_deref(), Ok(text));
        }
        assert!(directives("tertulia=loud").is_err());
    }
}

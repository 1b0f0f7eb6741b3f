//! `tertulia`: a hub, and a client of hubs, on the command line.
//!
//! This crate **owns** the names of commands and flags ([`args`]), what they print ([`output`]) and what their errors look
//! like ([`error`]). It **leaves to others** what the commands do: the client is the crate `tertulia`, the hub is
//! `tertulia-server`.

mod args;
mod commands;
mod configuration;
mod error;
mod logging;
mod output;
mod progress;
mod secret_input;
mod shutdown;

use std::{io::Write as _, process::ExitCode, time::Duration};

use crate::{args::Cli, error::CliError};

/// How long work that nobody waits for may hold up the end of the process.
const PATIENCE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let (cli, read) = configuration::read(&args::command(), &std::env::args_os().collect::<Vec<_>>());
    match read.map_err(CliError::from).and_then(|()| run(&cli)) {
        Ok(()) | Err(CliError::OutputClosed) => ExitCode::SUCCESS,
        Err(error) => {
            let report = error.report(&cli.command);
            // If standard error is closed too, the exit status is all that is left to say it with.
            let _ = anstream::stderr().lock().write_all(report.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), CliError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Process)?;
    let telemetry = logging::start(cli, runtime.handle())?;
    let result = runtime.block_on(commands::run(&cli.global, &cli.command));
    // While the runtime is there, which sends what is left of the traces.
    telemetry.end();
    // A hub that was told twice to stop may have work that does not end. What is cut off is rolled back.
    runtime.shutdown_timeout(PATIENCE);
    result
}

//! What is done with this repository, one command each: `cargo xtask run`, `test`, `demo`, `bench`, `soak`, `audit`.
//!
//! It is built before anything else can be, so it has few dependencies and needs no C compiler. What is missing on the
//! machine it installs by itself, or says what to install.

mod api;
mod bench;
mod command;
mod demo;
mod docs;
mod fuzz;
mod prerequisites;
mod run;
mod say;
mod soak;
mod test;

use clap::{Parser, Subcommand};
use command::Failure;
use std::process::ExitCode;

/// Builds, runs, tests and measures Tertulia.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything, start a hub with its data in ./data/hub, and say what to type next.
    Run(run::Arguments),
    /// Everything that has to pass: formatting, clippy, dependencies, documentation, tests.
    Test(test::Arguments),
    /// Play a conversation of three people on four devices through a real hub, and show what the hub has of it.
    Demo(demo::Arguments),
    /// Measure the engine and a hub; prints a table and writes JSON to target/bench.
    Bench(bench::Arguments),
    /// Kill hubs at work, restart their database, fill their disk, and see that nothing acknowledged is lost.
    Soak(soak::Arguments),
    /// Write the parts of docs/errors.md and docs/conversation-types.md that come from the source.
    Docs,
    /// Make up requests from the hub's OpenAPI document, and see that every answer is in it.
    Api(api::Arguments),
    /// Run the fuzz targets one after another, which needs the nightly compiler.
    Fuzz(fuzz::Arguments),
    /// Check the dependencies against the database of security advisories, which is fetched for it.
    Audit,
}

fn main() -> ExitCode {
    let outcome = command::at_repository_root().and_then(|()| match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Test(arguments) => test::test(&arguments),
        Command::Demo(arguments) => demo::demo(&arguments),
        Command::Bench(arguments) => bench::bench(&arguments),
        Command::Soak(arguments) => soak::soak(&arguments),
        Command::Docs => docs::docs(),
        Command::Api(arguments) => api::api(&arguments),
        Command::Fuzz(arguments) => fuzz::fuzz(&arguments),
        Command::Audit => audit(),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say::failure(&failure);
            ExitCode::FAILURE
        }
    }
}

fn audit() -> Result<(), Failure> {
    prerequisites::cargo_deny()?.arg("check").arg("advisories").run()
}

//! `cargo xtask bench`: what the engine and a hub can do on this machine.

use crate::{
    command::{Failure, Program, target_directory},
    prerequisites, say,
};
use clap::Args;
use std::fs;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Leave out the engine, which takes some minutes.
    #[arg(long)]
    no_engine: bool,
    /// Leave out the hub under load.
    #[arg(long)]
    no_hub: bool,
    /// Further arguments of the load program, after `--`: `-- --messages 10000 --senders 16`.
    #[arg(last = true)]
    load: Vec<String>,
}

pub(crate) fn bench(arguments: &Arguments) -> Result<(), Failure> {
    prerequisites::system_tools()?;
    let results = target_directory().join("bench");
    fs::create_dir_all(&results).map_err(Failure::file(&results))?;

    if !arguments.no_engine {
        say::heading("the engine, with its keystore on disk");
        Program::cargo()
            .args("bench --package tertulia-bench --bench engine -- --json")
            .arg(results.join("engine.json"))
            .run()?;
    }
    if !arguments.no_hub {
        say::heading("a hub, with durable storage");
        // As built with the benchmarks: `cargo run` would build it once more, without what only benchmarks depend on.
        Program::cargo().args("bench --quiet --package tertulia-bench --bench engine --no-run").run()?;
        let program = Program::new(target_directory().join("release/hub-load"))
            .arg("--json")
            .arg(results.join("hub.json"));
        arguments.load.iter().fold(program, Program::arg).run()?;
    }
    say::note(format!("written to {}", results.display()));
    Ok(())
}

//! `cargo xtask soak`: nothing that a hub has acknowledged is lost, whatever happens to it.

use crate::{
    command::{self, Binary, Failure, Program, target_directory},
    prerequisites, say,
};
use clap::Args;
use std::fs;

#[derive(Args)]
pub(crate) struct Arguments {
    /// SIGKILLs of a node, with each database.
    #[arg(long, value_name = "N", default_value_t = 200)]
    kills: u32,
    /// How many seconds without NATS; 0 leaves NATS out.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// With this database alone: `sqlite` or `postgres`.
    #[arg(long)]
    database: Option<String>,
    /// Where the randomness comes from, to have the same plan again.
    #[arg(long)]
    seed: Option<u64>,
    /// Build with the development profile: sooner built, slower.
    #[arg(long)]
    dev: bool,
    /// Further arguments of the program, after `--`: `-- --restarts 5 --full 3 --nodes 2`.
    #[arg(last = true)]
    more: Vec<String>,
}

/// A few faults of each kind, in about a minute.
const IN_TESTS: &[&str] =
    &["--kills", "6", "--restarts", "2", "--full", "2", "--nodes", "2", "--nats", "0", "--senders", "4"];

pub(crate) fn soak(arguments: &Arguments) -> Result<(), Failure> {
    prerequisites::system_tools()?;
    let results = target_directory().join("soak");
    fs::create_dir_all(&results).map_err(Failure::file(&results))?;
    let json = results.join("soak.json");
    let mut program = program(arguments.dev)?
        .arg("--kills")
        .arg(arguments.kills.to_string())
        .arg("--nats")
        .arg(arguments.seconds.to_string())
        .arg("--json")
        .arg(&json);
    if let Some(database) = &arguments.database {
        program = program.arg("--database").arg(database);
    }
    if let Some(seed) = arguments.seed {
        program = program.arg("--seed").arg(seed.to_string());
    }
    arguments.more.iter().fold(program, Program::arg).run()?;
    say::note(format!("written to {}", json.display()));
    Ok(())
}

/// The short one, which is part of `cargo xtask test`.
pub(crate) fn in_tests() -> Result<(), Failure> {
    IN_TESTS.iter().fold(program(true)?, Program::arg).run()
}

const SOAK: Binary = Binary { package: "tertulia-soak", name: "soak" };

fn program(dev: bool) -> Result<Program, Failure> {
    prerequisites::postgres()?;
    let binaries = command::build(dev, &[SOAK])?;
    Ok(Program::new(binaries.join("soak")))
}

//! `cargo xtask bench`: what the engine, the table of hints, a hub, and a home whose inbox is flooded can do on this machine.

use crate::{
    command::{self, Binary, Failure, Program, target_directory},
    prerequisites, say,
};
use clap::{Args, ValueEnum};
use std::fs;

const HUB_LOAD: Binary = Binary { package: "tertulia-bench", name: "hub-load" };
const FLOOD: Binary = Binary { package: "tertulia-bench", name: "flood" };

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Arguments {
    /// Measure this alone.
    #[arg(value_enum)]
    what: Option<What>,
    /// Leave out the engine, which takes some minutes.
    #[arg(long)]
    no_engine: bool,
    /// Leave out the hub under load.
    #[arg(long)]
    no_hub: bool,
    /// Leave out the flood at an inbox.
    #[arg(long)]
    no_flood: bool,
    /// Leave out Synapse, which the hub is compared with and which comes from `PyPI`.
    #[arg(long)]
    no_synapse: bool,
    /// Further arguments of the load program, after `--`: `-- --only sqlite --senders 16`.
    #[arg(last = true)]
    load: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// The MLS engine with its keystore.
    Engine,
    /// The table of hints by which a receiver finds the conversation of an envelope.
    Hints,
    /// A hub under load.
    Hub,
    /// An inbox that is flooded, and how soon its owner sees an invitation.
    Flood,
}

impl Arguments {
    fn wants(&self, what: What) -> bool {
        let left_out = match what {
            What::Engine => self.no_engine,
            What::Hints => false,
            What::Hub => self.no_hub,
            What::Flood => self.no_flood,
        };
        !left_out && self.what.is_none_or(|only| only == what)
    }
}

pub(crate) fn bench(arguments: &Arguments) -> Result<(), Failure> {
    prerequisites::system_tools()?;
    let results = target_directory().join("bench");
    fs::create_dir_all(&results).map_err(Failure::file(&results))?;

    if arguments.wants(What::Engine) {
        say::heading("the engine, with its keystore on disk");
        Program::cargo()
            .args("bench --package tertulia-bench --bench engine -- --json")
            .arg(results.join("engine.json"))
            .run()?;
    }
    if arguments.wants(What::Hints) {
        say::heading("the table of hints");
        Program::cargo()
            .args("bench --package tertulia-conversation --bench hints -- --json")
            .arg(results.join("hints.json"))
            .run()?;
    }
    if arguments.wants(What::Hub) {
        say::heading("a hub, with durable storage");
        let built = command::build(false, &[HUB_LOAD])?;
        let mut program = Program::new(built.join("hub-load")).arg("--json").arg(results.join("hub.json"));
        if !arguments.no_synapse {
            program = program.arg("--synapse").arg(prerequisites::synapse()?);
        }
        arguments.load.iter().fold(program, Program::arg).run()?;
    }
    if arguments.wants(What::Flood) {
        say::heading("a flood at an inbox");
        let built = command::build(false, &[FLOOD])?;
        Program::new(built.join("flood")).arg("--json").arg(results.join("flood.json")).run()?;
    }
    say::note(format!("written to {}", results.display()));
    Ok(())
}

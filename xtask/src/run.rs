//! `cargo xtask run`: a hub on this machine, and what to type to talk through it.

use crate::{
    command::{self, Failure, Program},
    say,
};
use clap::Args;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Build with the development profile: sooner built, slower.
    #[arg(long)]
    dev: bool,
    /// Where the hub listens.
    #[arg(long, default_value = "127.0.0.1:8440")]
    listen: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    say::heading("building");
    crate::prerequisites::system_tools()?;
    let binary = command::build(arguments.dev, &[])?.join("tertulia");

    say::heading("a hub, with its data in ./data/hub");
    let tertulia =
        binary.strip_prefix(std::env::current_dir().unwrap_or_default()).unwrap_or(&binary).display();
    let listen = &arguments.listen;
    say::line(format!(
        "In another terminal, two people on two devices (each asks for a password of at least 8 characters):

  {tertulia} --home data/alice signup alice --hub http://{listen}
  {tertulia} --home data/bob   signup bob   --hub http://{listen}
  {tertulia} --home data/alice connect bob
  {tertulia} --home data/bob   accept alice
  {tertulia} --home data/alice send @bob \"Hello, Bob.\"
  {tertulia} --home data/bob   read @alice

The HTTP API, described: http://{listen}/v1/docs
Ctrl-C ends the hub; what it holds stays in ./data.
"
    ));
    become_program(Program::new(&binary).arg("serve").arg("--listen").arg(listen).args("--data ./data/hub"))
}

/// The hub takes this process's place, so that Ctrl-C and signals reach it and nothing else, and it ends gracefully.
#[cfg(unix)]
fn become_program(program: Program) -> Result<(), Failure> {
    use std::os::unix::process::CommandExt as _;
    let command = program.shown();
    Err(Failure::Start { command, source: program.into_inner().exec() })
}

#[cfg(not(unix))]
fn become_program(program: Program) -> Result<(), Failure> {
    program.run()
}

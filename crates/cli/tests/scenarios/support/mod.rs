//! What the scenarios are made of: a hub, the wire to it, devices, and a search for what must not be there.

mod device;
mod hub;
mod operator;
mod search;
mod wire;

pub(crate) use device::{Answer, Device, PASSWORD};
pub(crate) use hub::Hub;
pub(crate) use operator::{admin, set_back};
pub(crate) use search::Needle;
pub(crate) use wire::Fault;

use std::process::{Child, Command};

/// The shipped binary, without anything of the environment that would change what it does.
pub(crate) fn tertulia() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tertulia"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TERTULIA_") {
            command.env_remove(name);
        }
    }
    command.env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

/// Sends a signal that a process can act on: `TERM`, `INT`.
pub(crate) fn signal(process: &Child, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", process.id())]).status();
    assert!(status.expect("a shell is there").success(), "the process took no {name}");
}

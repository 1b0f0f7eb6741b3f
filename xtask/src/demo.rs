//! `cargo xtask demo`: three people on four devices talk through a real hub, with the shipped binary.
//!
//! Every command is a process of its own, and the hub is killed in the middle of it all. At the end comes the other side:
//! what the hub has stored, and a search of it for everything that was said. With `--blind` it is three people without accounts,
//! and a relay.

mod blind;
mod search;
mod stage;

use crate::{
    command::{self, Binary, Failure, Program},
    say,
};
use clap::Args;
use search::{Finding, search};
use stage::Device;
pub(crate) use stage::Hub;
use std::{fs, path::PathBuf};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Build with the development profile: sooner built, slower.
    #[arg(long)]
    pub(crate) dev: bool,
    /// Three people without accounts and a relay that knows nobody, and all that it sees.
    #[arg(long)]
    pub(crate) blind: bool,
}

const HUB_LOG: Binary = Binary { package: "tertulia-bench", name: "hub-log" };

const GROUP: &str = "The garden";

// What is said, each once, so that it can be looked for at the end.
const HELLO: &str = "Hello Bob, the tomatoes are ripe.";
const ANSWER: &str = "I will bring bread and a bottle of wine.";
const INVITATION: &str = "Saturday at eight, in the garden?";
const CAROL: &str = "Carol here: I can bring the lanterns.";
const CHAIRS: &str = "Bob, could you bring some chairs too?";
const LAPTOP: &str = "Bob again, from the laptop this time.";
const SECRET: &str = "The surprise for Carol is a telescope.";
const SAID: &[&str] = &[HELLO, ANSWER, INVITATION, CAROL, CHAIRS, LAPTOP, SECRET, GROUP];

pub(crate) fn demo(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.blind {
        return blind::demo(arguments.dev);
    }
    say::heading("building");
    crate::prerequisites::system_tools()?;
    let binaries = command::build(arguments.dev, &[HUB_LOG])?;

    let place = fresh_place("demo")?;
    let mut hub = Hub::start(&binaries, &place)?;
    let device = |person, name| Device::new(&binaries, &place, person, name, hub.url());
    let alice = device("alice", "alice");
    let bob = device("bob", "bob");
    let carol = device("carol", "carol");
    let laptop = device("bob", "bob-laptop");
    say::line(format!("a hub listens on {}", hub.url()));

    say::heading("three people sign up, each in a home of their own");
    alice.sign_up()?;
    bob.sign_up()?;
    carol.sign_up()?;

    say::heading("nobody is written to unasked");
    alice.refused(&["send", "@bob", "Can you read this?"])?;
    alice.does(&["connect", "bob"])?;
    alice.refused(&["send", "@bob", "And now?"])?;
    bob.does(&["connections"])?;
    bob.does(&["accept", "alice"])?;

    say::heading("two people talk");
    alice.does(&["send", "@bob", HELLO])?;
    bob.does(&["read", "@alice"])?;
    bob.does(&["send", "@alice", ANSWER])?;
    alice.does(&["read", "@bob"])?;

    say::heading("a group of three");
    alice.does(&["connect", "carol"])?;
    carol.does(&["accept", "alice"])?;
    alice.does(&["group", "create", GROUP, "bob", "carol"])?;
    alice.does(&["send", GROUP, INVITATION])?;
    carol.does(&["read", GROUP])?;
    carol.does(&["send", GROUP, CAROL])?;
    bob.does(&["read", GROUP])?;

    say::heading("the hub is killed (SIGKILL) and started again");
    hub.kill_and_restart()?;
    bob.does(&["list"])?;

    say::heading("bob takes a second device; it reads what is said from now on");
    laptop.log_in()?;
    bob.does(&["device", "list"])?;
    alice.does(&["send", GROUP, CHAIRS])?;
    laptop.does(&["read", GROUP])?;
    laptop.does(&["send", GROUP, LAPTOP])?;
    alice.does(&["read", GROUP])?;

    say::heading("carol is removed, and reads nothing that is said later");
    alice.does(&["group", "remove", GROUP, "carol"])?;
    alice.does(&["send", GROUP, SECRET])?;
    laptop.does(&["read", GROUP])?;
    bob.does(&["read", GROUP])?;
    carol.does(&["read", GROUP])?;

    say::heading("what the hub sees: its whole log");
    Program::new(binaries.join("hub-log")).arg(hub.data()).run()?;

    say::heading("is anything of it in what the hub has stored?");
    look_for_what_was_said(&hub)
}

/// An empty directory of this name among what is built.
fn fresh_place(name: &str) -> Result<PathBuf, Failure> {
    let place = command::target_directory().join(name);
    if place.exists() {
        fs::remove_dir_all(&place).map_err(Failure::file(&place))?;
    }
    fs::create_dir_all(&place).map_err(Failure::file(&place))?;
    Ok(place)
}

fn look_for_what_was_said(hub: &Hub) -> Result<(), Failure> {
    // The hub knows who its users are: finding a handle shows that the search finds what is there.
    let control = search(hub.data(), b"alice")?;
    say::line(format!("{:<44}{control}", "a handle, which the hub knows: \"alice\""));
    let mut found = !matches!(control, Finding::In(_));
    for text in SAID {
        let finding = search(hub.data(), text.as_bytes())?;
        found |= matches!(finding, Finding::In(_));
        say::line(format!("{:<44}{finding}", format!("{text:?}")));
    }
    if found {
        return Err(Failure::message("the hub's data is not what it has to be; see the search above"));
    }
    say::good(format!(
        "\n{} texts searched for in every file under {}: none is there.",
        SAID.len(),
        hub.data().display()
    ));
    Ok(())
}

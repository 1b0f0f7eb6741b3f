//! Prints the table of conversation types for `docs/conversation-types.md`: `cargo xtask docs` puts it there.
#![allow(clippy::print_stdout)] // that is what it is for

use tertulia_conversation::types::{Registry, markdown};

fn main() {
    print!("{}", markdown(&Registry::built_in()));
}

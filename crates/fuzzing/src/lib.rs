//! What is fuzzed: one function per entry point that takes bytes from outside, and one that lives a conversation.
//!
//! Each takes any bytes and panics when something that must hold does not: that is how both users of it see a bug. They
//! are the fuzz targets in `fuzz/`, which need the nightly compiler, and the tests of this crate, which are part of every
//! run: they feed the corpus in `fuzz/corpus` and seeded random mutations of real messages.
//!
//! It is **not** part of what is shipped, and owns no rule: what must hold is said by the crates that it calls.
//!
//! # The form of an input
//!
//! Keys are new in each process, so that a message from a corpus is never one that a live conversation can open. An input
//! is therefore either raw bytes or a [script](script) that names a real message of *this* process and says how it is to be
//! damaged. So a corpus stays good for ever, and mutations reach what is behind the signature checks.
#![allow(clippy::missing_panics_doc)] // panicking is what they are for

mod content;
mod device;
mod entry;
mod hub;
mod life;
pub mod script;
mod stored;
mod world;

pub use self::{
    content::content,
    entry::{decrypt, group_info, key_package, welcome},
    life::life,
    stored::stored,
    world::{World, with_world},
};

/// A fuzz target.
pub type Target = fn(&[u8]);

/// All targets by name. Each has a file in `fuzz/fuzz_targets` and a directory in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("content", content),
    ("decrypt", decrypt),
    ("group_info", group_info),
    ("key_package", key_package),
    ("life", life),
    ("stored", stored),
    ("welcome", welcome),
];

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
//! is therefore either raw bytes or a [script] that names a real message of *this* process and says how it is to be
//! damaged. So a corpus stays good for ever, and mutations reach what is behind the signature checks.
#![allow(clippy::missing_panics_doc)] // panicking is what they are for

mod content;
mod conversation;
mod device;
mod entry;
mod history;
mod hub;
mod invitation;
mod life;
mod pki;
mod portable;
pub mod script;
mod sender;
mod stored;
mod trust;
mod world;

pub use self::{
    content::content,
    conversation::{bundle, conversation_seeds, envelope, frame},
    entry::{decrypt, group_info, key_package, welcome},
    history::history,
    invitation::invitation,
    life::life,
    portable::portable,
    sender::external_sender,
    stored::stored,
    trust::{certificate, crl},
};

/// A fuzz target.
pub type Target = fn(&[u8]);

/// All targets by name. Each has a file in `fuzz/fuzz_targets` and a directory in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("bundle", bundle),
    ("certificate", certificate),
    ("content", content),
    ("crl", crl),
    ("decrypt", decrypt),
    ("envelope", envelope),
    ("external_sender", external_sender),
    ("frame", frame),
    ("group_info", group_info),
    ("history", history),
    ("invitation", invitation),
    ("key_package", key_package),
    ("life", life),
    ("portable", portable),
    ("stored", stored),
    ("welcome", welcome),
];

/// What scripts are about.
pub struct Samples {
    /// The target that takes them.
    pub target: &'static str,
    /// The first bytes of an input that mean something for them, see the target.
    pub choices: std::ops::Range<u8>,
    /// The real messages, in the order of the scripts' numbers.
    pub real: Vec<Vec<u8>>,
}

/// The samples of each target whose inputs are a choice and a [script].
pub fn samples() -> Vec<Samples> {
    let mut samples = Vec::new();
    for choice in 0..2 {
        world::with_world(choice == 1, |world| {
            for (target, real) in world.samples() {
                samples.push(Samples { target, choices: choice..choice + 1, real: real.to_vec() });
                if target == "portable" {
                    // The same as a key package.
                    samples.push(Samples { target, choices: choice + 2..choice + 3, real: real.to_vec() });
                }
            }
        });
    }
    samples.extend([
        Samples { target: "certificate", choices: 0..8, real: trust::certificates() },
        Samples { target: "crl", choices: 0..8, real: trust::lists() },
        Samples { target: "external_sender", choices: 0..3, real: sender::keys() },
        Samples { target: "history", choices: 0..4, real: history::samples() },
    ]);
    samples
}

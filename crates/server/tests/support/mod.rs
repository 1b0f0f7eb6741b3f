//! What the tests share. Each test file is a crate of its own and uses a part of it.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

pub mod answers;
pub mod database;
pub mod hub;
pub mod joins;
pub mod mls;
pub mod open;
pub mod pairwise;
pub mod race;
pub mod relay;
pub mod socket;

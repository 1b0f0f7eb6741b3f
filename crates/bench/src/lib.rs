//! Measuring the engine and the hub.
//!
//! This crate **owns** groups of any size to measure the engine with ([`EngineGroup`]) and the same groups on the MLS library
//! alone ([`RawGroup`]), the benchmark that compares them (`benches/engine`), a program that weighs a loaded group
//! (`engine-memory`), one that loads a hub (`hub-load`), one that floods an inbox (`flood`), and two that show what a hub and a relay have
//! stored (`hub-log`, `relay-log`). It **leaves to
//! others** what is measured, and to `cargo xtask bench` the running.
//!
//! ```
//! use tertulia_bench::{EngineGroup, leaves};
//! use tertulia_mls::KeyPackage;
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let others = leaves(1)?.into_iter().map(|leaf| Ok(KeyPackage::from_bytes(&leaf.to_bytes()?)?));
//! let group = EngineGroup::new(others.collect::<Result<_, Box<dyn std::error::Error>>>()?).await?;
//! let message = group.encrypt(b"how long does this take?").await?;
//! group.receive(&message).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod engine_group;
mod raw_group;

pub use engine_group::EngineGroup;
pub use raw_group::{RawGroup, RawMember, add, leaves};

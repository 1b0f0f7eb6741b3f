//! Measuring the engine and the hub.
//!
//! This crate **owns** groups of any size to measure the engine with ([`EngineGroup`]), the benchmarks of it
//! (`benches/engine.rs`), a program that loads a hub (`hub-load`) and one that shows what a hub has stored (`hub-log`). It
//! **leaves to others** what is measured, and to `cargo xtask bench` the running and reporting.
//!
//! ```
//! use tertulia_bench::EngineGroup;
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let group = EngineGroup::with_members(3).await?;
//! let message = group.encrypt(b"how long does this take?").await?;
//! group.receive(&message).await?;
//! # Ok::<(), tertulia_mls::EngineError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod engine_group;

pub use engine_group::EngineGroup;

//! History that members make up, hold back or do not know of.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod made_up;
mod stale;
mod support;

//! The SDK against a real hub: one binary, so that it is linked once.

mod backups;
mod contention;
mod losses;
mod lying;
mod lying_hub;
mod lying_pairwise;
mod pairwise;
mod rotation;
mod support;
mod talking;

//! The SDK against a real hub: one binary, so that it is linked once.

mod backups;
mod contention;
mod encrypted_handshakes;
mod guests;
mod history;
mod joining;
mod key_packages;
mod losses;
mod lying;
mod lying_descriptions;
mod lying_history;
mod lying_hub;
mod lying_pairwise;
mod one_to_one;
mod own_devices;
mod pairwise;
mod recovery;
mod rotation;
mod settings;
mod sub_conversations;
mod support;
mod talking;
mod typing;

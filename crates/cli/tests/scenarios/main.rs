//! Scenarios with the shipped binary: a hub in a process of its own, and every command of a device a fresh process.
//!
//! All traffic goes through a recording wire, which can also fail in the ways in which networks do.

#![allow(clippy::unwrap_used)] // a test fails by panicking, its helpers too

mod accounts;
mod admin;
mod backups;
mod blind;
mod blind_directs;
mod blind_groups;
mod channels;
mod concurrency;
mod configuration;
mod connections;
mod devices;
mod documents;
mod faults;
mod follow;
mod groups;
mod guests;
mod history;
mod homes;
mod joining;
mod logs;
mod nodes;
mod offline;
mod own_type;
mod readme;
mod refusals;
mod relay;
mod restores;
mod retention;
mod secrecy;
mod serving;
mod sessions;
mod setbacks;
mod settings;
mod sub_conversations;
mod support;
mod teams;
mod traces;
mod whole_path;

//! What was done and found: a line while it goes on, a table for people at the end, JSON for programs.

use crate::Outcome;
use anstream::{eprint, eprintln, println};
use comfy_table::{Table, presets};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs,
    io::{IsTerminal as _, stderr},
    path::Path,
};

/// All of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// What the randomness came from.
    pub(crate) seed: u64,
    pub(crate) cores: usize,
    pub(crate) phases: Vec<Phase>,
    pub(crate) storms: Vec<Storm>,
    /// What was left out, and why.
    pub(crate) left_out: Vec<String>,
    /// What was not as promised. Nothing, it is hoped.
    pub(crate) broken: Vec<String>,
}

/// Faults of one kind, after which everything was compared.
#[derive(Debug, Serialize)]
pub(crate) struct Phase {
    /// What the hub ran on.
    pub(crate) hub: String,
    /// What was caused.
    pub(crate) fault: String,
    pub(crate) times: u32,
    pub(crate) seconds: f64,
    /// Messages that were acknowledged meanwhile.
    pub(crate) acknowledged: usize,
    /// Why requests failed, and how often.
    pub(crate) refused: BTreeMap<String, u64>,
}

/// A hub with all that was done with it.
#[derive(Debug, Serialize)]
pub(crate) struct Storm {
    pub(crate) hub: String,
    /// Messages of the light senders.
    pub(crate) acknowledged: usize,
    /// Those that were never acknowledged.
    pub(crate) given_up: usize,
    /// Those of them that are in the log.
    pub(crate) given_up_in_log: usize,
    pub(crate) retried: u64,
    pub(crate) repeated: u64,
    pub(crate) raced: u64,
    pub(crate) lost_answers: u64,
    pub(crate) streams_opened: u64,
    pub(crate) sdk_texts: u64,
    pub(crate) sdk_commits: u64,
}

impl Report {
    pub(crate) fn print(&self) {
        let mut phases = table(&["hub", "fault", "times", "seconds", "acknowledged", "requests that failed"]);
        for phase in &self.phases {
            let refused: Vec<_> =
                phase.refused.iter().map(|(code, count)| format!("{count} {code}")).collect();
            phases.add_row([
                phase.hub.clone(),
                phase.fault.clone(),
                phase.times.to_string(),
                format!("{:.0}", phase.seconds),
                phase.acknowledged.to_string(),
                refused.join(", "),
            ]);
        }
        let mut storms = table(&[
            "hub",
            "acknowledged",
            "retried",
            "repeated",
            "raced",
            "given up (in the log)",
            "lost answers",
            "streams",
            "SDK texts",
            "SDK commits",
        ]);
        for storm in &self.storms {
            storms.add_row([
                storm.hub.clone(),
                storm.acknowledged.to_string(),
                storm.retried.to_string(),
                storm.repeated.to_string(),
                storm.raced.to_string(),
                format!("{} ({})", storm.given_up, storm.given_up_in_log),
                storm.lost_answers.to_string(),
                storm.streams_opened.to_string(),
                storm.sdk_texts.to_string(),
                storm.sdk_commits.to_string(),
            ]);
        }
        println!("\n{phases}\n\n{storms}\n");
        for left_out in &self.left_out {
            println!("left out: {left_out}");
        }
        if self.broken.is_empty() {
            println!(
                "Nothing that was acknowledged is lost, and nothing is there twice. Seed {}.",
                self.seed
            );
        } else {
            for broken in &self.broken {
                println!("BROKEN: {broken}");
            }
            println!("Again: --seed {}", self.seed);
        }
    }

    pub(crate) fn write(&self, file: &Path) -> Outcome<()> {
        fs::write(file, serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header.iter().copied());
    table
}

/// What a person sees while it goes on: one line that changes, or, where that cannot be, a line now and then.
pub(crate) struct Progress {
    is_terminal: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { is_terminal: stderr().is_terminal() }
    }

    /// Something begins.
    pub(crate) fn heading(text: &str) {
        eprintln!("{text}");
    }

    /// So many of them are done.
    pub(crate) fn step(&self, done: u32, of: u32, text: &str) {
        if self.is_terminal {
            eprint!("\r\x1b[K  {done}/{of} {text}");
            if done == of {
                eprintln!();
            }
        } else if done == of || done.is_multiple_of((of / 10).max(1)) {
            eprintln!("  {done}/{of} {text}");
        }
    }
}

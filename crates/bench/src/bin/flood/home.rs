//! The shipped program: a relay, and homes without an account.

use crate::Outcome;
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How often it is looked how much memory a process uses.
const LOOK: Duration = Duration::from_millis(2);

/// A relay in a process of its own. It is killed when dropped.
pub(crate) struct Relay {
    process: Child,
    url: String,
}

impl Relay {
    pub(crate) fn start(program: &Path, place: &Path) -> Outcome<Self> {
        let mut process = Command::new(program)
            .args(["relay", "--listen", "127.0.0.1:0", "--log-filter", "warn"])
            .args(["--difficulty", "0", "--rate-posts", "none", "--data"])
            .arg(place.join("relay"))
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("standard output was asked to be a pipe"))
            .read_line(&mut line)?;
        match line.trim_end().rsplit_once(" on ") {
            Some((_, url)) => Ok(Self { url: url.to_owned(), process }),
            None => Err("the relay did not start".into()),
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A home without an account.
pub(crate) struct Home {
    program: PathBuf,
    home: PathBuf,
}

/// What a command has printed and used.
pub(crate) struct Measured {
    pub(crate) output: String,
    pub(crate) time: Duration,
    /// The most memory, in bytes.
    pub(crate) peak: u64,
}

impl Home {
    pub(crate) fn new(program: &Path, place: &Path, name: &str, relay: &str) -> Outcome<Self> {
        let home = Self { program: program.to_owned(), home: place.join(name) };
        home.run(&["init", "--relay", relay])?;
        Ok(home)
    }

    /// Runs a command that has to succeed, and gives what it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome<String> {
        let output = self.command(arguments).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("{} failed", arguments[0]).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The same, and what it uses meanwhile.
    pub(crate) fn measure(&self, arguments: &[&str]) -> Outcome<Measured> {
        let begun = Instant::now();
        let mut process = self.command(arguments).stdout(Stdio::piped()).spawn()?;
        let (mut peak, status) = (0, format!("/proc/{}/status", process.id()));
        let (time, ended) = loop {
            // It prints less than a pipe holds, so nobody has to read meanwhile.
            if let Some(ended) = process.try_wait()? {
                break (begun.elapsed(), ended);
            }
            peak = peak.max(most_memory(&status));
            thread::sleep(LOOK);
        };
        let mut output = String::new();
        process.stdout.take().expect("standard output was asked to be a pipe").read_to_string(&mut output)?;
        if !ended.success() {
            return Err(format!("{} failed", arguments[0]).into());
        }
        Ok(Measured { output, time, peak })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--home").arg(&self.home).args(arguments).stdin(Stdio::null());
        command
    }
}

/// The most memory that a process has used until now, as Linux tells it; nothing of one that has ended.
fn most_memory(status: &str) -> u64 {
    let status = fs::read_to_string(status).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

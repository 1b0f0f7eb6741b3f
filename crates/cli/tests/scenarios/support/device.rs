//! A device: a home, and commands that are run on it, each in a process of its own.

use super::tertulia;
use serde_json::Value;
use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A device of somebody. It is a place on disk and nothing that runs.
#[derive(Clone)]
pub(crate) struct Device {
    home: PathBuf,
    handle: String,
    hub: String,
    /// What its commands have said on standard error, if they log all that they can.
    told: Option<Arc<Mutex<String>>>,
}

impl Device {
    pub(crate) fn new(home: PathBuf, handle: &str, hub: String) -> Self {
        Self { home, handle: handle.to_owned(), hub, told: None }
    }

    /// The same device, whose commands log all that they can. What they say on standard error is gathered in `told`.
    pub(crate) fn telling(&self, told: &Arc<Mutex<String>>) -> Self {
        Self { told: Some(Arc::clone(told)), ..self.clone() }
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn handle(&self) -> &str {
        &self.handle
    }

    pub(crate) fn hub(&self) -> &str {
        &self.hub
    }

    /// The binary with this home and the password, ready for its arguments.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = tertulia();
        command.arg("--home").arg(&self.home).arg("--json").args(args).env("TERTULIA_PASSWORD", PASSWORD);
        if self.told.is_some() {
            command.arg("-vv").env("RUST_LOG", "trace");
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Answer {
        self.run_with(args, "")
    }

    /// Runs a command with something on standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> Answer {
        let mut process = self.spawn(args);
        let mut stdin = process.stdin.take().expect("standard input was asked to be a pipe");
        let input = input.to_owned();
        // Beside reading, so that neither waits for the other. A program that does not read its input breaks the pipe.
        let writing = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let output = process.wait_with_output().expect("the process is our child");
        writing.join().expect("writing does not panic");
        if let Some(told) = &self.told {
            let said = String::from_utf8_lossy(&output.stderr);
            told.lock().expect("no test panics while it holds it").push_str(&said);
        }
        Answer::new(&self.handle, args, output)
    }

    /// Starts a command and does not wait for it.
    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built")
    }

    /// Asks somebody for a connection, who accepts.
    pub(crate) fn befriend(&self, other: &Device) {
        self.run(&["connect", other.handle()]).done();
        other.run(&["accept", self.handle()]).done();
    }

    /// Sends a text; the sequence number that it got.
    pub(crate) fn send(&self, target: &str, text: &str) -> u64 {
        let message = self.run(&["send", target, text]).one();
        assert_eq!(message["text"], text);
        assert_eq!(message["from"], self.handle);
        message["sequence"].as_u64().expect("a sequence number")
    }

    /// The texts of a conversation, oldest first.
    pub(crate) fn texts(&self, target: &str) -> Vec<String> {
        let messages = self.run(&["read", target]).lines();
        messages.iter().map(|message| message["text"].as_str().expect("a text").to_owned()).collect()
    }

    /// The conversation's line of `list`, by its name.
    pub(crate) fn listed(&self, name: &str) -> Option<Value> {
        self.run(&["list"]).lines().into_iter().find(|conversation| conversation["name"] == name)
    }
}

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Who ran what, for the report of a failure.
    command: String,
    output: Output,
}

impl Answer {
    pub(crate) fn new(who: &str, args: &[&str], output: Output) -> Self {
        Self { command: format!("{who}: tertulia {}", args.join(" ")), output }
    }

    /// The exit status: 0 done, 1 refused or failed, 2 usage.
    pub(crate) fn status(&self) -> i32 {
        self.output.status.code().unwrap_or_else(|| panic!("{} was killed", self.command))
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).expect("output is UTF-8")
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).expect("output is UTF-8")
    }

    /// It has to have been done.
    #[track_caller]
    pub(crate) fn done(&self) -> &Self {
        assert_eq!(self.status(), 0, "{}\n{}", self.command, self.stderr());
        self
    }

    /// One JSON object a line.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.done();
        let lines: Vec<Value> = self
            .stdout()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{}: {line:?}", self.command)))
            .collect();
        assert!(lines.iter().all(Value::is_object), "{}: {lines:?}", self.command);
        lines
    }

    /// Exactly one JSON object.
    #[track_caller]
    pub(crate) fn one(&self) -> Value {
        let mut lines = self.lines();
        assert_eq!(lines.len(), 1, "{}: {lines:?}", self.command);
        lines.remove(0)
    }

    /// It has to have been refused or to have failed: the stable code, which stands on standard error with a sentence.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        let stderr = self.stderr();
        assert_eq!(self.status(), 1, "{} had to be refused\n{}{stderr}", self.command, self.stdout());
        assert_eq!(self.stdout(), "", "{} was refused and printed something", self.command);
        let found = stderr.lines().find_map(|line| line.strip_prefix("error[")?.split_once("]: "));
        let (code, sentence) = found.unwrap_or_else(|| panic!("{} gives no code:\n{stderr}", self.command));
        assert!(!sentence.trim().is_empty(), "{} gives no sentence", self.command);
        code.to_owned()
    }

    /// The command line was wrong.
    #[track_caller]
    pub(crate) fn usage(&self) {
        assert_eq!(self.status(), 2, "{} is a wrong command line\n{}", self.command, self.stderr());
        assert!(!self.stderr().is_empty(), "{} says nothing about it", self.command);
    }
}

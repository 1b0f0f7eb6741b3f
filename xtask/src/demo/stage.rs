//! The servers and the devices of the demonstrations: real processes, and what they print.

use crate::{
    command::{Failure, Program},
    say,
};
use anstyle::{AnsiColor, Style};
use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
};

/// Everybody's password: this is a stage.
const PASSWORD: &str = "correct horse battery staple";

/// A hub, or a relay, in a process of its own. It is killed when dropped.
pub(crate) struct Hub {
    binary: PathBuf,
    arguments: &'static [&'static str],
    data: PathBuf,
    log: PathBuf,
    process: Child,
    url: String,
}

/// Arguments that start a hub.
const HUB: &[&str] = &["serve"];

impl Hub {
    /// Starts one on a free port, with its data under `place`.
    pub(crate) fn start(binaries: &Path, place: &Path) -> Result<Self, Failure> {
        Self::run(binaries, HUB, place.join("hub"), place.join("hub.log"))
    }

    /// Starts a relay that logs each request, with all that it writes in one directory under `place`.
    pub(super) fn relay(
        binaries: &Path,
        place: &Path,
        arguments: &'static [&'static str],
    ) -> Result<Self, Failure> {
        let all = place.join("relay");
        fs::create_dir_all(&all).map_err(Failure::file(&all))?;
        Self::run(binaries, arguments, all.join("data"), all.join("log"))
    }

    fn run(
        binaries: &Path,
        arguments: &'static [&'static str],
        data: PathBuf,
        log: PathBuf,
    ) -> Result<Self, Failure> {
        let binary = binaries.join("tertulia");
        let (process, url) = spawn(&binary, arguments, &data, &log, "127.0.0.1:0")?;
        Ok(Self { binary, arguments, data, log, process, url })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// What a power cut would do to it; then it comes back where it was.
    pub(super) fn kill_and_restart(&mut self) -> Result<(), Failure> {
        self.kill();
        let address = self.url.trim_start_matches("http://").to_owned();
        (self.process, self.url) = spawn(&self.binary, self.arguments, &self.data, &self.log, &address)?;
        Ok(())
    }

    pub(super) fn kill(&mut self) {
        // Both fail only for a process that has ended already, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a server and waits for the line that says where it listens.
fn spawn(
    binary: &Path,
    arguments: &[&str],
    data: &Path,
    log: &Path,
    listen: &str,
) -> Result<(Child, String), Failure> {
    let log = File::options().create(true).append(true).open(log).map_err(Failure::file(log))?;
    let mut process = Command::new(binary)
        .args(arguments)
        .args(["--listen", listen, "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(Failure::file(binary))?;
    let mut stdout = BufReader::new(process.stdout.take().expect("standard output was asked to be a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).map_err(Failure::file(binary))?;
    // What else it prints is read, so that it is never held up by a full pipe.
    thread::spawn(move || io::copy(&mut stdout, &mut io::sink()));
    match line.split_whitespace().find(|word| word.starts_with("http://")) {
        Some(url) => Ok((process, url.trim_end_matches(['/', '.']).to_owned())),
        None => Err(Failure::message(format!("it did not say where it listens, but {line:?}"))),
    }
}

/// A device: a home of its own, and a person who types.
pub(super) struct Device {
    binary: PathBuf,
    person: &'static str,
    name: &'static str,
    home: PathBuf,
    hub: String,
    style: Style,
}

impl Device {
    pub(super) fn new(
        binaries: &Path,
        place: &Path,
        person: &'static str,
        name: &'static str,
        hub: &str,
    ) -> Self {
        let colour = match person {
            "alice" | "beatriz" => AnsiColor::Magenta,
            "bob" | "domingo" => AnsiColor::Blue,
            _ => AnsiColor::Yellow,
        };
        Self {
            binary: binaries.join("tertulia"),
            person,
            name,
            home: place.join(name),
            hub: hub.to_owned(),
            style: colour.on_default().bold(),
        }
    }

    pub(super) fn sign_up(&self) -> Result<(), Failure> {
        self.does(&["signup", self.person, "--hub", &self.hub])
    }

    pub(super) fn log_in(&self) -> Result<(), Failure> {
        self.does(&["login", self.person, "--hub", &self.hub])
    }

    /// Runs a command that has to succeed.
    pub(super) fn does(&self, args: &[&str]) -> Result<(), Failure> {
        self.says(args).map(drop)
    }

    /// Runs a command that has to succeed, and gives what it prints.
    pub(super) fn says(&self, args: &[&str]) -> Result<String, Failure> {
        self.succeeds(args, &self.run(args)?)
    }

    /// The same without showing it.
    pub(super) fn tells(&self, args: &[&str]) -> Result<String, Failure> {
        self.succeeds(args, &self.command(args)?)
    }

    fn succeeds(&self, args: &[&str], output: &Output) -> Result<String, Failure> {
        match output.status.code() {
            Some(0) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            _ => Err(Failure::message(format!("{}: {args:?} ended with {}", self.name, output.status))),
        }
    }

    /// Runs a command that the hub or the client has to refuse.
    pub(super) fn refused(&self, args: &[&str]) -> Result<(), Failure> {
        let output = self.run(args)?;
        match output.status.code() {
            Some(1) => Ok(()),
            _ => Err(Failure::message(format!(
                "{}: {args:?} had to be refused, but {}",
                self.name, output.status
            ))),
        }
    }

    fn run(&self, args: &[&str]) -> Result<Output, Failure> {
        let style = self.style;
        say::line(format!("{style}{:>10} ${style:#} tertulia {}", self.name, typed(args)));
        let output = self.command(args)?;
        for stream in [&output.stdout, &output.stderr] {
            for line in String::from_utf8_lossy(stream).lines() {
                say::line(format!("{:>12}{}", "", shortened(line)));
            }
        }
        Ok(output)
    }

    fn command(&self, args: &[&str]) -> Result<Output, Failure> {
        Program::new(&self.binary)
            .into_inner()
            .arg("--home")
            .arg(&self.home)
            .args(args)
            .env("TERTULIA_PASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .output()
            .map_err(Failure::file(&self.binary))
    }
}

/// A line of which a word that nobody reads is shown by its beginning.
fn shortened(line: &str) -> String {
    const LONGEST: usize = 200;
    match line.get(..40) {
        Some(beginning) if line.len() > LONGEST && !line.contains(' ') => {
            format!("{beginning}… ({} characters)", line.len())
        }
        _ => line.to_owned(),
    }
}

/// The arguments as a person would type them.
fn typed(args: &[&str]) -> String {
    let quoted = args.iter().map(|arg| {
        let arg = shortened(arg);
        if arg.contains('…') {
            arg
        } else if arg.contains(|c: char| c.is_whitespace() || "?!'".contains(c)) {
            format!("\"{arg}\"")
        } else {
            arg
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_they_can_be_typed() {
        assert_eq!(typed(&["send", "@bob", "Hello, Bob."]), "send @bob \"Hello, Bob.\"");
        assert_eq!(typed(&["connect", "bob"]), "connect bob");
        let intro = "tertulia_intro_1_".to_owned() + &"x".repeat(900);
        assert_eq!(
            typed(&["meet", &intro, "--name", "bob"]),
            "meet tertulia_intro_1_xxxxxxxxxxxxxxxxxxxxxxx… (917 characters) --name bob"
        );
    }
}

//! The hub that is measured: `tertulia serve` as it is shipped, a process of its own.

use crate::{Outcome, http::Http, process};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Where a hub keeps its data, and what it is run with. Rates are what is measured here, so there are none; all else is as
/// shipped.
pub(crate) struct HubCommand {
    program: PathBuf,
    data: PathBuf,
    more: Vec<String>,
}

/// A hub in a process of its own. It is killed when dropped.
pub(crate) struct Hub {
    process: Child,
    address: String,
}

impl HubCommand {
    pub(crate) fn new(program: &Path, data: PathBuf) -> Self {
        Self { program: program.to_owned(), data, more: Vec::new() }
    }

    /// A further argument of `tertulia serve`.
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.more.push(arg.to_owned());
        self
    }

    /// Where its SQLite database is, unless it uses another.
    pub(crate) fn database(&self) -> PathBuf {
        self.data.join("hub.db")
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn start(&self) -> Outcome<Hub> {
        fs::create_dir_all(&self.data)?;
        let mut command = Command::new(&self.program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-filter", "warn", "--data"]).arg(&self.data);
        for rate in ["requests", "sign-ups", "log-ins", "address-log-ins", "look-ups"] {
            command.args([&format!("--rate-{rate}"), "none"]);
        }
        command.args(["--max-connections", "1000000"]); // all come from here
        let mut process = command.args(&self.more).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("standard output was asked to be a pipe"))
            .read_line(&mut line)?;
        match line.trim_end().rsplit_once("http://") {
            Some((_, address)) => Ok(Hub { process, address: address.to_owned() }),
            None => Err("the hub did not start".into()),
        }
    }
}

impl Hub {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `127.0.0.1` and the port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn connect(&self) -> impl Future<Output = Outcome<Http>> {
        Http::connect(self.address.clone())
    }

    pub(crate) fn usage(&self) -> Outcome<process::Usage> {
        process::usage(self.process.id())
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(mut self) -> Outcome<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

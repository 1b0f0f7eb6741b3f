//! A hub in a process of its own, that can be killed and comes back.

use super::{
    device::Device,
    signal, tertulia,
    wire::{Fault, Wire},
};
use std::{
    cell::Cell,
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::Receiver,
    thread,
};
use tempfile::TempDir;

/// A hub, the wire to it, and a directory for everybody's homes. All of it is gone when dropped.
pub(crate) struct Hub {
    directory: TempDir,
    wire: Wire,
    process: Option<Child>,
    /// `serve`, or `relay` for one that is no hub.
    command: &'static str,
    /// Beside where it listens and where its data are.
    options: Vec<String>,
    environment: Vec<(String, String)>,
    homes: Cell<usize>,
}

impl Hub {
    /// A new hub on a free port.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With options. Its log is kept.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        Self::start_in(options, &[])
    }

    /// With options, and with an environment. Its log is kept if there are options.
    pub(crate) fn start_in(options: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_as("serve", options, environment)
    }

    /// A relay that is no hub, with options.
    pub(crate) fn relay(options: &[&str]) -> Self {
        Self::start_as("relay", options, &[])
    }

    fn start_as(command: &'static str, options: &[&str], environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let environment =
            environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut hub = Self {
            directory,
            wire: Wire::new(),
            process: None,
            command,
            options,
            environment,
            homes: Cell::new(0),
        };
        hub.start_again();
        hub
    }

    /// What the hub has logged so far, if it was started with options.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("hub.log")).expect("the hub keeps a log")
    }

    /// The address that devices are given; it stays.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.wire.address())
    }

    /// The hub's data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("hub")
    }

    /// The directory that holds the hub's data and all homes.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// SIGKILL: the process ends between two instructions.
    pub(crate) fn kill(&mut self) {
        self.wire.lead_to(None);
        if let Some(mut process) = self.process.take() {
            process.kill().expect("the hub was running");
            process.wait().expect("a killed process ends");
        }
    }

    /// Starts on the data that is there, and waits until requests are taken.
    pub(crate) fn start_again(&mut self) {
        let mut command = tertulia();
        command
            .args([self.command, "--listen", "127.0.0.1:0", "--data"])
            .arg(self.data())
            .args(&self.options);
        command.envs(self.environment.iter().cloned());
        if !self.options.is_empty() {
            let log = self.directory.path().join("hub.log");
            let log = File::options().create(true).append(true).open(log).expect("a file can be made");
            command.stderr(log);
        }
        let (process, address) = serve(&mut command);
        self.wire.lead_to(Some(address));
        self.process = Some(process);
    }

    /// SIGKILL, and from then on whoever is on this wire is led to another node.
    pub(crate) fn fail_over_to(&mut self, other: &Self) {
        self.kill();
        self.wire.lead_to(Some(other.wire.address()));
    }

    /// Killed and started again: what every step of a scenario has to survive.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Asks the hub to end, and waits until it has.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the hub is running");
        signal(&process, "TERM");
        self.wire.lead_to(None);
        process.wait().expect("the hub is our child")
    }

    /// Plans a fault for the next request that contains `part`.
    pub(crate) fn plan(&self, part: &str, fault: Fault) -> Receiver<()> {
        self.wire.plan(part, fault)
    }

    /// Everything that went over the wire, one stream a connection and direction.
    pub(crate) fn traffic(&self) -> Vec<Vec<u8>> {
        self.wire.recorded()
    }

    /// A device of somebody, with a home of its own that nothing is in yet.
    pub(crate) fn device(&self, handle: &str) -> Device {
        let number = self.homes.replace(self.homes.get() + 1);
        Device::new(self.directory.path().join(format!("home-{number}-{handle}")), handle, self.url())
    }

    /// Somebody new without an account, whose conversations travel through these relays.
    pub(crate) fn init(&self, name: &str, relays: &[&Self]) -> Device {
        let device = self.device(name);
        let urls: Vec<String> = relays.iter().map(|relay| relay.url()).collect();
        let named = urls.iter().flat_map(|url| ["--relay", url]);
        let args: Vec<&str> = ["init"].into_iter().chain(named).collect();
        device.run(&args).done();
        device
    }

    /// Somebody new, with a first device.
    pub(crate) fn sign_up(&self, handle: &str) -> Device {
        let device = self.device(handle);
        device.run(&["signup", handle, "--hub", &self.url()]).done();
        device
    }

    /// A further device of somebody.
    pub(crate) fn log_in(&self, handle: &str) -> Device {
        let device = self.device(handle);
        device.run(&["login", handle, "--hub", &self.url()]).done();
        device
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Both fail only if it has ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Starts a hub on a free port; its first line says on which.
fn serve(command: &mut Command) -> (Child, SocketAddr) {
    let mut process =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the binary was built");
    let mut stdout = BufReader::new(process.stdout.take().expect("standard output was asked to be a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a pipe can be read");
    // The rest is read too, so that the hub never waits for us.
    thread::spawn(move || io::copy(&mut stdout, &mut io::sink()));
    let address = line.trim_end().rsplit_once("http://").and_then(|(_, address)| address.parse().ok());
    (process, address.unwrap_or_else(|| panic!("the hub does not say where it listens, but {line:?}")))
}

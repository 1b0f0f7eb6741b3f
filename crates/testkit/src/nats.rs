//! NATS.

use crate::{Error, io, ports};
use std::{
    env, fs,
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(30);

/// A server of one's own, on a free port that it keeps. It ends with this value, and nothing stays.
pub struct Server {
    process: Option<Child>,
    directory: TempDir,
    port: u16,
    options: Vec<String>,
}

impl Server {
    /// Starts one.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(&[])
    }

    /// Starts one with options of `nats-server`.
    pub fn start_with(options: &[&str]) -> Result<Self, Error> {
        let directory = tempfile::Builder::new().prefix("nats").tempdir().map_err(io("a directory"))?;
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut server = Self { process: None, directory, port: ports::free(), options };
        server.launch()?;
        Ok(server)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Its host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it as a crash would. Its port stays its own.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it again, where it was.
    pub fn start_again(&mut self) -> Result<(), Error> {
        self.kill();
        self.launch()
    }

    fn launch(&mut self) -> Result<(), Error> {
        let log = self.directory.path().join("log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).map_err(io("the log"))?;
        let mut command = Command::new(program()?);
        command
            .current_dir(self.directory.path())
            .args(["--addr", "127.0.0.1", "--port", &self.port.to_string()])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file);
        let mut process = command.spawn().map_err(io("nats-server"))?;
        let deadline = Instant::now() + START;
        let said = || fs::read_to_string(&log).unwrap_or_default();
        // It has no other way to say that it is ready than to answer.
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if let Some(status) = process.try_wait().map_err(io("nats-server"))? {
                return Err(Error::Ended { program: "nats-server", status, log: said() });
            }
            if Instant::now() > deadline {
                let _ = process.kill();
                return Err(Error::Silent { program: "nats-server", log: said() });
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.process = Some(process);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The program, which Debian keeps where only root looks.
fn program() -> Result<PathBuf, Error> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places
        .find_map(|place| Some(place.join("nats-server")).filter(|program| program.is_file()))
        .ok_or(Error::Missing { program: "NATS", package: "nats-server" })
}

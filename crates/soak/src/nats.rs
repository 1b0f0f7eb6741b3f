//! A NATS server of one's own, which is killed and comes back at the same address.

use crate::Outcome;
use rand::{RngExt as _, rngs::StdRng};
use std::{
    io::Read as _,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(30);

/// The server. It ends with this value.
pub(crate) struct Nats {
    port: u16,
    process: Option<Child>,
}

impl Nats {
    /// Starts one.
    pub(crate) fn start(random: &mut StdRng) -> Outcome<Self> {
        // Below those that the system gives to connections, so that nobody has it when the server comes back.
        let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let port =
            (0..100).map(|_| random.random_range(20_000..30_000)).find(free).ok_or("no port is free")?;
        let mut server = Self { port, process: None };
        server.start_again()?;
        Ok(server)
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> Outcome<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Starts it anew, and waits until it answers.
    pub(crate) fn start_again(&mut self) -> Outcome<()> {
        let mut command = Command::new("nats-server");
        command.args(["--addr", "127.0.0.1", "--port", &self.port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command
            .spawn()
            .map_err(|error| format!("nats-server: {error}; `apt-get install nats-server` brings it"))?;
        self.process = Some(process);
        let begun = Instant::now();
        // It greets whoever connects, and has no other way to say that it is ready.
        while !self.greets() {
            if begun.elapsed() > START {
                return Err("nats-server does not answer".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn greets(&self) -> bool {
        let mut greeting = [0; 4];
        TcpStream::connect(("127.0.0.1", self.port))
            .and_then(|mut stream| {
                stream.set_read_timeout(Some(Duration::from_secs(1)))?;
                stream.read_exact(&mut greeting)
            })
            .is_ok_and(|()| greeting == *b"INFO")
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.kill();
    }
}

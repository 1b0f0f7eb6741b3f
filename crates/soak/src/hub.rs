//! The nodes of the hub: the shipped binary, each in a process of its own, that is killed and started again.

use crate::{Outcome, front::Front};
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// How the nodes are started.
pub(crate) struct Settings {
    /// The binary `tertulia`.
    pub(crate) binary: PathBuf,
    /// Where the data directories are: as the nodes see it.
    pub(crate) data: PathBuf,
    /// Where the logs go.
    pub(crate) logs: PathBuf,
    /// What each node is started by, in front of the binary.
    pub(crate) within: Vec<String>,
    /// Beside where it listens and where its data are.
    pub(crate) options: Vec<String>,
}

/// All nodes of one hub.
pub(crate) struct Nodes {
    settings: Settings,
    front: Front,
    running: Vec<Option<Node>>,
}

struct Node {
    process: Child,
    address: SocketAddr,
    /// Kept, so that nothing it says there is an error to it.
    _stdout: BufReader<ChildStdout>,
}

impl Nodes {
    /// Starts so many nodes, one after the other.
    pub(crate) async fn start(settings: Settings, count: usize, seed: u64) -> Outcome<Self> {
        fs::create_dir_all(&settings.logs)?;
        let front = Front::open(count, seed).await?;
        let mut nodes = Self { settings, front, running: (0..count).map(|_| None).collect() };
        for node in 0..count {
            nodes.start_again(node).await?;
        }
        Ok(nodes)
    }

    pub(crate) fn count(&self) -> usize {
        self.running.len()
    }

    /// The address that leads to all nodes. It stays.
    pub(crate) fn url(&self) -> String {
        self.front.url()
    }

    /// The address of one node that is there.
    pub(crate) fn url_of(&self, node: usize) -> Outcome<String> {
        let node = self.running[node].as_ref().ok_or("the node is not there")?;
        Ok(format!("http://{}", node.address))
    }

    /// From now on answers are lost on the way.
    pub(crate) fn begin_to_lose_answers(&self) {
        self.front.begin_to_lose();
    }

    /// Answers that were lost on the way.
    pub(crate) fn lost_answers(&self) -> u64 {
        self.front.lost()
    }

    /// SIGKILL: the process ends between two instructions.
    pub(crate) fn kill(&mut self, node: usize) -> Outcome<()> {
        self.front.lead(node, None);
        if let Some(mut node) = self.running[node].take() {
            if let Some(status) = node.process.try_wait()? {
                return Err(format!("a node ended by itself with {status}: {}", self.last_words()).into());
            }
            node.process.kill()?;
            node.process.wait()?;
        }
        Ok(())
    }

    /// Starts on the data that is there, and resolves when requests are taken.
    pub(crate) async fn start_again(&mut self, node: usize) -> Outcome<()> {
        let (process, stdout) = self.spawn(node)?;
        let began = tokio::task::spawn_blocking(move || began(process, stdout)).await?;
        let began = began.map_err(|error| format!("{error}: {}", self.last_words()))?;
        self.front.lead(node, Some(began.address));
        self.running[node] = Some(began);
        Ok(())
    }

    /// Starts it, and kills it before it need have come up.
    pub(crate) async fn start_and_kill(&self, node: usize, after: Duration) -> Outcome<()> {
        let (mut process, _stdout) = self.spawn(node)?;
        tokio::time::sleep(after).await;
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// What a node says of its health.
    pub(crate) async fn health(&self, node: usize) -> Outcome<String> {
        let address = self.running[node].as_ref().ok_or("the node is not there")?.address;
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer.split_whitespace().nth(1).unwrap_or_default().to_owned();
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim()).unwrap_or_default();
        Ok(format!("{status} {body}"))
    }

    /// Whether a node has written down that something of it panicked.
    pub(crate) fn panics(&self) -> Outcome<Vec<String>> {
        let mut panics = Vec::new();
        for node in 0..self.count() {
            let log = fs::read_to_string(self.log(node))?;
            panics.extend(log.lines().filter(|line| line.contains("panicked")).map(str::to_owned));
        }
        Ok(panics)
    }

    /// A node's data directory, as the node sees it.
    pub(crate) fn data(&self, node: usize) -> PathBuf {
        self.settings.data.join(format!("node-{node}"))
    }

    fn log(&self, node: usize) -> PathBuf {
        self.settings.logs.join(format!("node-{node}.log"))
    }

    fn spawn(&self, node: usize) -> Outcome<(Child, BufReader<ChildStdout>)> {
        let Settings { binary, within, options, .. } = &self.settings;
        let mut command = match within.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TERTULIA_") {
                command.env_remove(name);
            }
        }
        let log = File::options().create(true).append(true).open(self.log(node))?;
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--rate-requests", "none", "--data"])
            .arg(self.data(node))
            .args(options)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut process =
            command.spawn().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let stdout = process.stdout.take().expect("standard output was asked to be a pipe");
        Ok((process, BufReader::new(stdout)))
    }

    /// The end of all logs.
    fn last_words(&self) -> String {
        let logs = (0..self.count()).map(|node| fs::read_to_string(self.log(node)).unwrap_or_default());
        let ends = logs.map(|log| {
            let lines: Vec<_> = log.lines().collect();
            lines[lines.len().saturating_sub(5)..].join("\n")
        });
        ends.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in self.running.iter_mut().flatten() {
            // Both fail only if it has ended already.
            let _ = node.process.kill();
            let _ = node.process.wait();
        }
    }
}

/// Waits until the node says where it listens.
fn began(mut process: Child, mut stdout: BufReader<ChildStdout>) -> Outcome<Node> {
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    let address = line.trim_end().rsplit_once("http://").and_then(|(_, address)| address.parse().ok());
    if let Some(address) = address {
        return Ok(Node { process, address, _stdout: stdout });
    }
    let _ = process.kill();
    Err(format!("the hub did not start ({})", process.wait()?).into())
}

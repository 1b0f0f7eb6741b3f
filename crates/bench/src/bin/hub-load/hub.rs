//! The hub that is measured: this program once more, as a process of its own.

use crate::Outcome;
use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tertulia_server::{Rate, Server, ServerConfig};

/// A hub in a process of its own. It is killed when dropped.
pub(crate) struct HubProcess {
    data: PathBuf,
    process: Child,
    url: String,
}

impl HubProcess {
    pub(crate) fn start(data: PathBuf) -> Outcome<Self> {
        fs::create_dir_all(&data)?;
        let (process, url) = spawn(&data)?;
        Ok(Self { data, process, url })
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn kill(&mut self) -> Outcome<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Another process on the same data, at another address.
    pub(crate) fn start_again(&mut self) -> Outcome<()> {
        (self.process, self.url) = spawn(&self.data)?;
        Ok(())
    }
}

impl Drop for HubProcess {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.kill();
    }
}

fn spawn(data: &Path) -> Outcome<(Child, String)> {
    let mut process =
        Command::new(env::current_exe()?).arg("--serve").arg(data).stdout(Stdio::piped()).spawn()?;
    let mut url = String::new();
    BufReader::new(process.stdout.take().expect("standard output was asked to be a pipe"))
        .read_line(&mut url)?;
    if url.is_empty() {
        return Err("the hub did not start".into());
    }
    Ok((process, url.trim_end().to_owned()))
}

/// Serves until killed, with the shipped settings but for the limit of requests a session, which would be what is measured.
#[expect(clippy::print_stdout, reason = "the process that measures reads the address from standard output")]
pub(crate) async fn serve(data: &Path) -> Outcome<()> {
    let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into(), data);
    config.limits.requests = Rate::UNLIMITED;
    let server = Server::bind(config).await?;
    println!("http://{}", server.local_addr());
    Ok(server.run(std::future::pending()).await?)
}

//! The socket at which a running hub is asked: a task in a line of JSON, and its answer in another.
//!
//! It is in the data directory, and who asks has to be the user whom that belongs to, or root: who could read the database
//! anyway.

use super::{AdminError, Answer, Task, door, perform};
use crate::{removals, state::AppState};
use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};
use tertulia_api::Problem;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    time::timeout,
};

/// Longest line that is taken as a task, in bytes.
const MAX_TASK: u64 = 4096;

/// How long somebody may take to say what is to be done.
const PATIENCE: Duration = Duration::from_secs(10);

/// The socket. It goes when this is dropped.
pub(crate) struct Door {
    listener: UnixListener,
    path: PathBuf,
    /// The user whom the data belong to.
    owner: u32,
}

impl Drop for Door {
    fn drop(&mut self) {
        // A socket that is left behind is in nobody's way: the next hub takes its place.
        let _ = fs::remove_file(&self.path);
    }
}

impl Door {
    /// Opens the socket in the data directory, which this hub has taken.
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        let path = door(data);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let owner = fs::metadata(&path)?.uid();
        Ok(Self { listener, path, owner })
    }

    /// Answers until the hub is to stop.
    pub(crate) async fn answer(self, state: AppState) {
        self.hear(&state).await;
        // Before the state, which the end of the hub waits for.
        drop(self);
    }

    async fn hear(&self, state: &AppState) {
        loop {
            let stream = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = state.shutdown.requested() => return,
            };
            let stream = match stream {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "somebody could not be heard at the operators' socket");
                    tokio::time::sleep(Duration::from_millis(100)).await; // too many open files pass
                    continue;
                }
            };
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == self.owner || peer.uid() == 0 => {
                    let state = state.clone();
                    tokio::spawn(async move {
                        let stopped = state.clone();
                        tokio::select! {
                            served = serve(stream, &state) => {
                                if let Err(error) = served {
                                    tracing::debug!(%error, "an operator went away");
                                }
                            }
                            () = stopped.shutdown.requested() => {}
                        }
                    });
                }
                _ => tracing::warn!("somebody else came to the operators' socket"),
            }
        }
    }
}

/// Hears one task and answers it.
async fn serve(stream: UnixStream, state: &AppState) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    timeout(PATIENCE, BufReader::new(reader.take(MAX_TASK)).read_line(&mut line)).await??;
    let task: Task = serde_json::from_str(&line)?;
    let done = perform(&state.storage, &state.observer, state.spans, task).await;
    removals::carry_out(state).await; // of an account or a device that was deleted
    let mut answer = serde_json::to_vec(&done.map_err(|error| error.into_problem()))?;
    answer.push(b'\n');
    writer.write_all(&answer).await
}

/// Asks the hub that uses the data directory.
pub(super) async fn ask(data: &Path, task: &Task) -> Result<Answer, AdminError> {
    let failed = |source| AdminError::Unreachable { path: data.to_owned(), source };
    let answer = exchange(&door(data), task).await.map_err(failed)?;
    if answer.is_empty() {
        return Err(failed(io::ErrorKind::UnexpectedEof.into()));
    }
    let answer: Result<Answer, Problem> =
        serde_json::from_slice(&answer).map_err(AdminError::OtherVersion)?;
    answer.map_err(|problem| AdminError::Refused(Box::new(problem)))
}

async fn exchange(door: &Path, task: &Task) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(door).await?;
    let mut line = serde_json::to_vec(task)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

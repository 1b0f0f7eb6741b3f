//! A word to whoever watches a command that takes long.

use std::{
    future::Future,
    io::{self, IsTerminal as _, Write as _},
    pin::pin,
    time::Duration,
};

/// How long a person waits without wondering.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs the future; if it takes over a second, standard error says what is going on until it ends. Only on a terminal.
pub(crate) async fn watched<F: Future>(what: &str, future: F) -> F::Output {
    if !io::stderr().is_terminal() {
        return future.await;
    }
    let mut future = pin!(future);
    if let Ok(output) = tokio::time::timeout(PATIENCE, &mut future).await {
        return output;
    }
    // If standard error cannot be written, the command goes on without a word.
    let _ = write!(anstream::stderr().lock(), "{what}…");
    let output = future.await;
    let _ = write!(anstream::stderr().lock(), "\r{:width$}\r", "", width = what.chars().count() + 1);
    output
}

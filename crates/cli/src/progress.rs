//! A word to whoever watches a command that takes long.

use std::{
    future::Future,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

/// How long a person waits without wondering.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs the future; if it takes over a second, standard error says what is going on until it ends. Only on a terminal.
pub(crate) fn watched<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    // What the SDK does in one call is large, and would be copied into the future of every caller.
    let mut future = Box::pin(future);
    async move {
        if !io::stderr().is_terminal() {
            return future.await;
        }
        if let Ok(output) = tokio::time::timeout(PATIENCE, &mut future).await {
            return output;
        }
        // If standard error cannot be written, the command goes on without a word.
        let _ = write!(anstream::stderr().lock(), "{what}…");
        let output = future.await;
        let _ = write!(anstream::stderr().lock(), "\r{:width$}\r", "", width = what.chars().count() + 1);
        output
    }
}

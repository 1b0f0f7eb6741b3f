//! A word to whoever watches a command that takes long.

use std::{
    future::Future,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

/// How long a person waits without wondering.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the words are looked at again.
const LOOK: Duration = Duration::from_millis(200);

/// Runs the future; if it takes over a second, standard error says what is going on until it ends. Only on a terminal.
pub(crate) fn watched<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    watched_as(move || what.to_owned(), future)
}

/// The same with words that change.
pub(crate) fn watched_as<F: Future>(what: impl Fn() -> String, future: F) -> impl Future<Output = F::Output> {
    // What the SDK does in one call is large, and would be copied into the future of every caller.
    let mut future = Box::pin(future);
    async move {
        if !io::stderr().is_terminal() {
            return future.await;
        }
        let mut pause = PATIENCE;
        let mut width = 0;
        loop {
            let output = tokio::time::timeout(pause, &mut future).await;
            // If standard error cannot be written, the command goes on without a word.
            if width > 0 {
                let _ = write!(anstream::stderr().lock(), "\r{:width$}\r", "");
            }
            if let Ok(output) = output {
                return output;
            }
            let words = what();
            let _ = write!(anstream::stderr().lock(), "{words}…");
            (pause, width) = (LOOK, words.chars().count() + 1);
        }
    }
}

//! Weighs a loaded group: how much of the heap it takes in this process, in bytes.

use std::{
    alloc::System,
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
};

use cap::Cap;
use clap::Parser;
use tertulia_mls::{CommitOutcome, ConversationId, MlsCommitBundle, MlsTransport, Session, SessionConfig};
use tertulia_store::{KeySource, Store};

/// Counts what Rust allocates. SQLite and AWS-LC, which allocate by themselves, keep nothing of a group.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// Prints how many bytes of the heap the one group in a home takes once it is loaded and has encrypted a message.
#[derive(Parser)]
struct Arguments {
    /// The home of a store.
    home: PathBuf,
}

/// Nothing is sent here.
struct Nobody;

#[async_trait::async_trait]
impl MlsTransport for Nobody {
    async fn send_commit_bundle(&self, _: &ConversationId, _: MlsCommitBundle) -> CommitOutcome {
        CommitOutcome::Unknown { detail: "nobody is there".to_owned() }
    }
}

#[expect(clippy::print_stdout, reason = "printing is what this program does")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    println!("{}", tokio::runtime::Runtime::new()?.block_on(weigh(&arguments.home))?);
    Ok(())
}

async fn weigh(home: &Path) -> Result<usize, Box<dyn Error>> {
    let session =
        Session::open(Store::open(home, &KeySource::File)?, Arc::new(Nobody), SessionConfig::default())?;
    let id = session.conversations()?.pop().ok_or("there is no group in this home")?;
    let mut tx = session.new_transaction().await?;
    let empty = HEAP.allocated();
    tx.conversation(&id).await?.encrypt_message(b"a message")?;
    let loaded = HEAP.allocated().saturating_sub(empty);
    tx.finish().await?;
    Ok(loaded)
}
